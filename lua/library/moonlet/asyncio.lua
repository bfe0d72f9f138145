---@meta moonlet

-- The scheduler: asyncio. See ../moonlet.lua.

---@class moonlet
local moonlet = {}

---Waits until what asyncio awaits is done: a coroutine, which runs on an event loop of the scheduler's, a future, a
---task, any object with __await__. A cancel of the task cancels it, and waits until it has cleaned up.
---Errors: its own exception; what cannot be awaited; a call inside the event loop that would be waited for.
---@param awaitable any
---@return any ... its value
function moonlet.await(awaitable) end

---An event loop of asyncio that waits in the hub when a task runs it, so that other tasks run meanwhile. Those that
---asyncio.run and asyncio.new_event_loop make are such loops, too, unless the program has set a policy of its own.
---Errors: none.
---@return moonlet.PythonObject
function moonlet.new_event_loop() end

return moonlet
