-- The network, and pipes: moonlet.net.

local hub = require "moonlet.hub"
local listener = require "moonlet.listener"
local native = require "moonlet.native"
local nursery = require "moonlet.nursery"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"
local resolver = require "moonlet.resolver"
local stream = require "moonlet.stream"

local net = {}

local uv = request.uv

-- ------------------------------------------------------------------------------- connecting

local function address_of(found)
    return stream.address_text { ip = found.address, port = found.port, family = found.family }
end

-- Waits for the connection of a handle by f(handle, ..., callback); closes it otherwise. nil: in time.
local function connect(handle, name, timeout, f, ...)
    local ok, result, text = native.pcall(request.call, "connect", name, nil, timeout, f, handle, ...)
    if not ok then
        request.close(handle)
        error(result, 0)
    elseif not result then
        request.close(handle)
        return result, text
    end
    return true
end

local connect_options = { timeout = true, nodelay = true, keepalive = true }

--- net.connect(host, port [, options]): connects by TCP; of a host with several addresses the first that
--- answers. Options: `timeout` in seconds for all of it, `nodelay` (true by default), `keepalive` in seconds. A
--- number is a timeout. Returns the stream. Raises OSError; socket.gaierror; TimeoutError.
function net.connect(host, port, options)
    oserror.check_path(host, "connect", 1)
    port = resolver.check_port(port, "connect", 2)
    if type(options) == "number" then
        options = { timeout = options }
    end
    options = oserror.check_options(options, connect_options, "connect", 3)
    local timeout = oserror.check_timeout(options.timeout, "connect", 3)
    local deadline = timeout and hub.now() + timeout
    local failure
    for _, found in ipairs(resolver.resolve(host, port, "stream", "connect")) do
        local name = address_of(found)
        local handle = request.handle(uv.new_tcp())
        local left = deadline and math.max(0, deadline - hub.now())
        local ok, text = connect(handle, name, left, uv.tcp_connect, found.address, found.port)
        if ok then
            uv.tcp_nodelay(handle, options.nodelay ~= false)
            local s = stream.new(handle, "tcp")
            if options.keepalive then
                s:keepalive(options.keepalive)
            end
            return s
        elseif ok == nil then
            oserror.timed_out("connect to " .. name, timeout)
        end
        failure = failure or { text, name }
    end
    oserror.raise(failure[1], failure[2])
end

--- net.connect_unix(path [, timeout]): connects to a Unix socket. Returns the stream.
function net.connect_unix(path, timeout)
    oserror.check_path(path, "connect_unix", 1)
    oserror.check_timeout(timeout, "connect_unix", 2)
    local handle = request.handle(uv.new_pipe(false))
    local ok, text = connect(handle, path, timeout, uv.pipe_connect, path)
    if ok == nil then
        oserror.timed_out("connect to " .. path, timeout)
    elseif not ok then
        oserror.raise(text, nil, path)
    end
    return stream.new(handle, "unix")
end

-- ------------------------------------------------------------------------------- listening

local function check_backlog(backlog, name, index)
    if backlog == nil then
        return 512
    end
    return oserror.check_count(backlog, name, index)
end

local function listen_on(handle, kind, name, backlog, f, ...)
    local ok, text = f(handle, ...)
    if not ok then
        request.close(handle)
        if kind == "unix" then
            oserror.raise(text, nil, name)
        end
        oserror.raise(text, "listen on " .. name)
    end
    local made, result = native.pcall(listener.new, handle, kind, name, backlog)
    if not made then
        request.close(handle)
        error(result, 0)
    end
    return result
end

--- net.listen(host, port [, backlog]): a listener for TCP connections. Port 0: any that is free, see
--- listener.port. Host nil: all addresses of this machine.
function net.listen(host, port, backlog)
    if host == nil then
        host = "0.0.0.0"
    end
    oserror.check_path(host, "listen", 1)
    port = resolver.check_port(port, "listen", 2)
    backlog = check_backlog(backlog, "listen", 3)
    local found = resolver.resolve(host, port, "stream", "listen")[1]
    local handle = request.handle(uv.new_tcp())
    return listen_on(handle, "tcp", address_of(found), backlog, uv.tcp_bind, found.address, found.port)
end

--- net.listen_unix(path [, backlog]): a listener on a Unix socket, whose file is removed when it is closed.
function net.listen_unix(path, backlog)
    oserror.check_path(path, "listen_unix", 1)
    backlog = check_backlog(backlog, "listen_unix", 2)
    return listen_on(request.handle(uv.new_pipe(false)), "unix", path, backlog, uv.pipe_bind, path)
end

-- One connection of a server.
local function handle_connection(handler, s)
    local ok, err = native.pcall(handler, s)
    s:close()
    if ok then
        return
    elseif native.is_cancel(err) then
        error(err, 0)
    end
    hub.report("error in the handler of " .. tostring(s), err, hub.self())
end

--- net.serve(listener, handler), net.serve(host, port, handler): calls handler(stream) in a task for each
--- connection, and closes the stream when it has returned. Errors of handlers go to moonlet.on_error; a
--- cancel ends all of them. Returns when the listener is closed and the last handler has returned.
function net.serve(where, port, handler)
    local l = where
    if listener.is_listener(where) then
        handler = port
        hub.check_callable(handler, "serve", 2)
    else
        hub.check_callable(handler, "serve", 3)
        l = net.listen(where, port)
    end
    local closing <close> = l
    nursery.nursery(function(n)
        for s in closing do
            n:spawn(handle_connection, handler, s)
        end
    end)
end

-- ------------------------------------------------------------------------------------- UDP

--- net.udp([host, port]): a UDP socket; with a host, it is bound there (port 0: any that is free).
function net.udp(host, port)
    if host ~= nil or port ~= nil then
        host = host or "0.0.0.0"
        oserror.check_path(host, "udp", 1)
        port = resolver.check_port(port or 0, "udp", 2)
    end
    return require("moonlet.udp").new(host, port)
end

-- ------------------------------------------------------------------------------------- DNS

--- net.resolve(host [, service]): the addresses of a host: a list of tables with `address`, `port` (0 without a
--- service, which is a name as "http" or a number) and `family`, "inet" or "inet6". Raises socket.gaierror.
function net.resolve(host, service)
    oserror.check_path(host, "resolve", 1)
    if service ~= nil and type(service) ~= "string" then
        service = resolver.check_port(service, "resolve", 2)
    end
    return resolver.resolve(host, service, "stream", "resolve")
end

--- net.reverse(address): the name of the host that has an address. Raises socket.gaierror.
function net.reverse(address)
    oserror.check_path(address, "reverse", 1)
    if not resolver.is_address(address) and not address:find(":", 1, true) then
        hub.misuse("ValueError", ("bad argument #1 to 'reverse' (IP address expected, got '%s')"):format(address))
    end
    local found = resolver.resolve(address, nil, "stream", "reverse")[1]
    local asked = { ip = found.address, port = 0 }
    local ok, name = request.call("reverse", address, nil, nil, uv.getnameinfo, asked)
    if not ok then
        oserror.raise(name, address)
    end
    return name
end

-- ----------------------------------------------------------------------------------- pipes

local function open_pipe(fd, kind, name)
    local handle = request.handle(uv.new_pipe(false))
    local ok, text = uv.pipe_open(handle, fd)
    if not ok then
        request.close(handle)
        oserror.raise(text, "file descriptor " .. fd)
    end
    return stream.new(handle, kind, name)
end

--- net.pipe(): two streams: what is written to the second can be read from the first.
function net.pipe()
    local fds, text = uv.pipe({ nonblock = true }, { nonblock = true })
    if not fds then
        oserror.raise(text, "pipe")
    end
    local reading = open_pipe(fds.read, "pipe", "reading end of a pipe")
    return reading, open_pipe(fds.write, "pipe", "writing end of a pipe")
end

--- net.socketpair(): two streams: what is written to one of them can be read from the other.
function net.socketpair()
    local fds, text = uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true })
    if not fds then
        oserror.raise(text, "socketpair")
    end
    local one = open_pipe(fds[1], "unix", "one end of a socket pair")
    return one, open_pipe(fds[2], "unix", "other end of a socket pair")
end

local makers = {
    tcp = function(fd)
        local handle = request.handle(uv.new_tcp())
        local ok, text = uv.tcp_open(handle, fd)
        return ok and handle, text, handle
    end,
    pipe = function(fd)
        local handle = request.handle(uv.new_pipe(false))
        local ok, text = uv.pipe_open(handle, fd)
        return ok and handle, text, handle
    end,
    tty = function(fd)
        return uv.new_tty(fd, fd == 0)
    end,
}

--- net.open(fd): a stream for a file descriptor: a socket, a pipe, a terminal; of a file it is as from
--- moonlet.fs.open, without seek. It belongs to the stream, and is made non-blocking.
function net.open(fd)
    if math.type(fd) ~= "integer" then
        hub.bad_argument(1, "open", "file descriptor", fd)
    elseif fd < 0 then
        hub.misuse("ValueError", ("bad argument #1 to 'open' (file descriptor expected, got %d)"):format(fd))
    end
    local name = "file descriptor " .. fd
    local stat, text = uv.fs_fstat(fd)
    if not stat then
        oserror.raise(text, name)
    end
    local kind = uv.guess_handle(fd)
    if kind == "file" or not makers[kind] then
        return require("moonlet.file").of_descriptor(fd, name)
    end
    local handle, problem, rest = makers[kind](fd)
    if not handle then
        if rest then
            request.close(rest)
        end
        oserror.raise(problem, name)
    end
    local unix = kind == "pipe" and stat.type == "socket"
    return stream.new(handle, unix and "unix" or kind, name)
end

-- A stream for one of the three, by a description of its own where there can be one: that it is non-blocking
-- must not be seen by others who use the same.
local function open_standard(fd, name, flags)
    local kind = uv.guess_handle(fd)
    if kind == "pipe" then
        local own = uv.fs_open("/proc/self/fd/" .. fd, flags, 0)
        if own then
            local s = net.open(own)
            s.core.name = name
            return s
        end
    end
    local copy = kind == "tty" and fd or native.duplicate(fd)
    if not copy then
        oserror.raise("EBADF", name)
    end
    local s = net.open(copy)
    s.core.name, s.core.path = name, name
    return s
end

local standard = {}

local function open_once(fd, name, flags)
    local s = standard[fd]
    if not s or s.closed then
        s = open_standard(fd, name, flags)
        standard[fd] = s
    end
    return s
end

local O_NONBLOCK = uv.constants.O_NONBLOCK or 2048

--- net.stdin(): the standard input as a stream.
function net.stdin()
    return open_once(0, "stdin", uv.constants.O_RDONLY | O_NONBLOCK)
end

--- net.stdout(): the standard output as a stream. What io.write has in its buffer is written first.
function net.stdout()
    io.stdout:flush()
    return open_once(1, "stdout", uv.constants.O_WRONLY | O_NONBLOCK)
end

--- net.stderr(): the standard error output as a stream.
function net.stderr()
    return open_once(2, "stderr", uv.constants.O_WRONLY | O_NONBLOCK)
end

return net
