-- moonlet.net: streams over TCP, and listeners.

local moonlet = require "moonlet"
local support = require "spec.support"
local net = moonlet.net
local py = moonlet.python
local message, error_of = support.message, support.error_of
local task, is, settle = support.task, support.is, support.settle

--- Two streams that are connected by TCP, and the listener.
local function pair()
    local listener = net.listen("127.0.0.1", 0)
    local client = net.connect("127.0.0.1", listener.port)
    return client, listener:accept(), listener
end

describe("a stream", function()
    it("carries what is written, in order, in both directions", task(function()
        local a, b = pair()
        a:write "hello "
        a:write { "list ", "of ", "strings" }
        assert.equal("hello list of strings", b:read_exactly(21))
        b:write "\0\xff\r\n"
        assert.equal("\0\xff\r\n", a:read_exactly(4))
    end))

    it("reads some bytes, at most so many", task(function()
        local a, b = pair()
        a:write "abcdef"
        assert.equal("abcdef", b:read())
        a:write "abcdef"
        assert.equal("abc", b:read(3))
        assert.equal("de", b:read(2))
        assert.equal("f", b:read(100))
    end))

    it("gives nil at its end, again and again", task(function()
        local a, b <close> = pair()
        a:write "x"
        a:close()
        assert.equal("x", b:read())
        assert.is_nil(b:read())
        assert.is_nil(b:read())
        assert.is_nil(b:read_exactly(1))
        assert.is_nil(b:read_line())
        assert.is_nil(b:read_until ";")
        assert.equal("", b:read_all())
    end))

    it("reads lines of both kinds, the last without an end", task(function()
        local a, b <close> = pair()
        a:write "one\ntwo\r\n\nlast"
        a:close()
        local lines = {}
        for line in b:lines() do
            lines[#lines + 1] = line
        end
        assert.same({ "one", "two", "", "last" }, lines)
    end))

    it("reads until a delimiter that arrives in pieces", task(function()
        local a, b = pair()
        local reader = moonlet.spawn(b.read_until, b, "<end>")
        for part in ("some<en<end>rest"):gmatch "." do
            a:write(part)
            settle()
        end
        assert.equal("some<en", reader:join())
        assert.equal("rest", b:read_exactly(4))
    end))

    it("loses nothing where the end comes too early", task(function()
        local a, b <close> = pair()
        a:write "abc"
        a:close()
        local err = error_of(b.read_exactly, b, 5)
        is(err, py.builtins.EOFError)
        assert.matches("has ended after 3 of 5 bytes", tostring(err))
        assert.matches("has ended before the delimiter, after 3 bytes", message(b.read_until, b, ";"))
        assert.equal("abc", b:read_all())
    end))

    it("gives up on a delimiter that is too far, and loses nothing", task(function()
        local a, b <close> = pair()
        a:write "abcdefgh\n"
        a:close()
        local err = error_of(b.read_line, b, 7)
        is(err, py.builtins.ValueError)
        assert.matches("no delimiter in the first 7 bytes", tostring(err))
        assert.equal("abcdefgh", b:read_line(8))
        assert.equal("", b:read_all(1))
    end))

    it("reads all, but not more than allowed", task(function()
        local a, b <close> = pair()
        a:write(("x"):rep(1000))
        a:close()
        assert.matches("more than 999 bytes", message(b.read_all, b, 999))
        assert.equal(1000, #b:read_all(1000))
    end))

    it("can be closed for writing alone", task(function()
        local a, b = pair()
        a:write "question"
        a:shutdown()
        assert.equal("question", b:read_all())
        b:write "answer"
        b:shutdown()
        assert.equal("answer", a:read_all())
        assert.matches("Broken pipe: write to", message(a.write, a, "more"))
    end))

    it("makes who writes wait while nobody reads", task(function()
        local a, b = pair()
        local big = ("0123456789abcdef"):rep(1024 * 1024)
        local writer = moonlet.spawn(a.write, a, big)
        moonlet.sleep(0.05)
        assert.equal("waiting", writer.status)
        assert.is_true(b.core.size < 1024 * 1024) -- nor is all of it in memory
        assert.is_true(b:read_exactly(#big) == big)
        writer:join()
    end))

    it("stops to read ahead when nobody takes anything", task(function()
        local a, b = pair()
        local writer = moonlet.spawn(a.write, a, ("x"):rep(8 * 1024 * 1024))
        b:read(1)
        moonlet.sleep(0.05)
        assert.is_true(b.core.size < 1024 * 1024)
        assert.equal("waiting", writer.status)
        writer:cancel()
    end))

    it("times out, and loses nothing", task(function()
        local a, b = pair()
        a:write "abc"
        local err = error_of(b.read_exactly, b, 5, 0.01)
        is(err, py.builtins.TimeoutError)
        assert.matches("timed out after 0.01 seconds", tostring(err))
        is(error_of(b.read_until, b, ";", nil, 0.01), py.builtins.TimeoutError)
        is(error_of(b.read_line, b, nil, 0.01), py.builtins.TimeoutError)
        is(error_of(b.read_all, b, nil, 0.01), py.builtins.TimeoutError)
        a:write "de"
        assert.equal("abcde", b:read_exactly(5, 1))
        is(error_of(b.read, b, nil, 0), py.builtins.TimeoutError)
    end))

    it("is cancelled where it waits, and loses nothing", task(function()
        local a, b = pair()
        a:write "abc"
        assert.is_false(moonlet.move_on_after(0.01, b.read_exactly, b, 4))
        assert.is_false(moonlet.move_on_after(0.01, b.read_line, b))
        local t = moonlet.spawn(b.read_all, b)
        settle()
        t:cancel()
        assert.is_true(t:wait(1))
        assert.equal("abc", b:read())
        assert.is_false(moonlet.move_on_after(0.01, a.write, a, ("x"):rep(16 * 1024 * 1024)))
    end))

    it("times out where it writes", task(function()
        local a, _ = pair()
        local err = error_of(a.write, a, ("x"):rep(16 * 1024 * 1024), 0.01)
        is(err, py.builtins.TimeoutError)
    end))

    it("tells who waits that it was closed", task(function()
        local a <close>, b = pair()
        local reader = moonlet.spawn(b.read, b)
        local writer = moonlet.spawn(b.write, b, ("x"):rep(16 * 1024 * 1024))
        settle()
        b:close()
        is(error_of(reader.join, reader), moonlet.Closed)
        is(error_of(writer.join, writer), moonlet.Closed)
        assert.matches("^moonlet.Closed: tcp stream with 127.0.0.1:%d+ is closed$", message(b.read, b))
        assert.matches("is closed$", message(b.write, b, "x"))
        assert.matches("is closed$", message(b.shutdown, b))
        b:close()
        assert.is_true(b.closed)
        assert.is_false(a.closed)
    end))

    it("is read by one task at a time", task(function()
        local _, b = pair()
        local reader = moonlet.spawn(b.read, b)
        settle()
        assert.matches("another task is reading from tcp stream", message(b.read, b))
        reader:cancel()
    end))

    it("is written by many tasks, whole strings at a time", task(function()
        local a, b = pair()
        local writers = {}
        for i = 1, 5 do
            writers[i] = moonlet.spawn(a.write, a, (tostring(i)):rep(1024 * 1024))
        end
        local all = b:read_exactly(5 * 1024 * 1024)
        assert.equal(("1"):rep(10), all:sub(1, 10))
        for i = 1, 5 do
            writers[i]:join()
            assert.is_truthy(all:find(tostring(i):rep(1024 * 1024), 1, true))
        end
    end))

    it("has addresses", task(function()
        local a, b, listener = pair()
        assert.equal(listener.address, a.peer_address)
        assert.equal(a.local_address, b.peer_address)
        assert.same({ "127.0.0.1", listener.port, "tcp" }, { a.peer_host, a.peer_port, a.kind })
        assert.same({ "127.0.0.1", a.local_port }, { b.peer_host, b.peer_port })
        assert.equal("tcp stream with " .. listener.address, tostring(a))
        a:nodelay(false)
        a:nodelay(true)
        a:keepalive(10)
        a:keepalive(false)
        assert.equal("integer", math.type(a:fileno()))
    end))

    it("is closed when nobody has it any more", task(function()
        local a, b <close> = pair()
        a:write "x"
        a = nil -- luacheck: ignore
        support.collect()
        assert.equal("x", b:read())
        assert.is_nil(b:read())
    end))

    it("refuses what cannot be", task(function()
        local a <close> = pair()
        assert.equal("bad argument #1 to 'write' (string expected, got nil)", message(a.write, a))
        assert.equal("bad argument #1 to 'write' (a string expected at 2, got number)", message(a.write, a, { "a", 1 }))
        assert.equal("bad argument #1 to 'read' (1 or more expected, got 0)", message(a.read, a, 0))
        assert.equal("bad argument #1 to 'read' (integer expected, got string)", message(a.read, a, "a"))
        assert.equal("bad argument #2 to 'read' (seconds expected, got string)", message(a.read, a, 1, "x"))
        assert.equal("bad argument #1 to 'read_exactly' (integer expected, got nil)", message(a.read_exactly, a))
        assert.matches("delimiter expected, got an empty string", message(a.read_until, a, ""))
        assert.equal("bad argument #1 to 'read' (stream expected, got table)", message(a.read, {}))
        assert.equal("bad argument #1 to 'close' (stream expected, got nil)", message(a.close))
    end))
end)

describe("connecting", function()
    it("is refused where nobody listens, as Python has it", task(function()
        local listener = net.listen("127.0.0.1", 0)
        local port = listener.port
        listener:close()
        local err = error_of(net.connect, "127.0.0.1", port)
        is(err, py.builtins.ConnectionRefusedError)
        assert.equal(("[Errno 111] Connection refused: 127.0.0.1:%d"):format(port), py.builtins.str(err))
    end))

    it("refuses what is no address", task(function()
        assert.equal("bad argument #1 to 'connect' (string expected, got nil)", message(net.connect))
        assert.equal("bad argument #2 to 'connect' (port expected, got string)", message(net.connect, "a", "80"))
        assert.matches("port from 0 to 65535 expected, got 65536", message(net.connect, "localhost", 65536))
        assert.matches("there is no option 'nodeley'", message(net.connect, "localhost", 1, { nodeley = true }))
        assert.matches("it has a zero byte", message(net.connect, "local\0host", 1))
    end))

    it("can be cancelled", task(function()
        local listener <close> = net.listen("127.0.0.1", 0)
        local t = moonlet.spawn(net.connect, "127.0.0.1", listener.port)
        t:cancel()
        assert.is_true(t:wait(1))
        assert.is_false(moonlet.move_on_after(0, net.connect, "localhost", listener.port))
    end))

    it("works by name, with options", task(function()
        local listener <close> = net.listen("localhost", 0)
        local a <close> = net.connect("localhost", listener.port, { timeout = 5, nodelay = false, keepalive = 5 })
        a:write "x"
        assert.equal("x", listener:accept():read())
    end))
end)

describe("a listener", function()
    it("accepts in the order in which they come", task(function()
        local listener <close> = net.listen("127.0.0.1", 0)
        local clients = {}
        for i = 1, 100 do
            clients[i] = net.connect("127.0.0.1", listener.port)
            clients[i]:write(("%3d"):format(i))
        end
        for i = 1, 100 do
            assert.equal(("%3d"):format(i), listener:accept():read_exactly(3))
        end
    end))

    it("can be waited for by several tasks, with a timeout, and cancelled", task(function()
        local listener <close> = net.listen("127.0.0.1", 0)
        local err = error_of(listener.accept, listener, 0.01)
        is(err, py.builtins.TimeoutError)
        assert.is_false(moonlet.move_on_after(0.01, listener.accept, listener))
        local first = moonlet.spawn(listener.accept, listener)
        local second = moonlet.spawn(listener.accept, listener)
        settle()
        local a <close> = net.connect("127.0.0.1", listener.port)
        assert.equal(a.local_port, first:join(5).peer_port)
        assert.equal("waiting", second.status)
        second:cancel()
    end))

    it("ends an iteration, and who waits, when it is closed", task(function()
        local listener = net.listen("127.0.0.1", 0)
        local count = 0
        local t = moonlet.spawn(function()
            for _ in listener do
                count = count + 1
            end
        end)
        net.connect("127.0.0.1", listener.port):close()
        net.connect("127.0.0.1", listener.port):close()
        moonlet.sleep(0.01)
        local waiting = moonlet.spawn(listener.accept, listener)
        moonlet.sleep(0)
        listener:close()
        t:join()
        is(error_of(waiting.join, waiting), moonlet.Closed)
        assert.equal(2, count)
        assert.matches("^moonlet.Closed: listener on 127.0.0.1:%d+ is closed$", message(listener.accept, listener))
        listener:close()
    end))

    it("tells of an address that is in use", task(function()
        local listener <close> = net.listen("127.0.0.1", 0)
        local err = error_of(net.listen, "127.0.0.1", listener.port)
        assert.equal(("[Errno 98] Address already in use: listen on %s"):format(listener.address), py.builtins.str(err))
    end))

    it("that nobody waits for does not hide a deadlock", function()
        local listener = net.listen("127.0.0.1", 0)
        local a, b
        local err = error_of(moonlet.run, function()
            a = net.connect("127.0.0.1", listener.port)
            b = listener:accept()
            a:write "x"
            b:read()
            local first, second
            first = moonlet.spawn(function()
                moonlet.sleep(0)
                second:join()
            end)
            second = moonlet.spawn(function()
                first:join()
            end)
            first:join()
        end)
        a:close()
        b:close()
        listener:close()
        is(err, moonlet.Deadlock)
    end)

    it("serves many connections, and reports errors of handlers", task(function()
        local listener = net.listen("127.0.0.1", 0, 1024)
        local reported = {}
        local before = moonlet.on_error(function(text, err)
            reported[#reported + 1] = text .. "|" .. tostring(err)
        end)
        local server = moonlet.spawn(net.serve, listener, function(stream)
            for line in stream:lines() do
                if line == "fail" then
                    error("it has failed", 0)
                end
                stream:write(line:upper() .. "\n")
            end
        end)
        moonlet.nursery(function(n)
            for i = 1, 200 do
                n:spawn(function()
                    local s <close> = net.connect("127.0.0.1", listener.port)
                    s:write(("line %d\n"):format(i))
                    assert.equal(("LINE %d"):format(i), s:read_line())
                end)
            end
        end)
        local s <close> = net.connect("127.0.0.1", listener.port)
        s:write "fail\n"
        assert.is_nil(s:read())
        moonlet.on_error(before)
        assert.equal(1, #reported)
        assert.matches("^error in the handler of tcp stream with 127.0.0.1:%d+|it has failed$", reported[1])
        listener:close()
        server:join()
    end))

    it("ends all connections of a server that is cancelled", task(function()
        local listener = net.listen("127.0.0.1", 0)
        local server = moonlet.spawn(net.serve, listener, function(stream)
            stream:read()
        end)
        local s <close> = net.connect("127.0.0.1", listener.port)
        moonlet.sleep(0.01)
        server:cancel()
        assert.is_nil(s:read())
        assert.is_true(listener.closed)
        assert.equal("bad argument #2 to 'serve' (function or Python callable expected, got nil)",
            message(net.serve, listener))
    end))
end)

describe("many connections", function()
    it("are served at once", task(function()
        local count, rounds = support.scaled(1000), 5
        local listener = net.listen("127.0.0.1", 0, 1024)
        local server = moonlet.spawn(net.serve, listener, function(stream)
            for line in stream:lines() do
                stream:write { line, "\n" }
            end
        end)
        local done = 0
        moonlet.nursery(function(n)
            for i = 1, count do
                n:spawn(function()
                    local s <close> = net.connect("127.0.0.1", listener.port)
                    for k = 1, rounds do
                        s:write(("%d %d\n"):format(i, k))
                        assert.equal(("%d %d"):format(i, k), s:read_line())
                    end
                    done = done + 1
                end)
            end
        end)
        assert.equal(count, done)
        listener:close()
        server:join()
    end))
end)
