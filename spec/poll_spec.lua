-- moonlet.wait_readable and wait_writable: of file descriptors that others read and write.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message, error_of = support.message, support.error_of
local task, is, settle = support.task, support.is, support.settle
local wait_readable, wait_writable = moonlet.wait_readable, moonlet.wait_writable
local os_module = py.import "os"

local function pair()
    local a, b = py.import("socket").socketpair()
    a:setblocking(false)
    b:setblocking(false)
    return a, b
end

describe("wait_readable", function()
    it("waits until there is something, for an integer or an object with fileno", task(function()
        local a, b = pair()
        local t = moonlet.spawn(wait_readable, a)
        local u = moonlet.spawn(wait_readable, a:fileno())
        settle()
        assert.same({ "waiting", "waiting" }, { t.status, u.status })
        b:send(py.bytes "x")
        assert.same({ true, true }, { t:join(), u:join() })
        assert.is_true(wait_readable(a))
        assert.equal("x", a:recv(10))
        assert.is_false(wait_readable(a, 0.001))
        assert.is_false(wait_readable(a, 0))
        b:close()
        assert.is_true(wait_readable(a))
    end))

    it("gives false at the timeout, by the clock of the scheduler", function()
        moonlet.run(function()
            local a, b = pair()
            local clock <close> = moonlet.virtual_clock()
            local start = clock:now()
            assert.is_false(wait_readable(a, 100))
            assert.near(100, clock:now() - start, 1e-6)
            b:close()
        end)
    end)

    it("is cancelled", task(function()
        local a, b = pair()
        assert.is_false(moonlet.move_on_after(0.001, wait_readable, a))
        local t = moonlet.spawn(wait_readable, a)
        settle()
        t:cancel()
        assert.is_true(t:wait(1))
        b:send(py.bytes "x")
        assert.is_true(wait_readable(a))
    end))

    it("waits for reading and writing of one descriptor at once", task(function()
        local a, b = pair()
        py.eval "lambda s: s.setsockopt(1, 7, 4096)"(a)
        local reader = moonlet.spawn(wait_readable, a)
        settle()
        assert.is_true(wait_writable(a))
        assert.equal("waiting", reader.status)
        support.python([[
            def fill(s):
                try:
                    while True:
                        s.send(b"x" * 65536)
                except BlockingIOError:
                    pass
        ]]).fill(a)
        local writer = moonlet.spawn(wait_writable, a)
        settle()
        assert.equal("waiting", writer.status)
        b:send(py.bytes "x")
        assert.is_true(reader:join())
        assert.equal("waiting", writer.status)
        while writer.status == "waiting" do
            b:recv(65536)
            settle()
        end
        assert.is_true(writer:join())
    end))

    it("returns at once for what never has to wait", task(function()
        local path = support.file "x"
        local fd = os_module.open(path, os_module.O_RDWR)
        assert.same({ true, true }, { wait_readable(fd), wait_writable(fd) })
        os_module.close(fd)
        os.remove(path)
    end))

    it("knows a descriptor that was closed and is another's now", task(function()
        local a, b = pair()
        local fd = a:fileno()
        assert.is_false(wait_readable(fd, 0.001))
        a:close()
        local c, d = pair()
        assert.equal(fd, c:fileno())
        local t = moonlet.spawn(wait_readable, fd)
        settle()
        assert.equal("waiting", t.status)
        d:send(py.bytes "x")
        assert.is_true(t:join())
        b:close()
    end))

    it("tells who waits for a closed descriptor when it is seen to be another's", task(function()
        local a, b = pair()
        local fd = a:fileno()
        local t = moonlet.spawn(wait_readable, fd)
        settle()
        a:close()
        local c, d = pair()
        assert.equal(fd, c:fileno())
        assert.is_false(wait_readable(fd, 0.001))
        local err = error_of(t.join, t)
        is(err, moonlet.Closed)
        assert.equal(("moonlet.Closed: the file descriptor %d was closed"):format(fd), tostring(err))
        d:send(py.bytes "x")
        assert.is_true(wait_readable(fd))
        b:close()
    end))

    it("is told of a close that is to come", task(function()
        local a = pair()
        local t, u = moonlet.spawn(wait_readable, a), moonlet.spawn(wait_writable, a)
        u:join()
        settle()
        moonlet.notify_closing(a)
        a:close()
        is(error_of(t.join, t), moonlet.Closed)
        moonlet.notify_closing(0)
    end))

    it("refuses what is no file descriptor", task(function()
        local expected = "(file descriptor or Python object with fileno() expected, got %s)"
        local text = "bad argument #1 to 'wait_readable' " .. expected
        assert.equal(text:format "nil", message(wait_readable))
        assert.equal(text:format "string", message(wait_readable, "x"))
        text = "bad argument #1 to 'wait_readable' (file descriptor expected, got -1)"
        assert.equal(text, message(wait_readable, -1))
        text = "bad argument #2 to 'wait_writable' (seconds expected, got string)"
        assert.equal(text, message(wait_writable, 0, "x"))
        local err = error_of(wait_readable, 99999)
        is(err, py.builtins.OSError)
        assert.equal("[Errno 9] Bad file descriptor: wait_readable of file descriptor 99999", py.builtins.str(err))
    end))

    it("uses no time while it waits, and does not hide a deadlock", function()
        local hub = require "moonlet.hub"
        local a, b = pair()
        moonlet.run(function()
            local before = hub.waits
            assert.is_false(wait_readable(a, 0.05))
            assert.is_true(hub.waits - before <= 3)
            b:send(py.bytes "x") -- and nobody waits for it
            before = hub.waits
            moonlet.sleep(0.05)
            assert.is_true(hub.waits - before <= 3)
        end)
        is(error_of(moonlet.run, function()
            local me = moonlet.current_task()
            moonlet.spawn(me.join, me):join()
        end), moonlet.Deadlock)
    end)
end)

describe("Python tasks", function()
    local namespace = support.python [[
        import socket
        import moonlet

        def receive(sock, timeout=None):
            while True:
                try:
                    return sock.recv(65536)
                except BlockingIOError:
                    if not moonlet.wait_readable(sock, timeout=timeout):
                        raise TimeoutError("nothing has come") from None

        def send(sock, data):
            view = memoryview(data)
            while view:
                try:
                    view = view[sock.send(view):]
                except BlockingIOError:
                    moonlet.wait_writable(sock)

        def echo(sock):
            with sock:
                while data := receive(sock):
                    send(sock, data)

        def server(listener, count):
            for _ in range(count):
                moonlet.wait_readable(listener)
                sock, _ = listener.accept()
                sock.setblocking(False)
                moonlet.spawn(echo, sock)

        def client(address, data):
            with socket.socket() as sock:
                sock.setblocking(False)
                try:
                    sock.connect(address)
                except BlockingIOError:
                    moonlet.wait_writable(sock)
                sender = moonlet.spawn(send, sock, data)
                got = b""
                while len(got) < len(data):
                    got += receive(sock)
                sender.join()
                return got == data

        def many(count, size):
            with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
                listener.setblocking(False)
                tasks = [moonlet.spawn(client, listener.getsockname(), bytes([i % 256]) * size)
                         for i in range(count)]
                server(listener, count)
                return all([t.join() for t in tasks])

        def errors():
            found = []
            for call in (lambda: moonlet.wait_readable("x"), lambda: moonlet.wait_readable(-1),
                         lambda: moonlet.wait_readable(0, "x"), lambda: moonlet.wait_readable(99999)):
                try:
                    call()
                except Exception as e:
                    found.append(type(e).__name__)
            return found

        def timed():
            a, b = socket.socketpair()
            with a, b:
                return [moonlet.wait_readable(a, 0.001), moonlet.wait_writable(a, 1),
                        moonlet.wait_readable(a.fileno(), timeout=0)]

        def closing():
            a, b = socket.socketpair()
            task = moonlet.spawn(moonlet.wait_readable, a)
            moonlet.sleep(0.001)
            moonlet.notify_closing(a)
            a.close()
            try:
                task.join()
            except moonlet.Closed as e:
                return "closed"
    ]]

    it("use ordinary sockets that do not block", task(function()
        assert.is_true(namespace.many(100, 100))
        assert.is_true(namespace.many(2, 4000000))
    end))

    it("get True, or False at the timeout", task(function()
        assert.equal("[False, True, False]", py.builtins.str(namespace.timed()))
    end))

    it("get Python's errors", task(function()
        assert.equal("['TypeError', 'ValueError', 'TypeError', 'OSError']", py.builtins.str(namespace.errors()))
        assert.equal("closed", namespace.closing())
    end))

    it("talk to Lua tasks", task(function()
        local listener = moonlet.net.listen("127.0.0.1", 0)
        local server = moonlet.spawn(moonlet.net.serve, listener, function(stream)
            stream:write(stream:read_exactly(3):upper())
        end)
        local socket = py.import("socket").create_connection(py.tuple { "127.0.0.1", listener.port })
        socket:setblocking(false)
        namespace.send(socket, py.bytes "abc")
        assert.equal("ABC", namespace.receive(socket))
        listener:close()
        server:join()
    end))
end)
