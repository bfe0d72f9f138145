-- Event loops of asyncio in tasks: asyncio.run and what it is made of, several at once.

local moonlet = require "moonlet"
local hub = require "moonlet.hub"
local support = require "spec.support"
local py = moonlet.python

local run, python = moonlet.run, support.python

--- Runs main(), a coroutine function that the code defines, with asyncio.run in a task while another
--- task counts. Returns what it returned.
local function run_main(code, ...)
    local n = python(code:match "^ *" .. "import asyncio, moonlet\n" .. code)
    local arguments = table.pack(...)
    return run(function()
        local counter = moonlet.every(0.001, function() end)
        counter.daemon = true
        return n.asyncio.run(n.main(table.unpack(arguments, 1, arguments.n)))
    end)
end

describe("The hub", function()
    it("sleeps where luv is loaded and has nothing to watch", function()
        hub.luv()
        run(function()
            local before = hub.waits
            moonlet.sleep(0.1)
            assert.is_true(hub.waits - before <= 3)
        end)
    end)
end)

describe("asyncio.run", function()
    it("lets other tasks run, and other loops", function()
        local n = python [[
            import asyncio, moonlet
            log = []
            async def part(name):
                for i in range(3):
                    log.append(name + str(i))
                    await asyncio.sleep(0.004)
            async def main(name):
                async with asyncio.TaskGroup() as group:
                    group.create_task(part(name))
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(None, lambda: name * 2)
            def body():
                tasks = [moonlet.spawn(asyncio.run, main(name)) for name in "ab"]
                return "".join(task.join() for task in tasks)
        ]]
        assert.equal("aabb", run(n.body))
        assert.equal("a0 b0 a1 b1 a2 b2", py.eval("' '.join")(n.log))
    end)

    it("uses little of the hub", function()
        local before
        run_main [[
            async def main(): pass
        ]]
        before = hub.waits
        local n = python [[
            import asyncio
            async def main(): await asyncio.sleep(0.1)
        ]]
        run(n.asyncio.run, n.main())
        assert.is_true(hub.waits - before < 10)
    end)

    it("gives others their turns while its callbacks never wait", function()
        local n = python [[
            import asyncio
            async def main(done):
                count = 0
                while not done():
                    await asyncio.sleep(0)
                    count += 1
                return count
        ]]
        run(function()
            local t = moonlet.spawn(moonlet.sleep, 0.01)
            assert.is_true(n.asyncio.run(n.main(function()
                return t.ended
            end)) > 0)
        end)
    end)

    it("cannot be called inside a loop", function()
        local err = support.error_of(run_main, [[
            async def give(): pass
            async def main():
                coroutine = give()
                try:
                    asyncio.run(coroutine)
                finally:
                    coroutine.close()
        ]])
        assert.equal("asyncio.run() cannot be called from a running event loop", err.args[0])
    end)

    it("is cancelled with its task: first what it runs, which cleans up, then all else", function()
        local n = python [[
            import asyncio
            log = []
            async def child():
                try:
                    await asyncio.sleep(1000)
                finally:
                    await asyncio.sleep(0.001)
                    log.append("child")
            async def main():
                task = asyncio.create_task(child())
                try:
                    await asyncio.sleep(1000)
                finally:
                    await asyncio.sleep(0.001)
                    log.append("main" if not task.done() else "late")
        ]]
        run(function()
            local t = moonlet.spawn(n.asyncio.run, n.main())
            moonlet.sleep(0.005)
            t:cancel()
            t:wait()
            assert.equal("cancelled", t.status)
            assert.equal("main child", py.eval("' '.join")(n.log))
            assert.is_false(moonlet.move_on_after(0.005, n.asyncio.run, n.main()))
        end)
    end)

    it("has loops in debug mode, with asynchronous generators and context variables", function()
        local n = python [[
            import asyncio, contextvars
            var = contextvars.ContextVar("var", default=0)
            closed = []
            async def generator():
                try:
                    while True:
                        yield 1
                        await asyncio.sleep(0)
                finally:
                    await asyncio.sleep(0)
                    closed.append(1)
            async def main():
                g = generator()
                await g.__anext__()
                var.set(1)
                await asyncio.sleep(0.001)
                assert var.get() == 1
                globals()["kept"] = g
                return asyncio.get_running_loop().get_debug()
            def body():
                return asyncio.run(main(), debug=True)
        ]]
        assert.is_true(run(n.body))
        assert.equal(1, #n.closed)
    end)

    it("keeps asynchronous generators of several loops apart", function()
        local n = python [[
            import asyncio, moonlet
            closed = []
            async def generator(name):
                try:
                    yield 1
                finally:
                    await asyncio.sleep(0.001)
                    closed.append(name)
            async def main(name, seconds):
                await asyncio.sleep(seconds)
                g = generator(name)
                await g.__anext__()
                kept.append(g)
                await asyncio.sleep(0.005)
            kept = []
            def body():
                tasks = [moonlet.spawn(asyncio.run, main(name, 0.001 * i))
                         for i, name in enumerate("abc")]
                for task in tasks:
                    task.join()
        ]]
        run(n.body)
        assert.equal("a b c", py.eval("lambda l: ' '.join(sorted(l))")(n.closed))
    end)

    it("waits for other threads", function()
        assert.equal(6, run_main [[
            import threading
            async def main():
                loop = asyncio.get_running_loop()
                future = loop.create_future()
                def work():
                    loop.call_soon_threadsafe(future.set_result, 1)
                thread = threading.Thread(target=work)
                loop.call_later(0.003, thread.start)
                first = await future
                thread.join()
                second = await asyncio.to_thread(lambda: 2)
                async def give(): return 3
                coroutine = asyncio.run_coroutine_threadsafe
                third = await asyncio.to_thread(lambda: coroutine(give(), loop).result())
                return first + second + third
        ]])
    end)

    it("is as elsewhere in other threads", function()
        local n = python [[
            import asyncio, threading, moonlet
            async def main():
                await asyncio.sleep(0.002)
                return await asyncio.to_thread(lambda: 5)
            def body():
                results = []
                threads = [threading.Thread(target=lambda: results.append(asyncio.run(main())))
                           for _ in range(3)]
                for t in threads: t.start()
                while any(t.is_alive() for t in threads):
                    moonlet.sleep(0.001)
                return sum(results)
        ]]
        assert.equal(15, run(n.body))
    end)

    it("can be in another thread than where its loop was made", function()
        local n = python [[
            import asyncio, threading, moonlet
            async def give(): await asyncio.sleep(0.002); return 7
            def body():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever)
                thread.start()
                future = asyncio.run_coroutine_threadsafe(give(), loop)
                while not future.done():
                    moonlet.sleep(0.001)
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
                thread = threading.Thread(target=loop.close)
                thread.start()
                thread.join()
                return future.result()
        ]]
        assert.equal(7, run(n.body))
    end)

    it("has streams, servers, locks and queues", function()
        assert.equal(45, run_main [[
            async def serve(reader, writer):
                while line := await reader.readline():
                    writer.write(line)
                    await writer.drain()
                writer.close()
            async def client(port, i, queue):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"%d\n" % i)
                await queue.put(int(await reader.readline()))
                writer.close()
                await writer.wait_closed()
            async def main():
                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                queue = asyncio.Queue(2)
                async with server, asyncio.TaskGroup() as group:
                    port = server.sockets[0].getsockname()[1]
                    for i in range(10):
                        group.create_task(client(port, i, queue))
                    lock = asyncio.Lock()
                    total = 0
                    for i in range(10):
                        async with lock:
                            total += await queue.get()
                return total
        ]])
    end)

    it("has subprocesses, and signals", function()
        assert.equal("hello 0 1", run_main [[
            import os, signal, sys
            async def main():
                process = await asyncio.create_subprocess_exec(
                    "/bin/echo", "hello", stdout=asyncio.subprocess.PIPE)
                out, _ = await process.communicate()
                loop = asyncio.get_running_loop()
                event = asyncio.Event()
                loop.add_signal_handler(signal.SIGUSR1, event.set)
                loop.call_later(0.002, os.kill, os.getpid(), signal.SIGUSR1)
                await asyncio.wait_for(event.wait(), 5)
                return "{} {} {}".format(out.decode().strip(), process.returncode,
                                         loop.remove_signal_handler(signal.SIGUSR1) + 0)
        ]])
    end)

    it("can have its futures and queues filled by other tasks", function()
        local n = python [[
            import asyncio, moonlet
            async def main():
                globals()["queue"] = queue = asyncio.Queue()
                return [await queue.get() for _ in range(3)]
            def body():
                task = moonlet.spawn(asyncio.run, main())
                for i in range(3):
                    moonlet.sleep(0.002)
                    queue.put_nowait(i)
                return sum(task.join())
        ]]
        assert.equal(3, run(n.body))
    end)

    it("may wait in a coroutine as tasks do, which stops its loop but no other", function()
        local n = python [[
            import asyncio, moonlet
            async def main():
                loop, task = asyncio.get_running_loop(), asyncio.current_task()
                moonlet.sleep(0.01)
                assert (loop, task) == (asyncio.get_running_loop(), asyncio.current_task())
                return 1
            async def other():
                await asyncio.sleep(0.002)
                return 2
            def body():
                tasks = [moonlet.spawn(asyncio.run, f()) for f in (main, other)]
                moonlet.sleep(0.005)
                assert asyncio._get_running_loop() is None
                return [task.join() for task in tasks]
        ]]
        assert.equal("[1, 2]", tostring(run(n.body)))
    end)

    it("is stopped by Ctrl-C, and cleans up", function()
        local n = python [[
            import asyncio, os, signal
            log = []
            async def main():
                asyncio.get_running_loop().call_later(0.002, os.kill, os.getpid(), signal.SIGINT)
                try:
                    await asyncio.sleep(1000)
                finally:
                    await asyncio.sleep(0.001)
                    log.append("cleaned")
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
        ]]
        local err = support.error_of(run, n.asyncio.run, n.main())
        n.signal.signal(n.signal.SIGINT, n.before or n.signal.SIG_DFL)
        assert.is_true(py.isinstance(err, py.builtins.KeyboardInterrupt))
        assert.equal(1, #n.log)
    end)
end)

describe("An event loop", function()
    it("is made by moonlet.new_event_loop, too", function()
        local n = python [[
            import asyncio
            async def give(value):
                await asyncio.sleep(0.001)
                return value
        ]]
        run(function()
            local loop = moonlet.new_event_loop()
            assert.equal(1, loop:run_until_complete(n.give(1)))
            assert.equal(2, loop:run_until_complete(n.give(2)))
            assert.is_true(py.isinstance(loop, n.asyncio.SelectorEventLoop))
            loop:close()
            assert.equal("Event loop is closed", support.error_of(function()
                return loop:run_forever()
            end).args[0])
        end)
    end)

    it("is the current one of each task by itself", function()
        local n = python [[
            import asyncio, moonlet, warnings
            async def give(value):
                await asyncio.sleep(0.002)
                return value
            def body(value):
                loop = asyncio.new_event_loop()
                asyncio.set_event_loop(loop)
                moonlet.sleep(0.001)
                assert asyncio.get_event_loop() is loop
                try:
                    return asyncio.get_event_loop().run_until_complete(give(value))
                finally:
                    loop.close()
            def main():
                tasks = [moonlet.spawn(body, i) for i in range(4)]
                return sum(task.join() for task in tasks)
        ]]
        assert.equal(6, run(n.main))
    end)

    it("of a program's own policy is left alone", function()
        python [[
            import asyncio
            class Policy(asyncio.DefaultEventLoopPolicy):
                _loop_factory = asyncio.SelectorEventLoop
            asyncio.set_event_loop_policy(Policy())
            try:
                loop = asyncio.new_event_loop()
                assert type(loop) is asyncio.SelectorEventLoop, loop
                loop.close()
            finally:
                asyncio.set_event_loop_policy(None)
            loop = asyncio.new_event_loop()
            assert type(loop).__name__ == "EventLoop"
            loop.close()
        ]]
    end)

    it("keeps no deadlock from being found while it does not run", function()
        local n = python [[
            import asyncio
            async def serve():
                server = await asyncio.start_server(print, "127.0.0.1", 0)
                await asyncio.sleep(0.001)
                return server
        ]]
        local loop, server
        local err = support.error_of(run, function()
            loop = moonlet.new_event_loop()
            server = loop:run_until_complete(n.serve())
            moonlet.await(n.asyncio.Event():wait())
        end)
        assert.is_true(py.isinstance(err, moonlet.Deadlock))
        server:close()
        loop:close()
    end)

    it("runs forever until it is stopped, or its task is cancelled", function()
        run(function()
            local loop = moonlet.new_event_loop()
            local t = moonlet.spawn(function()
                loop:run_forever()
                loop:run_forever()
            end)
            moonlet.sleep(0.002)
            loop:call_soon(loop.stop)
            moonlet.sleep(0.002)
            assert.equal("waiting", t.status)
            t:cancel()
            t:wait()
            assert.equal("cancelled", t.status)
            assert.is_false(loop:is_running())
            loop:close()
        end)
    end)
end)

describe("A program that ends", function()
    local function output(code, ...)
        local path = os.tmpname()
        local file <close> = assert(io.open(path, "w"))
        file:write(code)
        file:close()
        local command = ("timeout 60 %s %s %s 2>&1; echo $?"):format(support.lua, path, table.concat({ ... }, " "))
        local pipe <close> = assert(io.popen(command))
        local text = pipe:read "a"
        os.remove(path)
        return (text:gsub("\n?0\n$", ""))
    end

    local code = [[
        local moonlet = require "moonlet"
        local n = moonlet.python.builtins.dict()
        moonlet.python.exec("import asyncio, os, signal\n" ..
            "async def left():\n" ..
            "    try: await asyncio.sleep(1000)\n" ..
            "    finally: print('cleaned', flush=True)\n" ..
            "async def main():\n" ..
            "    global task\n" ..
            "    task = asyncio.create_task(left())\n" ..
            "    await asyncio.sleep(0.001)\n" ..
            "async def interrupted():\n" ..
            "    await main()\n" ..
            "    os.kill(os.getpid(), signal.SIGINT)\n" ..
            "    await asyncio.sleep(1000)\n" ..
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n", n)
    ]]

    it("cancels what is left on the default loop outside of run, without a complaint", function()
        assert.equal("cleaned", output(code .. "moonlet.await(n.main())"))
    end)

    it("ends what was closed last", function()
        assert.equal("", output [[
            local moonlet = require "moonlet"
            moonlet.run(function()
                local uv = require("moonlet.hub").luv()
                uv.close(uv.new_timer())
            end)
        ]])
        assert.equal("False", output(code .. [[
            moonlet.python.exec("import socket\n" ..
                "async def server():\n" ..
                "    s = await asyncio.start_server(print, '127.0.0.1', 0)\n" ..
                "    await asyncio.sleep(0.001)\n" ..
                "    s.close()\n" ..
                "    return s.is_serving()\n", n)
            moonlet.spawn(moonlet.sleep, 0)
            moonlet.sleep(0)
            print(moonlet.python.builtins.str(n.asyncio.run(n.server())))
        ]]))
    end)

    it("ends runs of loops in tasks", function()
        assert.equal("cleaned", output(code .. [[
            moonlet.spawn(n.asyncio.run, n.left())
            moonlet.sleep(0.01)
        ]]))
    end)

    it("because of Ctrl-C cleans up", function()
        assert.equal("cleaned\nfalse\tKeyboardInterrupt", output(code .. [[
            print(pcall(moonlet.run, function() moonlet.await(n.interrupted()) end))
        ]]))
    end)
end)
