-- Listeners: what accepts connections.

local closable = require "moonlet.closable"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"
local stream = require "moonlet.stream"

local listener = {}

local uv = request.uv

-- So many connections are accepted before somebody asks for them; the others wait in the system's backlog.
local LIMIT = 64

local methods, properties = {}, {}

-- Closes by `close` what nobody has asked for, and the listener.
local function close_all(core, close)
    local handle = core.inbox:pop()
    while handle ~= nil do
        if handle then
            close(handle)
        end
        handle = core.inbox:pop()
    end
    close(core.handle)
end

local Listener, check = closable.define("listener", methods, properties, function(core)
    close_all(core, request.dispose)
end)

-- Accepts connections while there is room.
local function make_on_connection(core)
    return function(err)
        if core.closed then
            return
        elseif err then
            core.failure = oserror.new(err, core.name)
            core.full = not core.inbox:put(false)
            return
        elseif core.full then
            core.left = true -- libuv goes on when it was accepted
            return
        end
        local handle = request.handle(core.kind == "tcp" and uv.new_tcp() or uv.new_pipe(false))
        local ok, text = uv.accept(core.handle, handle)
        if ok then
            if core.kind == "tcp" then
                uv.tcp_nodelay(handle, true)
            end
            core.full = not core.inbox:put(handle)
        else
            request.close(handle)
            core.failure = oserror.new(text, core.name)
            core.full = not core.inbox:put(false)
        end
    end
end

--- Listens on a handle that is bound. `kind` is "tcp" or "unix".
function listener.new(handle, kind, name, backlog)
    uv.unref(handle)
    local core = {
        handle = handle,
        kind = kind,
        name = name,
        inbox = request.inbox(LIMIT),
        closed = false,
        full = false,
        left = false,
    }
    core.on_connection = make_on_connection(core)
    local ok, text = uv.listen(handle, backlog, core.on_connection)
    if not ok then
        oserror.raise(text, "listen on " .. name)
    end
    local here = kind == "tcp" and uv.tcp_getsockname(handle)
    core.here = here or name
    if here then
        core.name = stream.address_text(here)
    end
    return setmetatable({ core = core }, Listener)
end

local function accept(self, core, timeout)
    local handle = core.inbox:take("accept", self, timeout)
    if core.full and not core.closed then
        core.full = false
        if core.left then
            core.left = false
            core.on_connection()
        end
    end
    return handle
end

--- listener:accept([timeout]): waits for the next connection and returns its stream. TimeoutError: none within
--- `timeout` seconds; Closed.
function methods.accept(self, timeout)
    local core = check(self, "accept")
    oserror.check_timeout(timeout, "accept", 1)
    local handle = accept(self, core, timeout)
    if handle == nil then
        oserror.timed_out("accept on " .. core.name, timeout)
    elseif not handle then
        error(core.failure, 0)
    end
    return stream.new(handle, core.kind)
end

--- listener:close(): no more connections; who waits for one gets Closed.
function methods.close(self)
    local core = check(self, "close")
    if core.closed then
        return
    end
    core.closed = true
    core.inbox:close(oserror.closed(tostring(self)))
    close_all(core, request.close)
end

closable.iterate(Listener, methods.accept) -- for stream in listener do

--- The address, as "127.0.0.1:80", or the path.
function properties.address(self)
    return self.core.name
end

--- The host of a TCP address; nil otherwise.
function properties.host(self)
    local here = self.core.here
    return type(here) == "table" and here.ip or nil
end

--- The port of a TCP address; nil otherwise.
function properties.port(self)
    local here = self.core.here
    return type(here) == "table" and here.port or nil
end

function Listener.__tostring(self)
    return "listener on " .. self.core.name
end

--- Whether a value is a listener.
function listener.is_listener(value)
    return type(value) == "table" and getmetatable(value) == Listener
end

return listener
