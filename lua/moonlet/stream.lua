-- Streams: connections over TCP and Unix sockets, pipes, terminals.

local closable = require "moonlet.closable"
local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local reader = require "moonlet.reader"
local request = require "moonlet.request"

local stream = {}

local uv, enter, leave = request.uv, request.enter, request.leave

-- Reading stops when so much was read that nobody has asked for.
local LIMIT = 256 * 1024

local methods, properties = {}, {}
local Stream, check, check_open = closable.define("stream", methods, properties)
for name, method in pairs(reader.methods(Stream)) do
    methods[name] = method
end

-- A write to a connection that is closed is an error, not the end of the program.
require("moonlet.signals").ignore_broken_pipes()

-- --------------------------------------------------------------------------------- addresses

--- "127.0.0.1:80", "[::1]:80", a path.
function stream.address_text(address)
    if type(address) == "string" then
        return address
    elseif not address or not address.ip then
        return ""
    elseif address.family == "inet6" then
        return ("[%s]:%d"):format(address.ip, address.port)
    end
    return ("%s:%d"):format(address.ip, address.port)
end

local queries = {
    tcp = { here = uv.tcp_getsockname, there = uv.tcp_getpeername },
    unix = { here = uv.pipe_getsockname, there = uv.pipe_getpeername },
}

local function address(core, which)
    local known = core[which]
    if known == nil then
        local query = queries[core.kind]
        known = query and not core.closed and not request.gone and query[which](core.handle) or false
        core[which] = known
    end
    return known
end

-- What it is, for messages.
local function describe(core)
    local there = core.name and "" or stream.address_text(address(core, "there"))
    return core.name or ("%s stream%s"):format(core.kind, there ~= "" and " with " .. there or "")
end

-- --------------------------------------------------------------------------------- reading

local function give_up(entry)
    entry.core.reader = false
    leave()
end

-- The callback of luv, which knows nothing of the stream: that can be collected while it is open.
local function make_on_read(core)
    return function(err, chunk)
        if chunk then
            local last = core.last + 1
            core.chunks[last] = chunk
            core.last = last
            core.size = core.size + #chunk
        else
            core.ended = true
            core.reading = false
            if err then
                core.failure = oserror.new(err, "read from " .. describe(core))
            end
        end
        local entry = core.reader
        if entry then
            if core.size >= entry.want or core.ended then
                core.reader = false
                leave()
                hub.wake(entry)
            end
        elseif core.size >= LIMIT and core.reading then
            uv.read_stop(core.handle)
            core.reading = false
        end
    end
end

local function fill(self, core, want, timeout)
    if not core.reading then
        local ok, text = uv.read_start(core.handle, core.on_read)
        if not ok then
            oserror.raise(text, "read from " .. tostring(self))
        end
        core.reading = true
    end
    local entry = { task = hub.self(), what = "read", on = self, undo = give_up, core = core, want = want }
    core.reader = entry
    enter()
    return hub.wait(entry, timeout)
end

-- ----------------------------------------------------------------------------------- making

--- A stream for a handle of luv that is connected. `name` tells what it is. `kind` is "tcp", "unix", "pipe" or
--- "tty". The address of the other side is asked for now: it is not known any more when that has closed.
function stream.new(handle, kind, name)
    uv.unref(handle)
    local core = reader.init { handle = handle, fill = fill, reading = false, kind = kind, name = name }
    if kind == "tcp" then
        core.there = uv.tcp_getpeername(handle) or nil
    end
    core.on_read = make_on_read(core)
    return setmetatable({ core = core }, Stream)
end

-- ---------------------------------------------------------------------------------- writing

local function text_of(data, name)
    if type(data) ~= "table" then
        return oserror.check_string(data, name, 1)
    end
    for i = 1, #data do
        if type(data[i]) ~= "string" then
            local text = "bad argument #1 to '%s' (a string expected at %d, got %s)"
            hub.misuse("TypeError", text:format(name, i, hub.type_name(data[i])))
        end
    end
    return table.concat(data)
end

-- What a request on the handle has ended with, if it has failed.
local function fail(self, core, text, what)
    if core.closed or oserror.name(text) == "ECANCELED" then
        error(oserror.closed(tostring(self)), 0)
    end
    oserror.raise(text, what .. " " .. tostring(self))
end

--- stream:write(data [, timeout]): writes a string, or a list of strings, and waits until the system has taken
--- it. When the wait ends before, what is left is written all the same, later.
function methods.write(self, data, timeout)
    local core = check_open(self, "write")
    if type(data) ~= "string" then
        data = text_of(data, "write")
    end
    if timeout ~= nil then
        hub.check_seconds(timeout, "write", 2)
    end
    local written, text, name = uv.try_write(core.handle, data)
    if written == #data then
        hub.pass()
        return
    elseif not written then
        if name ~= "EAGAIN" then
            fail(self, core, text, "write to")
        end
        written = 0
    end
    local rest = written > 0 and data:sub(written + 1) or data
    local ok, err = request.call("write", self, nil, timeout, uv.write, core.handle, rest)
    if ok == nil then
        oserror.timed_out("write to " .. tostring(self), timeout)
    elseif not ok then
        fail(self, core, err, "write to")
    end
end

--- stream:shutdown(): no more will be written: the other side reads the end. Reading goes on.
function methods.shutdown(self)
    local core = check_open(self, "shutdown")
    local ok, err = request.call("shutdown", self, nil, nil, uv.shutdown, core.handle)
    if not ok then
        fail(self, core, err, "shut down")
    end
end

--- stream:close(): closes it, also for those who wait for it.
function methods.close(self)
    local core = check(self, "close")
    if core.closed then
        return
    end
    properties.local_address(self) -- to be known afterwards, too
    properties.peer_address(self)
    core.closed = true
    local entry = core.reader
    if entry then
        hub.fail(entry, oserror.closed(tostring(self)))
    end
    request.close(core.handle)
    core.reading = false
    reader.clear(core)
end

-- ----------------------------------------------------------------------------- what it is

--- The address of this side, as "127.0.0.1:80"; "" if it has none.
function properties.local_address(self)
    return stream.address_text(address(self.core, "here"))
end

--- The address of the other side.
function properties.peer_address(self)
    return stream.address_text(address(self.core, "there"))
end

local function part(which, name)
    return function(self)
        local known = address(self.core, which)
        return type(known) == "table" and known[name] or nil
    end
end

properties.local_host, properties.local_port = part("here", "ip"), part("here", "port")
properties.peer_host, properties.peer_port = part("there", "ip"), part("there", "port")

--- What it is: "tcp", "unix", "pipe" or "tty".
function properties.kind(self)
    return self.core.kind
end

function Stream.__tostring(self)
    return describe(self.core)
end

-- ----------------------------------------------------------------------------------- options

--- The file descriptor; nil if it is closed.
function methods.fileno(self)
    local core = check_open(self, "fileno")
    return uv.fileno(core.handle)
end

local function check_tcp(self, name)
    local core = check_open(self, name)
    if core.kind ~= "tcp" then
        hub.misuse("ValueError", ("'%s' is for TCP, not for a %s stream"):format(name, core.kind))
    end
    return core
end

--- stream:nodelay(on): whether what is written is sent at once (TCP). It is by default.
function methods.nodelay(self, on)
    local core = check_tcp(self, "nodelay")
    local ok, text = uv.tcp_nodelay(core.handle, on ~= false)
    if not ok then
        fail(self, core, text, "set nodelay of")
    end
end

--- stream:keepalive(seconds): after how much silence it is asked whether the other side is still there (TCP);
--- nil or false: never, as at first.
function methods.keepalive(self, seconds)
    local core = check_tcp(self, "keepalive")
    if seconds then
        seconds = oserror.check_count(seconds, "keepalive", 1)
    end
    local ok, text = uv.tcp_keepalive(core.handle, seconds and true or false, seconds or nil)
    if not ok then
        fail(self, core, text, "set keepalive of")
    end
end

--- Whether a value is a stream.
function stream.is_stream(value)
    return type(value) == "table" and getmetatable(value) == Stream
end

return stream
