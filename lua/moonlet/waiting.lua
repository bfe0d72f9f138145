-- What the things have in common that tasks wait for: channels, queues, locks, futures.

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local waitlist = require "moonlet.waitlist"

local unbox, huge = native.unbox, math.huge
local wait, remove = hub.wait, waitlist.remove
local spare -- an entry of a wait that is over, for the next one

local waiting = {}

--- The timeout of a call of `name`, whose argument `index` it is: nil for ever.
function waiting.timeout(timeout, name, index)
    if timeout ~= nil then
        hub.check_seconds(timeout, name, index)
        return timeout < huge and timeout or nil
    end
end

--- To be called before the caller looks whether it has to wait: what waiting.wait needs is made here, so that
--- no garbage is collected between the look and the wait, whose finalizers could do what is waited for.
function waiting.prepare()
    if not spare or hub.trace then
        local entry = { task = false, what = false, on = false, undo = remove, value = nil, list = nil, before = nil }
        spare = entry
    end
end
local prepare = waiting.prepare

--- Waits at the end of `list`, for `on`, to `what`. Returns the entry when somebody has woken it, or nil after
--- `timeout` seconds. `value` and `priority` are for whoever wakes it.
function waiting.wait(list, what, on, timeout, value, priority)
    local me = hub.self()
    if timeout == 0 then
        hub.pass() -- who asks again and again lets others run, too
        return nil
    end
    prepare()
    local entry, last = spare, list.last
    spare = nil
    entry.task, entry.what, entry.on, entry.value = me, what, on, value
    entry.list, entry.before, entry.outcome = list, last, nil
    if priority ~= nil then
        entry.priority = priority
    end
    if last then
        last.after = entry
    else
        list.first = entry
    end
    list.last = entry
    return wait(entry, timeout) and entry or nil
end

--- Keeps an entry for the next wait. It is one that has only a `value`, and had no timeout.
function waiting.reuse(entry)
    entry.value = nil
    spare = entry
end

--- Wakes all that wait in `list`, with this field set in their entries, if there is one.
function waiting.wake_all(list, field, value)
    local entry = waitlist.pop(list)
    while entry do
        if field then
            entry[field] = value
        end
        hub.wake(entry)
        entry = waitlist.pop(list)
    end
end

--- Raises TimeoutError.
function waiting.time_out(text, timeout)
    error(moonlet.python.builtins.TimeoutError(text:format(timeout)), 0)
end

--- Raises Closed. `index`: of the case of a select that has found it so.
function waiting.closed(object, index)
    error(native.closed(("the %s is closed"):format(getmetatable(object).__name), index), 0)
end

--- The first entry of a list that still waits: others are those of a select that has ended.
function waiting.first(list)
    local entry = list.first
    while entry and entry.whole and entry.whole.task.entry ~= entry.whole do
        waitlist.remove(entry)
        entry = list.first
    end
    return entry
end

--- The value as Lua gets it in a `for` loop, which nil would end.
function waiting.item(value)
    if value == nil then
        return moonlet.python.none
    elseif type(value) == "userdata" then
        return unbox(value)
    end
    return value
end

--- For `for value in object do`, the __call of objects that are `closed` and have a `count` of values: the next
--- value, by receive(object); nil when it is closed and there is none left.
function waiting.next_by(receive)
    return function(object)
        if object.closed and object.count == 0 then
            return nil
        end
        local ok, value = native.pcall(receive, object)
        if ok then
            return waiting.item(value)
        elseif object.closed and object.count == 0 and moonlet.python.isinstance(value, moonlet.Closed) then
            return nil
        end
        error(value, 0)
    end
end

--- For Lua: `f`, a method that gives one value. See hub.facing.
function waiting.facing(f)
    return hub.facing(f, function(object, timeout)
        local value = f(object, timeout)
        if type(value) == "userdata" then
            return unbox(value)
        end
        return value
    end)
end

--- For Lua: `f`, a method that gives nothing, or true and one value.
function waiting.facing_try(f)
    return hub.facing(f, function(object)
        local ok, value = f(object)
        if not ok then
            return false
        end
        return true, unbox(value)
    end)
end

-- ------------------------------------------------------------------------------------- select

--- What select does with objects, by their metatables. A kind has functions `ready(object)`: whether take()
--- would not wait; `take(object, case, index)`, which does it, `list(object)`: where entries wait, and
--- `finish(object, part, index)` for one that was woken; both return the results, or raise an error. `stamp`
--- is the name of a field of the object that is select's own.
waiting.kinds = {}

local function new_kind(what, stamp, list)
    return {
        what = what,
        stamp = stamp,
        list = function(object)
            return object[list]
        end,
    }
end

--- The kind that takes a value from an object: take(object) gives true and the value, or false, which means here
--- that it is closed. `list` is the name of the field where entries wait.
function waiting.taking(what, stamp, list, take)
    local kind = new_kind(what, stamp, list)

    function kind.take(object, _, index)
        local ok, value = take(object)
        if not ok then
            waiting.closed(object, index)
        end
        return value
    end

    function kind.finish(object, part, index)
        if part.closed then
            waiting.closed(object, index)
        end
        return part.value
    end

    return kind
end

--- The kind that gives a value to an object that is not closed, by give(object, value, priority).
function waiting.giving(what, stamp, list, give)
    local kind = new_kind(what, stamp, list)

    function kind.take(object, case, index)
        if object.closed then
            waiting.closed(object, index)
        end
        give(object, case.value, case.priority)
    end

    function kind.finish(object, part, index)
        if part.closed then
            waiting.closed(object, index)
        end
    end

    return kind
end

local Case = class.define("case", {}, nil, nil, "Case")
waiting.Case = Case

--- What ch:on_send(v) and the like give.
function waiting.case(kind, on, value, priority)
    return setmetatable({ kind = kind, on = on, value = value, priority = priority }, Case)
end

function Case.__tostring(case)
    return ("case: %s, %s"):format(case.kind.what, tostring(case.on))
end

--- Checks that `object` is of the class with this metatable.
function waiting.check(object, meta, name)
    if getmetatable(object) ~= meta then
        hub.bad_argument(1, name, meta.__name, object)
    end
end

return waiting
