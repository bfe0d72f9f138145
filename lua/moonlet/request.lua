-- Waiting for luv: for the callback of one request, for the next of what comes again and again.
--
-- Handles have no reference in luv's loop, as whether something may yet happen depends on who waits: a
-- task that waits for a handle counts (enter, leave), a handle that nobody waits for does not.

local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local waitlist = require "moonlet.waitlist"

local request = {}

-- The functions of luv. When stock Lua closes its state, tasks are ended after luv's handles are gone, and what
-- they then call would use those.
local uv = {}
for name, value in pairs(hub.luv()) do
    uv[name] = value
end
request.uv = uv

--- Whether luv is gone, since the Lua state is being closed.
request.gone = false

local function gone()
    error("the Lua state is being closed", 0)
end

local sentinel = setmetatable({}, {
    __gc = function()
        request.gone = true
        for name, value in pairs(uv) do
            if type(value) == "function" then
                uv[name] = gone
            end
        end
    end,
})

-- ------------------------------------------------------------------------------- who waits

local token = uv.new_async(function()
    return sentinel -- which lasts
end)
uv.unref(token)
local waiting = 0

--- A task begins to wait for a handle.
local function enter()
    waiting = waiting + 1
    if waiting == 1 then
        uv.ref(token)
    end
end

--- It does no longer. For each enter() once: by whoever wakes it, or its undo.
local function leave()
    waiting = waiting - 1
    if waiting == 0 and not request.gone then
        uv.unref(token)
    end
end

request.enter, request.leave = enter, leave

-- ---------------------------------------------------------------------------- one request

local function abandon(entry)
    if entry.request and not request.gone then
        uv.cancel(entry.request) -- if it has not begun
    end
end

--- Calls f(..., callback), a function of luv that makes a request, and waits for the callback. Returns
--- true and what that was called with after the error; or false and luv's text of the error. `what` and
--- `on` are for reports. A cancel ends the wait, and the request if that has not begun; `discard` is
--- called in the hub with the results of one that had begun. `timeout`: nil is returned then.
function request.call(what, on, discard, timeout, f, ...)
    if request.gone then
        gone()
    end
    local entry = { task = hub.self(), what = what, on = on, undo = abandon, request = false, results = false }
    local arguments = table.pack(...)
    arguments[arguments.n + 1] = function(err, ...)
        entry.request = nil
        entry.results = err and { n = 0 } or table.pack(...)
        entry.failure = err
        if not hub.wake(entry) and not err and discard then
            discard(...)
        end
    end
    local made, text = f(table.unpack(arguments, 1, arguments.n + 1))
    if not made then
        return false, text
    end
    entry.request = type(made) == "userdata" and made
    if not hub.wait(entry, timeout) then
        return nil
    end
    if entry.failure then
        return false, entry.failure
    end
    local results = entry.results
    return true, table.unpack(results, 1, results.n)
end

-- --------------------------------------------------------------------------------- inboxes

local inbox = {}
inbox.__index = inbox

--- What comes by itself, one after the other: connections, datagrams, signals. Each goes to the task that
--- waits longest, and is kept if none does. `limit`: how many are kept; put() tells when it is reached.
function request.inbox(limit)
    return setmetatable({ first = 1, last = 0, items = {}, waiters = {}, limit = limit, closed = false }, inbox)
end

--- How many are there.
function inbox:count()
    return self.last - self.first + 1
end

--- Adds one. False: now it is full.
function inbox:put(item)
    local waiters = self.waiters
    local entry = waiters.first
    while entry do
        waitlist.remove(entry)
        leave()
        entry.item = item
        if hub.wake(entry) then
            return true
        end
        entry = waiters.first
    end
    local last = self.last + 1
    self.items[last] = item
    self.last = last
    return last - self.first + 1 < self.limit
end

--- The first one, or nil.
function inbox:pop()
    local first = self.first
    local item = self.items[first]
    if item ~= nil then
        self.items[first] = nil
        self.first = first + 1
    end
    return item
end

local function give_up(entry)
    waitlist.remove(entry)
    leave()
end

--- Waits for the next one. nil: none within `timeout`. Raises what the inbox was closed with.
function inbox:take(what, on, timeout)
    if self.closed then
        error(self.closed, 0)
    elseif self.first <= self.last then
        hub.pass()
        local item = self:pop()
        if item ~= nil then
            return item
        end
        return self:take(what, on, timeout)
    elseif timeout == 0 then
        return nil
    end
    local entry = { task = hub.self(), what = what, on = on, undo = give_up, item = false }
    waitlist.push(self.waiters, entry)
    enter()
    if hub.wait(entry, timeout) then
        return entry.item
    end
    return nil
end

--- From now on, and for those who wait, take() raises `err`.
function inbox:close(err)
    self.closed = err
    local entry = self.waiters.first
    while entry do
        if not hub.fail(entry, err) then
            give_up(entry)
        end
        entry = self.waiters.first
    end
end

-- --------------------------------------------------------------------------------- closing

-- luv frees a handle that is being closed when the Lua state is, and libuv uses it afterwards (luv_handle_gc and
-- loop_gc in luv 1.44). So libuv gets its turn before: by the finalizer of something that is newer than
-- the handle, as finalizers are called in the opposite order.
local guard
local Guard = {}

function Guard.__gc(self)
    if self == guard and not request.gone then -- otherwise it is only replaced
        uv.run "nowait"
    end
end

--- Closes a handle, if that was not done.
local function close(handle)
    if not request.gone and not uv.is_closing(handle) then
        uv.close(handle)
        guard = setmetatable({}, Guard)
    end
end
request.close = close

local garbage, garbage_count = {}, 0

local function empty()
    local list = garbage
    garbage, garbage_count = {}, 0
    for _, item in ipairs(list) do
        if type(item) == "function" then
            item()
        else
            close(item)
        end
    end
end
hub.on_idle(function()
    if garbage_count > 0 then
        empty()
    end
end)

--- For finalizers: closes a handle, or calls a function, soon. When the Lua state is being closed luv closes all
--- handles itself.
function request.dispose(item)
    garbage_count = garbage_count + 1
    garbage[garbage_count] = item
end

--- A handle that luv has made, without a reference; raises the error if there is none.
function request.handle(handle, text)
    if garbage_count > 0 then
        empty()
    end
    if not handle then
        oserror.raise(text)
    end
    uv.unref(handle)
    return handle
end

return request
