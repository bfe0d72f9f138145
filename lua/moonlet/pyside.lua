-- What the classes in Python (src/hub/_tasks.py, _scopes.py) need beyond what there is for Lua.

local native = require "moonlet.native"
local hub = require "moonlet.hub"
local scope = require "moonlet.scope"
local task = require "moonlet.task"

local pyside = {}

--- Sets an attribute, so that what is wrong with the value is the exception that it should be.
function pyside.set(object, key, value)
    object[key] = value
end

-- ------------------------------------------------------------------------------------- tasks

--- The exception that a task has ended with; nil: it has ended otherwise, or not at all.
function pyside.task_error(t)
    local err = t.error
    if t.status == "failed" or t.status == "cancelled" then
        return native.exception_of(err)
    end
    return nil
end

--- Its name and what it does, for repr().
function pyside.describe(t)
    local status = t.status
    if status == "waiting" then
        return t.name, ("waiting (%s)"):format(t.entry and t.entry.what or "?")
    end
    return t.name, status
end

--- A handler for on_error that calls f(text, exception, task).
function pyside.tell(f, text, err, t)
    f(text, native.exception_of(err), t)
end

-- ------------------------------------------------------------------------------------ scopes

--- Opens a scope that ends in so many seconds, or at a time of moonlet.now(), or never.
function pyside.open(seconds, deadline, shielded, what)
    return scope.open(seconds and hub.now() + seconds or deadline or nil, shielded, what)
end

local function check_owner(s)
    local me = hub.self()
    if me ~= s.task then
        hub.misuse("RuntimeError", ("the %s was opened by %s, but %s leaves it"):format(s.what, s.task.name, me.name))
    end
end

--- What tostring() says of a scope or nursery, without its kind.
function pyside.describe_scope(s)
    return (tostring(s):gsub("^[^(:]*[(:] *", ""):gsub("%)$", ""))
end

--- Leaves a scope. Returns whether `err` is its own cancel, and whether its time was over.
function pyside.close(s, failed, err)
    check_owner(s)
    return scope.close(s, failed, err), s.expired or false
end

--- The same for a nursery.
function pyside.close_nursery(n, failed, err)
    check_owner(n)
    return require("moonlet.nursery").close(n, failed, err)
end

function pyside.check_time(value, name, what)
    if type(value) ~= "number" or value ~= value then
        hub.misuse("TypeError", ("bad argument '%s' to '%s' (time expected, got %s)"):format(
            what, name, value == nil and "nil" or hub.type_name(value)))
    end
end

pyside.check_seconds, pyside.check_callable = hub.check_seconds, hub.check_callable
pyside.is_task = task.is_task

return pyside
