-- Other threads: blocking calls of Python in a pool, and futures of any executor.

local moonlet = require "moonlet"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local class = require "moonlet.class"
local task = require "moonlet.task"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local builtins = moonlet.python.builtins
local threads = {}

-- ------------------------------------------------------------------------------------ the pool

local limit = 40 -- calls at a time
local active = 0
local free = {} -- who waits until there are fewer
local jobs = {} -- the waits for calls that are under way, by number
local last_number = 0

-- A call may begin: that of the one who waits the longest, if there is one.
local function start_next()
    while active < limit do
        local entry = waitlist.pop(free)
        if not entry then
            return
        end
        if hub.wake(entry) then
            active = active + 1
        end
    end
end

local function release()
    active = active - 1
    start_next()
end

-- A call has ended. For the threads, which post it.
local function finished(number)
    local entry = jobs[number]
    if not entry then
        return -- it has begun although submit has failed
    end
    jobs[number] = nil
    hub.unhold()
    release()
    if not hub.wake(entry) then
        local err = entry.job.error
        if err ~= nil then
            hub.report("error in a thread whose task had been cancelled", err)
        end
    end
end

-- Waits until fewer than `limit` calls are under way, and counts one more.
local function acquire(me, job)
    if me.scope.effective then
        hub.yield(me) -- raises the cancel
    end
    if active < limit and not free.first then
        active = active + 1
        return
    end
    local entry = { task = me, what = "in_thread (all threads are busy)", on = job, undo = waitlist.remove }
    waitlist.push(free, entry)
    hub.wait(entry)
    if me.scope.effective then
        release()
        hub.yield(me)
    end
end

--- For both languages: waits until a thread has done `job`, see _threads.py.
function threads.run_job(job)
    local me = hub.self()
    acquire(me, job)
    last_number = last_number + 1
    local number = last_number
    local entry = { task = me, what = "in_thread", on = job, job = job }
    jobs[number] = entry
    hub.hold()
    local ok, err = native.pcall(native.python("moonlet._threads", "submit"), job, finished, number)
    if not ok then
        jobs[number] = nil
        hub.unhold()
        release()
        error(err, 0)
    end
    hub.wait(entry)
end

local function is_python(value)
    return type(value) == "userdata" and moonlet.python.isinstance(value, builtins.object)
end

--- For both languages: raises an error if a thread cannot call f.
function threads.check_function(f)
    if not is_python(f) or not builtins.callable(f) then
        hub.bad_argument(1, "in_thread", "Python callable", f)
    end
end

--- moonlet.in_thread(f, ...): calls f(...), which is Python's and may block, in another thread; only the
--- current task waits. Returns its results, or raises its exception. A cancel ends the wait at once, but the
--- thread goes on: what f returns then is lost, what it raises is reported. Inside moonlet.shield a cancel waits
--- for f. At most as many calls as moonlet.set_thread_limit says are under way; others wait for their turn.
function threads.in_thread(f, ...)
    threads.check_function(f)
    local job = native.python("moonlet._threads", "Job")(f, ...)
    threads.run_job(job)
    return job:result()
end

--- moonlet.set_thread_limit(n): how many calls in_thread makes at a time: 40 at first. Returns the number before.
function threads.set_thread_limit(n)
    if math.type(n) ~= "integer" then
        hub.bad_argument(1, "set_thread_limit", "integer", n)
    elseif n < 1 then
        hub.misuse("ValueError", ("bad argument #1 to 'set_thread_limit' (1 or more expected, got %d)"):format(n))
    end
    local before = limit
    limit = n
    start_next()
    return before
end

-- -------------------------------------------------------------------------------------- futures

local watched = {} -- what is known of futures that somebody waits for: { future, number, list, count }
local by_number = {}

local function resolved(number)
    local watch = by_number[number]
    by_number[number], watched[watch.future] = nil, nil
    waiting.wake_all(watch.list)
end

local function watch_of(future)
    local watch = watched[future]
    if not watch then
        last_number = last_number + 1
        watch = { future = future, number = last_number, list = {}, count = 0 }
        local notice = native.python("moonlet._threads", "Notice")(resolved, last_number)
        watched[future], by_number[last_number] = watch, watch
        local ok, err = native.pcall(future.add_done_callback, notice)
        if not ok then
            watched[future], by_number[watch.number] = nil, nil
            error(err, 0)
        end
    end
    return watch
end

local function is_done(future)
    return builtins.hasattr(future, "done") and future:done()
end

--- For both languages: waits until `future` is done. False: not within `timeout` seconds.
function threads.wait_done(future, timeout)
    if not is_python(future) or not builtins.hasattr(future, "add_done_callback")
        or not builtins.hasattr(future, "result") then
        hub.bad_argument(1, "wait", "future", future)
    end
    if timeout ~= nil then
        hub.check_seconds(timeout, "wait", 2)
    end
    local me = hub.self()
    if me.scope.effective then
        hub.yield(me)
    end
    if is_done(future) then
        hub.pass()
        return true
    elseif timeout == 0 then
        return false
    end
    local watch = watch_of(future)
    local entry = { task = me, what = "wait", on = future, undo = waitlist.remove }
    waitlist.push(watch.list, entry)
    watch.count = watch.count + 1
    hub.hold()
    local ok, result = native.pcall(hub.wait, entry, timeout)
    hub.unhold()
    watch.count = watch.count - 1
    if ok then
        return result
    end
    if watch.count == 0 and builtins.hasattr(future, "cancel") then
        local done, err = native.pcall(future.cancel)
        if not done then
            hub.report("error in the method cancel of a future", err)
        end
    end
    error(result, 0)
end

--- moonlet.wait(future [, timeout]): waits until a future of any executor of Python is done, one of
--- concurrent.futures or what has the same methods add_done_callback and result. Returns its result, or raises
--- its exception. TimeoutError: not within `timeout` seconds. A cancel tries to cancel the future, unless others
--- wait for it, too. A task is joined, and of a moonlet.future it is the method get that is called.
function threads.wait(future, timeout)
    if task.is_task(future) then
        return future:join(timeout)
    elseif class.all.future and class.all.future.meta == getmetatable(future) then
        return future:get(timeout)
    end
    if not threads.wait_done(future, timeout) then
        threads.timed_out(timeout)
    end
    if native.python("moonlet._threads", "is_ready")(future) then
        return future:result()
    end
    return threads.in_thread(future.result)
end

function threads.timed_out(timeout)
    error(builtins.TimeoutError(("the future is not done within %g seconds"):format(timeout)), 0)
end

return threads
