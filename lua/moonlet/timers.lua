-- A queue of timers: a binary heap, ordered by time and, for equal times, by the order in which they
-- were added. A timer is a table of its owner's, with the fields `when` (seconds) and `fire`, a
-- function that is called with it. What is removed stays in the heap, not to be fired, until its
-- time has come or half of the heap is such.

local timers = {}
timers.__index = timers

--- An empty queue.
function timers.new()
    return setmetatable({ count = 0, removed = 0, order = 0, whens = {}, orders = {}, items = {} }, timers)
end

local function sift_down(self, i, when, order, item)
    local whens, orders, items, count = self.whens, self.orders, self.items, self.count
    while true do
        local child = 2 * i
        if child > count then
            break
        end
        local earliest = whens[child]
        if child < count then
            local other = whens[child + 1]
            if other < earliest or (other == earliest and orders[child + 1] < orders[child]) then
                child, earliest = child + 1, other
            end
        end
        if when < earliest or (when == earliest and order < orders[child]) then
            break
        end
        whens[i], orders[i], items[i] = earliest, orders[child], items[child]
        i = child
    end
    whens[i], orders[i], items[i] = when, order, item
end

--- Adds a timer, which is in no queue.
function timers:add(item)
    local whens, orders, items = self.whens, self.orders, self.items
    local when, order = item.when, self.order + 1
    local i = self.count + 1
    self.order, self.count = order, i
    item.armed = true
    while i > 1 do
        local parent = i // 2
        local other = whens[parent]
        if other <= when then
            break
        end
        whens[i], orders[i], items[i] = other, orders[parent], items[parent]
        i = parent
    end
    whens[i], orders[i], items[i] = when, order, item
end

local function drop_first(self)
    local whens, orders, items, count = self.whens, self.orders, self.items, self.count
    local when, order, item = whens[count], orders[count], items[count]
    whens[count], orders[count], items[count] = nil, nil, nil
    self.count = count - 1
    if count > 1 then
        sift_down(self, 1, when, order, item)
    end
end

-- Makes a heap of those that were not removed.
local function compact(self)
    local whens, orders, items = self.whens, self.orders, self.items
    local kept = 0
    for i = 1, self.count do
        local item, when, order = items[i], whens[i], orders[i]
        items[i], whens[i], orders[i] = nil, nil, nil
        if item.armed then
            kept = kept + 1
            items[kept], whens[kept], orders[kept] = item, when, order
        end
    end
    self.count, self.removed = kept, 0
    for i = kept // 2, 1, -1 do
        sift_down(self, i, whens[i], orders[i], items[i])
    end
end

--- Removes a timer, if it is there.
function timers:remove(item)
    if not item.armed then
        return
    end
    item.armed = nil
    self.removed = self.removed + 1
    if self.removed > 64 and self.removed * 2 > self.count then
        compact(self)
    end
end

--- When the first timer is due; nil: there is none.
function timers:first()
    while self.count > 0 do
        if self.items[1].armed then
            return self.whens[1]
        end
        self.removed = self.removed - 1
        drop_first(self)
    end
    return nil
end

--- Takes the first timer that is due at `now`, or returns nil.
function timers:take(now)
    local when = self:first()
    if not when or when > now then
        return nil
    end
    local item = self.items[1]
    item.armed = nil
    drop_first(self)
    return item
end

--- Moves all timers by so many seconds.
function timers:shift(seconds)
    for i = 1, self.count do
        self.whens[i] = self.whens[i] + seconds
        self.items[i].when = self.whens[i]
    end
end

return timers
