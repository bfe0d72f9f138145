---@meta moonlet

-- The scheduler: channels, select, queues, futures. See ../moonlet.lua.

---@class moonlet
local moonlet = {}

---What moonlet.select can do: what methods such as channel:on_send(value) give.
---@class moonlet.Case
local Case = {} -- luacheck: ignore 211

---Values go through it from one task to another, in the order in which they were sent, to those who wait for one in the
---order in which they came. A `for` loop over it, `for value in channel do`, ends when it is closed and empty; in it nil is
---py.none. A to-be-closed variable closes it.
---@class moonlet.Channel
---@field capacity number How many values it holds: 0: a sender waits for a receiver; math.huge: as many as there are.
---@field closed boolean Whether it was closed.
---@overload fun(): any
local Channel = {}

---Gives a value to who waits for one, or to the buffer if there is room; waits if there is neither.
---Errors: Closed, also if it is closed meanwhile; TimeoutError.
---@param value any
---@param timeout? number seconds
function Channel:send(value, timeout) end

---The same if it need not wait.
---Errors: Closed.
---@param value any
---@return boolean sent false: it would have to wait
function Channel:try_send(value) end

---Waits for a value, and takes it.
---Errors: Closed when it is closed and none is left; TimeoutError.
---@param timeout? number seconds
---@return any value
function Channel:receive(timeout) end

---The same if it need not wait.
---Errors: Closed when it is closed and none is left.
---@return boolean received false: there is none
---@return any value
function Channel:try_receive() end

---No more values: raises Closed in who sends, or waits to, and in who receives when none is left.
---Errors: none.
---@return boolean closed false: it was before
function Channel:close() end

---For moonlet.select: sends a value.
---Errors: none.
---@param value any
---@return moonlet.Case
function Channel:on_send(value) end

---For moonlet.select: receives a value; the channel itself does so, too.
---Errors: none.
---@return moonlet.Case
function Channel:on_receive() end

---A new channel.
---Errors: a capacity that is negative, or no integer.
---@param capacity? number how many values it holds; 0 by default; math.huge: as many as there are
---@return moonlet.Channel
function moonlet.channel(capacity) end

---What is waited for, with options.
---@class moonlet.Cases
---@field timeout? number After so many seconds "timeout" is returned.
---@field default? boolean If true, "default" is returned instead of waiting.
---@field [integer] moonlet.Channel|moonlet.Queue|moonlet.Event|moonlet.Task|moonlet.Future|moonlet.Case|false

---Waits until one of the cases can go on, and does it: a channel receives, a queue gets, an event is waited for, a task is
---joined, a future's value is taken; or what channel:on_send(value), queue:on_put(item) and the like say. false never can. Of
---several that can go on it is the one whose turn is longest ago. One that is cancelled, or times out, has done nothing.
---Errors: those of what is done; a Closed has the `index` of the case; no case, timeout or default.
---@param cases moonlet.Cases
---@return integer|"timeout"|"default" index
---@return any ... what it has given
function moonlet.select(cases) end

---Gives items in the order in which they came. A `for` loop over it, `for item in queue do`, ends when it was shut down and is
---empty; in it nil is py.none.
---@class moonlet.Queue
---@field maxsize integer How many items it holds; 0: as many as there are.
---@field closed boolean Whether it was shut down.
---@field unfinished integer For how many items that were put task_done() was not called yet.
---@overload fun(): any
local Queue = {}

---Waits until there is room, and puts an item into the queue.
---Errors: Closed after a shutdown, also if it comes meanwhile; TimeoutError.
---@param item any
---@param timeout? number seconds
function Queue:put(item, timeout) end

---The same if there is room.
---Errors: Closed.
---@param item any
---@return boolean put false: there is none
function Queue:try_put(item) end

---Waits for an item, and takes it.
---Errors: Closed after a shutdown, when none is left; TimeoutError.
---@param timeout? number seconds
---@return any item
function Queue:get(timeout) end

---The same if there is one.
---Errors: Closed after a shutdown, when none is left.
---@return boolean got false: there is none
---@return any item
function Queue:try_get() end

---What was to be done with an item that was taken is done.
---Errors: more calls than items.
function Queue:task_done() end

---Waits until task_done() was called for each item that was put.
---Errors: TimeoutError.
---@param timeout? number seconds
function Queue:join(timeout) end

---No more items: raises Closed in who puts one, or waits to, and in who gets one when none is left.
---Errors: none.
---@param immediate? boolean what is left is dropped, as if done
---@return boolean shut false: it was before
function Queue:shutdown(immediate) end

---How many items are in it; so does #queue.
---Errors: none.
---@return integer
function Queue:qsize() end

---Whether there are none.
---Errors: none.
---@return boolean
function Queue:empty() end

---Whether who puts an item has to wait.
---Errors: none.
---@return boolean
function Queue:full() end

---For moonlet.select: takes an item; the queue itself does so, too.
---Errors: none.
---@return moonlet.Case
function Queue:on_get() end

---For moonlet.select: puts an item.
---Errors: none.
---@param item any
---@return moonlet.Case
function Queue:on_put(item) end

---Gives the newest item first.
---@class moonlet.LifoQueue: moonlet.Queue
local LifoQueue = {} -- luacheck: ignore 211

---Gives the item with the smallest priority first, of equal ones the oldest. A priority is what `<` compares: numbers, strings,
---tables with a metamethod, Python objects. Without one the item is its own.
---@class moonlet.PriorityQueue: moonlet.Queue
local PriorityQueue = {}

---Waits until there is room, and puts an item into the queue.
---Errors: Closed; TimeoutError; a priority that cannot be compared with those that are there.
---@param item any
---@param priority? any
---@param timeout? number seconds
function PriorityQueue:put(item, priority, timeout) end

---The same if there is room.
---Errors: Closed; a priority that cannot be compared with those that are there.
---@param item any
---@param priority? any
---@return boolean put false: there is none
function PriorityQueue:try_put(item, priority) end

---For moonlet.select: puts an item.
---Errors: no priority.
---@param item any
---@param priority? any
---@return moonlet.Case
function PriorityQueue:on_put(item, priority) end

---A new queue.
---Errors: a size that is no integer.
---@param maxsize? integer how many items it holds; 0, the default: as many as there are
---@return moonlet.Queue
function moonlet.queue(maxsize) end

---A new queue that gives the newest item first.
---Errors: a size that is no integer.
---@param maxsize? integer
---@return moonlet.LifoQueue
function moonlet.lifo_queue(maxsize) end

---A new queue that gives the item with the smallest priority first.
---Errors: a size that is no integer.
---@param maxsize? integer
---@return moonlet.PriorityQueue
function moonlet.priority_queue(maxsize) end

---A value, or error, that is there later.
---@class moonlet.Future
---@field status "pending"|"done"|"failed"|"cancelled"
---@field done boolean Whether it has its value or error, or was cancelled.
---@field cancelled boolean Whether it was cancelled.
---@field result any The value; nil before.
---@field error any The error; nil if there is none.
local Future = {}

---Who waits for it gets the value.
---Errors: a future that has its value or error.
---@param value any
---@return boolean set false: it was cancelled
function Future:set_result(value) end

---Who waits for it gets the error.
---Errors: a future that has its value or error.
---@param err any
---@return boolean set false: it was cancelled
function Future:set_error(err) end

---Nobody wants it any more: raises TaskCancelled in who waits for it.
---Errors: none.
---@param reason? any
---@return boolean cancelled false: it is done
function Future:cancel(reason) end

---Waits for the value.
---Errors: the error that was set; TaskCancelled; TimeoutError.
---@param timeout? number seconds
---@return any value
function Future:get(timeout) end

---Waits until it is done, however.
---Errors: none.
---@param timeout? number seconds
---@return boolean done false: not within the timeout
function Future:wait(timeout) end

---Calls f(future) when it is done, in the hub: f cannot wait.
---Errors: what cannot be called.
---@param f function called with the future
---@return moonlet.Future
function Future:link(f) end

---For moonlet.select: waits for the value; the future itself does so, too.
---Errors: none.
---@return moonlet.Case
function Future:on_get() end

---A new future.
---Errors: none.
---@return moonlet.Future
function moonlet.future() end

return moonlet
