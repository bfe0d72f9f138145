---@meta moonlet

-- The scheduler: events, locks, conditions, semaphores, limiters, and pools of tasks. See ../moonlet.lua.

---@class moonlet
local moonlet = {}

---What is set once, or cleared again, and can be waited for.
---@class moonlet.Event
local Event = {}

---All who wait go on, and who will wait need not.
---Errors: none.
---@return boolean set false: it was before
function Event:set() end

---It is not set any more.
---Errors: none.
function Event:clear() end

---Whether it is set.
---Errors: none.
---@return boolean
function Event:is_set() end

---Waits until it is set.
---Errors: a cancel.
---@param timeout? number seconds
---@return boolean set false: not within the timeout
function Event:wait(timeout) end

---For moonlet.select: waits until it is set; the event itself does so, too.
---Errors: none.
---@return moonlet.Case
function Event:on_set() end

---A new event.
---Errors: none.
---@return moonlet.Event
function moonlet.event() end

---What one task at a time can hold. It goes from one to the next in the order in which they came.
---@class moonlet.Lock
---@field owner moonlet.Task? The task that holds it.
local Lock = {}

---Waits until nobody holds it; then the current task does.
---Errors: a task that holds it already; TimeoutError.
---@param timeout? number seconds
function Lock:acquire(timeout) end

---The same if nobody holds it.
---Errors: a task that holds it already.
---@return boolean acquired false: somebody does
function Lock:try_acquire() end

---The one who has waited longest holds it now.
---Errors: another task than the one that holds it.
function Lock:release() end

---The same as acquire, for `local _ <close> = lock:hold()`, which releases it.
---Errors: those of acquire.
---@param timeout? number seconds
---@return moonlet.Lock
function Lock:hold(timeout) end

---Whether somebody holds it.
---Errors: none.
---@return boolean
function Lock:locked() end

---A new lock.
---Errors: none.
---@return moonlet.Lock
function moonlet.lock() end

---A lock whose holder can wait until he is notified.
---@class moonlet.Condition
---@field owner moonlet.Task? The task that holds the lock.
---@field lock moonlet.Lock
local Condition = {}

---Acquires its lock.
---Errors: those of the lock.
---@param timeout? number seconds
function Condition:acquire(timeout) end

---Acquires its lock if nobody holds it.
---Errors: those of the lock.
---@return boolean acquired false: somebody does
function Condition:try_acquire() end

---Releases its lock.
---Errors: another task than the one that holds it.
function Condition:release() end

---The same as acquire, for `local _ <close> = condition:hold()`, which releases it.
---Errors: those of acquire.
---@param timeout? number seconds
---@return moonlet.Condition
function Condition:hold(timeout) end

---Whether somebody holds its lock.
---Errors: none.
---@return boolean
function Condition:locked() end

---Releases the lock, waits until it is notified, and takes the lock again, also before it raises an error.
---Errors: another task than the one that holds the lock; a cancel.
---@param timeout? number seconds
---@return boolean notified false: not within the timeout
function Condition:wait(timeout) end

---Waits until predicate() gives something that is true: calls it with the lock held, at once and after each notification.
---Errors: those of wait and of the predicate.
---@param predicate fun(): any
---@param timeout? number seconds
---@return any result what it has given; after the timeout, too
function Condition:wait_for(predicate, timeout) end

---Wakes those who wait, in the order in which they came.
---Errors: another task than the one that holds the lock.
---@param n? integer how many, 1 by default
function Condition:notify(n) end

---Wakes all who wait.
---Errors: another task than the one that holds the lock.
function Condition:notify_all() end

---A new condition.
---Errors: what is no lock.
---@param lock? moonlet.Lock a new one by default
---@return moonlet.Condition
function moonlet.condition(lock) end

---So many can acquire it, in the order in which they came.
---@class moonlet.Semaphore
---@field value integer How many can acquire it without waiting.
---@field max integer? How many there are at most.
local Semaphore = {}

---Waits until there is one, and takes it.
---Errors: TimeoutError.
---@param timeout? number seconds
function Semaphore:acquire(timeout) end

---The same if there is one.
---Errors: none.
---@return boolean acquired false: there is none
function Semaphore:try_acquire() end

---There are n more. Any task can do so.
---Errors: more than there can be.
---@param n? integer 1 by default
function Semaphore:release(n) end

---The same as acquire, for `local _ <close> = semaphore:hold()`, which releases it.
---Errors: those of acquire.
---@param timeout? number seconds
---@return moonlet.Semaphore
function Semaphore:hold(timeout) end

---A new semaphore.
---Errors: a value that is negative or above the maximum, or no integer.
---@param value? integer 1 by default
---@param max? integer more than so many are an error; no limit by default
---@return moonlet.Semaphore
function moonlet.semaphore(value, max) end

---So many tasks can have one of its tokens at a time.
---@class moonlet.CapacityLimiter
---@field total number How many tokens there are; math.huge: no limit. Can be set.
---@field available number How many are free; negative if `total` was made smaller than what is borrowed.
---@field borrowed integer How many tasks have.
local CapacityLimiter = {}

---Waits for a token.
---Errors: a task that has one already; TimeoutError.
---@param timeout? number seconds
function CapacityLimiter:acquire(timeout) end

---The same if one is free.
---Errors: a task that has one already.
---@return boolean acquired false: none is
function CapacityLimiter:try_acquire() end

---Gives the token of the current task back.
---Errors: a task that has none.
function CapacityLimiter:release() end

---The same as acquire, for `local _ <close> = limiter:hold()`, which releases it.
---Errors: those of acquire.
---@param timeout? number seconds
---@return moonlet.CapacityLimiter
function CapacityLimiter:hold(timeout) end

---A new limiter.
---Errors: what is no integer, or negative.
---@param total number math.huge: no limit
---@return moonlet.CapacityLimiter
function moonlet.capacity_limiter(total) end

---So many tasks at a time. A to-be-closed variable waits for its tasks, after it has cancelled them if the block has failed.
---@class moonlet.Pool
---@field size number How many tasks it has at most.
---@field running integer How many it has.
---@field free number How many can be spawned without waiting.
local Pool = {}

---Waits until there are fewer than `size` tasks, and spawns one that will call f(...).
---Errors: what cannot be called; a cancel.
---@param f fun(...: any): ...any
---@param ... any
---@return moonlet.Task
function Pool:spawn(f, ...) end

---The same if it need not wait.
---Errors: what cannot be called.
---@param f fun(...: any): ...any
---@param ... any
---@return moonlet.Task? task nil: it would have to wait
function Pool:try_spawn(f, ...) end

---Calls f(item) in tasks for each item of a list, a channel, a queue, what Python can iterate, or the values of a `for` loop,
---as in pool:map(f, pairs(t)), and waits for all of them.
---Errors: the first error of a task; it cancels all others, and is raised when they have ended.
---@param f fun(...: any): ...any
---@param items any
---@param state? any
---@param control? any
---@return table results in the order of the items; several values are a table with `n`, and if there is a nil the list has `n`, too
function Pool:map(f, items, state, control) end

---The same, and gives the results to a `for` loop, one by one, in the order of the items. What is left is cancelled when the
---loop ends early.
---Errors: an error of a task, in its turn; it cancels what is left.
---@param f fun(...: any): ...any
---@param items any
---@param state? any
---@param control? any
---@return moonlet.PoolResults
---@return nil
---@return nil
---@return moonlet.PoolResults
function Pool:imap(f, items, state, control) end

---The same in the order in which they are done.
---Errors: as of imap.
---@param f fun(...: any): ...any
---@param items any
---@param state? any
---@param control? any
---@return moonlet.PoolResults
---@return nil
---@return nil
---@return moonlet.PoolResults
function Pool:imap_unordered(f, items, state, control) end

---Waits until all tasks of the pool have ended.
---Errors: TimeoutError.
---@param timeout? number seconds
function Pool:join(timeout) end

---Cancels all tasks that are in the pool.
---Errors: none.
---@param reason? any
function Pool:cancel(reason) end

---What imap gives: called, it waits for the next result; nil at the end. In it nil is py.none.
---@class moonlet.PoolResults
---@overload fun(): ...any
local PoolResults = {}

---Cancels what is left; so does a to-be-closed variable.
---Errors: none.
function PoolResults:close() end

---A new pool.
---Errors: a size below 1, or no integer.
---@param size number how many tasks it has at most at a time
---@param ahead? number how many results imap keeps that nobody has taken, before it waits; `size` by default
---@return moonlet.Pool
function moonlet.pool(size, ahead) end

return moonlet
