-- Who is told what tasks do: hooks, traces for Perfetto, the watchdog.

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"

local trace = {}

-- ------------------------------------------------------------------------------------- hooks

local hooks = {} -- a list of functions, called with what hub.set_trace calls; they raise no errors

local function tell(event, task, detail)
    for i = 1, #hooks do
        local hook = hooks[i]
        if hook then -- else one before has taken it out
            hook(event, task, detail)
        end
    end
end

local function add_hook(hook)
    table.insert(hooks, hook)
    hub.set_trace(tell)
end

local function remove_hook(hook)
    for i, other in ipairs(hooks) do
        if other == hook then
            table.remove(hooks, i)
            break
        end
    end
    if #hooks == 0 then
        hub.set_trace(nil)
    end
end

-- --------------------------------------------------------------------------- the user's hook

local user, user_hook -- the function, and what calls it
local BARRED = "a trace function cannot wait"

local function make_user_hook(f)
    local inside = false -- what it does itself is not told
    return function(event, task, detail)
        if inside then
            return
        end
        inside = true
        local ok, err
        if event == "wait" then
            ok, err = native.call_barred(BARRED, f, event, task, detail.what, detail.on)
        else
            if event == "cancel" and not rawget(task, "number") then
                task = nil -- a scope that is nobody's
            end
            ok, err = native.call_barred(BARRED, f, event, task, detail)
        end
        inside = false
        if not ok then
            trace.set_trace(nil)
            hub.report("error in the trace function, which is not called any more", err)
        end
    end
end

--- moonlet.set_trace(f): from now on calls f(event, ...) for what tasks do; nil: no more. Returns the
--- function that there was. f cannot wait; if it fails that is reported, and it is not called again.
---
--- "spawn", task: it was made, by the task that runs
--- "switch", task: it runs from now on
--- "wait", task, what, on: it stops for that; `what` is a text, "yield" if it lets others run
--- "cancel", task or nil, reason: it, a scope of it or, with nil, a nursery is cancelled
--- "end", task: it has ended, see its status
--- "idle": no task is ready, the scheduler waits
function trace.set_trace(f)
    if f ~= nil then
        hub.check_callable(f, "set_trace", 1)
    end
    local before = user
    if user_hook then
        remove_hook(user_hook)
    end
    user, user_hook = f, nil
    if f ~= nil then
        user_hook = make_user_hook(f)
        add_hook(user_hook)
    end
    return before
end
trace.set_trace = hub.facing(trace.set_trace)

-- ------------------------------------------------------------------ the Chrome trace event format

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t" }

local function escape(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
end

-- A text as a string of JSON; what is no UTF-8 is taken byte by byte.
local function json(text)
    if #text > 400 then
        text = text:sub(1, 400) .. "..."
    end
    if not utf8.len(text) then
        text = text:gsub("[\x80-\xff]", function(c)
            return utf8.char(c:byte())
        end)
    end
    return '"' .. text:gsub('[%c"\\\x7f]', escape) .. '"'
end

local function describe(value)
    local ok, text = native.call_barred(BARRED, tostring, value)
    return json(ok and text or "?")
end

local methods, properties = {}, {}
local Trace = class.define("trace", methods, properties, nil, "Trace")

-- Tracks: 0 is the scheduler, others are tasks by their numbers.
local PROCESS = '"pid":1,"tid":%d'

local function write(self, text)
    if not self.error then
        local ok, err = self.file:add(text)
        if not ok then
            self.error = err
            hub.report(("the trace %s cannot be written"):format(self.path), err)
        end
    end
end

local function microseconds(self)
    return (hub.now_raw() - self.start) * 1e6
end

-- Names the task's track, unless it has that name.
local function name_track(self, task)
    local label = task.label or true
    if self.labels[task] == label then
        return
    end
    self.labels[task] = label
    self.names[task] = json(task.name)
    local format = '{"ph":"M","name":"thread_name",' .. PROCESS .. ',"args":{"name":%s}}'
    write(self, format:format(task.number, self.names[task]))
    local order = '{"ph":"M","name":"thread_sort_index",' .. PROCESS .. ',"args":{"sort_index":%d}}'
    write(self, order:format(task.number, task.number))
end

local function instant(self, name, track, arguments)
    local format = '{"ph":"i","s":"t","name":"%s",' .. PROCESS .. ',"ts":%.3f,"args":{%s}}'
    write(self, format:format(name, track, microseconds(self), arguments or ""))
end

-- The task that ran does not run any more.
local function end_slice(self)
    local task = self.running
    if task then
        self.running = false
        write(self, ('{"ph":"E",' .. PROCESS .. ',"ts":%.3f}'):format(task.number, microseconds(self)))
    end
end

-- It runs from now on.
local function begin_slice(self, task)
    name_track(self, task)
    self.running = task
    local format = '{"ph":"B","cat":"task","name":%s,' .. PROCESS .. ',"ts":%.3f}'
    write(self, format:format(self.names[task], task.number, microseconds(self)))
end

local function flow(self, phase, task, track)
    local format = '{"ph":"%s","name":"spawn","cat":"spawn","id":%d,' .. PROCESS .. ',"ts":%.3f%s}'
    local binding = phase == "f" and ',"bp":"e"' or ""
    write(self, format:format(phase, task.number, track, microseconds(self), binding))
end

local events = {}

function events.spawn(self, task)
    name_track(self, task)
    local by = self.running
    local track = by and by.number or 0
    instant(self, "spawn", track, '"task":' .. self.names[task])
    if by then -- an arrow begins and ends in slices
        self.new[task] = true
        flow(self, "s", task, track)
    end
end

function events.switch(self, task)
    end_slice(self)
    begin_slice(self, task)
    if self.new[task] then
        self.new[task] = nil
        flow(self, "f", task, task.number)
    end
end

function events.wait(self, task, entry)
    name_track(self, task)
    if self.running ~= task then -- somebody has switched to it
        end_slice(self)
    end
    local arguments = '"what":' .. json(tostring(entry.what))
    if entry.on ~= nil then
        arguments = arguments .. ',"on":' .. describe(entry.on)
    end
    instant(self, "wait", task.number, arguments)
    end_slice(self)
end

function events.cancel(self, task, reason)
    task = task and rawget(task, "number") and task
    if task then
        name_track(self, task)
    end
    instant(self, "cancel", task and task.number or 0, reason ~= nil and '"reason":' .. describe(reason) or nil)
end

events["end"] = function(self, task)
    name_track(self, task)
    instant(self, "end", task.number, '"status":' .. json(task.finished))
    if self.running == task then
        end_slice(self)
    end
    self.new[task] = nil
end

function events.idle(self)
    end_slice(self)
end

--- moonlet.trace_to(path): from now on writes what tasks do to a new file, in the Chrome trace event format,
--- which Perfetto (ui.perfetto.dev) and chrome://tracing show: a track for each task, with when it runs.
--- Until it is closed, by trace:close(), a to-be-closed variable or the end of the program, however that
--- comes. A file that cannot be written is an error.
function trace.trace_to(path)
    if type(path) ~= "string" then
        hub.bad_argument(1, "trace_to", "path", path)
    end
    local file, err, number = native.trace_file(path)
    if not file then
        error(moonlet.python.builtins.OSError(number, err, path), 0)
    end
    local self = setmetatable({
        path = path,
        file = file,
        start = hub.now_raw(),
        running = false,
        error = false,
        closed = false,
        hook = false,
        labels = setmetatable({}, { __mode = "k" }),
        names = setmetatable({}, { __mode = "k" }),
        new = {},
    }, Trace)
    write(self, '{"ph":"M","name":"process_name","pid":1,"args":{"name":"moonlet"}}')
    write(self, '{"ph":"M","name":"thread_name",' .. PROCESS:format(0) .. ',"args":{"name":"scheduler"}}')
    local current = hub.switched()
    if current.number and not current.entry then
        begin_slice(self, current)
    end
    self.hook = function(event, task, detail)
        events[event](self, task, detail)
    end
    add_hook(self.hook)
    return self
end

--- trace:close(): completes the file.
function methods.close(self)
    if self.closed then
        return
    end
    remove_hook(self.hook)
    end_slice(self)
    self.closed = true
    local ok, err = self.file:close()
    if not ok and not self.error then
        self.error = err
        hub.report(("the trace %s cannot be written"):format(self.path), err)
    end
end

trace.methods = methods
Trace.__close = methods.close

function Trace.__tostring(self)
    return ("trace: %s%s"):format(self.path, self.closed and ", closed" or "")
end

-- --------------------------------------------------------------------------------- the watchdog

local limit, watch
local Overrun = { __name = "overrun" }

function Overrun.__tostring(overrun)
    return overrun.stack
end

local function report(task, time, waits)
    -- At its end it has no stack any more.
    local stack = waits and require("moonlet.inspect").stack_here() or ""
    local err = setmetatable({ task = task, seconds = time, stack = stack }, Overrun)
    hub.report(("%s has run for %.3f seconds without waiting"):format(task.name, time), err, task)
end

local function make_watch()
    local runs = hub.switched()
    local since = hub.now_raw()
    return function(event, task)
        if event == "switch" then
            runs, since = task, hub.now_raw()
        elseif (event == "wait" or event == "end") and task == runs then
            local time = hub.now_raw() - since
            runs = nil
            if time > limit then
                report(task, time, event == "wait")
            end
        end
    end
end

--- moonlet.set_watchdog(seconds): from now on a task that runs longer than that without waiting is reported,
--- by on_error or to stderr, when it waits at last, with where that is; nil: no more. Returns what was set
--- before.
function trace.set_watchdog(seconds)
    if seconds ~= nil then
        hub.check_seconds(seconds, "set_watchdog", 1)
    end
    local before = limit
    limit = seconds
    if watch then
        remove_hook(watch)
        watch = nil
    end
    if limit then
        watch = make_watch()
        add_hook(watch)
    end
    return before
end

return trace
