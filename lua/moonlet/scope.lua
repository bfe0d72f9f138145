-- Cancel scopes: trees of what is cancelled together. The scopes of a task are nested; the outermost
-- one is the task itself, and its parent is a nursery's scope or the one of the whole run.
--
-- A scope is in force (`effective`) when it or one around it, up to the first shield, was cancelled.
-- Then every wait in it raises moonlet.Cancelled, again and again, until the task has left it.

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"

local scope = {}

local methods, properties, setters = {}, {}, {}
local Scope = class.define("cancel scope", methods, properties, setters, "CancelScope")

-- --------------------------------------------------------------------------------- the tree

--- Makes room for the children of `parent`, so that attach does not fail.
function scope.reserve(parent)
    parent.first, parent.last = parent.first or false, parent.last or false
end

--- Makes `child` a scope inside `parent`.
function scope.attach(child, parent)
    child.parent = parent
    local last = parent.last
    child.before = last or false
    if last then
        last.after = child
    else
        parent.first = child
    end
    parent.last = child
    if parent.effective and not child.shielded then
        child.effective = true
    end
end

function scope.detach(child)
    local parent, before, after = child.parent, child.before, child.after
    if before then
        before.after = after
    else
        parent.first = after
    end
    if after then
        after.before = before
    else
        parent.last = before
    end
    child.before, child.after = false, false
end

-- `s` has become cancelled: so are all in it that are not shielded.
local function spread(s)
    if s.effective then
        return
    end
    local child = s.first
    while child do
        local after = child.after
        if not child.shielded then
            spread(child)
        end
        child = after
    end
    local task = s.task or s
    if task.scope == s then
        hub.interrupt(task)
    end
    s.effective = true -- at last: if there was no memory for all that, the next cancel does it
end

-- What is in force in `s` may be less than before: its shield is new.
local function recompute(s)
    local effective = s.cancelled or (not s.shielded and s.parent and s.parent.effective)
    if effective then
        spread(s)
    elseif s.effective then
        s.effective = false
        local child = s.first
        while child do
            recompute(child)
            child = child.after
        end
    end
end

--- Cancels a scope, or a task. False: it was cancelled before.
function scope.cancel(s, reason)
    if s.cancelled then
        if not s.effective then
            spread(s)
        end
        return false
    end
    rawset(s, "cancelled", true)
    rawset(s, "reason", reason)
    if hub.trace then
        hub.trace("cancel", s.task or s, reason)
    end
    spread(s)
    return true
end

-- --------------------------------------------------------------------------------- deadlines

local function deadline_passed(timer)
    local s = timer.scope
    s.timer = false
    s.expired = true
    scope.cancel(s, ("the deadline has passed (%s)"):format(s.what or "cancel scope"))
end

local function set_deadline(s, deadline)
    if s.timer then
        hub.remove_timer(s.timer)
        s.timer = false
    end
    s.deadline_at = deadline
    if s.closed or deadline == math.huge then
        return
    elseif deadline <= hub.now() then
        deadline_passed { scope = s }
    else
        s.timer = { when = deadline, fire = deadline_passed, scope = s }
        hub.add_timer(s.timer)
    end
end

-- ---------------------------------------------------------------------------- enter and leave

--- A scope for the current task, see scope.enter. `what` made it, for messages.
function scope.new(shielded, what, class_of)
    return setmetatable({
        task = hub.self(),
        shielded = shielded or false,
        what = what,
        parent = false,
        before = false,
        after = false,
        effective = false,
        cancelled = false,
        caught = false,
        closed = false,
        timer = false,
        deadline_at = math.huge,
    }, class_of or Scope)
end

--- Its task enters it: from now on it is the innermost one. To be closed by the same task, inner ones first.
--- Returns it. If there is no memory, nothing has changed.
function scope.enter(s, deadline)
    local me = s.task
    local parent = me.scope
    scope.reserve(parent)
    if deadline then
        hub.start()
        set_deadline(s, deadline)
    end
    scope.attach(s, parent)
    me.scope = s
    return s
end

--- Makes a scope, and enters it.
function scope.open(deadline, shielded, what)
    return scope.enter(scope.new(shielded, what), deadline)
end

--- Leaves it. `failed`: with the error `err`. Returns whether the error is the scope's own cancel, which
--- ends here.
function scope.close(s, failed, err)
    if s.closed then
        return false
    end
    local me = s.task
    s.closed = true
    while me.scope ~= s and me.scope.parent and me.scope ~= me do
        scope.close(me.scope) -- left open by an error that nobody saw
    end
    me.scope = s.parent
    scope.detach(s)
    if s.timer then
        hub.remove_timer(s.timer)
        s.timer = false
    end
    local outer = s.parent.effective and not s.shielded
    if failed and s.effective and not outer and native.is_cancel(err) then
        rawset(s, "caught", true)
        return true
    end
    return false
end

local function finish(s, ok, ...)
    if ok then
        scope.close(s)
        return true, ...
    end
    if scope.close(s, true, (...)) then
        return false
    end
    error((...), 0)
end

-- Runs f(...) in the scope: true and its results, or false if it was cancelled.
local function run(s, f, ...)
    return finish(s, native.pcall(f, ...))
end
scope.run = run

-- -------------------------------------------------------------------------------- the functions

--- moonlet.cancel_scope(f, ...): calls f(scope, ...), in which scope:cancel(reason) cancels all that f
--- waits for. Returns true and the results of f, or false if it was cancelled.
function scope.cancel_scope(f, ...)
    hub.check_callable(f, "cancel_scope", 1)
    local s = scope.open(nil, false, "cancel_scope")
    return run(s, f, s, ...)
end

--- moonlet.move_on_after(seconds, f, ...): calls f(...), for at most so long. Returns true and its
--- results, or false if the time was over before.
function scope.move_on_after(seconds, f, ...)
    hub.check_seconds(seconds, "move_on_after", 1)
    hub.check_callable(f, "move_on_after", 2)
    return run(scope.open(hub.now() + seconds, false, "move_on_after"), f, ...)
end

--- moonlet.move_on_at(time, f, ...): the same until a time of moonlet.now().
function scope.move_on_at(time, f, ...)
    hub.check_time(time, "move_on_at", 1)
    hub.check_callable(f, "move_on_at", 2)
    return run(scope.open(time, false, "move_on_at"), f, ...)
end

--- The exception TimeoutError.
function scope.timeout_error(text)
    return moonlet.python.builtins.TimeoutError(text)
end

local function or_fail(text, done, ...)
    if done then
        return ...
    end
    error(scope.timeout_error(text), 0)
end

--- moonlet.fail_after(seconds, f, ...): calls f(...) and returns its results, or raises TimeoutError if
--- it takes longer.
function scope.fail_after(seconds, f, ...)
    hub.check_seconds(seconds, "fail_after", 1)
    hub.check_callable(f, "fail_after", 2)
    local s = scope.open(hub.now() + seconds, false, "fail_after")
    return or_fail(("timed out after %g seconds"):format(seconds), run(s, f, ...))
end

--- moonlet.fail_at(time, f, ...): the same until a time of moonlet.now().
function scope.fail_at(time, f, ...)
    hub.check_time(time, "fail_at", 1)
    hub.check_callable(f, "fail_at", 2)
    return or_fail("timed out", run(scope.open(time, false, "fail_at"), f, ...))
end

--- moonlet.shield(f, ...): calls f(...), in which a cancel from outside does not end waits. Returns its
--- results. What was cancelled meanwhile is raised by the next wait after it.
function scope.shield(f, ...)
    hub.check_callable(f, "shield", 1)
    return select(2, run(scope.open(nil, true, "shield"), f, ...))
end

--- moonlet.checkpoint(): lets others run; raises a cancel.
function scope.checkpoint()
    hub.yield(hub.self())
end

-- ----------------------------------------------------------------------------------- methods

--- scope:cancel([reason]): cancels all that waits, or will wait, in the scope. False: it was before.
function methods.cancel(self, reason)
    return scope.cancel(self, reason)
end

--- When it is cancelled, in the time of moonlet.now(); math.huge: never. Can be set.
function properties.deadline(s)
    return s.deadline_at
end

--- Whether a cancel from outside is kept out. Can be set.
function properties.shield(s)
    return s.shielded
end

-- Fields of their own, but not to be set.
for _, name in ipairs { "cancelled", "caught" } do
    properties[name] = function() end
end

function setters.deadline(s, value)
    if type(value) ~= "number" or value ~= value then
        hub.misuse("TypeError", ("bad value for 'deadline' (time expected, got %s)"):format(hub.type_name(value)))
    end
    set_deadline(s, value)
end

function setters.shield(s, value)
    s.shielded = value and true or false
    recompute(s)
end

function Scope.__tostring(s)
    return ("cancel scope (%s%s)"):format(s.what or "?", s.cancelled and ", cancelled" or "")
end

scope.methods, scope.properties, scope.setters = methods, properties, setters

return scope
