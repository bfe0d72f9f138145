-- Queues: first in first out, last in first out, and by priority; with the count of what is still to be
-- done of Python's queue.Queue, and its shutdown.
--
-- An item goes straight to who waits for one, else to the store, else its sender waits with it. An entry of
-- a waiting task has the `item` as `value`, is `closed` if the queue was meanwhile, or has a `failure`.

local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local skiplist = require "moonlet.skiplist"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local queue = {}

local methods = {}
local prioritized = setmetatable({}, { __index = methods })
local Queue = class.define("queue", methods, nil, nil, "Queue")
local LifoQueue = class.define("lifo queue", methods, nil, nil, "LifoQueue")
local PriorityQueue = class.define("priority queue", prioritized, nil, nil, "PriorityQueue")

local wake, pass, pop_entry = hub.wake, hub.pass, waitlist.pop
local count_made = 0

-- ------------------------------------------------------------------------------------- stores

local function fifo_push(q, item)
    local tail = q.tail + 1
    q.items[tail], q.tail = item, tail
end

local function fifo_pop(q)
    local items, head = q.items, q.head
    local item = items[head]
    items[head] = nil
    q.head = head + 1
    return item
end

local function lifo_push(q, item)
    q.items[q.count + 1] = item
end

local function lifo_pop(q)
    local items, count = q.items, q.count
    local item = items[count]
    items[count] = nil
    return item
end

local function priority_push(q, item, priority)
    skiplist.insert(q.items, priority, item)
end

local function priority_pop(q)
    return skiplist.take(q.items)
end

-- ------------------------------------------------------------------------------------- making

local function make(meta, name, maxsize, items, push, pop)
    if maxsize == nil or maxsize == math.huge then
        maxsize = 0
    elseif math.type(maxsize) ~= "integer" then
        hub.bad_argument(1, name, "integer", maxsize)
    end
    count_made = count_made + 1
    return setmetatable({
        number = count_made,
        maxsize = maxsize,
        limit = maxsize > 0 and maxsize or math.huge,
        closed = false,
        count = 0,
        unfinished = 0,
        items = items,
        head = 1, -- of a first in first out queue: items[head] to items[tail]
        tail = 0,
        push = push,
        pop = pop,
        getters = {},
        putters = {},
        joiners = {},
        served = 0, -- for select
        served_put = 0,
    }, meta)
end

--- moonlet.queue([maxsize]): a queue that gives the items in the order in which they came. `maxsize`: how many
--- it holds; 0, the default: as many as there are.
function queue.queue(maxsize)
    return make(Queue, "queue", maxsize, {}, fifo_push, fifo_pop)
end

--- moonlet.lifo_queue([maxsize]): one that gives the newest item first.
function queue.lifo_queue(maxsize)
    return make(LifoQueue, "lifo_queue", maxsize, {}, lifo_push, lifo_pop)
end

--- moonlet.priority_queue([maxsize]): one that gives the item with the smallest priority first, of equal ones
--- the oldest.
function queue.priority_queue(maxsize)
    return make(PriorityQueue, "priority_queue", maxsize, skiplist.new(), priority_push, priority_pop)
end

local function check(q, name)
    local meta = getmetatable(q)
    if meta ~= Queue and meta ~= PriorityQueue and meta ~= LifoQueue then
        hub.bad_argument(1, name, "queue", q)
    end
end

-- ------------------------------------------------------------------------------------ putting

-- There are items: those who wait for one get it.
local function serve(q)
    local entry = waiting.first(q.getters)
    while entry and q.count > 0 do
        waitlist.remove(entry)
        entry.value = q:pop()
        q.count = q.count - 1
        wake(entry)
        entry = waiting.first(q.getters)
    end
end

-- Puts an item where it belongs, if there is a place. It may raise an error of comparing priorities, and
-- then nothing has changed.
local function give(q, item, priority)
    local entry = q.getters.first and pop_entry(q.getters)
    while entry do
        entry.value = item
        if wake(entry) then
            q.unfinished = q.unfinished + 1
            return true
        end
        entry = pop_entry(q.getters)
    end
    if q.count < q.limit then
        q:push(item, priority)
        q.count = q.count + 1
        q.unfinished = q.unfinished + 1
        if q.getters.first then -- they have come while priorities were compared
            serve(q)
        end
        return true
    end
    return false
end

-- There is room: those who wait to put something do.
local function fill(q)
    while q.count < q.limit do
        local entry = waiting.first(q.putters)
        if not entry then
            return
        end
        waitlist.remove(entry)
        local ok, err = true, nil
        if q.push == priority_push then
            ok, err = native.pcall(priority_push, q, entry.value, entry.priority)
        else
            q:push(entry.value)
        end
        if ok then
            q.count = q.count + 1
            q.unfinished = q.unfinished + 1
        else
            entry.failure = { err }
        end
        wake(entry)
    end
end

-- What the wait of `entry` has ended with.
local function end_put(q, entry, index)
    if entry.failure then
        error(entry.failure[1], 0)
    elseif entry.closed then
        waiting.closed(q, index)
    end
end

local function put(q, item, priority, timeout)
    if q.getters.first or q.count < q.limit then
        pass()
    end
    waiting.prepare()
    if q.closed then
        waiting.closed(q)
    elseif give(q, item, priority) then
        return
    end
    local entry = waiting.wait(q.putters, "put", q, timeout, item, priority)
    if not entry then
        waiting.time_out("nothing could be put within %g seconds", timeout)
    end
    end_put(q, entry)
end

--- q:put(item [, timeout]): waits until there is room, and puts the item into the queue. Raises Closed after a
--- shutdown, and TimeoutError.
function methods.put(q, item, timeout)
    if not (q and q.getters) then
        check(q, "put")
    elseif timeout then
        timeout = waiting.timeout(timeout, "put", 2)
    end
    put(q, item, nil, timeout)
end

--- q:try_put(item): the same if there is room; false if there is none.
function methods.try_put(q, item)
    check(q, "try_put")
    if q.closed then
        waiting.closed(q)
    end
    return give(q, item)
end

-- Without a priority the item is its own.
local function priority_of(name, item, priority)
    if priority == nil then
        priority = item
    end
    if priority == nil then
        hub.bad_argument(2, name, "priority", priority)
    end
    return (native.unbox(priority))
end

--- q:put(item [, priority [, timeout]]), of a priority queue: without a priority the item is its own. Whatever
--- `<` compares can be one: numbers, strings, objects of Python.
function prioritized.put(q, item, priority, timeout)
    check(q, "put")
    put(q, item, priority_of("put", item, priority), waiting.timeout(timeout, "put", 3))
end

--- q:try_put(item [, priority])
function prioritized.try_put(q, item, priority)
    check(q, "try_put")
    if q.closed then
        waiting.closed(q)
    end
    return give(q, item, priority_of("try_put", item, priority))
end

-- ------------------------------------------------------------------------------------ getting

-- true and an item, or false.
local function take(q)
    if q.count == 0 then
        return false
    end
    local item = q:pop()
    local count = q.count - 1
    q.count = count
    if q.putters.first then
        fill(q)
    elseif count == 0 then
        q.head, q.tail = 1, 0
    end
    return true, item
end

local function get(q, timeout)
    local getters = q and q.getters
    if not getters then
        check(q, "get")
    elseif timeout then
        timeout = waiting.timeout(timeout, "get", 1)
    end
    if q.count > 0 then
        pass()
    end
    waiting.prepare()
    local ok, item = take(q)
    if ok then
        return item
    end
    if q.closed then
        waiting.closed(q)
    end
    local entry = waiting.wait(getters, "get", q, timeout)
    if not entry then
        waiting.time_out("nothing was put within %g seconds", timeout)
    elseif entry.closed then
        waiting.closed(q)
    end
    item = entry.value
    if not timeout then
        waiting.reuse(entry)
    end
    return item
end

--- q:get([timeout]): waits for an item, and takes it. Raises Closed after a shutdown, when none is left, and
--- TimeoutError.
methods.get = waiting.facing(get)

local function try_get(q)
    check(q, "try_get")
    local ok, item = take(q)
    if ok then
        return true, item
    elseif q.closed then
        waiting.closed(q)
    end
    return false
end

--- q:try_get(): true and an item, or false: there is none.
methods.try_get = waiting.facing_try(try_get)

-- For `for item in q do`: the next item; nil after the shutdown, when none is left.
local next_item = waiting.next_by(get)

-- -------------------------------------------------------------------------- done, and the end

local function finished(q, count)
    q.unfinished = q.unfinished - count
    if q.unfinished == 0 then
        waiting.wake_all(q.joiners)
    end
end

--- q:task_done(): what was to be done with an item that was taken is done.
function methods.task_done(q)
    check(q, "task_done")
    if q.unfinished == 0 then
        hub.misuse("ValueError", "task_done() was called more often than items were put")
    end
    finished(q, 1)
end

--- q:join([timeout]): waits until task_done() was called for each item that was put. Raises TimeoutError.
function methods.join(q, timeout)
    check(q, "join")
    timeout = waiting.timeout(timeout, "join", 1)
    waiting.prepare()
    if q.unfinished == 0 then
        hub.pass()
    elseif not waiting.wait(q.joiners, "join", q, timeout) then
        waiting.time_out("the queue was not done within %g seconds", timeout)
    end
end

--- q:shutdown([immediate]): no more items: who puts one gets Closed, also who waits to; who gets one, too, when
--- all were taken. `immediate`: at once, and what is left is dropped, as if done. False: it was shut before.
function methods.shutdown(q, immediate)
    check(q, "shutdown")
    local before = q.closed
    q.closed = true
    waiting.wake_all(q.putters, "closed", true)
    if immediate and q.count > 0 then
        local count = q.count
        while q.count > 0 do
            q:pop()
            q.count = q.count - 1
        end
        finished(q, math.min(count, q.unfinished))
    end
    if q.count == 0 then
        waiting.wake_all(q.getters, "closed", true)
    end
    return not before
end

--- q:qsize(): how many items are in it.
function methods.qsize(q)
    check(q, "qsize")
    return q.count
end

function methods.empty(q)
    check(q, "empty")
    return q.count == 0
end

--- q:full(): whether who puts an item has to wait.
function methods.full(q)
    check(q, "full")
    return q.count >= q.limit
end

for _, meta in ipairs { Queue, LifoQueue, PriorityQueue } do
    -- What else a queue has: fields, which are there from the start. `unfinished`: for how many items that
    -- were put task_done() was not called yet.
    class.all[meta.__name].properties = { maxsize = true, closed = true, unfinished = true }

    meta.__call = next_item

    function meta.__len(q)
        return q.count
    end

    function meta.__tostring(q)
        local room = q.maxsize > 0 and " of " .. q.maxsize or ""
        return ("%s %d: %d%s items%s"):format(meta.__name, q.number, q.count, room, q.closed and ", closed" or "")
    end
end

-- -------------------------------------------------------------------------------------- select

local getting = waiting.taking("get", "served", "getters", take)

function getting.ready(q)
    return q.count > 0 or q.closed
end

local putting = waiting.giving("put", "served_put", "putters", give)
putting.finish = end_put

function putting.ready(q)
    return q.closed or q.count < q.limit
end

for _, meta in ipairs { Queue, LifoQueue, PriorityQueue } do
    waiting.kinds[meta] = getting
end

--- q:on_get(): for select: takes an item. The queue itself does so, too.
function methods.on_get(q)
    check(q, "on_get")
    return waiting.case(getting, q)
end

--- q:on_put(item): for select: puts an item.
function methods.on_put(q, item)
    check(q, "on_put")
    return waiting.case(putting, q, item)
end

--- q:on_put(item [, priority])
function prioritized.on_put(q, item, priority)
    check(q, "on_put")
    return waiting.case(putting, q, item, priority_of("on_put", item, priority))
end

queue.methods, queue.prioritized = methods, prioritized

return queue
