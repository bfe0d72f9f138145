-- UDP sockets.

local closable = require "moonlet.closable"
local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"
local resolver = require "moonlet.resolver"
local stream = require "moonlet.stream"

local udp = {}

local uv = request.uv

-- So many datagrams are kept; what comes then is left to the system, which drops what it has no room for.
local LIMIT = 256

local methods, properties = {}, {}
local Udp, check, check_open = closable.define("udp socket", methods, properties)

local function make_on_datagram(core)
    return function(err, data, address)
        local item
        if err then
            item = { failure = oserror.new(err, "receive on a UDP socket") }
        elseif data then
            item = { data = data, address = address or {} }
        else
            return -- nothing more for now
        end
        if not core.inbox:put(item) then
            uv.udp_recv_stop(core.handle)
            core.receiving = false
        end
    end
end

--- A socket, bound if a host is given.
function udp.new(host, port)
    local handle = request.handle(uv.new_udp())
    local core = { handle = handle, inbox = request.inbox(LIMIT), receiving = false, closed = false, connected = false }
    core.on_datagram = make_on_datagram(core)
    local self = setmetatable({ core = core }, Udp)
    if host then
        local found = resolver.resolve(host, port, "dgram", "udp")[1]
        local ok, text = uv.udp_bind(handle, found.address, found.port)
        if not ok then
            request.close(handle)
            oserror.raise(text, stream.address_text { ip = found.address, port = found.port, family = found.family })
        end
    end
    return self
end

--- udp:connect(host, port): from now on it sends there, and receives only from there.
function methods.connect(self, host, port)
    check_open(self, "connect")
    oserror.check_path(host, "connect", 1)
    port = resolver.check_port(port, "connect", 2)
    local found = resolver.resolve(host, port, "dgram", "udp connect")[1]
    local core = check_open(self, "connect")
    if core.connected then
        uv.udp_connect(core.handle)
    end
    local ok, text = uv.udp_connect(core.handle, found.address, found.port)
    if not ok then
        oserror.raise(text, ("%s:%d"):format(host, port))
    end
    core.connected = true
end

--- udp:send(data [, host, port]): sends a datagram; without a host, to where it is connected.
function methods.send(self, data, host, port)
    local core = check_open(self, "send")
    oserror.check_string(data, "send", 1)
    local address
    if host ~= nil then
        oserror.check_path(host, "send", 2)
        port = resolver.check_port(port, "send", 3)
        address = host
        if not resolver.is_address(host) then
            address = resolver.resolve(host, port, "dgram", "udp send")[1].address
            core = check_open(self, "send")
        end
    elseif not core.connected then
        hub.misuse("ValueError", "bad argument #2 to 'send' (host expected, as the socket is not connected)")
    end
    local sent, text, name = uv.udp_try_send(core.handle, data, address, address and port)
    if sent then
        hub.pass()
        return
    end
    local ok = nil
    if name == "EAGAIN" then
        ok, text = request.call("udp send", self, nil, nil, uv.udp_send, core.handle, data, address, address and port)
    end
    if not ok then
        if core.closed or oserror.name(text) == "ECANCELED" then
            error(oserror.closed(tostring(self)), 0)
        end
        oserror.raise(text, address and ("send to %s:%d"):format(host, port) or "send")
    end
end

--- udp:receive([timeout]): waits for the next datagram. Returns its data, and the host and port of who has sent
--- it. TimeoutError: none within `timeout` seconds; Closed.
function methods.receive(self, timeout)
    local core = check_open(self, "receive")
    oserror.check_timeout(timeout, "receive", 1)
    if not core.receiving and core.inbox:count() < LIMIT then
        local ok, text = uv.udp_recv_start(core.handle, core.on_datagram)
        if not ok then
            oserror.raise(text, "receive")
        end
        core.receiving = true
    end
    local item = core.inbox:take("udp receive", self, timeout)
    if not item then
        oserror.timed_out("receive on " .. tostring(self), timeout)
    elseif item.failure then
        error(item.failure, 0)
    end
    return item.data, item.address.ip, item.address.port
end

--- udp:broadcast(on): whether it may send to all of a network.
function methods.broadcast(self, on)
    local core = check_open(self, "broadcast")
    local ok, text = uv.udp_set_broadcast(core.handle, on ~= false)
    if not ok then
        oserror.raise(text, "broadcast")
    end
end

--- udp:close(): who waits for a datagram gets Closed.
function methods.close(self)
    local core = check(self, "close")
    if not core.closed then
        local name = tostring(self)
        core.closed = true
        core.inbox:close(oserror.closed(name))
        request.close(core.handle)
    end
end

local function here(self)
    local core = self.core
    return not core.closed and not request.gone and uv.udp_getsockname(core.handle) or nil
end

--- The address it is bound to, as "127.0.0.1:53"; "" if to none.
function properties.address(self)
    return stream.address_text(here(self))
end

--- The host it is bound to; nil: none.
function properties.host(self)
    return (here(self) or {}).ip
end

--- The port it is bound to; nil: none.
function properties.port(self)
    return (here(self) or {}).port
end

function Udp.__tostring(self)
    local address = properties.address(self)
    return "udp socket" .. (address ~= "" and " on " .. address or "")
end

return udp
