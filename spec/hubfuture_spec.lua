-- Futures of any executor, and the way into the scheduler from other threads.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

local function define(code)
    return support.define("import concurrent.futures, contextvars, threading, time", code)
end

local function run(code, ...)
    return moonlet.run(define(code).main, ...)
end

describe("moonlet.wait", function()
    it("waits for a future of concurrent.futures and gives its result", function()
        local ns = define [[
            executor = concurrent.futures.ThreadPoolExecutor(2)
            def later(value):
                return executor.submit(lambda: time.sleep(0.02) or value)
        ]]
        moonlet.run(function()
            local a, b = moonlet.wait(ns.later(py.eval "(1, 'x')"))
            assert.same({ 1, "x" }, { a, b })
            assert.is_nil(moonlet.wait(ns.later(nil)))
            local future = ns.later(5)
            assert.equal(5, moonlet.wait(future))
            assert.equal(5, moonlet.wait(future))
        end)
        ns.executor:shutdown()
    end)

    it("gives Python the result as it is", function()
        run [[
            def main():
                value = object()
                with concurrent.futures.ThreadPoolExecutor() as executor:
                    for v in value, b"x", (1, 2), None:
                        assert moonlet.wait(executor.submit(lambda: v)) is v
        ]]
    end)

    it("raises the exception of the future, the same object", function()
        run [[
            def main():
                future = concurrent.futures.Future()
                error = KeyError(1)
                moonlet.spawn_later(0.01, future.set_exception, error)
                try:
                    moonlet.wait(future)
                except KeyError as e:
                    assert e is error
                else:
                    assert False
                future = concurrent.futures.Future()
                moonlet.spawn(future.cancel)
                assert text_of(moonlet.wait, future) == "CancelledError: "
        ]]
    end)

    it("wakes all who wait for one future, in order", function()
        assert.equal(
            "012",
            run [[
            def main():
                future = concurrent.futures.Future()
                order = []
                def body(i):
                    assert moonlet.wait(future) == "value"
                    order.append(str(i))
                with moonlet.nursery() as n:
                    for i in range(3):
                        n.spawn(body, i)
                    moonlet.sleep(0)
                    threading.Thread(target=future.set_result, args=("value",)).start()
                return "".join(order)
        ]]
        )
    end)

    it("raises TimeoutError, and the future goes on", function()
        assert.equal(
            "TimeoutError: the future is not done within 0.001 seconds TimeoutError: the future is not done within "
                .. "0 seconds False 5",
            run [[
            def main():
                future = concurrent.futures.Future()
                texts = [text_of(moonlet.wait, future, 0.001), text_of(moonlet.wait, future, timeout=0)]
                for _ in range(20):
                    text_of(moonlet.wait, future, 0.0001)
                assert len(future._done_callbacks) == 1
                texts.append(str(future.cancelled()))
                threading.Timer(0.01, future.set_result, (5,)).start()
                texts.append(str(moonlet.wait(future)))
                return " ".join(texts)
        ]]
        )
    end)

    it("tries to cancel the future when it is cancelled, unless others wait for it", function()
        run [[
            def main():
                future = concurrent.futures.Future()
                with moonlet.move_on_after(0.01):
                    moonlet.wait(future)
                assert future.cancelled()
                future = concurrent.futures.Future()
                other = moonlet.spawn(moonlet.wait, future)
                with moonlet.move_on_after(0.01):
                    moonlet.wait(future)
                assert not future.cancelled()
                future.set_result(3)
                assert other.join() == 3
        ]]
    end)

    it("takes what has the same methods, whose result may block", function()
        run [[
            class Remote:
                def __init__(self):
                    self.callbacks = []
                    self.thread = None
                def add_done_callback(self, f):
                    threading.Timer(0.01, f, (self,)).start()
                def result(self):
                    self.thread = threading.get_ident()
                    return b"far"
            def main():
                remote = Remote()
                assert moonlet.wait(remote) == b"far"
                assert remote.thread != threading.get_ident()
        ]]
    end)

    it("waits for a process pool", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            local futures = py.import "concurrent.futures"
            local executor = futures.ProcessPoolExecutor(1)
            moonlet.run(function()
                local future = executor:submit(py.builtins.pow, 2, 10)
                print(moonlet.wait(future))
                print(pcall(moonlet.wait, executor:submit(py.builtins.int, "x")))
            end)
            executor:shutdown()
        ]]
        assert.matches("^1024\nfalse\tValueError: invalid literal for int%(%) with base 10: 'x'\n$", output)
        assert.equal(0, status)
    end)

    it("waits for a moonlet.future, too", function()
        run [[
            def main():
                future = moonlet.Future()
                moonlet.spawn(future.set_result, b"x")
                assert moonlet.wait(future) == b"x"
        ]]
        moonlet.run(function()
            local future = moonlet.future()
            moonlet.spawn(future.set_result, future, 5)
            assert.equal(5, moonlet.wait(future))
            assert.matches("^TimeoutError: ", message(moonlet.wait, moonlet.future(), 0.001))
        end)
    end)

    it("waits for a task, too", function()
        run [[
            def main():
                assert moonlet.wait(moonlet.spawn(lambda: b"x")) == b"x"
        ]]
        moonlet.run(function()
            local task = moonlet.spawn(function()
                return 1, 2
            end)
            assert.same({ 1, 2 }, { moonlet.wait(task) })
        end)
    end)

    it("lets others run, although the futures are done", function()
        run [[
            def main():
                future = concurrent.futures.Future()
                future.set_result(1)
                other = moonlet.spawn(print, end="")
                for _ in range(1000):
                    moonlet.wait(future)
                assert other.ended
        ]]
    end)

    it("asks for a future", function()
        local text = "bad argument #1 to 'wait' (future expected, got %s)"
        assert.equal(text:format "number", message(moonlet.wait, 5))
        assert.equal(text:format "nil", message(moonlet.wait))
        assert.equal(text:format "Python object", message(moonlet.wait, py.builtins.list()))
        assert.equal(
            "TypeError: " .. text:format "nil" .. "\nValueError: bad argument #2 to 'wait' (seconds expected that are "
                .. "not negative, got -1)",
            run [[
            def main():
                return text_of(moonlet.wait, None) + "\n" + text_of(moonlet.wait, concurrent.futures.Future(), -1)
        ]]
        )
    end)
end)

describe("from other threads", function()
    it("call_soon_threadsafe wakes a hub that waits", function()
        run [[
            def main():
                task = moonlet.spawn(moonlet.sleep, 1000)
                thread = threading.Timer(0.02, moonlet.call_soon_threadsafe, (task.cancel, "from outside"))
                thread.start()
                assert task.wait() and task.status == "cancelled"
        ]]
    end)

    it("call_soon_threadsafe makes moonlet.pollfd readable, for the loop of a host", function()
        local ns = define [[
            import select
            log = []
            def readable(fd, seconds):
                return bool(select.select([fd], [], [], seconds)[0])
            def outside():
                threading.Timer(0.02, moonlet.call_soon_threadsafe, (log.append, 1)).start()
        ]]
        moonlet.step()
        local fd = moonlet.pollfd()
        assert.is_false(ns.readable(fd, 0))
        ns.outside()
        assert.is_true(ns.readable(fd, 60))
        moonlet.step()
        assert.equal(1, #ns.log)
        assert.is_false(ns.readable(fd, 0))
        local task = moonlet.spawn(moonlet.in_thread, ns.time.sleep, 0.01)
        moonlet.step()
        while not task.ended do
            assert.is_true(ns.readable(fd, 60))
            moonlet.step()
        end
        assert.equal("done", task.status)
    end)

    it("spawn_threadsafe runs a task and gives a future of it", function()
        run [[
            def body(*args, **kwargs):
                moonlet.sleep(0.001)
                return threading.get_ident(), args, kwargs
            error = ValueError("v")
            def fail():
                raise error
            def outside(log):
                log.append(moonlet.spawn_threadsafe(body, b"x", (1,), k=2).result(60))
                try:
                    moonlet.spawn_threadsafe(fail).result(60)
                except ValueError as e:
                    log.append(e)
            def main():
                log = []
                moonlet.in_thread(outside, log)
                assert log == [(threading.get_ident(), (b"x", (1,)), {"k": 2}), error], log
        ]]
    end)

    it("a task of spawn_threadsafe has a copy of the thread's contextvars", function()
        run [[
            var = contextvars.ContextVar("var", default="none")
            def outside():
                var.set("thread")
                assert moonlet.spawn_threadsafe(lambda: (var.get(), var.set("task"))[0]).result(60) == "thread"
                return var.get()
            def main():
                assert moonlet.in_thread(outside) == "thread" and var.get() == "none"
        ]]
    end)

    it("spawn_threadsafe runs Lua functions, too", function()
        assert.equal(
            6,
            run(
                [[
                def main(f):
                    return moonlet.in_thread(lambda: moonlet.spawn_threadsafe(f, 5).result(60))
            ]],
                function(x)
                    moonlet.sleep(0.001)
                    return x + 1
                end
            )
        )
    end)

    it("a future of spawn_threadsafe cancels its task", function()
        run [[
            def main():
                started = threading.Event()
                log = []
                def body():
                    started.set()
                    try:
                        moonlet.sleep(1000)
                    except moonlet.Cancelled as e:
                        log.append(str(e))
                        raise
                def outside():
                    future = moonlet.spawn_threadsafe(body)
                    started.wait(60)
                    assert future.cancel()
                    return text_of(future.result)
                assert moonlet.in_thread(outside) == "CancelledError: "
                while not log:
                    moonlet.sleep(0.001)
                assert log == ["its future was cancelled"]
        ]]
    end)

    it("a task of spawn_threadsafe that is cancelled cancels its future", function()
        run [[
            def main():
                def body():
                    moonlet.current_task().cancel()
                    moonlet.sleep(1)
                def outside():
                    return text_of(moonlet.spawn_threadsafe(body).result, 60)
                assert moonlet.in_thread(outside) == "CancelledError: "
        ]]
    end)

    it("spawn_threadsafe says what cannot be called", function()
        assert.equal(
            "TypeError: spawn_threadsafe() argument 1 must be callable, not 'int'",
            run "def main(): return text_of(moonlet.spawn_threadsafe, 5)"
        )
    end)

    it("whoever waits for a task that never runs learns that the Lua state is closed", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            moonlet.run(print, "begin")
            py.exec("import threading, moonlet\n"
                .. "def outside():\n"
                .. "    try: moonlet.spawn_threadsafe(print, 'never').result()\n"
                .. "    except BaseException as e: print(type(e).__name__, flush=True)\n"
                .. "thread = threading.Thread(target=outside)\n"
                .. "thread.start()\n"
                .. "import time; time.sleep(0.1)")
        ]]
        assert.equal("begin\nCancelledError\n", output)
        assert.equal(0, status)
    end)

    it("many threads hammer the hub", function()
        local count = support.scaled(200)
        run(
            [[
            def main(count):
                log = []
                def task(i, k):
                    if k % 3 == 0:
                        moonlet.sleep(0)
                    if k % 7 == 0:
                        raise KeyError(k)
                    return i * k
                def outside(i):
                    futures = [moonlet.spawn_threadsafe(task, i, k) for k in range(count)]
                    for k, future in enumerate(futures):
                        if k % 11 == 0 and future.cancel():
                            continue
                        try:
                            assert future.result(60) == i * k
                        except KeyError as e:
                            assert k % 7 == 0 and e.args == (k,)
                    moonlet.call_soon_threadsafe(log.append, i)
                with moonlet.nursery() as n:
                    for i in range(8):
                        n.spawn(moonlet.in_thread, outside, i)
                while len(log) < 8:
                    moonlet.sleep(0.001)
                assert sorted(log) == list(range(8))
        ]],
            count
        )
    end)

    it("tasks are cancelled while they are in threads, again and again", function()
        run(
            [[
            def main(count):
                gates = []
                def work():
                    moonlet.in_thread(time.sleep, 0.001)
                    moonlet.in_thread(time.sleep, 0.001)
                for i in range(count):
                    with moonlet.move_on_after(0.0005 * (i % 5)):
                        with moonlet.nursery() as n:
                            for _ in range(5):
                                n.spawn(work)
        ]],
            support.scaled(50)
        )
    end)
end)
