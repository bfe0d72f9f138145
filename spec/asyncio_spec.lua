-- Awaiting what asyncio has in tasks, and awaiting tasks in asyncio.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message, error_of = support.message, support.error_of

local ns = support.python [[
    import asyncio, concurrent.futures, contextvars, moonlet

    log = []

    async def add(a, b, seconds=0.001):
        await asyncio.sleep(seconds)
        return a + b

    async def give(value):
        return value

    async def fail(error):
        await asyncio.sleep(0)
        raise error

    async def forever(name):
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            log.append(name + " cancelled")
            await asyncio.sleep(0.001)
            log.append(name + " cleaned")
            raise

    async def stubborn():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise ValueError("cleaning has failed")

    class Awaitable:
        def __await__(self):
            return add(20, 3).__await__()

    async def loop_of():
        return asyncio.get_running_loop()

    async def future_of(value=None):
        future = asyncio.get_running_loop().create_future()
        if value is not None:
            asyncio.get_running_loop().call_later(0.001, future.set_result, value)
        return [future]

    async def task_of(coroutine):
        return [asyncio.ensure_future(coroutine)]

    async def spawned():
        asyncio.create_task(forever("left"))
        await asyncio.sleep(0)

    def take():
        result = list(log)
        log.clear()
        return " ".join(result)

    def running_loop():
        return asyncio._get_running_loop() is None
]]

local run = moonlet.run

describe("moonlet.await", function()
    it("returns what a coroutine returns", function()
        assert.equal(5, run(moonlet.await, ns.add(2, 3)))
    end)

    it("takes objects with __await__", function()
        assert.equal(23, run(moonlet.await, ns.Awaitable()))
    end)

    it("takes futures and tasks of asyncio, done or not", function()
        run(function()
            local pending = moonlet.await(ns.future_of(7))[0]
            assert.equal(7, moonlet.await(pending))
            assert.equal(7, moonlet.await(pending))
            assert.equal(9, moonlet.await(moonlet.await(ns.task_of(ns.add(4, 5)))[0]))
        end)
    end)

    it("takes tasks", function()
        assert.equal(3, run(function()
            return moonlet.await(moonlet.spawn(function()
                return 3
            end))
        end))
    end)

    it("gives Lua what a call would give", function()
        run(function()
            assert.same({ 1, nil, 3 }, { moonlet.await(ns.give(py.eval "(1, None, 3)")) })
            assert.equal("\255", moonlet.await(ns.give(py.bytes "\255")))
            assert.is_nil(moonlet.await(ns.give(nil)))
        end)
    end)

    it("raises the exception of the coroutine, the same object", function()
        local err = py.builtins.ValueError "x"
        assert.equal(err, error_of(run, moonlet.await, ns.fail(err)))
    end)

    it("raises CancelledError where asyncio code has cancelled it", function()
        run(function()
            local t = moonlet.await(ns.task_of(ns.add(1, 1, 1000)))[0]
            t:cancel()
            assert.is_true(py.isinstance(error_of(moonlet.await, t), ns.asyncio.CancelledError))
        end)
    end)

    it("lets other tasks run, and several wait at once on one loop", function()
        run(function()
            local tasks = {}
            for i = 1, 20 do
                tasks[i] = moonlet.spawn(function()
                    return moonlet.await(ns.add(i, i, 0.02))
                end)
            end
            local before = moonlet.now()
            for i = 1, 20 do
                assert.equal(2 * i, tasks[i]:join())
            end
            assert.is_true(moonlet.now() - before < 0.3)
            assert.equal(moonlet.await(ns.loop_of()), moonlet.await(ns.loop_of()))
        end)
    end)

    it("says what it takes", function()
        local what = "bad argument #1 to 'await' (coroutine, future or other awaitable expected, got "
        run(function()
            assert.equal(what .. "number)", message(moonlet.await, 5))
            assert.equal(what .. "nil)", message(moonlet.await))
            assert.equal(what .. "list)", message(moonlet.await, py.list()))
            assert.equal(what .. "function: call it)", message(moonlet.await, ns.add))
            assert.equal(what .. "Future of concurrent.futures: use wait)",
                message(moonlet.await, ns.concurrent.futures.Future()))
        end)
    end)

    it("cancels what it awaits, and waits for the end of its cleaning up", function()
        run(function()
            local t = moonlet.spawn(moonlet.await, ns.forever "a")
            moonlet.sleep(0.002)
            t:cancel()
            t:wait()
            assert.equal("cancelled", t.status)
            assert.equal("a cancelled a cleaned", ns.take())
        end)
    end)

    it("ends with the deadline of a scope", function()
        run(function()
            assert.is_false(moonlet.move_on_after(0.005, moonlet.await, ns.forever "b"))
            assert.equal("b cancelled b cleaned", ns.take())
            assert.equal("timed out after 0.005 seconds",
                error_of(moonlet.fail_after, 0.005, moonlet.await, ns.forever "c").args[0])
            ns.take()
        end)
    end)

    it("cancels a future", function()
        run(function()
            local future = moonlet.await(ns.future_of())[0]
            assert.is_false(moonlet.move_on_after(0.005, moonlet.await, future))
            assert.is_true(future:cancelled())
        end)
    end)

    it("raises the error with which cleaning up has failed", function()
        assert.equal("cleaning has failed",
            error_of(run, moonlet.move_on_after, 0.005, moonlet.await, ns.stubborn()).args[0])
    end)

    it("is not to be used inside the loop that it would wait for", function()
        support.python [[
            import asyncio, moonlet
            async def give(): return 1
            async def main():
                try:
                    moonlet.await_(give())
                except RuntimeError as error:
                    return str(error)
            text = moonlet.run(lambda: moonlet.await_(main()))
            assert text == ("await_() would wait for the event loop that has called it: "
                            "use await there"), text
        ]]
    end)

    it("can be used by plain functions inside another loop, which waits meanwhile", function()
        local n = support.python [[
            import asyncio, moonlet
            async def give(): await asyncio.sleep(0.001); return 1
            async def main():
                before = asyncio.current_task(), asyncio.get_running_loop()
                result = moonlet.await_(give())
                assert before == (asyncio.current_task(), asyncio.get_running_loop())
                return result
            result = moonlet.run(lambda: asyncio.run(main()))
        ]]
        assert.equal(1, n.result)
    end)

    it("shows coroutines the context variables of the task, and the task what they set", function()
        local n = support.python [[
            import contextvars, moonlet
            var = contextvars.ContextVar("var")
            async def change():
                before = var.get()
                var.set("after")
                return before
            def body():
                var.set("before")
                return moonlet.await_(change()), var.get()
            result = "{} {}".format(*moonlet.run(body))
        ]]
        assert.equal("before after", n.result)
    end)

    it("gives Python values as they are, and raises TypeError", function()
        support.python [[
            import asyncio, moonlet
            async def give(value): return value
            def body():
                for value in (b"x", (1, 2), (), None, [1], "s", asyncio):
                    assert moonlet.await_(give(value)) == value
                try:
                    moonlet.await_(5)
                except TypeError as error:
                    return str(error)
            text = moonlet.run(body)
            assert text == ("bad argument to await_(): coroutine, future or other awaitable "
                            "expected, got int"), text
        ]]
    end)

    it("raises Deadlock for what nobody can do any more", function()
        run(function()
            moonlet.await(ns.add(1, 1))
        end)
        local err = error_of(run, function()
            moonlet.await(moonlet.await(ns.future_of())[0])
        end)
        assert.is_true(py.isinstance(err, moonlet.Deadlock))
    end)

    it("delivers KeyboardInterrupt and SystemExit of a coroutine, and its loop goes on", function()
        run(function()
            for _, name in ipairs { "KeyboardInterrupt", "SystemExit" } do
                local err = py.builtins[name] "x"
                assert.equal(err, error_of(moonlet.await, ns.fail(err)))
                assert.equal(3, moonlet.await(ns.add(1, 2)))
            end
        end)
    end)

    it("does not let a loop be seen by others", function()
        run(function()
            local seen
            local t = moonlet.spawn(moonlet.await, ns.add(1, 2, 0.005))
            moonlet.sleep(0.002)
            seen = ns.running_loop()
            t:join()
            assert.is_true(seen)
        end)
    end)
end)

describe("The default loop", function()
    it("ends with the run: what is left is cancelled", function()
        local loop
        run(function()
            loop = moonlet.await(ns.loop_of())
            moonlet.await(ns.spawned())
        end)
        assert.equal("left cancelled left cleaned", ns.take())
        assert.is_true(loop:is_closed())
    end)

    it("lasts while cancelled tasks clean up", function()
        local result
        local ok = pcall(run, function()
            moonlet.spawn(function()
                local _ <close> = setmetatable({}, {
                    __close = function()
                        moonlet.shield(function()
                            result = moonlet.await(ns.add(1, 2))
                        end)
                    end,
                })
                moonlet.sleep(1000)
            end)
            moonlet.sleep(0)
            error "x"
        end)
        assert.is_false(ok)
        assert.equal(3, result)
    end)

    it("does not wake the hub while it has nothing to do", function()
        local hub = require "moonlet.hub"
        run(function()
            moonlet.await(ns.add(1, 2))
            moonlet.sleep(0.01)
            local before = hub.waits
            moonlet.sleep(0.2)
            assert.is_true(hub.waits - before <= 2)
        end)
    end)

    it("goes by the virtual clock", function()
        local clock <close> = moonlet.virtual_clock()
        run(function()
            local before = moonlet.now()
            moonlet.await(ns.add(1, 2, 3600))
            assert.is_true(math.abs(moonlet.now() - before - 3600) < 0.1)
        end)
        clock:close()
        run(function() -- and after it by the real one
            local before = moonlet.now()
            moonlet.await(ns.add(1, 2, 0.01))
            local passed = moonlet.now() - before
            assert.is_true(passed >= 0.009 and passed < 5)
        end)
    end)
end)

describe("Tasks in asyncio", function()
    local n = support.python [[
        import asyncio, moonlet
        def body(value, seconds=0.001):
            moonlet.sleep(seconds)
            if isinstance(value, BaseException):
                raise value
            return value
        async def of_task(*args):
            return await moonlet.spawn(body, *args)
        async def awaits(awaitable):
            return await awaitable
        async def with_timeout(task):
            try:
                async with asyncio.timeout(0.005):
                    await task
            except TimeoutError:
                return task.status
        async def gather(tasks):
            return sum(await asyncio.gather(*tasks))
        async def call(f, *args):
            return await moonlet.as_asyncio(f, *args)
        async def shielded(task):
            try:
                await asyncio.wait_for(asyncio.shield(moonlet.as_asyncio(task)), 0.002)
            except TimeoutError:
                return task.status
        async def wrong(*args):
            try:
                moonlet.as_asyncio(*args)
            except TypeError as error:
                return str(error)
    ]]

    it("are awaited", function()
        assert.equal(7, run(moonlet.await, n.of_task(7)))
        assert.same({ 1, 2 }, { run(function()
            return moonlet.await(n.awaits(moonlet.spawn(function()
                return 1, 2
            end)))
        end) })
    end)

    it("raise their errors there", function()
        local err = py.builtins.ValueError "x"
        assert.equal(err, error_of(run, moonlet.await, n.of_task(err)))
    end)

    it("may have ended", function()
        run(function()
            local t = moonlet.spawn(n.body, 5)
            t:join()
            assert.equal(5, moonlet.await(n.awaits(t)))
        end)
    end)

    it("are cancelled with who awaits them", function()
        run(function()
            assert.equal("cancelled", moonlet.await(n.with_timeout(moonlet.spawn(moonlet.sleep, 1000))))
        end)
    end)

    it("go on behind asyncio.shield", function()
        run(function()
            local t = moonlet.spawn(moonlet.sleep, 0.02)
            assert.equal("waiting", moonlet.await(n.shielded(t)))
            t:join()
            assert.equal("done", t.status)
        end)
    end)

    it("raise TaskCancelled where somebody else has cancelled them", function()
        run(function()
            local t = moonlet.spawn(moonlet.sleep, 1000)
            local waiting = moonlet.spawn(moonlet.await, n.awaits(t))
            moonlet.sleep(0.002)
            t:cancel "enough"
            local err = error_of(waiting.join, waiting)
            assert.is_true(py.isinstance(err, moonlet.TaskCancelled))
        end)
    end)

    it("are gathered", function()
        run(function()
            local tasks = py.list()
            for i = 1, 4 do
                tasks:append(moonlet.spawn(n.body, i))
            end
            assert.equal(10, moonlet.await(n.gather(tasks)))
        end)
    end)

    it("are made of functions, also of Lua, that wait", function()
        run(function()
            assert.equal(3, moonlet.await(n.call(function(a, b)
                moonlet.sleep(0.001)
                return a + b
            end, 1, 2)))
        end)
    end)

    it("are nothing else", function()
        run(function()
            assert.equal("bad argument to as_asyncio(): task or callable expected, got int",
                moonlet.await(n.wrong(5)))
            local t = moonlet.spawn(n.body, 1)
            assert.equal("as_asyncio() takes arguments for a callable only, not for a task",
                moonlet.await(n.wrong(t, 5)))
        end)
    end)

    it("are not awaited on a loop that keeps them from running", function()
        local err = error_of(run, function()
            return n.asyncio.SelectorEventLoop():run_until_complete(n.awaits(moonlet.spawn(n.body, 1)))
        end)
        assert.matches("tasks cannot run while this event loop waits", tostring(err))
    end)
end)

describe("Outside of run", function()
    it("one can await, and then runs use the same loop", function()
        assert.equal(5, moonlet.await(ns.add(2, 3)))
        local loop = moonlet.await(ns.loop_of())
        assert.equal(loop, run(moonlet.await, ns.loop_of()))
        assert.is_false(loop:is_closed())
    end)
end)
