-- Checks of arguments, and the errors of wrong ones.

local moonlet = require "moonlet"
local native = require "moonlet.native"

local arguments = {}

local function type_name(value)
    local meta = getmetatable(value)
    local name = type(meta) == "table" and rawget(meta, "__name")
    return type(name) == "string" and name or type(value)
end
arguments.type_name = type_name

--- misuse(type, text): raises the error that the scheduler was called in a wrong way, with the place of
--- the caller in Lua; in Python it is an exception of that type: "TypeError", "ValueError", "RuntimeError" or
--- "AttributeError".
local misuse = native.misuse
arguments.misuse = misuse

--- Raises the error of a bad argument of a function called `name`.
function arguments.bad_argument(index, name, expected, value)
    local got = value == nil and "nil" or type_name(value)
    misuse("TypeError", ("bad argument #%d to '%s' (%s expected, got %s)"):format(index, name, expected, got))
end

--- Checks that `seconds` is a time to wait: a number that is not negative.
function arguments.check_seconds(seconds, name, index)
    if type(seconds) ~= "number" then
        arguments.bad_argument(index, name, "seconds", seconds)
    elseif seconds < 0 or seconds ~= seconds then
        local text = "bad argument #%d to '%s' (seconds expected that are not negative, got %s)"
        misuse("ValueError", text:format(index, name, seconds))
    end
    return seconds
end

--- Checks that `when` is a time of moonlet.now(): a number.
function arguments.check_time(when, name, index)
    if type(when) ~= "number" then
        arguments.bad_argument(index, name, "time", when)
    elseif when ~= when then
        misuse("ValueError", ("bad argument #%d to '%s' (time expected, got nan)"):format(index, name))
    end
end

--- Checks that `f` can be called.
function arguments.check_callable(f, name, index)
    if type(f) == "function" then
        return
    end
    local meta = debug.getmetatable(f)
    local callable = meta and meta.__call
    if type(f) == "userdata" and callable and moonlet.python.builtins.callable then
        callable = moonlet.python.builtins.callable(f)
    end
    if not callable then
        arguments.bad_argument(index, name, "function or Python callable", f)
    end
end

return arguments
