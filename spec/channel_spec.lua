-- Channels: values go from one task to another. See also select_spec.lua.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message, run = support.message, support.main

--- Spawns a task that calls f(...) and adds what it returns, or its error, to `log`.
local function logged(log, f, ...)
    return moonlet.spawn(function(...)
        local ok, value = pcall(f, ...)
        table.insert(log, ok and value or tostring(value))
    end, ...)
end

describe("moonlet.channel", function()
    it("gives a value from a task to another one", run(function()
        local ch = moonlet.channel()
        moonlet.spawn(function()
            ch:send "value"
        end)
        assert.equal("value", ch:receive())
    end))

    it("makes a sender wait for a receiver", run(function()
        local ch, log = moonlet.channel(), {}
        local sender = moonlet.spawn(function()
            ch:send(1)
            table.insert(log, "sent")
        end)
        moonlet.sleep()
        assert.equal("waiting", sender.status)
        table.insert(log, ch:receive())
        sender:join()
        assert.same({ 1, "sent" }, log)
    end))

    it("holds as many values as its capacity", run(function()
        local ch = moonlet.channel(2)
        ch:send(1)
        ch:send(2)
        assert.equal(2, #ch)
        assert.is_false(ch:try_send(3))
        local sender = moonlet.spawn(ch.send, ch, 3)
        moonlet.sleep()
        assert.equal("waiting", sender.status)
        assert.equal(1, ch:receive())
        assert.equal(2, #ch)
        sender:join()
        assert.same({ 2, 3 }, { ch:receive(), ch:receive() })
        assert.same({ 0, 2 }, { #ch, ch.capacity })
    end))

    it("can hold any number", run(function()
        local ch = moonlet.channel(math.huge)
        for i = 1, 10000 do
            ch:send(i)
        end
        assert.equal(10000, #ch)
        for i = 1, 10000 do
            assert.equal(i, ch:receive())
        end
    end))

    it("serves receivers in the order in which they came", run(function()
        local ch, log = moonlet.channel(), {}
        for i = 1, 3 do
            moonlet.spawn(function()
                table.insert(log, i .. ch:receive())
            end)
        end
        moonlet.sleep()
        for _, v in ipairs { "a", "b", "c" } do
            ch:send(v)
        end
        moonlet.sleep()
        assert.same({ "1a", "2b", "3c" }, log)
    end))

    it("takes from senders in the order in which they came", run(function()
        for capacity = 0, 2 do
            local ch, log = moonlet.channel(capacity), {}
            for i = 1, 5 do
                moonlet.spawn(ch.send, ch, i)
            end
            moonlet.sleep()
            for i = 1, 5 do
                log[i] = ch:receive()
            end
            assert.same({ 1, 2, 3, 4, 5 }, log)
        end
    end))

    it("lets others run now and then, also if nobody has to wait", run(function()
        local ch = moonlet.channel(math.huge)
        local ran = 0
        moonlet.spawn(function()
            while not ch.closed do
                ran = ran + 1
                moonlet.sleep()
            end
        end)
        for i = 1, 1000 do
            ch:send(i)
        end
        for i = 1, 1000 do
            assert.equal(i, ch:receive())
        end
        assert.is_true(ran > 10)
        ran = 0
        for _ = 1, 1000 do
            pcall(ch.receive, ch, 0)
        end
        assert.is_true(ran > 5)
        ch:close()
    end))

    it("carries nil and false", run(function()
        for capacity = 0, 1 do
            local ch = moonlet.channel(capacity)
            moonlet.spawn(function()
                ch:send(nil)
                ch:send(false)
            end)
            assert.same({ n = 1 }, table.pack(ch:receive()))
            assert.equal(false, ch:receive())
        end
    end))

    it("tries without waiting", run(function()
        local ch = moonlet.channel()
        assert.is_false(ch:try_send(1))
        assert.same({ n = 1, false }, table.pack(ch:try_receive()))
        moonlet.spawn(ch.send, ch, nil)
        moonlet.sleep()
        assert.same({ n = 2, true }, table.pack(ch:try_receive()))
        local receiver = moonlet.spawn(ch.receive, ch)
        moonlet.sleep()
        assert.is_true(ch:try_send(2))
        assert.equal(2, receiver:join())
    end))

    it("is closed by a to-be-closed variable", run(function()
        local ch
        do
            local c <close> = moonlet.channel()
            ch = c
        end
        assert.is_true(ch.closed)
    end))

    it("tells what it is", run(function()
        local ch = moonlet.channel(3)
        ch:send(1)
        assert.matches("^channel %d+: 1 of 3 values$", tostring(ch))
        ch:close()
        assert.matches("^channel %d+: 1 of 3 values, closed$", tostring(ch))
    end))

    it("refuses other arguments", function()
        local function fails(...)
            return message(moonlet.channel, ...)
        end
        assert.equal("bad argument #1 to 'channel' (integer or math.huge expected, got string)", fails "x")
        assert.equal("bad argument #1 to 'channel' (integer or math.huge expected, got number)", fails(1.5))
        assert.equal("bad argument #1 to 'channel' (0 or more expected, got -1)", fails(-1))
        local ch = moonlet.channel()
        assert.equal("bad argument #1 to 'send' (channel expected, got table)", message(ch.send, {}, 1))
        assert.equal("bad argument #1 to 'receive' (channel expected, got nil)", message(ch.receive))
        assert.equal("bad argument #1 to 'receive' (channel expected, got number)", message(ch.receive, 1))
        assert.equal("bad argument #1 to 'send' (channel expected, got number)", message(ch.send, 1, 2))
        assert.equal("bad argument #1 to 'close' (channel expected, got number)", message(ch.close, 1))
        assert.equal("bad argument #1 to 'receive' (seconds expected, got string)", message(ch.receive, ch, "x"))
        assert.equal(
            "bad argument #2 to 'send' (seconds expected that are not negative, got -1)",
            message(ch.send, ch, 1, -1)
        )
    end)
end)

describe("closing a channel", function()
    local closed = "moonlet.Closed: the channel is closed"

    it("lets receivers take what is left", run(function()
        local ch = moonlet.channel(2)
        ch:send(1)
        ch:send(2)
        assert.is_true(ch:close())
        assert.same({ 1, 2 }, { ch:receive(), ch:receive() })
        assert.equal(closed, message(ch.receive, ch))
        assert.equal(closed, message(ch.try_receive, ch))
        assert.is_true(ch.closed)
    end))

    it("refuses new values", run(function()
        local ch = moonlet.channel(2)
        ch:close()
        assert.equal(closed, message(ch.send, ch, 1))
        assert.equal(closed, message(ch.try_send, ch, 1))
    end))

    it("ends the waits of receivers and senders", run(function()
        local ch, log = moonlet.channel(), {}
        logged(log, ch.receive, ch)
        logged(log, ch.receive, ch)
        moonlet.sleep()
        ch:close()
        moonlet.sleep()
        assert.same({ closed, closed }, log)
        ch, log = moonlet.channel(1), {}
        ch:send(1)
        logged(log, ch.send, ch, 2)
        moonlet.sleep()
        ch:close()
        moonlet.sleep()
        assert.same({ closed }, log)
        assert.equal(1, ch:receive())
        assert.equal(closed, message(ch.receive, ch))
    end))

    it("is done once", function()
        local ch = moonlet.channel()
        assert.same({ true, false }, { ch:close(), ch:close() })
    end)
end)

describe("a loop over a channel", function()
    it("ends when it is closed and empty", run(function()
        local ch, log = moonlet.channel(1), {}
        moonlet.spawn(function()
            for i = 1, 4 do
                ch:send(i)
            end
            ch:close()
        end)
        for v in ch do
            table.insert(log, v)
        end
        assert.same({ 1, 2, 3, 4 }, log)
    end))

    it("ends when it is closed meanwhile", run(function()
        local ch = moonlet.channel()
        moonlet.spawn(ch.close, ch)
        for _ in ch do
            error "no value was sent"
        end
    end))

    it("goes on after nil and false", run(function()
        local ch = moonlet.channel(3)
        ch:send(nil)
        ch:send(false)
        ch:send(3)
        ch:close()
        local log = {}
        for v in ch do
            table.insert(log, v == py.none and "none" or tostring(v))
        end
        assert.same({ "none", "false", "3" }, log)
    end))

    it("is shared by several tasks", run(function()
        local ch, sum = moonlet.channel(), 0
        local workers = {}
        for i = 1, 3 do
            workers[i] = moonlet.spawn(function()
                for v in ch do
                    sum = sum + v
                    moonlet.sleep()
                end
            end)
        end
        for i = 1, 100 do
            ch:send(i)
        end
        ch:close()
        moonlet.wait_all(workers)
        assert.equal(5050, sum)
    end))
end)

describe("a timeout of a channel", function()
    it("ends the wait of a receiver", run(function()
        local clock <close> = moonlet.virtual_clock()
        local ch, start = moonlet.channel(), clock:now()
        assert.equal("TimeoutError: nothing was received within 2.5 seconds", message(ch.receive, ch, 2.5))
        assert.is_true(math.abs(clock:now() - start - 2.5) < 1e-6)
        assert.is_false(ch:try_send(1))
    end))

    it("ends the wait of a sender, whose value is not sent", run(function()
        local clock <close> = moonlet.virtual_clock()
        local ch = moonlet.channel()
        assert.equal("TimeoutError: nothing could be sent within 1 seconds", message(ch.send, ch, 1, 1))
        assert.is_false(ch:try_receive())
        clock:advance(1)
    end))

    it("may be 0 or math.huge", run(function()
        local ch = moonlet.channel()
        assert.equal("TimeoutError: nothing was received within 0 seconds", message(ch.receive, ch, 0))
        assert.equal("TimeoutError: nothing could be sent within 0 seconds", message(ch.send, ch, 1, 0))
        moonlet.spawn(ch.send, ch, 1, math.huge)
        assert.equal(1, ch:receive(math.huge))
    end))
end)

describe("cancelling who waits for a channel", function()
    it("takes a receiver out of the order", run(function()
        local ch, log = moonlet.channel(), {}
        local first = logged(log, ch.receive, ch)
        logged(log, ch.receive, ch)
        moonlet.sleep()
        first:cancel()
        ch:send "value"
        moonlet.sleep()
        assert.same({ "value" }, log)
    end))

    it("takes a sender out of the order", run(function()
        local ch = moonlet.channel()
        local first = moonlet.spawn(ch.send, ch, 1)
        moonlet.spawn(ch.send, ch, 2)
        moonlet.sleep()
        first:cancel()
        assert.equal(2, ch:receive())
    end))

    it("does not lose a value that was handed over before", run(function()
        local ch, got = moonlet.channel(), nil
        local receiver = moonlet.spawn(function()
            got = ch:receive()
            moonlet.sleep()
        end)
        moonlet.sleep()
        ch:send "value"
        receiver:cancel()
        receiver:wait()
        assert.same({ "value", "cancelled" }, { got, receiver.status })
    end))

    it("ends each wait of a cancelled scope, but not what need not wait", run(function()
        local ch = moonlet.channel(1)
        local got
        assert.is_false(moonlet.cancel_scope(function(scope)
            scope:cancel()
            ch:send(1)
            got = ch:receive()
            ch:receive()
        end))
        assert.equal(1, got)
        assert.is_true(ch:try_send(2))
    end))
end)

describe("a channel in Python", function()
    local namespace = support.python [[
        import moonlet
        from moonlet import Channel

        def run(f, *args):
            return moonlet.run(f, *args)

        def values():
            ch = Channel(2)
            def send():
                for v in [None, b"x", (1, 2), [], "s", 1.0]:
                    ch.send(v)
                ch.close()
            moonlet.spawn(send)
            return repr(list(ch))

        def attributes():
            ch = Channel(capacity=3)
            ch.send(1)
            with ch:
                pass
            return repr((len(ch), ch.capacity, ch.closed, Channel is moonlet.channel,
                         type(ch) is Channel, bool(ch)))

        def errors():
            ch = Channel()
            result = []
            for f in [lambda: ch.receive(timeout=0), lambda: ch.send(1, timeout=0.0),
                      ch.try_receive, lambda: ch.receive("x"), lambda: ch.receive(-1),
                      lambda: Channel("x"), lambda: Channel(-1), ch.close, ch.close,
                      lambda: ch.send(1), ch.receive, ch.try_receive, lambda: ch.try_send(1)]:
                try:
                    result.append(str(f()))
                except Exception as e:
                    result.append(type(e).__name__ + ": " + str(e))
            return "\n".join(result)

        def tries():
            ch = Channel(1)
            return repr((ch.try_send((None,)), ch.try_send(2), ch.try_receive()))

        def ping_pong(n):
            a, b = Channel(), Channel()
            def pong():
                for v in a:
                    b.send(v + 1)
            moonlet.spawn(pong)
            for i in range(n):
                a.send(i)
                assert b.receive() == i + 1
            a.close()
    ]]

    it("gives values as they were sent", function()
        assert.equal("[None, b'x', (1, 2), [], 's', 1.0]", namespace.run(namespace.values))
    end)

    it("has its attributes", function()
        assert.equal("(1, 3, True, True, True, True)", namespace.run(namespace.attributes))
    end)

    it("raises exceptions", function()
        assert.equal(
            [[
TimeoutError: nothing was received within 0 seconds
TimeoutError: nothing could be sent within 0 seconds
WouldBlock: there is no value in the channel
TypeError: bad argument #1 to 'receive' (seconds expected, got string)
ValueError: bad argument #1 to 'receive' (seconds expected that are not negative, got -1)
TypeError: bad argument #1 to 'channel' (integer or math.huge expected, got string)
ValueError: bad argument #1 to 'channel' (0 or more expected, got -1)
True
False
Closed: the channel is closed
Closed: the channel is closed
Closed: the channel is closed
Closed: the channel is closed]],
            namespace.run(namespace.errors)
        )
    end)

    it("tries without waiting", function()
        assert.equal("(True, False, (None,))", namespace.run(namespace.tries))
    end)

    it("goes to and fro", function()
        namespace.run(namespace.ping_pong, 1000)
    end)

    it("takes values from Lua, and gives them to it", run(function()
        local ch = moonlet.channel(4)
        ch:send "\xff"
        ch:send "text"
        assert.equal("(b'\\xff', 'text')", py.eval "lambda c: repr((c.receive(), c.receive()))"(ch))
        py.eval "lambda c: [c.send(v) for v in (b'x', (1, 2), None)]"(ch)
        assert.equal("x", ch:receive())
        assert.equal("(1, 2)", tostring(ch:receive()))
        assert.is_nil(ch:receive())
        py.eval "lambda c: (c.send(b'x'), c.send(None))"(ch)
        ch:close()
        local all = {}
        for v in ch do
            table.insert(all, v == py.none and "none" or v)
        end
        assert.same({ "x", "none" }, all)
    end))
end)
