-- Events, locks and conditions. What is released goes straight to who has waited longest, so that nobody can
-- take it before; and one who was given it has it, also if he is cancelled before he runs.

local native = require "moonlet.native"
local hub = require "moonlet.hub"
local primitive = require "moonlet.primitive"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local sync = {}

local define, describe, add_hold = primitive.define, primitive.describe, primitive.add_hold
local wake_first = primitive.wake_first

-- -------------------------------------------------------------------------------------- event

do
    local methods = {}
    local Event, new = define("event", methods, nil, nil, "Event")
    sync.Event = methods -- for Python, as those below

    --- moonlet.event(): what is set once, or cleared again, and can be waited for.
    function sync.event()
        return new { is = false, served = 0 }
    end

    --- event:set(): all who wait go on, and who will wait need not. False: it was set before.
    function methods.set(event)
        waiting.check(event, Event, "set")
        if event.is then
            return false
        end
        event.is = true
        waiting.wake_all(event.waiters)
        return true
    end

    function methods.clear(event)
        waiting.check(event, Event, "clear")
        event.is = false
    end

    function methods.is_set(event)
        waiting.check(event, Event, "is_set")
        return event.is
    end

    --- event:wait([timeout]): waits until it is set: true, or false after `timeout` seconds.
    function methods.wait(event, timeout)
        waiting.check(event, Event, "wait")
        timeout = waiting.timeout(timeout, "wait", 1)
        waiting.prepare()
        if event.is then
            hub.pass()
            return true
        end
        return waiting.wait(event.waiters, "wait", event, timeout) ~= nil
    end

    local setting = { what = "wait", stamp = "served" }

    function setting.ready(event)
        return event.is
    end

    function setting.take()
        return true
    end

    function setting.list(event)
        return event.waiters
    end

    setting.finish = setting.take
    waiting.kinds[Event] = setting

    --- event:on_set(): for select: waits until it is set. The event itself does so, too.
    function methods.on_set(event)
        waiting.check(event, Event, "on_set")
        return waiting.case(setting, event)
    end

    describe(Event, function(event)
        return event.is and "set" or "not set"
    end)
end

-- --------------------------------------------------------------------------------------- lock

local lock_methods, lock_properties = {}, {}
local Lock, new_lock = define("lock", lock_methods, lock_properties, nil, "Lock")
sync.Lock = lock_methods

--- moonlet.lock(): what one task at a time can hold.
function sync.lock()
    return new_lock { holder = false }
end

local function check_free(lock, me)
    if lock.holder == me then
        hub.misuse("RuntimeError", ("%s holds the lock already"):format(me.name))
    end
end

--- lock:acquire([timeout]): waits until nobody holds it, then the current task does. Raises TimeoutError.
function lock_methods.acquire(lock, timeout)
    waiting.check(lock, Lock, "acquire")
    timeout = waiting.timeout(timeout, "acquire", 1)
    local me = hub.self()
    if not lock.holder then
        hub.pass()
    end
    waiting.prepare()
    if not lock.holder then
        lock.holder = me
        return
    end
    check_free(lock, me)
    if not waiting.wait(lock.waiters, "acquire", lock, timeout) then
        waiting.time_out("the lock could not be acquired within %g seconds", timeout)
    end
end

--- lock:try_acquire(): the same if nobody holds it; false if somebody does.
function lock_methods.try_acquire(lock)
    waiting.check(lock, Lock, "try_acquire")
    local me = hub.self()
    check_free(lock, me)
    if lock.holder then
        return false
    end
    lock.holder = me
    return true
end

local function check_held(lock, what)
    local me = hub.self()
    if lock.holder ~= me then
        local by = lock.holder and "held by " .. lock.holder.name or "not held"
        hub.misuse("RuntimeError", ("%s cannot %s the lock: it is %s"):format(me.name, what, by))
    end
    return me
end

local function release(lock)
    local entry = wake_first(lock.waiters)
    lock.holder = entry and entry.task or false
end

--- lock:release(): the one who has waited longest has it now.
function lock_methods.release(lock)
    waiting.check(lock, Lock, "release")
    check_held(lock, "release")
    release(lock)
end

function lock_methods.locked(lock)
    waiting.check(lock, Lock, "locked")
    return lock.holder and true or false
end

--- The task that holds it, or nil.
function lock_properties.owner(lock)
    return lock.holder or nil
end

add_hold(Lock, lock_methods)

local function lock_state(lock)
    return lock.holder and "held by " .. lock.holder.name or "free"
end
describe(Lock, lock_state)

-- ---------------------------------------------------------------------------------- condition

do
    local methods, properties = {}, {}
    local Condition, new = define("condition", methods, properties, nil, "Condition")
    sync.Condition = methods

    --- moonlet.condition([lock]): a lock whose holder can wait until he is notified; a new one by default.
    function sync.condition(lock)
        if lock ~= nil and getmetatable(lock) ~= Lock then
            hub.bad_argument(1, "condition", "lock", lock)
        end
        return new { mutex = lock or sync.lock() }
    end

    for _, name in ipairs { "acquire", "try_acquire", "release", "locked" } do
        local of_lock = lock_methods[name]
        methods[name] = function(condition, timeout)
            waiting.check(condition, Condition, name)
            return of_lock(condition.mutex, timeout)
        end
    end

    -- Takes the lock again, whatever happens. Returns an error that has come meanwhile, in a table.
    local function acquire_again(lock, me)
        if not lock.holder then
            lock.holder = me
            return nil
        end
        local entry = { task = me, what = "acquire", on = lock, undo = waitlist.remove, shielded = true }
        waitlist.push(lock.waiters, entry)
        local ok, err = native.pcall(hub.wait, entry)
        return not ok and { err } or nil
    end

    --- condition:wait([timeout]): releases the lock, waits until it is notified, and takes the lock again.
    --- True, or false after `timeout` seconds. It has the lock, too, if it raises an error.
    function methods.wait(condition, timeout)
        waiting.check(condition, Condition, "wait")
        timeout = waiting.timeout(timeout, "wait", 1)
        local lock = condition.mutex
        local me = check_held(lock, "wait without")
        local entry = { task = me, what = "wait", on = condition, undo = waitlist.remove }
        waitlist.push(condition.waiters, entry)
        release(lock)
        local ok, result = native.pcall(hub.wait, entry, timeout)
        local failure = acquire_again(lock, me)
        if not ok then
            error(result, 0)
        elseif failure then
            error(failure[1], 0)
        end
        return result
    end

    --- condition:wait_for(predicate [, timeout]): waits until predicate() gives something that is true, and
    --- returns that. It is called with the lock held, at once and after each notification. After `timeout`
    --- seconds what it gives then.
    function methods.wait_for(condition, predicate, timeout)
        waiting.check(condition, Condition, "wait_for")
        hub.check_callable(predicate, "wait_for", 1)
        timeout = waiting.timeout(timeout, "wait_for", 2)
        check_held(condition.mutex, "wait without")
        local deadline = timeout and hub.now() + timeout
        local result = predicate()
        while not result do
            local left = deadline and math.max(0, deadline - hub.now())
            if left == 0 then
                break
            end
            methods.wait(condition, left)
            result = predicate()
        end
        return result
    end

    --- condition:notify([n]): wakes n of those who wait, 1 by default, those first who have waited longest.
    function methods.notify(condition, n)
        waiting.check(condition, Condition, "notify")
        if n ~= nil and math.type(n) ~= "integer" then
            hub.bad_argument(1, "notify", "integer", n)
        end
        check_held(condition.mutex, "notify without")
        for _ = 1, n or 1 do
            if not wake_first(condition.waiters) then
                break
            end
        end
    end

    function methods.notify_all(condition)
        waiting.check(condition, Condition, "notify_all")
        check_held(condition.mutex, "notify without")
        waiting.wake_all(condition.waiters)
    end

    function properties.lock(condition)
        return condition.mutex
    end

    function properties.owner(condition)
        return condition.mutex.holder or nil
    end

    add_hold(Condition, methods)
    describe(Condition, function(condition)
        return lock_state(condition.mutex)
    end)
end

return sync
