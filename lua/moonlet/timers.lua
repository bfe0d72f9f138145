-- A queue of timers, ordered by time and, for equal times, by the order in which they were added. A timer
-- is a table of its owner's, with the fields `when` (seconds), `fire`, a function that is called with it,
-- and, while it is in the queue, `armed`: its slot there. The order itself is kept by timers.c.

local native = require "moonlet.native"

local heap_add, heap_take, heap_remove = native.heap_add, native.heap_take, native.heap_remove

local timers = {}
timers.__index = timers

--- An empty queue.
function timers.new()
    return setmetatable({ heap = native.heap_new(), items = {} }, timers)
end

--- Adds a timer, which is in no queue.
function timers:add(item)
    local slot = heap_add(self.heap, item.when)
    self.items[slot] = item
    item.armed = slot
end

--- Removes a timer, if it is there.
function timers:remove(item)
    local slot = item.armed
    if slot then
        item.armed = nil
        self.items[slot] = false
        heap_remove(self.heap, slot)
    end
end

--- When the first timer is due; nil: there is none.
function timers:first()
    return native.heap_first(self.heap)
end

--- Takes the first timer that is due at `now`, or returns nil.
function timers:take(now)
    local heap, items = self.heap, self.items
    while true do
        local slot = heap_take(heap, now)
        if not slot then
            return nil
        end
        local item = items[slot]
        items[slot] = false
        if item then -- else there was no memory to add it
            item.armed = nil
            return item
        end
    end
end

--- How many timers there are.
function timers:count()
    return native.heap_count(self.heap)
end

--- Moves all timers by so many seconds.
function timers:shift(seconds)
    native.heap_shift(self.heap, seconds)
end

return timers
