-- Signals of the operating system: moonlet.signal.

local closable = require "moonlet.closable"
local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"
local signals = require "moonlet.signals"

local signal = {}

local methods, properties = {}, {}

local function release(core)
    core.closed = true
    for _, number in ipairs(core.numbers) do
        signals.unlisten(number, core)
    end
end

local Listener, check = closable.define("signal listener", methods, properties, function(core)
    request.dispose(function()
        release(core)
    end)
end)

--- signal.listen(...): from now on keeps the signals of these names ("SIGTERM"), which no longer do what they do
--- otherwise, until the listener is closed.
function signal.listen(...)
    local count = select("#", ...)
    if count == 0 then
        hub.bad_argument(1, "listen", "name or number of a signal", nil)
    end
    local numbers = {}
    for i = 1, count do
        numbers[i] = signals.number(select(i, ...), "listen", i)
    end
    local core = { inbox = request.inbox(math.huge), numbers = {}, closed = false }
    local self = setmetatable({ core = core }, Listener)
    local inbox = core.inbox
    local seen = {}
    for _, number in ipairs(numbers) do
        if not seen[number] then
            seen[number] = true
            signals.listen(number, core, function(n)
                inbox:put(n)
            end)
            table.insert(core.numbers, number)
        end
    end
    return self
end

--- listener:wait([timeout]): waits for the next signal and returns its name; nil: none within `timeout` seconds.
function methods.wait(self, timeout)
    local core = check(self, "wait")
    oserror.check_timeout(timeout, "wait", 1)
    local number = core.inbox:take("signal", self, timeout)
    return number and signals.name(number) or nil
end

--- listener:close(): the signals do what they did before. Who waits for one gets Closed.
function methods.close(self)
    local core = check(self, "close")
    if not core.closed then
        release(core)
        core.inbox:close(oserror.closed(tostring(self)))
    end
end

closable.iterate(Listener, methods.wait) -- for name in listener do

function Listener.__tostring(self)
    local names = {}
    for i, number in ipairs(self.core.numbers) do
        names[i] = signals.name(number)
    end
    return "signal listener for " .. table.concat(names, ", ")
end

--- signal.wait(name [, timeout]): waits for a signal, or one of a list, and returns its name; nil: none within
--- `timeout` seconds. While it waits, the signal does not do what it does otherwise.
function signal.wait(name, timeout)
    local list = type(name) == "table" and name or { name }
    oserror.check_timeout(timeout, "wait", 2)
    if #list == 0 then
        hub.bad_argument(1, "wait", "name or number of a signal", nil)
    end
    for _, one in ipairs(list) do
        signals.number(one, "wait", 1)
    end
    local listener <close> = signal.listen(table.unpack(list))
    return listener:wait(timeout)
end

return signal
