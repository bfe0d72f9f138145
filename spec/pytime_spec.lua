-- Time and the scheduler itself, as Python sees them.

local moonlet = require "moonlet"
local support = require "spec.support"
local run = support.run_timed

describe("in Python", function()
    it("moonlet.sleep waits so long, or lets others run", function()
        run [[
            def main():
                log = []
                moonlet.spawn(log.append, "other")
                moonlet.sleep()
                assert log == ["other"]
                start = moonlet.now()
                moonlet.sleep(2.5)
                assert abs(moonlet.now() - start - 2.5) < 1e-9
        ]]
    end)

    it("and in Lua moonlet.sleep says what it expected", function()
        run [[
            def main():
                for wrong, kind, text in ((-1, ValueError, "expected that are not negative, got -1"),
                                          (float("nan"), ValueError, "expected that are not negative, got nan"),
                                          ("x", TypeError, "expected, got string")):
                    try:
                        moonlet.sleep(wrong)
                    except kind as error:
                        assert str(error) == f"bad argument #1 to 'sleep' (seconds {text})", error
                    else:
                        assert False, wrong
        ]]
        for _, case in ipairs {
            { -1, "expected that are not negative, got -1" },
            { "x", "expected, got string" },
            { {}, "expected, got table" },
        } do
            local ok, err = pcall(moonlet.run, function()
                moonlet.sleep(case[1])
            end)
            assert.is_false(ok)
            assert.truthy(tostring(err):find("pytime_spec.lua:", 1, true))
            assert.truthy(tostring(err):find("bad argument #1 to 'sleep' (seconds " .. case[2] .. ")", 1, true))
        end
    end)

    it("moonlet.spawn_later, at and every give tasks that start later", function()
        run [[
            def main():
                log = []
                start = moonlet.now()
                def note(*args, **kwargs):
                    log.append((round(moonlet.now() - start, 6), args, kwargs))
                    return len(log) < 5
                tasks = [moonlet.spawn_later(3, note, "later", a=1), moonlet.at(start + 1, note, b"at", b=2)]
                assert moonlet.wait_all(tasks)
                moonlet.every(2, note, "every", c=3).join()
                assert log == [(1, (b"at",), {"b": 2}), (3, ("later",), {"a": 1}), (5, ("every",), {"c": 3}),
                               (7, ("every",), {"c": 3}), (9, ("every",), {"c": 3})], log
        ]]
    end)

    it("a task that would start later does not keep a run from ending that has failed", function()
        local namespace = support.python [[
            import moonlet
            def main():
                task = moonlet.spawn_later(1000, print)
                tasks.append(task)
                return 1 / 0
            tasks = []
            try:
                moonlet.run(main)
            except ZeroDivisionError:
                status = tasks[0].status
        ]]
        assert.equal("cancelled", namespace.status)
    end)

    it("moonlet.defer calls in the hub, where nothing can wait", function()
        assert.equal(
            "x 1, RuntimeError: a callback of the scheduler cannot wait: spawn a task there",
            (
                run [[
            def main():
                log = []
                moonlet.defer(lambda text, n: log.append(f"{text} {n}"), "x", n=1)
                moonlet.defer(lambda: log.append(text_of(moonlet.sleep, 1)))
                assert not log
                moonlet.sleep(1)
                return ", ".join(log)
        ]]
            ):gsub("LuaError", "RuntimeError")
        )
    end)

    it("moonlet.wait_all and wait_any take any iterable of tasks, or a Lua table", function()
        run(
            [[
            def main(table_of):
                slow, fast = moonlet.spawn(moonlet.sleep, 5), moonlet.spawn(moonlet.sleep, 1)
                assert moonlet.wait_any([slow, fast], timeout=0.5) is None
                assert moonlet.wait_any(t for t in (slow, fast)) is fast
                assert moonlet.wait_all({slow, fast}, 1) is False
                assert moonlet.wait_all(table_of(slow, fast)) is True
                assert moonlet.wait_any(table_of(slow, fast)) is slow
                assert moonlet.wait_all([]) is True and moonlet.wait_any([]) is None
        ]],
            function(...)
                return { ... }
            end
        )
    end)

    it("moonlet.wait_all says what is no task", function()
        assert.equal(
            "TypeError: bad argument #1 to 'wait_all' (a task expected at 1, got int)\n"
                .. "TypeError: bad argument #1 to 'wait_any' (a task expected at 0, got NoneType)\n"
                .. "TypeError: 'int' object is not iterable\n"
                .. "TypeError: bad argument #1 to 'wait_all' (table of tasks expected, got task)",
            run [[
            def main():
                me = moonlet.current_task()
                return "\n".join((text_of(moonlet.wait_all, [me, 3]), text_of(moonlet.wait_any, [None]),
                                  text_of(moonlet.wait_all, 3), text_of(moonlet.wait_all, me)))
        ]]
        )
    end)

    it("moonlet.on_error tells a handler of exceptions that nobody joins", function()
        run(
            [[
            def main(fail):
                told = []
                def handler(text, error, task):
                    told.append((text.partition(" (")[0][:8], type(error).__name__, str(error)))
                before = moonlet.on_error(handler)
                assert moonlet.on_error(handler) is handler
                moonlet.defer(lambda: 1 / 0)
                moonlet.defer(fail)
                moonlet.spawn(lambda: {}["k"])
                moonlet.sleep(1)
                assert moonlet.on_error(before) is handler
                assert told == [("error in", "ZeroDivisionError", "division by zero"),
                                ("error in", "LuaError", "x"), ("error in", "KeyError", "'k'")], told
        ]],
            function()
                error("x", 0)
            end
        )
    end)

    it("moonlet.on_error says what is no handler", function()
        assert.equal(
            "TypeError: bad argument #1 to 'on_error' (function or Python callable expected, got number)",
            run "def main(): return text_of(moonlet.on_error, 5)"
        )
    end)

    it("moonlet.virtual_clock is a context manager", function()
        local namespace = support.python [[
            import moonlet
            def main():
                with moonlet.virtual_clock() as clock:
                    assert type(clock) is moonlet.VirtualClock is moonlet.virtual_clock
                    start = clock.now()
                    assert start == moonlet.now()
                    log = []
                    moonlet.spawn_later(2, log.append, 2)
                    clock.advance(1)
                    assert log == []
                    clock.advance(1.5)
                    assert log == [2] and clock.now() == start + 2.5
                    assert repr(clock) == "<moonlet.VirtualClock {:g} s>".format(clock.now())
                    try:
                        moonlet.virtual_clock()
                    except RuntimeError as e:
                        text = str(e)
                clock.close()
                return text
        ]]
        assert.equal("there is a virtual clock already", moonlet.run(namespace.main))
    end)

    it("moonlet.run runs from a plain function, and gives the result or raises the error", function()
        local namespace = support.python [[
            import moonlet
            def work(*args, **kwargs):
                moonlet.sleep(0)
                return args, kwargs
            def fail(error):
                moonlet.spawn(moonlet.sleep, 1000)
                raise error
            assert moonlet.run(work, b"x", (1,), k=2) == ((b"x", (1,)), {"k": 2})
            assert moonlet.run(moonlet.lua.eval("function(a) return a + 1 end"), 2) == 3
            error = KeyError(1)
            try:
                moonlet.run(fail, error)
            except KeyError as e:
                same = e is error
            try:
                moonlet.run(lambda: moonlet.run(print))
            except RuntimeError as e:
                nested = str(e)
            try:
                moonlet.run(5)
            except TypeError as e:
                wrong = str(e)
        ]]
        assert.is_true(namespace.same)
        assert.equal("moonlet.run() is running already: use moonlet.spawn, or a nursery", namespace.nested)
        assert.equal("bad argument #1 to 'run' (function or Python callable expected, got number)", namespace.wrong)
    end)

    it("moonlet.run raises Deadlock when nothing can happen any more", function()
        local namespace = support.python [[
            import moonlet
            def main():
                moonlet.current_task().wait_for_ever  # AttributeError
            def wait():
                other = moonlet.spawn(lambda: moonlet.wait_all([task]))
                other.join()
            def outer():
                global task
                task = moonlet.spawn(wait)
                task.join()
            try:
                moonlet.run(outer)
            except moonlet.Deadlock as e:
                caught = isinstance(e, RuntimeError)
        ]]
        assert.is_true(namespace.caught)
    end)

    it("moonlet.step runs what is ready, for hosts with a loop of their own", function()
        local namespace = support.python [[
            import moonlet
            log = []
            def body():
                log.append(1)
                moonlet.sleep(0)
                log.append(2)
                moonlet.sleep(1000)
            task = moonlet.spawn(body)
            left, due = moonlet.step(1000)
            assert left is True and 0 < due <= 1000000, (left, due)
            assert log == [1, 2]
            task.cancel()
            assert moonlet.step() == (False, None)
            try:
                moonlet.step(-1)
            except TypeError as e:
                text = str(e)
        ]]
        assert.equal("bad argument #1 to 'step' (milliseconds expected, got number)", namespace.text)
    end)

    it("moonlet.current_task is the one that runs, also that of the main program", function()
        local namespace = support.python [[
            import moonlet
            main = moonlet.current_task()
            tasks = []
            moonlet.run(lambda: tasks.append(moonlet.current_task()))
            assert main is moonlet.current_task() and tasks[0] is not main
            name = main.name
        ]]
        assert.equal("main", namespace.name)
    end)

    it("moonlet.checkpoint lets others run and raises a cancel", function()
        run [[
            def main():
                log = []
                moonlet.spawn(log.append, 1)
                moonlet.checkpoint()
                assert log == [1]
                with moonlet.cancel_scope() as scope:
                    scope.cancel()
                    moonlet.checkpoint()
                    log.append(2)
                assert log == [1] and scope.caught
        ]]
    end)
end)
