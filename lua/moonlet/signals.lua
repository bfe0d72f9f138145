-- Handlers of signals, in luv: one for each signal that somebody wants to know of.

local hub = require "moonlet.hub"
local moonlet = require "moonlet"
local native = require "moonlet.native"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"

local signals = {}

local uv = request.uv
local handlers = {} -- by number: { handle, saved, listeners (a set), count }

--- The number of a signal: of its name, "SIGTERM", or a number.
function signals.number(value, name, index)
    local number = value
    if type(value) == "userdata" and moonlet.python.isinstance(value, moonlet.python.builtins.int) then
        number = moonlet.python.builtins.int(value) -- one of Python's enum
        value = number
    end
    if type(value) == "string" then
        local upper = value:upper()
        number = uv.constants[upper:find "^SIG" and upper or "SIG" .. upper]
        if not number then
            hub.misuse("ValueError", ("bad argument #%d to '%s' (there is no signal '%s')"):format(index, name, value))
        end
    elseif math.type(value) ~= "integer" then
        hub.bad_argument(index, name, "name or number of a signal", value)
    elseif value < 1 or value > 64 then
        hub.misuse("ValueError", ("bad argument #%d to '%s' (there is no signal %d)"):format(index, name, value))
    end
    return number
end

local names = {}
for name, number in pairs(uv.constants) do
    if name:find "^SIG%u" and not (names[number] and names[number] < name) then
        names[number] = name
    end
end

--- The name of a signal by its number.
function signals.name(number)
    return names[number] or "signal " .. number
end

--- From now on f(number), in the hub, is called for each signal `number` that comes, instead of what was done
--- before; until unlisten(number, key). `key` is any value.
function signals.listen(number, key, f)
    local handler = handlers[number]
    if not handler then
        local saved = native.save_signal(number)
        local handle = request.handle(uv.new_signal())
        handler = { handle = handle, saved = saved, listeners = {}, count = 0 }
        local ok, text = uv.signal_start(handle, number, function()
            for _, listener in pairs(handler.listeners) do
                listener(number)
            end
        end)
        if not ok then
            request.close(handle)
            oserror.raise(text, "listen to " .. signals.name(number))
        end
        handlers[number] = handler
    end
    handler.listeners[key] = f
    handler.count = handler.count + 1
end

--- Undoes it; after the last one the signal does what it did before.
function signals.unlisten(number, key)
    local handler = handlers[number]
    handler.listeners[key] = nil
    handler.count = handler.count - 1
    if handler.count == 0 and not request.gone then
        handlers[number] = nil
        uv.signal_stop(handler.handle)
        request.close(handler.handle)
        native.restore_signal(number, handler.saved)
    end
end

local ignored = false

--- If SIGPIPE ends the program, it no longer does: writing gives an error instead. New programs start with the
--- default, as the signal is handled, not ignored.
function signals.ignore_broken_pipes()
    local number = uv.constants.SIGPIPE
    if not ignored and number then
        ignored = true
        local _, default = native.save_signal(number)
        if default then
            signals.listen(number, signals, function() end)
        end
    end
end

return signals
