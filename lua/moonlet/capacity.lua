-- Semaphores and capacity limiters: so many at a time. As with locks, what is released goes straight to who has
-- waited longest.

local hub = require "moonlet.hub"
local primitive = require "moonlet.primitive"
local waiting = require "moonlet.waiting"

local capacity = {}

local define, describe, add_hold = primitive.define, primitive.describe, primitive.add_hold
local wake_first = primitive.wake_first

-- ---------------------------------------------------------------------------------- semaphore

do
    local methods, properties = {}, {}
    local Semaphore, new = define("semaphore", methods, properties, nil, "Semaphore")
    capacity.Semaphore = methods -- for Python, as the one below

    --- moonlet.semaphore([value [, max]]): so many can acquire it, 1 by default. `max`: more than so many
    --- cannot be there, it is an error to release it then.
    function capacity.semaphore(value, max)
        value = value == nil and 1 or value
        if math.type(value) ~= "integer" then
            hub.bad_argument(1, "semaphore", "integer", value)
        elseif value < 0 then
            local text = "bad argument #1 to 'semaphore' (0 or more expected, got %d)"
            hub.misuse("ValueError", text:format(value))
        elseif max ~= nil and math.type(max) ~= "integer" then
            hub.bad_argument(2, "semaphore", "integer", max)
        elseif max and max < value then
            local text = "bad argument #2 to 'semaphore' (at least %d expected, got %d)"
            hub.misuse("ValueError", text:format(value, max))
        end
        return new { left = value, limit = max or false }
    end

    --- semaphore:acquire([timeout]): waits until there is one, and takes it. Raises TimeoutError.
    function methods.acquire(semaphore, timeout)
        waiting.check(semaphore, Semaphore, "acquire")
        timeout = waiting.timeout(timeout, "acquire", 1)
        if semaphore.left > 0 then
            hub.pass()
        end
        waiting.prepare()
        if semaphore.left > 0 then
            semaphore.left = semaphore.left - 1
        elseif not waiting.wait(semaphore.waiters, "acquire", semaphore, timeout) then
            waiting.time_out("the semaphore could not be acquired within %g seconds", timeout)
        end
    end

    --- semaphore:try_acquire(): the same if there is one; false if there is none.
    function methods.try_acquire(semaphore)
        waiting.check(semaphore, Semaphore, "try_acquire")
        if semaphore.left == 0 then
            return false
        end
        semaphore.left = semaphore.left - 1
        return true
    end

    --- semaphore:release([n]): there are n more, 1 by default. Any task can do so.
    function methods.release(semaphore, n)
        waiting.check(semaphore, Semaphore, "release")
        n = n == nil and 1 or n
        if math.type(n) ~= "integer" then
            hub.bad_argument(1, "release", "integer", n)
        elseif n < 1 then
            hub.misuse("ValueError", ("bad argument #1 to 'release' (at least 1 expected, got %d)"):format(n))
        end
        local limit = semaphore.limit
        if limit and n > limit - semaphore.left then
            hub.misuse("ValueError", "the semaphore was released more often than acquired")
        end
        while n > 0 and wake_first(semaphore.waiters) do
            n = n - 1
        end
        semaphore.left = semaphore.left + n
    end

    --- How many can acquire it without waiting.
    function properties.value(semaphore)
        return semaphore.left
    end

    function properties.max(semaphore)
        return semaphore.limit or nil
    end

    add_hold(Semaphore, methods)
    describe(Semaphore, function(semaphore)
        return semaphore.left .. (semaphore.limit and " of " .. semaphore.limit or "")
    end)
end

-- --------------------------------------------------------------------------- capacity limiter

do
    local methods, properties, setters = {}, {}, {}
    local Limiter, new = define("capacity limiter", methods, properties, setters, "CapacityLimiter")
    capacity.CapacityLimiter = methods

    local function check_total(total, misused)
        if total ~= math.huge and math.type(total) ~= "integer" then
            misused("integer or math.huge")
        elseif total < 0 then
            hub.misuse("ValueError", ("a capacity cannot be negative (got %s)"):format(total))
        end
    end

    --- moonlet.capacity_limiter(total): so many tasks can have one of its tokens at a time, each one.
    function capacity.capacity_limiter(total)
        check_total(total, function(expected)
            hub.bad_argument(1, "capacity_limiter", expected, total)
        end)
        return new { capacity = total, borrowed_count = 0, borrowers = {} }
    end

    local function check_new(limiter, me)
        if limiter.borrowers[me] then
            hub.misuse("RuntimeError", ("%s has a token of the limiter already"):format(me.name))
        end
    end

    local function take(limiter, me)
        limiter.borrowers[me] = true
        limiter.borrowed_count = limiter.borrowed_count + 1
    end

    -- Gives what is free to who waits.
    local function serve(limiter)
        while limiter.borrowed_count < limiter.capacity do
            local entry = wake_first(limiter.waiters)
            if not entry then
                return
            end
            take(limiter, entry.task)
        end
    end

    --- limiter:acquire([timeout]): waits for a token. Raises TimeoutError.
    function methods.acquire(limiter, timeout)
        waiting.check(limiter, Limiter, "acquire")
        timeout = waiting.timeout(timeout, "acquire", 1)
        local me = hub.self()
        check_new(limiter, me)
        if limiter.borrowed_count < limiter.capacity then
            hub.pass()
        end
        waiting.prepare()
        if limiter.borrowed_count < limiter.capacity then
            take(limiter, me)
        elseif not waiting.wait(limiter.waiters, "acquire", limiter, timeout) then
            waiting.time_out("no token of the limiter was free within %g seconds", timeout)
        end
    end

    --- limiter:try_acquire(): the same if one is free; false if none is.
    function methods.try_acquire(limiter)
        waiting.check(limiter, Limiter, "try_acquire")
        local me = hub.self()
        check_new(limiter, me)
        if limiter.borrowed_count >= limiter.capacity then
            return false
        end
        take(limiter, me)
        return true
    end

    --- limiter:release(): gives the token of the current task back.
    function methods.release(limiter)
        waiting.check(limiter, Limiter, "release")
        local me = hub.self()
        if not limiter.borrowers[me] then
            hub.misuse("RuntimeError", ("%s has no token of the limiter"):format(me.name))
        end
        limiter.borrowers[me] = nil
        limiter.borrowed_count = limiter.borrowed_count - 1
        serve(limiter)
    end

    --- How many tokens there are; math.huge: no limit. Can be set.
    function properties.total(limiter)
        return limiter.capacity
    end

    --- How many are free; negative when `total` was made smaller than what is borrowed.
    function properties.available(limiter)
        return limiter.capacity - limiter.borrowed_count
    end

    function properties.borrowed(limiter)
        return limiter.borrowed_count
    end

    function setters.total(limiter, total)
        check_total(total, function(expected)
            local text = "bad value for 'total' (%s expected, got %s)"
            hub.misuse("TypeError", text:format(expected, hub.type_name(total)))
        end)
        limiter.capacity = total
        serve(limiter)
    end

    capacity.set_total = setters.total

    add_hold(Limiter, methods)
    describe(Limiter, function(limiter)
        return ("%d of %s borrowed"):format(limiter.borrowed_count, limiter.capacity)
    end)
end

return capacity
