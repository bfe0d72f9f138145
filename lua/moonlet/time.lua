-- Time: what happens at a time, or again and again; and a clock for tests.

local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local task = require "moonlet.task"

local time = {}

--- moonlet.at(time, f, ...): a task that calls f(...) at a time of moonlet.now().
function time.at(when, f, ...)
    hub.check_time(when, "at", 1)
    hub.check_callable(f, "at", 2)
    return task.spawn_later(math.max(0, when - hub.now()), f, ...)
end

--- moonlet.every(seconds, f, ...): a task that calls f(...) again and again, the first time after
--- `seconds`. The times do not drift; those that pass while f runs are left out. It ends when f returns
--- false, raises an error, or the task is cancelled.
function time.every(seconds, f, ...)
    hub.check_seconds(seconds, "every", 1)
    if seconds == 0 then
        hub.misuse("ValueError", "bad argument #1 to 'every' (more than 0 seconds expected)")
    end
    hub.check_callable(f, "every", 2)
    local arguments = table.pack(...)
    local start = hub.now()
    local t = task.spawn(function()
        local n = 0
        repeat
            n = math.max(n + 1, math.ceil((hub.now() - start) / seconds - 1e-9))
            local left = start + n * seconds - hub.now()
            hub.sleep(left > 0 and left or 0)
        until f(table.unpack(arguments, 1, arguments.n)) == false
    end)
    t.body = f
    return t
end

-- ------------------------------------------------------------------------------ virtual clock

local methods = {}
local Clock = class.define("virtual clock", methods, nil, nil, "VirtualClock")

--- clock:advance(seconds): it is so much later; what is due in between runs at its time.
function methods.advance(_, seconds)
    hub.check_seconds(seconds, "advance", 1)
    hub.sleep(seconds)
end

--- clock:now()
function methods:now()
    return self.time
end

--- clock:close(): back to the real clock. Timers that were set keep the time they have left.
function methods:close()
    if not self.closed then
        self.closed = true
        hub.set_virtual(nil, native.clock() - self.time)
    end
end

function Clock:__close()
    self:close()
end

function Clock:__tostring()
    return ("virtual clock: %g s"):format(self.time)
end

--- moonlet.virtual_clock(): from now on, until clock:close(), time does not pass by itself: when every
--- task waits, it is at once the time of the next timer. For tests; a to-be-closed variable closes it.
function time.virtual_clock()
    hub.start()
    local clock = setmetatable({ time = hub.now() }, Clock)
    hub.set_virtual(clock)
    return clock
end

time.methods = methods

return time
