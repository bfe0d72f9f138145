---@meta moonlet

-- Other threads: blocking calls of Python, and futures. See ../moonlet.lua.

---@class moonlet
local moonlet = {}

---Calls f(...), which may block, in another thread; only the current task waits. A cancel ends the wait at once, but the thread goes on: inside moonlet.shield the task waits for it.
---Errors: the exception that f raises; what is no callable of Python; a cancel.
---@param f moonlet.PythonObject
---@param ... any
---@return any ... what f has returned
function moonlet.in_thread(f, ...) end

---Sets how many calls in_thread makes at a time, 40 at first. Others wait for their turn.
---Errors: what is no integer, or less than 1.
---@param n integer
---@return integer before
function moonlet.set_thread_limit(n) end

---Waits until a future of an executor of Python is done: one of concurrent.futures, or what has the same methods add_done_callback and result. A cancel tries to cancel the future.
---Errors: the exception of the future; TimeoutError; a cancel.
---@param future moonlet.PythonObject|moonlet.Future|moonlet.Task
---@param timeout? number seconds
---@return any ... its result
function moonlet.wait(future, timeout) end

return moonlet
