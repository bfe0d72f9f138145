-- Blocking Python in other threads: moonlet.in_thread.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

local prelude = [[
    import concurrent.futures, contextvars, threading, time
    class Gate:
        """Keeps threads until it is opened; a test that fails does not hang for ever."""
        def __init__(self):
            self.event = threading.Event()
            self.entered = threading.Semaphore(0)
            self.count = self.most = 0
            self.lock = threading.Lock()
        def __call__(self, result=None):
            with self.lock:
                self.count += 1
                self.most = max(self.most, self.count)
            self.entered.release()
            assert self.event.wait(60)
            with self.lock:
                self.count -= 1
            if isinstance(result, BaseException):
                raise result
            return result
]]

local function define(code)
    return support.define(prelude, code)
end

local function run(code, ...)
    return moonlet.run(define(code).main, ...)
end

describe("moonlet.in_thread", function()
    local ns = define [[
        def where():
            return threading.get_ident()
        def pair(*args, **kwargs):
            return args, kwargs
        error = ValueError("v")
        def fail():
            raise error
        sleep = time.sleep
    ]]

    it("calls a Python function in another thread and gives its results", function()
        moonlet.run(function()
            assert.is_true(moonlet.in_thread(ns.where) ~= ns.where())
            local args, kwargs = moonlet.in_thread(ns.pair, 1, nil, "x", py.kw { k = 2 })
            assert.equal("(1, None, 'x') {'k': 2}", tostring(args) .. " " .. tostring(kwargs))
            assert.is_nil(moonlet.in_thread(ns.sleep, 0))
        end)
    end)

    it("works outside of run, too", function()
        assert.is_true(moonlet.in_thread(ns.where) ~= ns.where())
    end)

    it("hands values over as they are in Python", function()
        run [[
            def main():
                value = object()
                for v in value, b"x", (1, 2), (), None, False:
                    assert moonlet.in_thread(lambda x, k: (x, k), v, k=v)[0] is v
        ]]
    end)

    it("raises the exception of the function, the same object", function()
        moonlet.run(function()
            local err = support.error_of(moonlet.in_thread, ns.fail)
            assert.equal(ns.error, err)
        end)
        run [[
            import traceback
            def culprit():
                raise KeyError("k")
            def main():
                try:
                    moonlet.in_thread(culprit)
                except KeyError:
                    text = traceback.format_exc()
                assert "in main\n" in text and "in culprit\n" in text, text
        ]]
    end)

    it("lets other tasks run meanwhile, and Python's other threads", function()
        run [[
            def main():
                gate = Gate()
                log = []
                with moonlet.nursery() as n:
                    task = n.spawn(moonlet.in_thread, gate, "result")
                    while not gate.entered.acquire(blocking=False):
                        moonlet.sleep(0.001)
                    log.append("others run")
                    gate.event.set()
                assert task.result == "result" and log
        ]]
    end)

    it("wakes the hub from a wait without polling", function()
        run [[
            def main():
                start = waits()
                assert moonlet.in_thread(lambda: time.sleep(0.05) or 7) == 7
                assert waits() - start < 5, waits() - start
            hub = moonlet.lua.require("moonlet.hub")
            def waits():
                return hub.waits
        ]]
    end)

    it("runs in a copy of the task's contextvars", function()
        run [[
            var = contextvars.ContextVar("var")
            def body():
                seen = var.get()
                var.set("thread")
                return seen
            def main():
                var.set("task")
                assert moonlet.in_thread(body) == "task"
                assert var.get() == "task"
        ]]
    end)

    it("uses threads again", function()
        run [[
            def main():
                first = moonlet.in_thread(threading.current_thread)
                for _ in range(20):
                    assert moonlet.in_thread(threading.current_thread) is first
                assert first.daemon and first.name == "moonlet.in_thread"
        ]]
    end)

    it("ends threads that have nothing to do", function()
        run [[
            import moonlet._threads as threads
            def main():
                before = threads.IDLE_SECONDS
                threads.IDLE_SECONDS = 0.01
                try:
                    thread = moonlet.in_thread(threading.current_thread)
                    moonlet.in_thread(time.sleep, 0)
                    while thread.is_alive():
                        moonlet.sleep(0.005)
                    assert moonlet.in_thread(lambda: 5) == 5
                finally:
                    threads.IDLE_SECONDS = before
        ]]
    end)

    it("makes so many calls at a time as set_thread_limit says, in order", function()
        run [[
            def main():
                before = moonlet.set_thread_limit(2)
                gate = Gate()
                order = []
                def work(i):
                    order.append(i)
                    gate()
                try:
                    with moonlet.nursery() as n:
                        for i in range(6):
                            n.spawn(moonlet.in_thread, work, i)
                        while len(order) < 2:
                            moonlet.sleep(0.001)
                        moonlet.sleep(0.01)
                        assert sorted(order) == [0, 1], order
                        gate.event.set()
                    assert sorted(order) == [0, 1, 2, 3, 4, 5] and gate.most <= 2
                finally:
                    assert moonlet.set_thread_limit(before) == 2
        ]]
    end)

    it("leaves the thread alone when it is cancelled, and does not wait for it", function()
        run [[
            def main():
                gate = Gate()
                task = moonlet.spawn(moonlet.in_thread, gate, "lost")
                while not gate.entered.acquire(blocking=False):
                    moonlet.sleep(0.001)
                task.cancel("no time")
                assert task.wait() and task.status == "cancelled"
                assert gate.count == 1
                gate.event.set()
                while gate.count:
                    moonlet.sleep(0.001)
        ]]
    end)

    it("leaves in time", function()
        moonlet.run(function()
            assert.equal("TimeoutError: timed out after 0.01 seconds", message(function()
                moonlet.fail_after(0.01, moonlet.in_thread, ns.sleep, 0.3)
            end))
        end)
    end)

    it("waits for the thread inside a shield", function()
        run [[
            def main():
                log = []
                def body():
                    with moonlet.shield():
                        log.append(moonlet.in_thread(gate, "result"))
                    moonlet.sleep(0)
                    log.append("not reached")
                gate = Gate()
                task = moonlet.spawn(body)
                while not gate.entered.acquire(blocking=False):
                    moonlet.sleep(0.001)
                task.cancel()
                moonlet.sleep(0.01)
                assert task.status == "waiting"
                gate.event.set()
                assert task.wait() and task.status == "cancelled" and log == ["result"]
        ]]
    end)

    it("never begins a call whose task is cancelled before, or waits for its turn", function()
        run [[
            def main():
                called = []
                with moonlet.cancel_scope() as scope:
                    scope.cancel()
                    moonlet.in_thread(called.append, 1)
                before = moonlet.set_thread_limit(1)
                gate = Gate()
                try:
                    first = moonlet.spawn(moonlet.in_thread, gate)
                    second = moonlet.spawn(moonlet.in_thread, called.append, 2)
                    third = moonlet.spawn(moonlet.in_thread, called.append, 3)
                    moonlet.sleep(0.01)
                    assert "all threads are busy" in repr(second), second
                    second.cancel()
                    second.wait()
                    gate.event.set()
                    third.join()
                    assert called == [3]
                finally:
                    moonlet.set_thread_limit(before)
        ]]
    end)

    it("reports the error of a call whose task has left", function()
        run [[
            def main():
                told = []
                before = moonlet.on_error(lambda *args: told.append(args))
                try:
                    gate = Gate()
                    error = ValueError("late")
                    task = moonlet.spawn(moonlet.in_thread, gate, error)
                    while not gate.entered.acquire(blocking=False):
                        moonlet.sleep(0.001)
                    task.cancel()
                    task.wait()
                    gate.event.set()
                    while not told:
                        moonlet.sleep(0.001)
                finally:
                    moonlet.on_error(before)
                assert told == [("error in a thread whose task had been cancelled", error, None)], told
        ]]
    end)

    it("does not hide a deadlock by its idle threads", function()
        assert.matches(
            "^moonlet.Deadlock: ",
            message(
                run,
                [[
                def main():
                    moonlet.in_thread(time.sleep, 0)
                    me = moonlet.current_task()
                    moonlet.spawn(me.join).join()
            ]]
            )
        )
    end)

    it("keeps a virtual clock from jumping while a thread works", function()
        run [[
            def main():
                with moonlet.virtual_clock():
                    start = moonlet.now()
                    moonlet.spawn_later(1000, print).daemon = True
                    moonlet.in_thread(time.sleep, 0.02)
                    assert moonlet.now() == start
        ]]
    end)

    it("does not keep the program from ending", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            moonlet.run(function()
                print(moonlet.move_on_after(0.05, moonlet.in_thread, py.import("time").sleep, 1000))
            end)
        ]]
        assert.equal("false\n", output)
        assert.equal(0, status)
    end)

    if support.lua == support.program then -- others have signal handlers of their own
        it("is ended by Ctrl-C", function()
            local output, status = support.child [[
                local moonlet = require "moonlet"
                local py = moonlet.python
                py.exec("import os, signal, threading, time\n"
                    .. "def work():\n"
                    .. "    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
                    .. "    time.sleep(1000)")
                local ok, err = pcall(moonlet.run, moonlet.in_thread, py.eval "work")
                print(ok, py.isinstance(err, py.builtins.KeyboardInterrupt))
            ]]
            assert.equal("false\ttrue\n", output)
            assert.equal(0, status)
        end)
    end

    it("asks for a callable of Python", function()
        local text = "bad argument #1 to 'in_thread' (Python callable expected, got %s)"
        assert.equal(text:format "function", message(moonlet.in_thread, print))
        assert.equal(text:format "nil", message(moonlet.in_thread))
        assert.equal(text:format "Python object", message(moonlet.in_thread, py.builtins.list()))
        assert.equal(text:format "greenlet", message(moonlet.in_thread, moonlet.greenlet(print)))
        assert.equal(
            "TypeError: " .. text:format "function",
            run("def main(f): return text_of(moonlet.in_thread, f)", print)
        )
        assert.equal(
            "RuntimeError: a Lua value can only be used in the thread that runs its Lua state",
            run("def main(f): return text_of(moonlet.in_thread, lambda: f())", print)
        )
    end)

    it("has a limit that is at least 1", function()
        local text = "bad argument #1 to 'set_thread_limit' "
        assert.equal(text .. "(1 or more expected, got 0)", message(moonlet.set_thread_limit, 0))
        assert.equal(text .. "(integer expected, got number)", message(moonlet.set_thread_limit, 1.5))
        assert.equal(
            "ValueError: bad argument #1 to 'set_thread_limit' (1 or more expected, got -1)",
            run "def main(): return text_of(moonlet.set_thread_limit, -1)"
        )
    end)

    it("serves many tasks at once", function()
        run [[
            def main():
                def work(i):
                    total = 0
                    for k in range(10):
                        total += moonlet.in_thread(pow, i, 2)
                        moonlet.sleep(0)
                    return total
                with moonlet.nursery() as n:
                    tasks = [n.spawn(work, i) for i in range(100)]
                assert [t.result for t in tasks] == [10 * i * i for i in range(100)]
        ]]
    end)
end)
