-- Errors of the operating system as Python has them: OSError, whose subclass is chosen by the number.

local native = require "moonlet.native"
local hub = require "moonlet.hub"
local moonlet = require "moonlet"

local oserror = {}

-- Of libuv's names only.
local resolver_texts = {
    EAI_ADDRFAMILY = "address family not supported",
    EAI_AGAIN = "temporary failure in name resolution",
    EAI_BADFLAGS = "bad flags",
    EAI_CANCELED = "request canceled",
    EAI_FAIL = "permanent failure in name resolution",
    EAI_FAMILY = "address family not supported",
    EAI_MEMORY = "out of memory",
    EAI_NODATA = "no address",
    EAI_NONAME = "name or service not known",
    EAI_OVERFLOW = "argument buffer overflow",
    EAI_SERVICE = "service not available for socket type",
    EAI_SOCKTYPE = "socket type not supported",
}

--- The name of an error, as ENOENT, in what luv says of it.
function oserror.name(text)
    return text:match "^[%u%d_]+" or text
end

--- The number of an error by its name.
local function number_of(name)
    local ok, number = native.pcall(native.python, "errno", name)
    return ok and number or nil
end

--- The exception for an error that luv has told of. `tried` tells what was, in words, and follows the text; a
--- `filename` becomes that of the exception.
function oserror.new(luv_text, tried, filename)
    local name = oserror.name(luv_text)
    if resolver_texts[name] then
        local ok, number = native.pcall(native.python, "socket", name)
        local text = resolver_texts[name] .. (tried and ": " .. tried or "")
        return native.python("socket", "gaierror")(ok and number or -1, text)
    end
    local number = number_of(name)
    local OSError = native.python("builtins", "OSError")
    if not number then
        return OSError(luv_text .. (tried and ": " .. tried or ""))
    end
    local text = native.python("os", "strerror")(number)
    if filename then
        return OSError(number, text, filename)
    end
    return OSError(number, text .. (tried and ": " .. tried or ""))
end

--- Raises it.
function oserror.raise(luv_text, tried, filename)
    error(oserror.new(luv_text, tried, filename), 0)
end

--- The exception for an errno.
function oserror.of_number(number, tried)
    return native.python("builtins", "OSError")(number, native.python("os", "strerror")(number) .. ": " .. tried)
end

--- Raises TimeoutError.
function oserror.timed_out(what, seconds)
    error(native.python("builtins", "TimeoutError")(("%s: timed out after %g seconds"):format(what, seconds)), 0)
end

--- moonlet.Closed, for what was closed before or meanwhile.
function oserror.closed(what)
    return moonlet.Closed(("%s is closed"):format(what))
end

--- Raises EOFError.
function oserror.ended(text)
    error(native.python("builtins", "EOFError")(text), 0)
end

--- Raises the ValueError of data that are not as they should be.
function oserror.bad_data(text)
    error(native.python("builtins", "ValueError")(text), 0)
end

-- ------------------------------------------------------------------------------- arguments

--- Checks an object by its metatable.
function oserror.check_self(object, meta, name, expected)
    if type(object) ~= "table" or getmetatable(object) ~= meta then
        hub.bad_argument(1, name, expected, object)
    end
    return object
end

--- Checks a string.
function oserror.check_string(value, name, index)
    if type(value) ~= "string" then
        hub.bad_argument(index, name, "string", value)
    end
    return value
end

--- Checks a string for the system, such as a path or a host.
function oserror.check_path(value, name, index)
    oserror.check_string(value, name, index)
    if value:find("\0", 1, true) then
        hub.misuse("ValueError", ("bad argument #%d to '%s' (it has a zero byte)"):format(index, name))
    end
    return value
end

--- Checks a positive integer.
function oserror.check_count(value, name, index)
    local n = math.type(value) == "float" and math.tointeger(value) or value
    if math.type(n) ~= "integer" then
        hub.bad_argument(index, name, "integer", value)
    elseif n < 1 then
        local text = "bad argument #%d to '%s' (1 or more expected, got %d)"
        hub.misuse("ValueError", text:format(index, name, n))
    end
    return n
end

--- Checks a timeout that can be left out.
function oserror.check_timeout(value, name, index)
    if value ~= nil then
        hub.check_seconds(value, name, index)
    end
    return value
end

--- Checks a table of options, or nothing, whose names are the keys of `known`.
function oserror.check_options(options, known, name, index)
    if options == nil then
        return {}
    end
    if type(options) ~= "table" or getmetatable(options) then
        hub.bad_argument(index, name, "table of options", options)
    end
    for key in pairs(options) do
        if not known[key] then
            local text = "bad argument #%d to '%s' (there is no option '%s')"
            hub.misuse("ValueError", text:format(index, name, tostring(key)))
        end
    end
    return options
end

return oserror
