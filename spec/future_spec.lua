-- Futures: one value, or error, that is there later.

local moonlet = require "moonlet"
local support = require "spec.support"
local message, run = support.message, support.main

describe("moonlet.future", function()
    it("gives its value to all who wait for it", run(function()
        local future = moonlet.future()
        local tasks = {}
        for i = 1, 3 do
            tasks[i] = moonlet.spawn(future.get, future)
        end
        moonlet.sleep()
        assert.same({ "pending", false }, { future.status, future.done })
        assert.is_true(future:set_result "value")
        for i = 1, 3 do
            assert.equal("value", tasks[i]:join())
        end
        assert.same({ "done", true, false, "value" }, { future.status, future.done, future.cancelled, future.result })
        assert.same({ "value", true }, { future:get(), future:wait() })
    end))

    it("may have the value nil or false", run(function()
        local future = moonlet.future()
        future:set_result(nil)
        assert.same({ n = 1 }, table.pack(future:get()))
        future = moonlet.future()
        future:set_result(false)
        assert.equal(false, future:get())
    end))

    it("raises its error", run(function()
        local future = moonlet.future()
        local waiter, other = moonlet.spawn(future.get, future), moonlet.spawn(future.wait, future)
        moonlet.sleep()
        local err = { "an error" }
        assert.is_true(future:set_error(err))
        assert.equal(err, support.error_of(waiter.join, waiter))
        assert.is_true(other:join())
        assert.equal(err, support.error_of(future.get, future))
        assert.same({ "failed", err }, { future.status, future.error })
        assert.is_nil(future.result)
    end))

    it("can be cancelled", run(function()
        local future = moonlet.future()
        local waiter = moonlet.spawn(future.get, future)
        moonlet.sleep()
        assert.same({ true, false }, { future:cancel "not needed", future:cancel() })
        assert.equal("moonlet.TaskCancelled: the future was cancelled: not needed", message(waiter.join, waiter))
        assert.same({ "cancelled", true, true }, { future.status, future.done, future.cancelled })
        assert.same({ false, false }, { future:set_result(1), future:set_error(1) })
        local other = moonlet.future()
        other:cancel()
        assert.equal("moonlet.TaskCancelled: the future was cancelled", message(other.get, other))
    end))

    it("is set once", run(function()
        local future = moonlet.future()
        future:set_result(1)
        assert.equal("the future has its value", message(future.set_result, future, 2))
        assert.equal("the future has its value", message(future.set_error, future, 2))
        assert.is_false(future:cancel())
        assert.equal(1, future:get())
        future = moonlet.future()
        future:set_error(1)
        assert.equal("the future has its error", message(future.set_result, future, 2))
    end))

    it("has timeouts", run(function()
        local clock <close> = moonlet.virtual_clock()
        local future = moonlet.future()
        assert.equal("TimeoutError: the future was not done within 2 seconds", message(future.get, future, 2))
        assert.is_false(future:wait(1))
        assert.is_false(future:wait(0))
        assert.equal("TimeoutError: the future was not done within 0 seconds", message(future.get, future, 0))
        clock:advance(1)
    end))

    it("is not cancelled with who waits for it", run(function()
        local future = moonlet.future()
        local waiter = moonlet.spawn(future.get, future)
        moonlet.sleep()
        waiter:cancel()
        waiter:wait()
        assert.same({ "cancelled", "pending" }, { waiter.status, future.status })
    end))

    it("calls its links in the hub", run(function()
        local future, log = moonlet.future(), {}
        local function link(f)
            table.insert(log, f:get() .. (pcall(moonlet.sleep) and " waits" or " cannot wait"))
        end
        assert.equal(future, future:link(link))
        future:set_result "value"
        assert.same({}, log)
        moonlet.sleep(0.001)
        future:link(link)
        moonlet.sleep(0.001)
        assert.same({ "value cannot wait", "value cannot wait" }, log)
    end))

    it("reports errors of links", run(function()
        local future, reports = moonlet.future(), {}
        local before = moonlet.on_error(function(text, err)
            table.insert(reports, text .. ": " .. tostring(err))
        end)
        future:link(function()
            error("failed", 0)
        end)
        future:cancel()
        moonlet.sleep(0.001)
        moonlet.on_error(before)
        assert.matches("^error in a link of future %d+: failed$", reports[1])
    end))

    it("refuses other arguments", function()
        local future = moonlet.future()
        assert.equal("bad argument #1 to 'get' (future expected, got nil)", message(future.get))
        assert.equal("bad argument #1 to 'get' (seconds expected, got string)", message(future.get, future, "x"))
        local text = "bad argument #1 to 'link' (function or Python callable expected, got nil)"
        assert.equal(text, message(future.link, future))
        assert.equal("cannot set 'done' of a future", message(function()
            future.done = true
        end))
        assert.matches("^future %d+: pending$", tostring(future))
    end)

    it("is the same in Python", function()
        local namespace = support.python [[
            import moonlet
            from moonlet import Future

            def later(value):
                f = Future()
                moonlet.spawn(f.set_result, value)
                return f.get()

            def main():
                result = [later(v) for v in (None, b"x", (1, 2), "s")]
                f = Future()
                f.set_result(b"x")
                result += [f.result, f.done, f.status, f.error, f.cancelled, f.wait()]
                error = ValueError("wrong")
                f = Future()
                f.set_error(error)
                result.append(f.error is error)
                g = Future()
                g.set_error(KeyError)
                c = Future()
                c.cancel("reason")
                for call in [f.get, g.get, c.get, lambda: Future().get(timeout=0), lambda: f.set_result(1),
                             lambda: Future().set_error("x"), lambda: Future().link(1)]:
                    try:
                        call()
                    except Exception as e:
                        result.append(type(e).__name__ + ": " + str(e))
                log = []
                g = Future()
                g.link(lambda f: log.append(f is g))
                g.set_result(1)
                moonlet.sleep(0.001)
                return "\n".join(map(repr, result + log))
        ]]
        assert.equal(
            [[
None
b'x'
(1, 2)
's'
b'x'
True
'done'
None
False
True
True
'ValueError: wrong'
'KeyError: '
'TaskCancelled: the future was cancelled: reason'
'TimeoutError: the future was not done within 0 seconds'
'RuntimeError: the future has its error'
'TypeError: an exception was expected, got str'
"TypeError: bad argument #1 to 'link' (function or Python callable expected, got number)"
True]],
            moonlet.run(namespace.main)
        )
    end)
end)
