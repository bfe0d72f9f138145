-- Pools: so many tasks at a time. One that would be too many waits before it is spawned, so that whoever
-- makes the work is held back.

local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local mapping = require "moonlet.mapping"
local task = require "moonlet.task"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local pool = {}

local methods, properties = {}, {}
local Pool = class.define("pool", methods, properties, nil, "Pool")
local count = 0

local function check_count(value, index, least)
    if value ~= math.huge and math.type(value) ~= "integer" then
        hub.bad_argument(index, "pool", "integer", value)
    elseif value < least then
        local text = "bad argument #%d to 'pool' (at least %d expected, got %d)"
        hub.misuse("ValueError", text:format(index, least, value))
    end
end

-- A task has ended: the one who has waited longest may spawn one instead.
local function release(p)
    local entry = waitlist.pop(p.waiters)
    while entry do
        if hub.wake(entry) then
            return
        end
        entry = waitlist.pop(p.waiters)
    end
    p.busy = p.busy - 1
    if p.busy == 0 then
        waiting.wake_all(p.joiners)
    end
end

--- moonlet.pool(size [, ahead]): a pool of at most `size` tasks at a time. `ahead`: how many results imap keeps
--- that nobody has taken yet, `size` by default; then it does not go on.
function pool.pool(size, ahead)
    check_count(size, 1, 1)
    if ahead == nil then
        ahead = size
    else
        check_count(ahead, 2, 0)
    end
    count = count + 1
    local p = { number = count, limit = size, ahead = ahead, busy = 0, tasks = {}, waiters = {}, joiners = {} }
    p.link = {
        on = "any",
        f = function(t)
            p.tasks[t] = nil
            release(p)
        end,
    }
    return setmetatable(p, Pool)
end

-- ----------------------------------------------------------------------------------- spawning

-- Takes a place; false: none was free within `timeout` seconds.
local function acquire(p, timeout)
    if p.busy < p.limit then
        hub.pass()
    end
    if p.busy < p.limit then
        p.busy = p.busy + 1
        return true
    end
    return waiting.wait(p.waiters, "spawn", p, timeout) ~= nil
end
pool.acquire = acquire

-- Spawns a task in the place that was taken.
local function start(p, f, ...)
    local ok, t = native.pcall(task.create, hub.base, f, ...)
    if not ok then
        release(p)
        error(t, 0)
    end
    p.tasks[t] = true
    t.links = { p.link }
    return t
end
pool.start = start

--- pool:spawn(f, ...): waits until there are fewer than `size` tasks, and spawns one that will call f(...).
--- Returns the task.
function methods.spawn(p, f, ...)
    waiting.check(p, Pool, "spawn")
    hub.check_callable(f, "spawn", 1)
    acquire(p)
    return start(p, f, ...)
end

--- pool:try_spawn(f, ...): the same if it need not wait; nil if it would have to.
function methods.try_spawn(p, f, ...)
    waiting.check(p, Pool, "try_spawn")
    hub.check_callable(f, "try_spawn", 1)
    if p.busy >= p.limit then
        return nil
    end
    p.busy = p.busy + 1
    return start(p, f, ...)
end

-- ----------------------------------------------------------------------------------- mapping

--- pool:imap(f, items): calls f(item) for each item in tasks of the pool, and gives what they return in the order
--- of the items: for use with `for`, which cancels what is left if it ends early. `items`: a list, a channel or
--- queue, what Python can iterate, or the values of a `for` loop, as in pool:imap(f, pairs(t)). An error of f is
--- raised in its turn, and cancels what is left.
function methods.imap(p, f, items, state, control)
    waiting.check(p, Pool, "imap")
    local s = mapping.open(p, "imap", f, items, state, control)
    return s, nil, nil, s
end

--- pool:imap_unordered(f, items): the same in the order in which they are done.
function methods.imap_unordered(p, f, items, state, control)
    waiting.check(p, Pool, "imap_unordered")
    local s = mapping.open(p, "imap_unordered", f, items, state, control)
    return s, nil, nil, s
end

--- pool:map(f, items): the same, and waits for all of them: returns the list of what they have returned. Several
--- values of one call are a table of them with `n`, and if some are nil the list has `n`, too. The first error
--- that comes cancels all others, and is raised when they have ended.
function methods.map(p, f, items, state, control)
    waiting.check(p, Pool, "map")
    local results, n = mapping.collect(mapping.open(p, "map", f, items, state, control), function(...)
        if select("#", ...) > 1 then
            return table.pack(...)
        end
        return (...)
    end, native.unbox)
    for i = 1, n do
        if results[i] == nil then
            results.n = n
            break
        end
    end
    return results
end

-- Python's functions come with their argument.
local function python_mapping(p, name, calls)
    waiting.check(p, Pool, name)
    return mapping.open(p, name, nil, calls)
end

function pool.python_imap(p, calls)
    return python_mapping(p, "imap", calls)
end

function pool.python_imap_unordered(p, calls)
    return python_mapping(p, "imap_unordered", calls)
end

--- Returns the results in a table, and their number.
function pool.python_map(p, calls)
    return mapping.collect(python_mapping(p, "map", calls), mapping.as_tuple)
end

-- ------------------------------------------------------------------------------------ the end

--- pool:join([timeout]): waits until all tasks of the pool have ended. Raises TimeoutError.
function methods.join(p, timeout)
    waiting.check(p, Pool, "join")
    timeout = waiting.timeout(timeout, "join", 1)
    if p.busy == 0 then
        hub.pass()
    elseif not waiting.wait(p.joiners, "join", p, timeout) then
        waiting.time_out("the tasks of the pool have not ended within %g seconds", timeout)
    end
end

--- pool:cancel([reason]): cancels all tasks that are in it.
function methods.cancel(p, reason)
    waiting.check(p, Pool, "cancel")
    mapping.cancel_all(p.tasks, reason)
end

--- Leaves a block that has used the pool: waits for its tasks; `failed`: cancels them before.
function pool.leave(p, failed)
    local ok, err = true, nil
    if not failed then
        ok, err = native.pcall(methods.join, p)
        if ok then
            return
        end
    end
    methods.cancel(p, "the block of the pool has failed")
    if p.busy > 0 then
        local entry = { task = hub.self(), what = "join", on = p, undo = waitlist.remove, shielded = true }
        waitlist.push(p.joiners, entry)
        hub.wait(entry)
    end
    if not ok then
        error(err, 0)
    end
end

function Pool.__close(p, err)
    pool.leave(p, err ~= nil)
end

--- How many tasks it has at most.
function properties.size(p)
    return p.limit
end

--- How many tasks it has.
function properties.running(p)
    return p.busy
end

--- How many can be spawned without waiting.
function properties.free(p)
    return p.limit - p.busy
end

function Pool.__tostring(p)
    return ("pool %d: %d of %s tasks"):format(p.number, p.busy, p.limit)
end

pool.methods = methods

return pool
