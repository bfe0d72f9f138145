-- What a pool's map, imap and imap_unordered have in common: a feeder, which is a task of its own, takes items
-- and spawns a task of the pool for each, as long as there are not too many whose results nobody has taken;
-- and a consumer takes the results.

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local task = require "moonlet.task"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local mapping = {}

local methods = {}
local Stream = class.define("pool results", methods)

-- The object has its `state` in a table of its own, which the feeder refers to: so it is collected when
-- nobody can take results any more.
local State = {}

function State.__tostring(s)
    return "results of " .. tostring(s.pool)
end
local python, unbox, pcall = moonlet.python, native.unbox, native.pcall

-- -------------------------------------------------------------------------------------- items

-- What the functions below return: true and the next item, or false at the end.
local function next_of_list(source)
    local i = source.at + 1
    if i > source.n then
        return false
    end
    source.at = i
    return true, source.items[i]
end

local function keep_control(source, ...)
    local control = ...
    source.control = control
    if control == nil then
        return false
    end
    return true, ...
end

local function next_of_loop(source)
    return keep_control(source, source.items(source.state, source.control))
end

local function make_source(name, items, state, control)
    local kind = type(items)
    local meta = debug.getmetatable(items)
    if kind == "table" and not (meta and meta.__call) then
        return { next = next_of_list, items = items, at = 0, n = math.tointeger(items.n) or #items }
    elseif kind == "userdata" then
        local ok
        ok, items, state, control = pcall(python.iter, items)
        if not ok then
            hub.misuse("TypeError", ("bad argument #2 to '%s' (%s)"):format(name, tostring(items)))
        end
    elseif kind ~= "table" and kind ~= "function" then
        hub.bad_argument(2, name, "list, iterator or iterable", items)
    end
    return { next = next_of_loop, items = items, state = state, control = control }
end

-- ------------------------------------------------------------------------------------- feeding

-- A task has ended.
local function task_ended(s, t)
    s.running = s.running - 1
    if s.unordered then
        local last = s.last + 1
        s.last, s.tasks[last] = last, t
        waiting.wake_all(s.consumers)
    elseif s.tasks[s.first] == t or s.closed then
        waiting.wake_all(s.consumers)
    end
end

local function spawn(s, has_item, ...)
    if not has_item then
        return false
    end
    local p = s.pool
    s.acquire(p)
    local t
    if s.f == nil then
        t = s.start(p, ...)
    else
        t = s.start(p, s.f, ...)
    end
    table.insert(t.links, s.link)
    s.alive[t] = true
    s.running = s.running + 1
    s.untaken = s.untaken + 1
    s.spawned = s.spawned + 1
    if s.map then
        s.index[t] = s.spawned
    elseif not s.unordered then
        s.last = s.spawned
        s.tasks[s.spawned] = t
    end
    return true
end

local function feed(s)
    local source = s.source
    repeat
        while s.untaken >= s.limit do
            waiting.wait(s.room, "room", s)
        end
    until not spawn(s, source:next())
end

local close

-- Nobody can take results any more.
function Stream.__gc(object)
    close(object.state)
end

--- Opens one for f(item), or, without f, for items that are called themselves; for the method `name`.
function mapping.open(p, name, f, items, state, control)
    local pool = require "moonlet.pool"
    if f ~= nil or debug.getmetatable(items) == nil or type(items) ~= "userdata" then
        hub.check_callable(f, name, 1)
    end
    local s = setmetatable({
        pool = p,
        acquire = pool.acquire,
        start = pool.start,
        f = f,
        source = make_source(name, items, state, control),
        map = name == "map",
        unordered = name ~= "imap",
        limit = name == "map" and math.huge or p.limit + p.ahead,
        spawned = 0,
        running = 0, -- of these: have not ended
        untaken = 0, -- of these: whose results nobody has taken
        alive = {}, -- those: a set
        tasks = {}, -- those, in the order in which their results are taken: tasks[first] to tasks[last]
        first = 1,
        last = 0,
        index = {}, -- for map: the numbers of the tasks
        room = {},
        consumers = {},
        fed = false,
        failure = false,
        closed = false,
    }, State)
    s.link = {
        on = "any",
        f = function(t)
            task_ended(s, t)
        end,
    }
    local feeder = task.create(hub.base, feed, s)
    task.see(feeder)
    feeder.name = ("feeder of pool %d"):format(p.number)
    feeder.daemon = true -- it waits for ever if nobody takes the results
    feeder.links = {
        {
            on = "any",
            f = function(t)
                s.fed = true
                if t.finished ~= "done" then
                    s.failure = t
                end
                waiting.wake_all(s.consumers)
            end,
        },
    }
    s.feeder = feeder
    return setmetatable({ state = s }, Stream)
end

-- ------------------------------------------------------------------------------------- taking

-- The next task whose result is to be taken, nil at the end.
local function take(s)
    while true do
        local t = s.tasks[s.first]
        if s.closed then
            return nil
        elseif t and t.finished then
            s.tasks[s.first] = nil
            s.first = s.first + 1
            s.alive[t] = nil
            s.untaken = s.untaken - 1
            local entry = waitlist.pop(s.room)
            if entry then
                hub.wake(entry)
            end
            return t
        elseif s.fed and s.untaken == 0 then
            if s.failure then
                return s.failure
            end
            return nil
        end
        waiting.wait(s.consumers, "results", s)
    end
end

--- Cancels the tasks that are the keys of a table, in the order in which they were spawned.
function mapping.cancel_all(tasks, reason)
    local list = {}
    for t in pairs(tasks) do
        list[#list + 1] = t
    end
    table.sort(list, function(a, b)
        return a.number < b.number
    end)
    for _, t in ipairs(list) do
        t:cancel(reason)
    end
end

-- Cancels what is left.
function close(s)
    if s.closed then
        return
    end
    s.closed = true
    s.feeder:cancel("nobody takes the results")
    mapping.cancel_all(s.alive, "nobody takes the results")
    waiting.wake_all(s.consumers)
end

local function finish(s, ok, ...)
    if not ok then
        close(s)
        error((...), 0)
    end
    return ...
end

-- The results of the next task, or the object itself at the end.
local function results(object)
    local s = object.state
    hub.pass()
    local t = take(s)
    if not t then
        close(s)
        return object
    end
    return finish(s, pcall(task.outcome, t))
end

--- For Python: the next result, or, at the end, the object itself.
mapping.next = results

local function as_item(...)
    if (...) == nil then
        return python.none, select(2, ...)
    end
    return ...
end

local function of_loop(object, ...)
    if (...) == object then
        return nil
    end
    return as_item(unbox(...))
end

function Stream.__call(object)
    return of_loop(object, results(object))
end

--- results:close(): cancels what is left.
function methods.close(object)
    waiting.check(object, Stream, "close")
    close(object.state)
end

Stream.__close = methods.close

function Stream.__tostring(object)
    return tostring(object.state)
end

-- ----------------------------------------------------------------------------------------- map

--- Several values as one for Python.
function mapping.as_tuple(...)
    if select("#", ...) > 1 then
        return python.tuple(table.pack(...))
    end
    return (...)
end

local function gather(s, convert, change)
    local list = {}
    while true do
        local t = take(s)
        if not t then
            return list
        end
        if change then
            list[s.index[t] or 0] = convert(change(task.outcome(t)))
        else
            list[s.index[t] or 0] = convert(task.outcome(t))
        end
    end
end

--- All results, by the numbers of their items, and how many there are. `convert` makes one value of several,
--- `change` is called before that. Returns, or raises an error, when all tasks have ended.
function mapping.collect(object, convert, change)
    local s = object.state
    local ok, list = pcall(gather, s, convert, change)
    if ok then
        return list, s.spawned
    end
    close(s)
    while s.running > 0 or not s.fed do
        local entry = { task = hub.self(), what = "map", on = s, undo = waitlist.remove, shielded = true }
        waitlist.push(s.consumers, entry)
        hub.wait(entry)
    end
    error(list, 0)
end

mapping.methods = methods

return mapping
