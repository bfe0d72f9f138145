---@meta moonlet

-- The scheduler: tasks, time, scopes and nurseries. See ../moonlet.lua.

---@class moonlet
local moonlet = {}

---A greenlet with what the scheduler knows of it.
---@class moonlet.Task
---@field name string What it is called in messages: by default its number, and what it runs. Can be set.
---@field status "new"|"ready"|"running"|"waiting"|"done"|"failed"|"cancelled"
---@field result any The first value it has returned; nil before, and if it has failed.
---@field error any The error it has ended with; nil if it has not.
---@field ended boolean Whether it has ended.
---@field cancelled boolean Whether it was cancelled.
---@field priority integer Of those that are ready for a round, those of higher priority run first. 0 by default; can be set.
---@field daemon boolean Whether moonlet.run does not wait for it, but cancels it when all others have ended. Can be set.
---@field locals table A table of the task's own.
local Task = {}

---Waits until the task has ended.
---Errors: the task's own error; TaskCancelled if it was cancelled; TimeoutError; a task that joins itself.
---@param timeout? number seconds
---@return any ... what it has returned
function Task:join(timeout) end

---Waits until the task has ended, however.
---Errors: a cancel of the one who waits.
---@param timeout? number seconds
---@return boolean ended false: not within the timeout
function Task:wait(timeout) end

---Raises moonlet.Cancelled where the task waits, and wherever it will wait. One that has not started never will.
---Errors: a greenlet that nobody has spawned.
---@param reason? any
---@return boolean cancelled false: it was before, or the task has ended
function Task:cancel(reason) end

---Calls f(task) when the task has ended, in the hub: f cannot wait.
---Errors: what cannot be called; another `on`.
---@param f function called with the task
---@param on? string "any", the default, "success" or "failure"
---@return moonlet.Task
function Task:link(f, on) end

---The same as link(f, "success").
---Errors: what cannot be called.
---@param f function called with the task
---@return moonlet.Task
function Task:link_success(f) end

---The same as link(f, "failure").
---Errors: what cannot be called.
---@param f function called with the task
---@return moonlet.Task
function Task:link_failure(f) end

---For moonlet.select: joins the task; the task itself does so, too.
---Errors: none.
---@return moonlet.Case
function Task:on_join() end

---A cancel scope.
---@class moonlet.CancelScope
---@field deadline number When it is cancelled, in the time of moonlet.now(); math.huge: never. Can be set.
---@field shield boolean Whether a cancel from outside is kept out. Can be set.
---@field cancelled boolean Whether it was cancelled.
---@field caught boolean Whether it has ended with its cancel.
local CancelScope = {}

---Cancels all that waits, or will wait, in the scope.
---Errors: none.
---@param reason? any
---@return boolean cancelled false: it was before
function CancelScope:cancel(reason) end

---Where tasks are spawned that end before the block does that has opened it.
---@class moonlet.Nursery: moonlet.CancelScope
---@field deadline number As of a cancel scope.
---@field shield boolean As of a cancel scope.
---@field cancelled boolean As of a cancel scope.
---@field caught boolean As of a cancel scope.
local Nursery = {}

---Spawns a task of the nursery.
---Errors: what cannot be called; a nursery whose block has ended.
---@param f fun(...: any): ...any
---@param ... any
---@return moonlet.Task
function Nursery:spawn(f, ...) end

---Spawns a task that calls f(started, ...) and waits until that calls started(...).
---Errors: those of spawn; the task's error if it fails before; a task that ends before.
---@param f fun(started: fun(...: any), ...: any)
---@param ... any
---@return any ... what started was called with
function Nursery:start(f, ...) end

---Cancels the block and all tasks.
---Errors: none.
---@param reason? any
---@return boolean cancelled false: it was before
function Nursery:cancel(reason) end

---Runs main(...) as a task, and all tasks that are spawned, until all have ended.
---Errors: that of main, and then all others are cancelled; Deadlock; a call inside another run.
---@param main fun(...: any): ...any
---@param ... any
---@return any ... what main has returned
function moonlet.run(main, ...) end

---For hosts with a loop of their own: runs what is ready, without waiting, until the budget is used up.
---Errors: a call from a task.
---@param budget? number milliseconds; no limit by default
---@return boolean left whether anything is left that is ready or will be
---@return number? due in how many milliseconds the next timer is; nil: there is none
function moonlet.step(budget) end

---A file descriptor that can be read when step() has something to do because of I/O, or of another thread.
---Errors: where luv is missing.
---@return integer
function moonlet.pollfd() end

---The task that calls.
---Errors: inside a callback of the scheduler.
---@return moonlet.Task
function moonlet.current_task() end

---Waits so long; without a number, or with 0, lets others run.
---Errors: a negative number; a cancel.
---@param seconds? number
function moonlet.sleep(seconds) end

---The scheduler's time, from an arbitrary start; it never goes back.
---Errors: none.
---@return number seconds
function moonlet.now() end

---Sets who is called with errors that nobody else can be told of; nil: they are written to stderr.
---Errors: what cannot be called.
---@param handler? fun(text: string, err: any, task?: moonlet.Task)
---@return function? handler the one before
function moonlet.on_error(handler) end

---A new task that will call f(...) when the current one waits.
---Errors: what cannot be called.
---@param f fun(...: any): ...any
---@param ... any
---@return moonlet.Task
function moonlet.spawn(f, ...) end

---The same, but it starts so much later.
---Errors: what cannot be called; a negative number.
---@param seconds number
---@param f fun(...: any): ...any
---@param ... any
---@return moonlet.Task
function moonlet.spawn_later(seconds, f, ...) end

---Calls f(...) in the hub, soon but not now. f cannot wait.
---Errors: what cannot be called.
---@param f fun(...: any)
---@param ... any
function moonlet.defer(f, ...) end

---Waits until all tasks of a list have ended, however.
---Errors: what is no list of tasks.
---@param tasks moonlet.Task[]
---@param timeout? number seconds
---@return boolean ended false: not within the timeout
function moonlet.wait_all(tasks, timeout) end

---Waits until one task of a list has ended.
---Errors: what is no list of tasks.
---@param tasks moonlet.Task[]
---@param timeout? number seconds
---@return moonlet.Task? ended nil: none within the timeout
function moonlet.wait_any(tasks, timeout) end

---Calls f(scope, ...), in which scope:cancel() cancels all that f waits for.
---Errors: those of f.
---@param f fun(scope: moonlet.CancelScope, ...: any): ...any
---@param ... any
---@return boolean done false: it was cancelled
---@return any ... what f has returned
function moonlet.cancel_scope(f, ...) end

---Calls f(...) for at most so long.
---Errors: those of f.
---@param seconds number
---@param f fun(...: any): ...any
---@param ... any
---@return boolean done false: the time was over before
---@return any ... what f has returned
function moonlet.move_on_after(seconds, f, ...) end

---The same until a time of moonlet.now().
---Errors: those of f.
---@param time number
---@param f fun(...: any): ...any
---@param ... any
---@return boolean done false: the time was over before
---@return any ... what f has returned
function moonlet.move_on_at(time, f, ...) end

---Calls f(...) for at most so long.
---Errors: those of f; TimeoutError.
---@param seconds number
---@param f fun(...: any): ...any
---@param ... any
---@return any ... what f has returned
function moonlet.fail_after(seconds, f, ...) end

---The same until a time of moonlet.now().
---Errors: those of f; TimeoutError.
---@param time number
---@param f fun(...: any): ...any
---@param ... any
---@return any ... what f has returned
function moonlet.fail_at(time, f, ...) end

---Calls f(...), in which a cancel from outside does not end waits.
---Errors: those of f.
---@param f fun(...: any): ...any
---@param ... any
---@return any ... what f has returned
function moonlet.shield(f, ...) end

---Lets others run.
---Errors: a cancel.
function moonlet.checkpoint() end

---Calls f(nursery, ...), and waits until all tasks of the nursery have ended. The first failure cancels the others.
---Errors: a Python ExceptionGroup of all errors of the tasks and of f.
---@param f fun(nursery: moonlet.Nursery, ...: any): ...any
---@param ... any
---@return any ... what f has returned; nothing if the nursery was cancelled
function moonlet.nursery(f, ...) end

---A task that calls f(...) at a time of moonlet.now().
---Errors: what cannot be called.
---@param when number
---@param f fun(...: any): ...any
---@param ... any
---@return moonlet.Task
function moonlet.at(when, f, ...) end

---A task that calls f(...) again and again, the first time after `seconds`, until f returns false.
---Errors: what cannot be called; a number that is not above 0.
---@param seconds number
---@param f fun(...: any): boolean?
---@param ... any
---@return moonlet.Task
function moonlet.every(seconds, f, ...) end

---From now on time jumps to the next timer when all wait, until the clock is closed.
---Errors: another virtual clock.
---@return moonlet.VirtualClock
function moonlet.virtual_clock() end

---A clock for tests; a to-be-closed variable closes it.
---@class moonlet.VirtualClock
local VirtualClock = {}

---Lets so much time pass; what is due in between runs at its time.
---Errors: a negative number.
---@param seconds number
function VirtualClock:advance(seconds) end

---The time.
---Errors: none.
---@return number seconds
function VirtualClock:now() end

---Back to the real clock.
---Errors: none.
function VirtualClock:close() end

-- Classes of Python's exceptions.

---@class moonlet
---@field Cancelled moonlet.PythonObject Raised in a task that is cancelled, where it waits. A BaseException; pcall lets it pass.
---@field TaskCancelled moonlet.PythonObject Raised by who joins a task that was cancelled.
---@field Closed moonlet.PythonObject Raised by who sends to, or waits for, something that is closed.
---@field WouldBlock moonlet.PythonObject What was to be done at once would have to wait.
---@field Deadlock moonlet.PythonObject Raised when nothing can ever run again.

return moonlet
