-- Events, locks, conditions, semaphores and capacity limiters.

local moonlet = require "moonlet"
local support = require "spec.support"
local message, run = support.message, support.main

--- Spawns tasks that call f(i), and lets them run until they wait.
local function spawned(n, f)
    local tasks = {}
    for i = 1, n do
        tasks[i] = moonlet.spawn(f, i)
    end
    moonlet.sleep()
    return tasks
end

describe("moonlet.event", function()
    it("lets all go on who wait for it", run(function()
        local event, log = moonlet.event(), {}
        local tasks = spawned(3, function(i)
            table.insert(log, { i, event:wait() })
        end)
        assert.same({ {}, false }, { log, event:is_set() })
        assert.same({ true, false }, { event:set(), event:set() })
        moonlet.wait_all(tasks)
        assert.same({ { 1, true }, { 2, true }, { 3, true } }, log)
        assert.same({ true, true }, { event:wait(), event:wait(0) })
    end))

    it("can be cleared", run(function()
        local event = moonlet.event()
        event:set()
        event:clear()
        assert.same({ false, false }, { event:is_set(), event:wait(0) })
    end))

    it("lets go on who waited when it was set, also if it is cleared at once", run(function()
        local event = moonlet.event()
        local tasks = spawned(1, function()
            return event:wait()
        end)
        event:set()
        event:clear()
        assert.is_true(tasks[1]:join())
    end))

    it("has a timeout, and can be cancelled", run(function()
        local clock <close> = moonlet.virtual_clock()
        local event = moonlet.event()
        assert.is_false(event:wait(2))
        local tasks = spawned(1, function()
            event:wait()
        end)
        tasks[1]:cancel()
        tasks[1]:wait()
        assert.equal("cancelled", tasks[1].status)
        assert.matches("^event %d+: not set$", tostring(event))
        assert.equal("bad argument #1 to 'wait' (seconds expected, got string)", message(event.wait, event, "x"))
        assert.equal("bad argument #1 to 'set' (event expected, got nil)", message(event.set))
        clock:advance(1)
    end))
end)

describe("moonlet.lock", function()
    it("is held by one task at a time, in the order in which they came", run(function()
        local lock, log, inside = moonlet.lock(), {}, 0
        moonlet.wait_all(spawned(4, function(i)
            local _ <close> = lock:hold()
            inside = inside + 1
            assert.equal(1, inside)
            moonlet.sleep()
            inside = inside - 1
            table.insert(log, i)
        end))
        assert.same({ 1, 2, 3, 4 }, log)
        assert.is_false(lock:locked())
    end))

    it("goes to who has waited, not to who comes next", run(function()
        local lock = moonlet.lock()
        lock:acquire()
        local tasks = spawned(1, function()
            lock:acquire()
        end)
        lock:release()
        assert.is_false(pcall(lock.release, lock))
        assert.is_false(lock:try_acquire())
        assert.equal(tasks[1], lock.owner)
    end))

    it("is released by an error", run(function()
        local lock = moonlet.lock()
        pcall(function()
            local _ <close> = lock:hold()
            error "failed"
        end)
        assert.is_false(lock:locked())
    end))

    it("is not kept by who was cancelled", run(function()
        local lock = moonlet.lock()
        local function body()
            local _ <close> = lock:hold()
            moonlet.sleep(10)
        end
        lock:acquire()
        local tasks = spawned(3, body)
        tasks[1]:cancel() -- while it waits
        lock:release()
        tasks[2]:cancel() -- when it has got it, but has not run
        tasks[3]:cancel()
        moonlet.wait_all(tasks)
        assert.is_false(lock:locked())
        assert.is_true(lock:try_acquire())
    end))

    it("has a timeout", run(function()
        local clock <close> = moonlet.virtual_clock()
        local lock = moonlet.lock()
        local holder = spawned(1, function()
            local _ <close> = lock:hold()
            moonlet.sleep(3)
        end)
        assert.equal("TimeoutError: the lock could not be acquired within 1 seconds", message(lock.acquire, lock, 1))
        assert.is_false(lock:try_acquire())
        lock:acquire(3)
        holder[1]:join()
        lock:release()
        clock:advance(1)
    end))

    it("knows who holds it", run(function()
        local lock = moonlet.lock()
        assert.matches("^main cannot release the lock: it is not held$", message(lock.release, lock))
        lock:acquire()
        assert.equal(moonlet.current_task(), lock.owner)
        assert.equal("main holds the lock already", message(lock.acquire, lock))
        assert.equal("main holds the lock already", message(lock.try_acquire, lock))
        local tasks = spawned(1, function()
            moonlet.current_task().name = "other"
            lock:release()
        end)
        assert.matches("other cannot release the lock: it is held by main$", message(tasks[1].join, tasks[1]))
        assert.matches("^lock %d+: held by main$", tostring(lock))
        lock:release()
        assert.is_nil(lock.owner)
        assert.matches("^lock %d+: free$", tostring(lock))
        assert.equal("bad argument #1 to 'acquire' (lock expected, got event)", message(lock.acquire, moonlet.event()))
        assert.equal("cannot set 'owner' of a lock", message(function()
            lock.owner = 1
        end))
    end))
end)

describe("moonlet.condition", function()
    it("wakes who waits, one by one", run(function()
        local condition, log = moonlet.condition(), {}
        local tasks = spawned(3, function(i)
            local _ <close> = condition:hold()
            condition:wait()
            assert.equal(moonlet.current_task(), condition.owner)
            table.insert(log, i)
        end)
        assert.is_false(condition:locked())
        condition:acquire()
        condition:notify()
        condition:release()
        tasks[1]:join()
        assert.same({ 1 }, log)
        condition:acquire()
        condition:notify_all()
        condition:release()
        moonlet.wait_all(tasks)
        assert.same({ 1, 2, 3 }, log)
    end))

    it("waits until something is true", run(function()
        local condition, n = moonlet.condition(), 0
        local waiter = moonlet.spawn(function()
            local _ <close> = condition:hold()
            return condition:wait_for(function()
                return n >= 3 and n
            end)
        end)
        for _ = 1, 3 do
            moonlet.sleep()
            local _ <close> = condition:hold()
            n = n + 1
            condition:notify(10)
        end
        assert.equal(3, waiter:join())
    end))

    it("has the lock again after a timeout", run(function()
        local clock <close> = moonlet.virtual_clock()
        local condition = moonlet.condition()
        local _ <close> = condition:hold()
        assert.is_false(condition:wait(1))
        assert.equal(moonlet.current_task(), condition.owner)
        assert.is_nil(condition:wait_for(function() end, 2))
        clock:advance(1)
    end))

    it("has the lock again when it is cancelled", run(function()
        local condition, owned = moonlet.condition(), nil
        local tasks = spawned(2, function(i)
            local _ <close> = condition:hold()
            local ok = require("moonlet.native").pcall(condition.wait, condition)
            if i == 1 then
                owned = not ok and condition.owner == moonlet.current_task()
            end
        end)
        condition:acquire()
        tasks[1]:cancel()
        moonlet.sleep()
        moonlet.sleep()
        assert.equal("waiting", tasks[1].status)
        condition:notify() -- not lost: it is for the second one
        condition:release()
        tasks[1]:wait()
        assert.is_true(owned)
        tasks[2]:wait()
        assert.is_false(condition:locked())
    end))

    it("can share a lock", run(function()
        local lock = moonlet.lock()
        local a, b = moonlet.condition(lock), moonlet.condition(lock)
        a:acquire()
        assert.same({ true, lock }, { b:locked(), b.lock })
        b:notify()
        b:release()
        assert.is_false(lock:locked())
        assert.matches("^condition %d+: free$", tostring(a))
    end))

    it("needs its lock", run(function()
        local c = moonlet.condition()
        assert.equal("main cannot wait without the lock: it is not held", message(c.wait, c))
        assert.equal("main cannot wait without the lock: it is not held", message(c.wait_for, c, print))
        assert.equal("main cannot notify without the lock: it is not held", message(c.notify, c))
        assert.equal("main cannot notify without the lock: it is not held", message(c.notify_all, c))
        assert.equal("bad argument #1 to 'condition' (lock expected, got string)", message(moonlet.condition, "x"))
        local text = "bad argument #1 to 'wait_for' (function or Python callable expected, got nil)"
        assert.equal(text, message(c.wait_for, c))
        assert.equal("bad argument #1 to 'notify' (integer expected, got string)", message(c.notify, c, "x"))
    end))
end)

describe("moonlet.semaphore", function()
    it("lets so many in", run(function()
        local semaphore, room = moonlet.semaphore(3), {}
        moonlet.wait_all(spawned(10, function()
            local _ <close> = semaphore:hold()
            support.visit(room)
        end))
        assert.same({ 3, 0, 3 }, { room.most, room.inside, semaphore.value })
    end))

    it("is released by anybody, several times at once", run(function()
        local semaphore, log = moonlet.semaphore(0), {}
        local tasks = spawned(4, function(i)
            semaphore:acquire()
            table.insert(log, i)
        end)
        semaphore:release(3)
        moonlet.wait_any { tasks[3] }
        assert.same({ 1, 2, 3 }, log)
        semaphore:release(2)
        assert.equal(1, semaphore.value)
        assert.same({ true, false }, { semaphore:try_acquire(), semaphore:try_acquire() })
    end))

    it("can be bounded", run(function()
        local semaphore = moonlet.semaphore(1, 2)
        semaphore:release()
        assert.equal("the semaphore was released more often than acquired", message(semaphore.release, semaphore))
        assert.same({ 2, 2 }, { semaphore.value, semaphore.max })
        assert.matches("^semaphore %d+: 2 of 2$", tostring(semaphore))
    end))

    it("is not kept by who was cancelled or has not got it in time", run(function()
        local clock <close> = moonlet.virtual_clock()
        local semaphore = moonlet.semaphore(0)
        local text = "TimeoutError: the semaphore could not be acquired within 1 seconds"
        assert.equal(text, message(semaphore.acquire, semaphore, 1))
        local tasks = spawned(2, function()
            local _ <close> = semaphore:hold()
            moonlet.sleep(1)
        end)
        tasks[1]:cancel()
        semaphore:release()
        tasks[2]:cancel()
        moonlet.wait_all(tasks)
        assert.equal(1, semaphore.value)
        clock:advance(1)
    end))

    it("refuses other arguments", function()
        local function fails(...)
            return message(moonlet.semaphore, ...)
        end
        assert.equal("bad argument #1 to 'semaphore' (integer expected, got string)", fails "x")
        assert.equal("bad argument #1 to 'semaphore' (0 or more expected, got -1)", fails(-1))
        assert.equal("bad argument #2 to 'semaphore' (at least 2 expected, got 1)", fails(2, 1))
        local s = moonlet.semaphore()
        assert.equal("bad argument #1 to 'release' (at least 1 expected, got 0)", message(s.release, s, 0))
        assert.equal("bad argument #1 to 'release' (integer expected, got string)", message(s.release, s, "x"))
    end)
end)

describe("moonlet.capacity_limiter", function()
    it("lets so many tasks have a token", run(function()
        local limiter, room = moonlet.capacity_limiter(2), {}
        moonlet.wait_all(spawned(6, function()
            local _ <close> = limiter:hold()
            support.visit(room)
        end))
        assert.same({ 2, 0, 2, 2 }, { room.most, limiter.borrowed, limiter.available, limiter.total })
    end))

    it("can be made larger and smaller", run(function()
        local limiter = moonlet.capacity_limiter(1)
        local gate = moonlet.event()
        local tasks = spawned(3, function()
            local _ <close> = limiter:hold()
            gate:wait()
        end)
        assert.equal(1, limiter.borrowed)
        limiter.total = math.huge
        assert.equal(3, limiter.borrowed)
        limiter.total = 1
        assert.equal(-2, limiter.available)
        gate:set()
        moonlet.wait_all(tasks)
        assert.equal(1, limiter.available)
        assert.matches("^capacity limiter %d+: 0 of 1 borrowed$", tostring(limiter))
    end))

    it("knows who has a token", run(function()
        local limiter = moonlet.capacity_limiter(2)
        assert.equal("main has no token of the limiter", message(limiter.release, limiter))
        limiter:acquire()
        assert.equal("main has a token of the limiter already", message(limiter.acquire, limiter))
        assert.equal("main has a token of the limiter already", message(limiter.try_acquire, limiter))
        limiter:release()
        limiter.total = 0
        assert.is_false(limiter:try_acquire())
        assert.equal(
            "TimeoutError: no token of the limiter was free within 0 seconds",
            message(limiter.acquire, limiter, 0)
        )
    end))

    it("refuses other arguments", run(function()
        local text = "(integer or math.huge expected, got nil)"
        assert.equal("bad argument #1 to 'capacity_limiter' " .. text, message(moonlet.capacity_limiter))
        assert.equal("a capacity cannot be negative (got -1)", message(moonlet.capacity_limiter, -1))
        local limiter = moonlet.capacity_limiter(1)
        assert.equal("bad value for 'total' (integer or math.huge expected, got string)", message(function()
            limiter.total = "x"
        end))
        assert.equal("cannot set 'available' of a capacity limiter", message(function()
            limiter.available = 1
        end))
    end))
end)

describe("in Python", function()
    local namespace = support.python [[
        import math
        import moonlet
        from moonlet import CapacityLimiter, Condition, Event, Lock, Semaphore

        def name_of(f):
            try:
                return f()
            except Exception as e:
                return type(e).__name__ + ": " + str(e)

        def events():
            e = Event()
            moonlet.spawn(e.set)
            return e.wait(), e.is_set(), e.set(), e.clear(), e.wait(timeout=0)

        def locks():
            lock, log = Lock(), []
            def body(i):
                with lock as held:
                    assert held is lock
                    moonlet.sleep()
                    log.append(i)
            tasks = [moonlet.spawn(body, i) for i in range(3)]
            for t in tasks:
                t.join()
            with lock:
                result = (lock.locked(), lock.owner is moonlet.current_task(), name_of(lock.acquire))
            return log, result, lock.owner, name_of(lock.release), lock.try_acquire()

        def conditions():
            lock = Lock()
            c, items = Condition(lock), []
            def consume():
                with c:
                    return c.wait_for(lambda: items)
            t = moonlet.spawn(consume)
            for i in range(2):
                moonlet.sleep()
                with c:
                    if i:
                        items.append(i)
                    c.notify_all()
            with c:
                late = c.wait(timeout=0.001), c.wait_for(lambda: 0, timeout=0.001)
            return t.join(), late, c.lock is lock, c.locked(), name_of(c.notify)

        def semaphores():
            s = Semaphore(2, max=2)
            with s:
                inside = s.value, s.try_acquire(), s.try_acquire(), name_of(lambda: s.acquire(0))
                s.release()
            return inside, s.value, s.max, Semaphore().max, name_of(s.release)

        def limiters():
            c = CapacityLimiter(1)
            with c:
                inside = c.total, c.available, c.borrowed, name_of(c.acquire)
            c.total = math.inf
            c.acquire(timeout=1)
            return inside, c.total, name_of(lambda: CapacityLimiter("x")), name_of(lambda: setattr(c, "total", -1))
    ]]

    it("they are context managers, with the same methods", function()
        local ns = support.python "def call(f): return repr(f())"
        local function call(f)
            return moonlet.run(ns.call, namespace[f])
        end
        assert.equal("(True, True, False, None, False)", call "events")
        assert.equal(
            "([0, 1, 2], (True, True, 'RuntimeError: main holds the lock already'), None, "
                .. "'RuntimeError: main cannot release the lock: it is not held', True)",
            call "locks"
        )
        assert.equal(
            "([1], (False, 0), True, False, 'RuntimeError: main cannot notify without the lock: it is not held')",
            call "conditions"
        )
        assert.equal(
            "((1, True, False, 'TimeoutError: the semaphore could not be acquired within 0 seconds'), 2, 2, None, "
                .. "'ValueError: the semaphore was released more often than acquired')",
            call "semaphores"
        )
        assert.equal(
            "((1, 0, 1, 'RuntimeError: main has a token of the limiter already'), inf, "
                .. "\"TypeError: bad argument #1 to 'capacity_limiter' (integer or math.huge expected, got string)\", "
                .. "'ValueError: a capacity cannot be negative (got -1)')",
            call "limiters"
        )
    end)
end)
