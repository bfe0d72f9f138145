-- Futures: one value, or error, that is there later.

local moonlet = require "moonlet"
local class = require "moonlet.class"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local waiting = require "moonlet.waiting"

local future = {}

local methods, properties = {}, {}
local Future = class.define("future", methods, properties, nil, "Future")
local count = 0

--- moonlet.future(): a value that somebody will set, and others wait for.
function future.future()
    count = count + 1
    return setmetatable({ number = count, state = "pending", waiters = {}, links = false, served = 0 }, Future)
end

local function call_links(f)
    local links = f.links
    f.links = false
    for i = 1, #links do
        local ok, err = native.pcall(links[i], f)
        if not ok then
            hub.report(("error in a link of future %d"):format(f.number), err)
        end
    end
end

local function fire(timer)
    call_links(timer.owner)
end

-- Calls the links, in the hub.
local function start_links(f)
    hub.start()
    hub.add_timer { when = hub.now(), fire = fire, owner = f }
end

local function finish(f, state)
    f.state = state
    waiting.wake_all(f.waiters)
    if f.links then
        start_links(f)
    end
    return true
end

-- False if it was cancelled, so that nobody wants it any more.
local function is_open(f, name)
    waiting.check(f, Future, name)
    if f.state == "pending" then
        return true
    elseif f.state ~= "cancelled" then
        hub.misuse("RuntimeError", f.state == "done" and "the future has its value" or "the future has its error")
    end
    return false
end

--- future:set_result(value): who waits for it gets the value. False: it was cancelled.
function methods.set_result(f, value)
    if not is_open(f, "set_result") then
        return false
    end
    f.value = value
    return finish(f, "done")
end

--- future:set_error(err): who waits for it gets the error. False: it was cancelled.
function methods.set_error(f, err)
    if not is_open(f, "set_error") then
        return false
    end
    f.failure = err
    return finish(f, "failed")
end

--- future:cancel([reason]): nobody wants it any more: who waits for it gets TaskCancelled. False: it is done.
function methods.cancel(f, reason)
    waiting.check(f, Future, "cancel")
    if f.state ~= "pending" then
        return false
    end
    f.reason = reason
    return finish(f, "cancelled")
end

local function outcome(f)
    if f.state == "done" then
        return f.value
    elseif f.state == "failed" then
        error(f.failure, 0)
    end
    local reason = f.reason
    error(moonlet.TaskCancelled("the future was cancelled" .. (reason and ": " .. tostring(reason) or "")), 0)
end

local function get(f, timeout)
    waiting.check(f, Future, "get")
    timeout = waiting.timeout(timeout, "get", 1)
    waiting.prepare()
    if f.state ~= "pending" then
        hub.pass()
    elseif not waiting.wait(f.waiters, "get", f, timeout) then
        waiting.time_out("the future was not done within %g seconds", timeout)
    end
    return outcome(f)
end

--- future:get([timeout]): waits for the value, and returns it, or raises the error; TaskCancelled if it was
--- cancelled, and TimeoutError.
methods.get = waiting.facing(get)

--- future:wait([timeout]): waits until it is done, however. False: not within `timeout` seconds.
function methods.wait(f, timeout)
    waiting.check(f, Future, "wait")
    timeout = waiting.timeout(timeout, "wait", 1)
    waiting.prepare()
    if f.state ~= "pending" then
        hub.pass()
        return true
    end
    return waiting.wait(f.waiters, "wait", f, timeout) ~= nil
end

--- future:link(f): calls f(future), in the hub, when it is done. f cannot wait. Returns the future.
function methods.link(self, f)
    waiting.check(self, Future, "link")
    hub.check_callable(f, "link", 1)
    if not self.links then
        self.links = {}
        if self.state ~= "pending" then
            start_links(self)
        end
    end
    table.insert(self.links, f)
    return self
end

--- "pending", "done", "failed" or "cancelled".
function properties.status(f)
    return f.state
end

--- Whether it has its value or error, or was cancelled.
function properties.done(f)
    return f.state ~= "pending"
end

function properties.cancelled(f)
    return f.state == "cancelled"
end

--- The value; nil before.
function properties.result(f)
    return (native.unbox(rawget(f, "value")))
end

--- For Python.
function future.result(f)
    return rawget(f, "value")
end

--- The error; nil if there is none.
function properties.error(f)
    return rawget(f, "failure")
end

function Future.__tostring(f)
    return ("future %d: %s"):format(f.number, f.state)
end

-- -------------------------------------------------------------------------------------- select

local getting = { what = "get", stamp = "served" }

function getting.ready(f)
    return f.state ~= "pending"
end

getting.take = outcome
getting.finish = outcome

function getting.list(f)
    return f.waiters
end

waiting.kinds[Future] = getting

--- future:on_get(): for select: waits for the value. The future itself does so, too.
function methods.on_get(f)
    waiting.check(f, Future, "on_get")
    return waiting.case(getting, f)
end

future.methods = methods

return future
