-- Tasks: spawn, join, results, errors that nobody joins; and run().

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local scope = require "moonlet.scope"
local waitlist = require "moonlet.waitlist"

local task = {}

local methods, properties, setters = {}, {}, {}
local Task = class.define("task", methods, properties, setters, "Task")
task.meta = Task

local new_greenlet, pack, unpack = native.new_greenlet, table.pack, table.unpack
local attach, ready = scope.attach, hub.ready

local count = 0
local started = hub.all_tasks()

-- ------------------------------------------------------------------------------------- making

-- The fields that every task has, so that none that is used often is looked up in the class: not more
-- than 16, for which Lua makes room at once. `arguments` are those of the start: true if there are none,
-- and false from the start on. `value` is the result, or an error, or Results;
-- before, when it was left, by hub.now_raw.
local function object(address, g, f, arguments)
    count = count + 1
    local t = {
        id = address,
        greenlet = g,
        number = count,
        body = f,
        arguments = arguments,
        value = false,
        scope = false,
        parent = false,
        before = false,
        after = false,
        entry = false,
        effective = false,
        finished = false,
        joiners = false,
        rank = 0,
        used = 0,
    }
    t.scope = t
    return setmetatable(t, Task)
end

-- The arguments of f. Those that came from Python are boxed, which Python undoes itself.
local function arguments_of(f, ...)
    if select("#", ...) == 0 then
        return true
    elseif type(f) == "function" then
        return pack(native.unbox(...))
    end
    return pack(...)
end

-- A new task for f(...), which will be in the scope `parent`.
local function make(parent, f, ...)
    if parent.last == nil then
        scope.reserve(parent)
    end
    local g, address = new_greenlet(f, hub.greenlet or hub.start())
    return object(address, g, f, arguments_of(f, ...))
end

-- Puts it there, when nothing can fail any more.
local function enter(t, parent)
    attach(t, parent)
    parent.children = parent.children + 1
    if hub.trace then
        hub.trace("spawn", t)
    end
end

-- A new task for f(...) in the scope `parent`, which is ready.
local function create(parent, f, ...)
    local t = make(parent, f, ...)
    ready(t)
    enter(t, parent)
    return t
end
task.create = create

-- The greenlet that runs, which nobody has spawned.
hub.set_adopt(function(address)
    hub.start()
    local g = moonlet.current()
    local t = object(address, g, nil, false)
    t.parent = hub.root -- which does not wait for it, and is never cancelled
    t.adopted = true
    if not g.parent then
        hub.main_task = t
        t.label = "main"
    end
    return t
end)

--- moonlet.spawn(f, ...): a new task that will call f(...), a Lua function or Python callable, when the
--- current one waits. Returns the task.
function task.spawn(f, ...)
    if type(f) ~= "function" then
        hub.check_callable(f, "spawn", 1)
    end
    return create(hub.base, f, ...)
end

local function start_later(timer)
    local t = timer.owner
    t.timer = nil
    if not t.finished then
        hub.ready(t)
    end
end

--- moonlet.spawn_later(seconds, f, ...): the same, but it starts so much later.
function task.spawn_later(seconds, f, ...)
    hub.check_seconds(seconds, "spawn_later", 1)
    hub.check_callable(f, "spawn_later", 2)
    local base = hub.base
    local t = make(base, f, ...)
    t.timer = { when = hub.now() + seconds, fire = start_later, owner = t }
    hub.add_timer(t.timer)
    enter(t, base)
    return t
end

-- --------------------------------------------------------------------------------- the end

local pending = {} -- errors that nobody has joined yet: by the number of the task
local orphans = {} -- the numbers of those that nobody can join any more
local unseen = false

-- What a task that has failed refers to, so that its end is noticed.
local Sentinel = {}

function Sentinel.__gc(sentinel)
    orphans[#orphans + 1] = sentinel.number
end

local function report_list(numbers)
    table.sort(numbers)
    for _, number in ipairs(numbers) do
        local failed = pending[number]
        if failed then
            pending[number] = nil
            if native.closing() then
                break -- what ends with the Lua state may fail for that reason
            end
            hub.report(("error in %s, which nobody has joined"):format(failed.name), failed.error)
        end
    end
end

local function report_orphans()
    if #orphans > 0 then
        local list = orphans
        orphans = {}
        report_list(list)
    end
end

-- Finds what nobody can join any more, before the hub waits.
hub.on_idle(function(stepping)
    if unseen and not stepping then
        unseen = false
        collectgarbage()
        collectgarbage()
    end
    report_orphans()
end)

local function report_all()
    local list = {}
    for number in pairs(pending) do
        list[#list + 1] = number
    end
    report_list(list)
end

-- Somebody will have been told of the error of `t`.
local function see(t)
    if t.finished then
        pending[t.number] = nil
    else
        t.seen = true
    end
end
task.see = see

local function call_links(t)
    local links = t.links
    t.links = nil
    for _, link in ipairs(links) do
        if link.on == "any" or (link.on == "success") == (t.finished == "done") then
            local ok, err = native.pcall(link.f, t)
            if not ok then
                hub.report("error in a link of " .. t.name, err)
            end
        end
    end
end

-- What a task has returned, if that is not one value.
local Results = {}

-- Whether an error is one of those that are not a task's, but the program's: sys.exit and Ctrl-C.
local function ends_program(err)
    local builtins = type(err) == "userdata" and moonlet.python.builtins
    return builtins
        and (moonlet.python.isinstance(err, builtins.SystemExit)
            or moonlet.python.isinstance(err, builtins.KeyboardInterrupt))
end

-- The greenlet of `t` has ended. If there is no memory to say how, nothing has changed.
local function complete(t, ok, ...)
    local finished, value = "done", nil
    if not ok then
        value = ...
        finished = "failed"
        if native.is_cancel(value) then
            finished, value = "cancelled", t.value -- without the error: it would keep the frames it has left
        end
    else
        local n = select("#", ...)
        if n == 1 then
            value = ...
        elseif n ~= 0 then
            value = setmetatable(pack(...), Results)
        end
    end
    t.finished, t.value = finished, value
    t.arguments, t.entry, t.greenlet = false, false, false
    started[t.id] = nil
    if t.timer then
        hub.remove_timer(t.timer)
        t.timer = nil
    end
    if hub.trace then
        hub.trace("end", t)
    end
    local parent = t.parent
    scope.detach(t)
    parent.children = parent.children - 1
    local joined = t.joiners
    if joined then
        local entry = waitlist.pop(joined)
        joined = false
        while entry do
            joined = hub.wake(entry) or joined -- not if a select has taken another case
            entry = waitlist.pop(t.joiners)
        end
        t.joiners = false
    end
    if t.links then
        call_links(t)
    end
    local taken = parent.on_end and parent:on_end(t)
    if not parent.on_end and t.is_daemon then
        parent.daemons = parent.daemons - 1
    end
    if t.finished == "failed" and not taken and not joined and not t.seen then
        if ends_program(t.value) then
            hub.raise_in_main(t.value)
            return
        end
        -- As an exception it has its traceback.
        pending[t.number] = { name = t.name, error = native.exception_of(t.value) }
        t.sentinel = setmetatable({ number = t.number }, Sentinel)
        unseen = true
    end
end
hub.set_complete(complete)

-- ------------------------------------------------------------------------------------ joining

local function check_task(value, name)
    if type(value) ~= "table" or getmetatable(value) ~= Task then
        hub.bad_argument(1, name, "task", value)
    end
    return value
end

-- Waits for the end. False: not within `timeout`.
local function wait_end(t, timeout)
    if t.finished then
        hub.pass()
        return true
    end
    local me = hub.self()
    if me == t then
        hub.misuse("RuntimeError", ("%s cannot join itself"):format(t.name))
    end
    if timeout == 0 then
        return false
    end
    local entry = { task = me, what = "join", on = t, undo = waitlist.remove }
    t.joiners = t.joiners or {}
    waitlist.push(t.joiners, entry)
    return hub.wait(entry, timeout)
end

local function has_results(t)
    local value = t.value
    return type(value) == "table" and getmetatable(value) == Results
end

local function cancelled_error(t)
    local reason = t.reason
    return moonlet.TaskCancelled(("%s was cancelled%s"):format(t.name, reason and ": " .. tostring(reason) or ""))
end

-- What it has returned, or raises what it has raised.
local function outcome(t)
    local finished, value = t.finished, t.value
    if finished == "done" then
        if has_results(t) then
            return unpack(value, 1, value.n)
        end
        return value
    end
    see(t)
    if finished == "failed" then
        error(value, 0)
    end
    error(cancelled_error(t), 0)
end
task.outcome = outcome

--- task:join([timeout]): waits until the task has ended. Returns what it returned, or raises its error;
--- TaskCancelled if it was cancelled. TimeoutError: it has not ended within `timeout` seconds.
function methods.join(self, timeout)
    check_task(self, "join")
    if timeout ~= nil then
        hub.check_seconds(timeout, "join", 1)
    end
    if not wait_end(self, timeout) then
        error(scope.timeout_error(("%s has not ended within %g seconds"):format(self.name, timeout)), 0)
    end
    return outcome(self)
end
methods.join = hub.facing(methods.join)

--- task:wait([timeout]): waits until the task has ended, however. False: not within `timeout` seconds.
function methods.wait(self, timeout)
    check_task(self, "wait")
    if timeout ~= nil then
        hub.check_seconds(timeout, "wait", 1)
    end
    return wait_end(self, timeout)
end

--- task:cancel([reason]): raises moonlet.Cancelled where the task waits, and wherever it will wait. One
--- that has not started never will. False: it was cancelled before, or has ended.
function methods.cancel(self, reason)
    check_task(self, "cancel")
    if self.finished then
        return false
    end
    if self.adopted then
        hub.misuse("RuntimeError", ("%s cannot be cancelled: nobody has spawned it"):format(self.name))
    end
    return scope.cancel(self, reason)
end

--- task:link(f [, on]): calls f(task), in the hub, when the task has ended: `on` "success", "failure" or
--- "any" (the default). f cannot wait. With "failure" and "any" its error counts as seen. Returns the
--- task.
function methods.link(self, f, on)
    check_task(self, "link")
    hub.check_callable(f, "link", 1)
    on = on or "any"
    if on ~= "any" and on ~= "success" and on ~= "failure" then
        local text = "bad argument #2 to 'link' ('success', 'failure' or 'any' expected, got '%s')"
        hub.misuse("ValueError", text:format(tostring(on)))
    end
    if on ~= "success" then
        see(self)
    end
    self.links = self.links or {}
    table.insert(self.links, { f = f, on = on })
    if self.finished then
        call_links(self)
    end
    return self
end

function methods.link_success(self, f)
    return methods.link(self, f, "success")
end

function methods.link_failure(self, f)
    return methods.link(self, f, "failure")
end

-- --------------------------------------------------------------------------------- attributes

--- "new": not started; "ready": would run; "running"; "waiting"; "done"; "failed"; "cancelled".
function properties.status(t)
    if t.finished then
        return t.finished
    elseif t.entry then
        return "waiting"
    elseif t.arguments then
        return "new"
    elseif t.id == native.id_of(moonlet.current()) then
        return "running"
    end
    return "ready"
end

--- The first value that it has returned; nil before.
function properties.result(t)
    if t.finished ~= "done" then
        return nil
    elseif has_results(t) then
        return t.value[1]
    end
    return t.value
end
properties.result = hub.facing(properties.result)

--- The error it has ended with; nil otherwise.
function properties.error(t)
    if not t.finished or t.finished == "done" then
        return nil
    end
    see(t)
    return t.finished == "failed" and t.value or cancelled_error(t)
end

--- Its name: the one it was given, else its number and what it runs.
function properties.name(t)
    if t.label then
        return t.label
    end
    local place = ""
    if type(t.body) == "function" then
        local info = debug.getinfo(t.body, "S")
        place = info.what == "C" and "" or (" (%s:%d)"):format(info.short_src, info.linedefined)
    elseif t.body ~= nil then
        local ok, name = native.pcall(function()
            local getattr = moonlet.python.builtins.getattr
            local inner = getattr(t.body, "func", t.body) -- of a partial
            return getattr(t.body, "__qualname__", nil) or getattr(inner, "__qualname__", nil)
        end)
        place = ok and name and (" (%s)"):format(name) or ""
    end
    return ("task %d%s"):format(t.number, place)
end

function properties.priority(t)
    return t.rank
end

--- Whether it has ended.
function properties.ended(t)
    return t.finished ~= false
end

--- Whether run() does not wait for it: it is cancelled when all others have ended.
function properties.daemon(t)
    return t.is_daemon or false
end

function properties.cancelled(_)
    return false
end

--- A table of the task's own, for whatever belongs to it.
function properties.locals(t)
    local locals = {}
    rawset(t, "locals", locals)
    return locals
end

function setters.name(t, value)
    rawset(t, "label", tostring(value))
end

function setters.priority(t, value)
    if math.type(value) ~= "integer" then
        hub.misuse("TypeError", ("bad value for 'priority' (integer expected, got %s)"):format(hub.type_name(value)))
    end
    t.rank = value
    hub.rerank()
end

function setters.daemon(t, value)
    value = value and true or nil
    if value ~= t.is_daemon and not t.finished and t.parent then
        local parent = t.parent
        parent.daemons = (parent.daemons or 0) + (value and 1 or -1)
    end
    rawset(t, "is_daemon", value)
end

function Task.__tostring(t)
    return ("task: %s, %s"):format(t.name, t.status)
end

task.methods, task.properties = methods, properties

--- How many tasks there have been.
function task.count()
    return count
end

--- Whether a value is a task.
function task.is_task(value)
    return type(value) == "table" and getmetatable(value) == Task
end

-- -------------------------------------------------------------------------------------- defer

--- moonlet.defer(f, ...): calls f(...) in the hub when next it is there, before it waits: soon, but not
--- now. f cannot wait.
function task.defer(f, ...)
    hub.check_callable(f, "defer", 1)
    hub.start()
    local arguments = pack(...)
    hub.add_timer {
        when = hub.now(),
        fire = function()
            local ok, err = native.pcall(f, unpack(arguments, 1, arguments.n))
            if not ok then
                hub.report("error in a deferred call", err)
            end
        end,
    }
end

-- ---------------------------------------------------------------------------- several at once

local function check_tasks(tasks, name)
    if type(tasks) ~= "table" or getmetatable(tasks) == Task then
        hub.bad_argument(1, name, "table of tasks", tasks)
    end
    for i, t in ipairs(tasks) do
        if not task.is_task(t) then
            local text = "bad argument #1 to '%s' (a task expected at %d, got %s)"
            hub.misuse("TypeError", text:format(name, i, hub.type_name(t)))
        end
    end
end

--- moonlet.wait_all(tasks [, timeout]): waits until all tasks of a list have ended, however. False: not
--- within `timeout` seconds.
function task.wait_all(tasks, timeout)
    check_tasks(tasks, "wait_all")
    if timeout ~= nil then
        hub.check_seconds(timeout, "wait_all", 2)
    end
    local deadline = timeout and hub.now() + timeout
    for _, t in ipairs(tasks) do
        if not t.finished and not wait_end(t, deadline and math.max(0, deadline - hub.now())) then
            return false
        end
    end
    return true
end

--- moonlet.wait_any(tasks [, timeout]): waits until one task of a list has ended. Returns the first one
--- that has, or nil: none within `timeout` seconds.
function task.wait_any(tasks, timeout)
    check_tasks(tasks, "wait_any")
    if timeout ~= nil then
        hub.check_seconds(timeout, "wait_any", 2)
    end
    for _, t in ipairs(tasks) do
        if t.finished then
            return t
        end
    end
    if #tasks == 0 or timeout == 0 then
        return nil
    end
    local main = { task = hub.self(), what = "wait_any", on = tasks }
    local parts = {}
    local function remove()
        for _, part in ipairs(parts) do
            waitlist.remove(part)
        end
    end
    main.undo = remove
    for i, t in ipairs(tasks) do
        parts[i] = { whole = main }
        t.joiners = t.joiners or {}
        waitlist.push(t.joiners, parts[i])
    end
    local woken = hub.wait(main, timeout)
    remove()
    if not woken then
        return nil
    end
    for _, t in ipairs(tasks) do
        if t.finished then
            return t
        end
    end
end

-- ---------------------------------------------------------------------------------------- run

local function done(base)
    return base.children - (base.daemons or 0) <= 0
end

-- A task of the run has ended.
local function on_end(base, t)
    if t.is_daemon then
        base.daemons = base.daemons - 1
    end
    if t == base.main and t.finished ~= "done" then
        scope.cancel(base, "the main task has failed")
    end
    if done(base) and base.entry then
        hub.wake(base.entry)
    end
end

local function wait_for_all(me, base)
    local failure
    local attempts = 0
    while base.children > 0 do
        if done(base) then
            scope.cancel(base, "the run has ended")
        end
        if base.servant and base.children == 1 and not base.servant.task.finished then
            base.servant:stop() -- it ends after all others
        end
        local entry = { task = me, what = "run", shielded = true }
        base.entry = entry
        hub.set_boss(entry)
        local ok, err = native.pcall(hub.wait, entry)
        base.entry = nil
        if not ok then
            failure = failure or { err }
            attempts = attempts + 1
            scope.cancel(base, tostring(err))
            if attempts > 2 then -- what was cancelled waits all the same, for nothing
                break
            end
        end
    end
    return failure
end

--- See moonlet.run in hub.lua.
function task.run(main, ...)
    if hub.has_boss() then
        hub.misuse("RuntimeError", "moonlet.run() is running already: use moonlet.spawn, or a nursery")
    end
    local me = hub.self()
    local base = { children = 0, first = nil, last = nil, on_end = on_end }
    scope.attach(base, hub.root)
    local before = hub.base
    hub.base = base
    local t = create(base, main, ...)
    t.label = "main"
    base.main = t
    see(t)
    local ok, failure = native.pcall(wait_for_all, me, base)
    hub.set_boss(nil)
    hub.base = before
    scope.detach(base)
    hub.flush_luv()
    if not ok then
        error(failure, 0)
    end
    collectgarbage()
    report_all()
    if failure then
        error(failure[1], 0)
    end
    return outcome(t)
end

return task
