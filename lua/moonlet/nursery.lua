-- Nurseries: tasks that end before the block that has opened the nursery does.

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local scope = require "moonlet.scope"
local task = require "moonlet.task"

local nursery = {}

local methods = setmetatable({}, { __index = scope.methods })
local Nursery = class.define("nursery", methods, scope.properties, scope.setters, "Nursery")

local builtins = moonlet.python.builtins
local exits = moonlet.python.tuple { builtins.KeyboardInterrupt, builtins.SystemExit, moonlet.GreenletExit }

-- A child has ended. Returns whether its error will be raised here.
local function on_end(n, t)
    if t.is_daemon then
        n.daemons = n.daemons - 1
    end
    if n.waits and n.children <= n.daemons then
        n.waits = false
        hub.wake(n.entry)
    end
    if t.finished == "failed" and not t.starting then -- else whoever has called start() is told
        n.errors[#n.errors + 1] = t.value
        scope.cancel(n, ("%s has failed: %s"):format(t.name, tostring(t.value)))
    end
    return true
end

--- For both languages: opens a nursery in the current task, and its scope.
function nursery.open()
    local n = scope.new(false, "nursery", Nursery)
    n.children, n.daemons, n.errors, n.on_end = 0, 0, {}, on_end
    n.waits, n.finished = false, false
    n.entry = { task = n.task, what = "nursery", on = n, shielded = true, outcome = nil }
    return scope.enter(n)
end

-- What ends more than the nursery: of such errors the first is raised alone.
local function first_exit(errors)
    for _, err in ipairs(errors) do
        if moonlet.python.isinstance(err, exits) then
            return err
        end
    end
end

local function group(n)
    local errors = n.errors
    local list = moonlet.python.builtins.list()
    for _, err in ipairs(errors) do
        list.append(native.exception_of(err))
    end
    local text = #errors == 1 and "a task of a nursery has failed"
        or ("%d tasks of a nursery have failed"):format(#errors)
    return moonlet.python.builtins.BaseExceptionGroup(text, list)
end

-- Waits for the children. Returns whether there were any.
local function settle(n, failed, err)
    if failed then
        if not native.is_cancel(err) then
            table.insert(n.errors, 1, err)
        end
        scope.cancel(n, "the block of the nursery has failed: " .. tostring(err))
    end
    local has_waited = n.children > 0
    while n.children > 0 do
        if n.children == n.daemons then
            scope.cancel(n, "only daemons are left in the nursery")
        end
        n.entry.outcome = nil
        n.waits = true
        local ok, why = native.pcall(hub.wait, n.entry)
        n.waits = false
        if not ok then
            if n.effective and moonlet.python.isinstance(why, moonlet.Deadlock) then
                error(why, 0) -- what was cancelled waits all the same, for nothing
            end
            table.insert(n.errors, why)
            scope.cancel(n, tostring(why))
        end
    end
    return has_waited
end

--- Waits for the children, then leaves. `failed`: the block has raised `err`. Returns whether that is
--- the nursery's own cancel, which ends here; raises a group of all errors if there are any. Children are
--- left behind only if nothing can ever end them, or if there is no memory to wait.
function nursery.close(n, failed, err)
    if n.finished then
        return false
    end
    local ok, has_waited = native.pcall(settle, n, failed, err)
    if not ok then
        native.pcall(scope.cancel, n)
    end
    n.finished = true
    local absorbed = scope.close(n, failed, err)
    if not ok then
        error(has_waited, 0)
    elseif #n.errors > 0 then
        error(first_exit(n.errors) or group(n), 0)
    end
    if has_waited and not failed and n.task.scope.effective then
        hub.yield(n.task) -- raises what has cancelled the tasks: nobody has been told yet
    end
    return absorbed
end

local function finish(n, ok, ...)
    if ok then
        nursery.close(n)
        return ...
    end
    if not nursery.close(n, true, (...)) then
        error((...), 0)
    end
end

--- moonlet.nursery(f, ...): calls f(nursery, ...), waits until all tasks have ended that were spawned in
--- the nursery, and returns the results of f. If one of them fails, or f, all others are cancelled;
--- when they have ended, a Python ExceptionGroup of all errors is raised. nursery:cancel() ends it
--- early, without an error; then nothing is returned.
function nursery.nursery(f, ...)
    hub.check_callable(f, "nursery", 1)
    local n = nursery.open()
    return finish(n, native.pcall(f, n, ...))
end

local function check(n, name)
    if type(n) ~= "table" or getmetatable(n) ~= Nursery then
        hub.bad_argument(1, name, "nursery", n)
    end
    if n.finished then
        hub.misuse("RuntimeError", "the nursery is closed: its block has ended")
    end
end

--- nursery:spawn(f, ...): a task of the nursery that will call f(...).
function methods.spawn(self, f, ...)
    check(self, "spawn")
    hub.check_callable(f, "spawn", 1)
    return task.create(self, f, ...)
end

--- nursery:start(f, ...): spawns a task that calls f(started, ...), and waits until that calls
--- started(...). Returns what started was called with, and raises the task's error if it fails before.
function methods.start(self, f, ...)
    check(self, "start")
    hub.check_callable(f, "start", 1)
    local me = hub.self()
    local entry = { task = me, what = "start", on = self }
    local values
    local child
    local function started(...)
        if values then
            hub.misuse("RuntimeError", "started() was called before")
        end
        values = table.pack(...)
        child.starting = false
        hub.wake(entry)
    end
    child = task.create(self, f, started, ...)
    child.starting = true
    entry.on = child
    task.see(child)
    child:link(function()
        hub.wake(entry)
    end)
    local ok, err = native.pcall(hub.wait, entry)
    if not ok then
        child.starting = false
        child:cancel("nobody waits for its start any more")
        error(err, 0)
    end
    if values then
        return table.unpack(values, 1, values.n)
    end
    if child.finished == "done" then
        hub.misuse("RuntimeError", ("%s has ended before it called started()"):format(child.name))
    end
    return child:join()
end

methods.start = hub.facing(methods.start)

--- nursery:cancel([reason]): cancels the block and all tasks.
function methods.cancel(self, reason)
    return scope.cancel(self, reason)
end

function Nursery.__tostring(n)
    return ("nursery: %d tasks%s"):format(n.children, n.finished and ", closed" or "")
end

nursery.methods = methods

return nursery
