-- moonlet.net: Unix sockets, pipes, datagrams, names.

local moonlet = require "moonlet"
local support = require "spec.support"
local net = moonlet.net
local py = moonlet.python
local message, error_of = support.message, support.error_of
local task, is, settle = support.task, support.is, support.settle

describe("a Unix socket", function()
    it("connects two tasks", task(function()
        local path = os.tmpname()
        os.remove(path)
        local listener = net.listen_unix(path)
        local a <close> = net.connect_unix(path)
        local b <close> = listener:accept()
        a:write "x"
        assert.equal("x", b:read())
        assert.same({ "unix", path, path }, { a.kind, listener.address, a.peer_address })
        listener:close()
        is(error_of(net.connect_unix, path), py.builtins.FileNotFoundError)
    end))
end)

describe("a pipe", function()
    it("carries bytes, with back-pressure, to its end", task(function()
        local reading <close>, writing = net.pipe()
        local big = ("\0\1\2\3"):rep(100000)
        local t = moonlet.spawn(function()
            writing:write(big)
            writing:close()
        end)
        assert.is_true(reading:read_all() == big)
        t:join()
        reading:close()
        assert.equal("pipe", reading.kind)
    end))

    it("that nobody reads any more is broken", task(function()
        local reading, writing <close> = net.pipe()
        reading:close()
        is(error_of(writing.write, writing, "x"), py.builtins.BrokenPipeError)
    end))

    it("can be two-way, and opened by its descriptor", task(function()
        local a, b = net.socketpair()
        a:write "ping"
        assert.equal("ping", b:read())
        b:write "pong"
        assert.equal("pong", a:read())
        local fds = support.python [[
            import os
            r, w = os.pipe()
        ]]
        local r <close>, w = net.open(fds.r), net.open(fds.w)
        w:write "x"
        w:close()
        assert.equal("x", r:read_all())
        assert.matches("Bad file descriptor: file descriptor 9999", message(net.open, 9999))
        assert.matches("file descriptor expected, got %-1", message(net.open, -1))
    end))
end)

describe("a UDP socket", function()
    it("sends and receives datagrams, whole ones", task(function()
        local a, b = net.udp("127.0.0.1", 0), net.udp("127.0.0.1", 0)
        a:send("\0one", "127.0.0.1", b.port)
        a:send("", "localhost", b.port)
        local data, host, port = b:receive()
        assert.same({ "\0one", "127.0.0.1", a.port }, { data, host, port })
        assert.equal("", (b:receive()))
        assert.equal("udp socket on 127.0.0.1:" .. a.port, tostring(a))
    end))

    it("can be connected", task(function()
        local a, b = net.udp(), net.udp("127.0.0.1", 0)
        assert.matches("host expected, as the socket is not connected", message(a.send, a, "x"))
        a:connect("127.0.0.1", b.port)
        a:send "x"
        local data, host, port = b:receive(5)
        assert.equal("x", data)
        b:send("y", host, port)
        assert.equal("y", (a:receive(5)))
    end))

    it("times out, is cancelled and closed", task(function()
        local a = net.udp("127.0.0.1", 0)
        is(error_of(a.receive, a, 0.01), py.builtins.TimeoutError)
        assert.is_false(moonlet.move_on_after(0.01, a.receive, a))
        local t = moonlet.spawn(a.receive, a)
        settle()
        a:close()
        is(error_of(t.join, t), moonlet.Closed)
        is(error_of(a.send, a, "x", "127.0.0.1", 1), moonlet.Closed)
    end))
end)

describe("names", function()
    it("are resolved", task(function()
        local list = net.resolve("localhost", 80)
        assert.is_true(#list >= 1)
        assert.equal(80, list[1].port)
        assert.same({ { address = "127.0.0.1", port = 0, family = "inet" } }, net.resolve "127.0.0.1")
        assert.equal("string", type(net.reverse "127.0.0.1"))
    end))

    it("can be addresses of IPv6", task(function()
        local made, listener = pcall(net.listen, "::1", 0)
        if not made then
            return -- there is none
        end
        local a <close> = net.connect("::1", listener.port)
        assert.equal(("[::1]:%d"):format(listener.port), a.peer_address)
        assert.equal("string", type(net.reverse "::1"))
        local u, v = net.udp("::1", 0), net.udp("::1", 0)
        u:send("x", "::1", v.port)
        assert.equal("x", (v:receive(5)))
        listener:close()
    end))

    it("that look like addresses are no addresses", task(function()
        for _, host in ipairs { "256.1.1.1", "1:2", "face:book" } do
            is(error_of(net.connect, host, 1), py.import("socket").gaierror)
        end
    end))

    it("that do not exist are socket.gaierror", task(function()
        is(error_of(net.resolve, "nosuch.invalid"), py.import("socket").gaierror)
        is(error_of(net.connect, "nosuch.invalid", 1), py.builtins.OSError)
        assert.matches("IP address expected, got 'x'", message(net.reverse, "x"))
    end))
end)
