---@meta moonlet

-- The scheduler: what tasks do, supervisors, and frame clocks. See ../moonlet.lua.

---@class moonlet
---@field frames moonlet.FrameClock The frame clock of the program: each moonlet.step is a frame; in moonlet.run there are 60 a second.
local moonlet = {}

---A node of the tree of tasks. tostring(node) gives it as text, as tostring(list) does.
---@class moonlet.TaskNode
---@field kind "task"|"nursery"|"supervisor"
---@field name string
---@field status string That of the task; of others "open" or "cancelled".
---@field children moonlet.TaskNode[]
---@field task? moonlet.Task
---@field used? number The seconds that the task has run.
---@field waits? string What the task waits for.
---@field since? number For how many seconds it has waited.

---What there is, as a list of trees.
---Errors: none.
---@return moonlet.TaskNode[]
function moonlet.tasks() end

---Writes all tasks as a tree, with their stacks.
---Errors: what has no method write, or those of that.
---@param file? any a file of Lua or Python; default: stderr
function moonlet.dump(file) end

---@class moonlet.Stats
---@field tasks integer Those that were spawned and have not ended.
---@field spawned integer All that there were.
---@field ready integer Those that would run now.
---@field timers integer Those that are set.
---@field waits integer How often the scheduler has waited for I/O, timers and other threads.

---Numbers.
---Errors: none.
---@return moonlet.Stats
function moonlet.stats() end

---From now on calls f for what tasks do: f("spawn", task), f("switch", task), f("wait", task, what, on), f("cancel", task?, reason), f("end", task), f("idle"). f cannot wait; if it fails, that is reported and it is not called again.
---Errors: what cannot be called.
---@param f? fun(event: string, task: moonlet.Task?, detail: any, on: any) nil: no more
---@return function? before the one that there was
function moonlet.set_trace(f) end

---From now on writes what tasks do to a new file, in the Chrome trace event format, until it is closed or the program ends.
---Errors: OSError.
---@param path string
---@return moonlet.Trace
function moonlet.trace_to(path) end

---A file that what tasks do is written to; a to-be-closed variable closes it.
---@class moonlet.Trace
local Trace = {}

---Completes the file.
---Errors: none; that it cannot be written is reported to the handler of moonlet.on_error.
function Trace:close() end

---From now on a task that runs longer than that without waiting is reported, by on_error or to stderr, when it waits at last.
---Errors: a negative number.
---@param seconds? number nil: no more
---@return number? before what was set
function moonlet.set_watchdog(seconds) end

---A child of a supervisor: what is in the list part are the arguments of `start`.
---@class moonlet.Child
---@field start function A function or Python callable.
---@field name? string
---@field restart? "permanent"|"transient"|"temporary" Whether it is started again: always, the default; after an error; never.
---@field shutdown? number How many seconds it has to end when it is cancelled, by default 5; then each of its waits ends, shielded or not.
---@field [integer] any

---@class moonlet.Supervision
---@field children (moonlet.Child|function)[]
---@field strategy? "one_for_one"|"one_for_all"|"rest_for_one" Who is started again when one has ended: that one, the default; all; that one and those after it.
---@field intensity? number More restarts than that ... (default: 3)
---@field period? number ... within so many seconds end the supervisor with an error. (default: 5)
---@field backoff? number Seconds before a restart, twice as long for each one within the period. (default: 0)
---@field max_backoff? number The longest one. (default: 30)
---@field name? string

---A task that starts children, in their order, and starts them again when they end. When it ends or is cancelled it ends them, the last one first.
---Errors: wrong options. The task fails with a RuntimeError, the cause of which is the last child's error, after too many restarts.
---@param options moonlet.Supervision
---@return moonlet.Task
function moonlet.supervisor(options) end

---The same in the task that calls: returns when all children have ended for good.
---Errors: wrong options; too many restarts.
---@param options moonlet.Supervision
function moonlet.supervise(options) end

---Waits until the next frame of moonlet.frames begins.
---Errors: a cancel.
---@return number seconds how long the last one was, in the clock's time
function moonlet.next_frame() end

---Waits until n frames of moonlet.frames have begun.
---Errors: a cancel; no number of frames.
---@param n integer
---@return number seconds how long that was, in the clock's time
function moonlet.wait_frames(n) end

---@class moonlet.FrameOptions
---@field fps? number It goes by itself, so many frames a second.
---@field manual? boolean It goes by its method tick.
---@field time_scale? number
---@field max_dt? number

---A new frame clock; without `fps` and `manual` it goes as moonlet.frames does.
---Errors: wrong options.
---@param options? moonlet.FrameOptions
---@return moonlet.FrameClock
function moonlet.frame_clock(options) end

---Time that passes in frames.
---@class moonlet.FrameClock
---@field time_scale number How fast its time passes: 1 as the real one, 0 not at all. Can be set.
---@field paused boolean Whether it stands still: no frame begins. Can be set.
---@field frame integer How many frames have begun.
---@field time number How many seconds of its time have passed, as of the last frame.
---@field dt number How long the last frame was in its time.
---@field fps number How many frames a second there are where no host drives it.
---@field max_dt number What a frame of a host counts at most, in seconds. Can be set.
local FrameClock = {}

---Waits until the next frame begins.
---Errors: a cancel.
---@return number seconds how long it was, in the clock's time, since the frame in which it began to wait
function FrameClock:next_frame() end

---Waits until n frames have begun.
---Errors: a cancel; no number of frames.
---@param n integer
---@return number seconds how long that was, in the clock's time
function FrameClock:wait_frames(n) end

---Waits until so much of the clock's time has passed: to the first frame that is not before.
---Errors: a cancel; a negative number.
---@param seconds number
function FrameClock:sleep(seconds) end

---No frame begins until resume().
---Errors: none.
function FrameClock:pause() end

---Frames begin again. The time in between is none of the clock's.
---Errors: none.
function FrameClock:resume() end

---One frame, of a clock that was made with manual = true.
---Errors: another clock; a negative number.
---@param seconds? number default: 1 / fps
function FrameClock:tick(seconds) end

return moonlet
