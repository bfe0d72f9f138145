-- moonlet.select: waits for the first of several things.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message, run = support.message, support.main

--- moonlet.select's results in a table with `n`.
local function selected(cases)
    return table.pack(moonlet.select(cases))
end

describe("moonlet.select", function()
    it("takes what is ready", run(function()
        local a, b = moonlet.channel(1), moonlet.channel(1)
        b:send "value"
        assert.same({ n = 2, 2, "value" }, selected { a, b })
        assert.equal(0, #b)
    end))

    it("waits for what comes first", run(function()
        local a, b = moonlet.channel(), moonlet.channel()
        moonlet.spawn(function()
            moonlet.sleep()
            b:send "value"
        end)
        assert.same({ n = 2, 2, "value" }, selected { a:on_receive(), b:on_receive() })
        assert.is_false(a:try_send(1)) -- nobody waits any more
        assert.is_false(b:try_send(1))
    end))

    it("sends", run(function()
        local full, ch = moonlet.channel(), moonlet.channel()
        local receiver = moonlet.spawn(ch.receive, ch)
        moonlet.sleep()
        assert.equal(2, (moonlet.select { full:on_send(1), ch:on_send(2) }))
        assert.equal(2, receiver:join())
        local late = moonlet.spawn(function()
            moonlet.sleep()
            return ch:receive()
        end)
        assert.equal(1, (moonlet.select { ch:on_send(nil), full:on_send(1) }))
        assert.is_nil(late:join())
        assert.is_false(full:try_receive())
    end))

    it("brings one select together with another one", run(function()
        local ch, other = moonlet.channel(), moonlet.channel()
        local sender = moonlet.spawn(function()
            return moonlet.select { other, ch:on_send "value" }
        end)
        moonlet.sleep()
        assert.same({ n = 2, 1, "value" }, selected { ch, other })
        assert.equal(2, sender:join())
    end))

    it("does not receive what it sends itself", run(function()
        local ch = moonlet.channel()
        assert.equal("default", moonlet.select { ch, ch:on_send(1), default = true })
        local clock <close> = moonlet.virtual_clock()
        assert.equal("timeout", moonlet.select { ch, ch:on_send(1), timeout = 1 })
        clock:advance(1)
    end))

    it("waits for events, tasks, futures and queues", run(function()
        local event, future, queue = moonlet.event(), moonlet.future(), moonlet.queue()
        local task = moonlet.spawn(function()
            moonlet.sleep()
            return "a", "b"
        end)
        local cases = { event, future, queue, task }
        assert.same({ n = 3, 4, "a", "b" }, selected(cases))
        cases[4] = false
        moonlet.spawn(queue.put, queue, 3)
        assert.same({ n = 2, 3, 3 }, selected(cases))
        moonlet.spawn(future.set_result, future, nil)
        assert.same({ n = 2, 2 }, selected(cases))
        cases[2] = false
        moonlet.spawn(event.set, event)
        assert.same({ n = 2, 1, true }, selected(cases))
        assert.same({ n = 2, 1, true }, selected(cases))
        local again = { event:on_set(), future:on_get(), queue:on_get(), task:on_join() }
        queue:put(1)
        local seen = {}
        for _ = 1, 4 do
            seen[(moonlet.select(again))] = true
        end
        assert.same({ true, true, true, true }, seen)
    end))

    it("puts into queues", run(function()
        local queue, priority = moonlet.queue(1), moonlet.priority_queue(1)
        assert.same({ n = 1, 1 }, selected { queue:on_put(1) })
        assert.same({ n = 1, 2 }, selected { queue:on_put(1), priority:on_put("x", 5) })
        moonlet.spawn(function()
            assert.equal(1, queue:get())
        end)
        assert.same({ n = 1, 2 }, selected { priority:on_put "y", queue:on_put(2) })
        assert.equal(2, queue:get())
        local task = moonlet.spawn(moonlet.select, { priority:on_put("y", 1) })
        moonlet.sleep()
        assert.equal("x", priority:get())
        assert.equal(1, task:join())
        assert.equal("y", priority:get())
    end))

    it("returns 'default' instead of waiting", run(function()
        local ch = moonlet.channel()
        assert.same({ n = 1, "default" }, selected { ch, default = true })
        assert.same({ n = 1, "default" }, selected { default = true })
        assert.same({ n = 1, "timeout" }, selected { ch, timeout = 0 })
        assert.is_false(ch:try_send(1))
    end))

    it("returns 'timeout' after a time", run(function()
        local clock <close> = moonlet.virtual_clock()
        local ch, start = moonlet.channel(), clock:now()
        assert.same({ n = 1, "timeout" }, selected { ch, timeout = 3 })
        assert.is_true(math.abs(clock:now() - start - 3) < 1e-6)
        assert.is_false(ch:try_send(1))
        assert.same({ n = 1, "timeout" }, selected { timeout = 1 })
    end))

    it("never takes what is false", run(function()
        local ch = moonlet.channel(1)
        ch:send(1)
        assert.same({ n = 2, 3, 1 }, selected { false, false, ch })
    end))

    it("takes what has waited longest of several that are ready", run(function()
        local a, b, c = moonlet.channel(9), moonlet.channel(9), moonlet.channel(9)
        for i = 1, 9 do
            a:send(i)
            b:send(i)
            c:send(i)
        end
        local order = {}
        for i = 1, 9 do
            order[i] = moonlet.select { a, b, c }
        end
        assert.same({ 1, 2, 3, 1, 2, 3, 1, 2, 3 }, order)
    end))

    it("raises Closed with the index of the case", run(function()
        local a, b = moonlet.channel(), moonlet.channel(1)
        b:send(1)
        b:close()
        assert.same({ n = 2, 2, 1 }, selected { a, b })
        local err = support.error_of(moonlet.select, { a, b })
        assert.equal("moonlet.Closed: the channel is closed", tostring(err))
        assert.equal(2, err.index)
        assert.equal(1, support.error_of(moonlet.select, { b:on_send(1), a }).index)
        moonlet.spawn(a.close, a)
        assert.equal(3, support.error_of(moonlet.select, { false, false, a }).index)
        assert.is_nil(support.error_of(a.receive, a).index)
        local queue = moonlet.queue()
        moonlet.spawn(queue.shutdown, queue)
        assert.equal(1, support.error_of(moonlet.select, { queue }).index)
        assert.equal(1, support.error_of(moonlet.select, { queue:on_put(1) }).index)
    end))

    it("raises the error of a task or future", run(function()
        local task = moonlet.spawn(error, "failed", 0)
        assert.equal("failed", message(moonlet.select, { task }))
        local future = moonlet.future()
        moonlet.spawn(future.set_error, future, "wrong")
        assert.equal("wrong", message(moonlet.select, { future }))
        task = moonlet.spawn(moonlet.sleep, 1)
        task:cancel()
        assert.matches("^moonlet.TaskCancelled: .*was cancelled$", message(moonlet.select, { task }))
    end))

    it("can be cancelled, and then has taken nothing", run(function()
        local a, b = moonlet.channel(), moonlet.channel()
        local task = moonlet.spawn(moonlet.select, { a, b:on_send(1) })
        moonlet.sleep()
        task:cancel()
        assert.is_false(a:try_send(1))
        assert.is_false(b:try_receive())
        task:wait()
        assert.equal("cancelled", task.status)
    end))

    it("keeps what it was given before it was cancelled", run(function()
        local ch, got = moonlet.channel(), nil
        local task = moonlet.spawn(function()
            got = table.pack(moonlet.select { moonlet.channel(), ch })
        end)
        moonlet.sleep()
        ch:send(5)
        task:cancel()
        task:wait()
        assert.same({ n = 2, 2, 5 }, got)
    end))

    it("has not seen the error of a task whose case it did not take", function()
        local reports = {}
        local before = moonlet.on_error(function(text)
            table.insert(reports, text)
        end)
        moonlet.run(function()
            local ch = moonlet.channel()
            local task = moonlet.spawn(function()
                moonlet.sleep()
                ch:try_send(1)
                error "failed"
            end)
            assert.same({ n = 2, 2, 1 }, selected { task, ch })
        end)
        moonlet.on_error(before)
        assert.equal(1, #reports)
    end)

    it("refuses other arguments", run(function()
        local ch = moonlet.channel()
        assert.equal("bad argument #1 to 'select' (table of cases expected, got nil)", message(moonlet.select))
        assert.equal("bad argument #1 to 'select' (table of cases expected, got channel)", message(moonlet.select, ch))
        assert.equal(
            "bad case 2 of 'select' (a channel, queue, event, task, future or case expected, got table)",
            message(moonlet.select, { ch, {} })
        )
        assert.equal(
            "bad case 1 of 'select' (a channel, queue, event, task, future or case expected, got number)",
            message(moonlet.select, { 1 })
        )
        local text = "select would wait for ever: it has no case, timeout or default"
        assert.equal(text, message(moonlet.select, {}))
        assert.equal(text, message(moonlet.select, { false }))
        assert.equal(
            "bad timeout of 'select' (seconds expected, got string)",
            message(moonlet.select, { ch, timeout = "x" })
        )
        assert.equal(
            "bad timeout of 'select' (seconds expected that are not negative, got -1)",
            message(moonlet.select, { ch, timeout = -1 })
        )
        assert.matches("^case: send, channel %d+: 0 of 0 values$", tostring(ch:on_send(1)))
    end))

    it("is used in Python as a function of the cases", function()
        local namespace = support.python [[
            import moonlet
            from moonlet import Channel, Event, Queue, select

            def main():
                a, b, e = Channel(), Channel(1), Event()
                result = [select(a, b.on_send((1, 2))), select(a, b, e), select(None, a, timeout=0),
                          select(a, default=True), select(a, timeout=0.001)]
                moonlet.spawn(e.set)
                result.append(select(a, e.on_set()))
                moonlet.spawn(a.send, b"x")
                result.append(select(b, a.on_receive()))
                moonlet.spawn(lambda: (1, 2))
                result.append(select(moonlet.spawn(lambda: (1, 2))))
                moonlet.spawn(a.close)
                for cases in [(b, a), (1,), ()]:
                    try:
                        select(*cases)
                    except Exception as error:
                        result.append((str(error), getattr(error, "index", None)))
                return "\n".join(map(repr, result))
        ]]
        assert.equal(
            [[
(1, None)
(1, (1, 2))
('timeout', None)
('default', None)
('timeout', None)
(1, True)
(1, b'x')
(0, (1, 2))
('the channel is closed', 1)
("bad case 0 of 'select' (a channel, queue, event, task, future or case expected, got number)", None)
('select would wait for ever: it has no case, timeout or default', None)]],
            moonlet.run(namespace.main)
        )
    end)

    it("gives Lua strings for bytes, and values for a tuple that a task has returned", run(function()
        local ch = moonlet.channel()
        moonlet.spawn(py.eval "lambda c: c.send(b'x')", ch)
        assert.same({ n = 2, 1, "x" }, selected { ch })
        assert.same({ n = 3, 1, 2, 3 }, selected { moonlet.spawn(py.eval "lambda: (2, 3)") })
    end))
end)
