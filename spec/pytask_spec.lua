-- Tasks and time, as Python sees them: `import moonlet`.

local moonlet = require "moonlet"
local support = require "spec.support"
local define = support.define
local py = moonlet.python

describe("in Python, moonlet.spawn", function()
    it("runs a function with its arguments, and join gives what it returns", function()
        local ns = define [[
            def body(*args, **kwargs):
                return args, kwargs
            def main():
                return moonlet.spawn(body, 1, b"bytes", (2, 3), key=b"value").join()
        ]]
        assert.equal(
            "((1, b'bytes', (2, 3)), {'key': b'value'})",
            py.builtins.repr(moonlet.run(py.eval("lambda main: [main()]"), ns.main)[0])
        )
    end)

    it("hands results over as they are", function()
        local ns = define [[
            def main():
                value = object()
                for v in value, None, False, b"x", (), (1,), (1, 2), [3], 2 ** 70:
                    task = moonlet.spawn(lambda: v)
                    assert task.join() is v
                    assert task.result is v
                    assert task.join() is v
        ]]
        moonlet.run(ns.main)
    end)

    it("gives Lua functions what a call from Python gives them", function()
        local ns = define [[
            def main(f):
                return moonlet.spawn(f, b"\xff", "text", (1, 2), None, 5).join()
        ]]
        local a, b, c, d, e, n = moonlet.run(ns.main, function(...)
            local a, b, c, d, e = ...
            return a, b, tostring(c), d, e, select("#", ...)
        end)
        assert.same({ "\xff", "text", "(1, 2)", nil, 5, 5 }, { a, b, c, d, e, n })
    end)

    it("gives Lua functions keyword arguments as one table", function()
        local ns = define [[
            def main(f):
                return moonlet.spawn(f, 1, x=2).join()
        ]]
        assert.equal(3, moonlet.run(ns.main, function(n, options)
            return n + options.x
        end))
    end)

    it("says what cannot be called", function()
        local ns = define [[
            def main():
                return "\n".join((text_of(moonlet.spawn, 5), text_of(moonlet.spawn, None, x=1),
                                  text_of(moonlet.spawn), text_of(moonlet.Task)))
        ]]
        assert.equal(
            "TypeError: bad argument #1 to 'spawn' (function or Python callable expected, got number)\n"
                .. "TypeError: bad argument #1 to 'spawn' (function or Python callable expected, got nil)\n"
                .. "TypeError: spawn() missing 1 required positional argument: 'f'\n"
                .. "TypeError: cannot create 'Task' instances",
            moonlet.run(ns.main)
        )
    end)

    it("lets the task inherit a copy of the contextvars", function()
        local ns = define [[
            import contextvars
            var = contextvars.ContextVar("var", default="none")
            def child(value):
                seen = var.get()
                var.set(value)
                moonlet.sleep(0)
                return seen, var.get()
            def main():
                var.set("main")
                a = moonlet.spawn(child, "a")
                b = moonlet.spawn(moonlet.lua.eval("function(...) return ... end"), "b")
                c = moonlet.spawn(child, "c")
                var.set("later")
                assert a.join() == ("main", "a")
                assert c.join() == ("main", "c")
                assert b.join() == "b"
                return var.get()
        ]]
        assert.equal("later", moonlet.run(ns.main))
    end)
end)

describe("a task in Python", function()
    local function run(code, ...)
        return moonlet.run(define(code).main, ...)
    end

    it("tells its name, status, result and error", function()
        assert.equal(
            "new ready waiting done, running",
            run [[
            def main():
                states = []
                def body():
                    moonlet.sleep(0)
                    moonlet.current_task().locals.event = 1
                    moonlet.sleep(1)
                    return "result"
                with moonlet.virtual_clock():
                    task = moonlet.spawn(body)
                    task.name = "named"
                    assert (task.name, task.result, task.error, task.ended) == ("named", None, None, False)
                    states.append(task.status)
                    moonlet.spawn(lambda: states.append(task.status))
                    moonlet.sleep(0)
                    while not task.locals.event:
                        moonlet.sleep(0)
                    states.append(task.status)
                    task.join()
                    states.append(task.status)
                    assert (task.result, task.error, task.ended) == ("result", None, True)
                return " ".join(states) + ", " + moonlet.current_task().status
        ]]
        )
    end)

    it("is called after what it runs", function()
        assert.matches(
            "^task %d+ %(body%) task %d+ %(body%) task %d+ %(C.method%) task %d+$",
            run [[
            class C:
                def method(self): pass
                def __call__(self): pass
            def body(x=0): pass
            def main():
                tasks = [moonlet.spawn(body), moonlet.spawn(body, x=1), moonlet.spawn(C().method),
                         moonlet.spawn(C())]
                return " ".join(t.name.replace("main.<locals>.", "") for t in tasks)
        ]]
        )
    end)

    it("shows itself", function()
        assert.equal(
            "<moonlet.Task 'it' new> <moonlet.Task 'it' waiting (sleep)> <moonlet.Task 'it' done>",
            run [[
            def main():
                with moonlet.virtual_clock():
                    task = moonlet.spawn(moonlet.sleep, 1)
                    task.name = "it"
                    texts = [repr(task)]
                    moonlet.sleep(0)
                    texts.append(repr(task))
                    task.join()
                    texts.append(repr(task))
                return " ".join(texts)
        ]]
        )
    end)

    it("shows itself in other threads, too", function()
        assert.matches(
            "^<moonlet.Task object at 0x%x+>$",
            run [[
            def main():
                return moonlet.in_thread(repr, moonlet.current_task())
        ]]
        )
    end)

    it("is the same object in both languages, of the class moonlet.Task", function()
        run(
            [[
            def main(spawn, same):
                task = spawn(lambda: 5)
                assert type(task) is moonlet.Task and isinstance(task, moonlet.LuaTable)
                assert same(task) is task and task in {task}
                assert task.join() == 5
                assert moonlet.Task[int].__origin__ is moonlet.Task
                assert repr(moonlet.Task) == "<class 'moonlet.Task'>"
        ]],
            moonlet.spawn,
            function(task)
                assert(task == moonlet.spawn(print) or task.status == "new")
                return task
            end
        )
    end)

    it("raises its own error when it is joined", function()
        run [[
            def main():
                error = KeyError("k")
                def fail():
                    raise error
                task = moonlet.spawn(fail)
                for _ in range(2):
                    try:
                        task.join()
                    except KeyError as e:
                        assert e is error
                    else:
                        assert False
                assert task.error is error and task.result is None and task.status == "failed"
        ]]
    end)

    it("raises LuaError for an error of Lua, and has it as its error", function()
        local value = {}
        run(
            [[
            def main(f, value):
                task = moonlet.spawn(f)
                assert task.wait() is True
                error = task.error
                assert type(error) is moonlet.LuaError and error.value is value
                try:
                    task.join()
                except moonlet.LuaError as e:
                    assert e.value is value
                else:
                    assert False
        ]],
            function()
                error(value)
            end,
            value
        )
    end)

    it("shows where its error comes from in a traceback of the one who joins", function()
        local text = run [[
            import traceback
            def inner():
                raise ValueError("deep")
            def outer():
                inner()
            def main():
                try:
                    moonlet.spawn(outer).join()
                except ValueError:
                    return traceback.format_exc()
        ]]
        local main, outer, inner = text:find "in main\n", text:find "in outer\n", text:find "in inner\n"
        assert.is_true(main < outer and outer < inner)
    end)

    it("raises TimeoutError when join takes too long, and wait gives False", function()
        assert.equal(
            "TimeoutError: it has not ended within 3 seconds, False, True",
            run [[
            def main():
                with moonlet.virtual_clock():
                    task = moonlet.spawn(moonlet.sleep, 10)
                    task.name = "it"
                    return ", ".join((text_of(task.join, 3), str(task.wait(timeout=2)), str(task.wait())))
        ]]
        )
    end)

    it("can be cancelled, which raises Cancelled where it waits", function()
        run [[
            def main():
                log = []
                def body():
                    try:
                        moonlet.sleep(100)
                    except moonlet.Cancelled as e:
                        log.append(str(e))
                        raise
                task = moonlet.spawn(body)
                moonlet.sleep(0)
                assert task.cancel("not needed") is True and task.cancel() is False
                assert text_of(task.join).endswith(" was cancelled: not needed"), text_of(task.join)
                assert task.status == "cancelled" and task.cancelled
                assert log == ["not needed"] and type(task.error) is moonlet.TaskCancelled
        ]]
    end)

    it("never runs if it is cancelled before", function()
        run [[
            def main():
                ran = []
                task = moonlet.spawn(ran.append, 1)
                task.cancel()
                assert not task.cancelled or text_of(task.join).startswith("TaskCancelled: ")
                assert not ran
        ]]
    end)

    it("calls links with itself", function()
        run [[
            def main():
                calls = []
                good = moonlet.spawn(lambda: 1)
                assert good.link(calls.append) is good
                good.link(calls.append, on="success").link(calls.append, "failure").link_success(calls.append)
                bad = moonlet.spawn(lambda: 1 / 0)
                bad.link_failure(calls.append)
                bad.wait()
                assert calls == [good, good, good, bad]
                good.link(calls.append)
                assert calls[4] is good
        ]]
    end)

    it("has a table of its own, which both languages see", function()
        run(
            [[
            def main(f):
                def body():
                    moonlet.current_task().locals.x = [1]
                    f()
                    return moonlet.current_task().locals["y"]
                assert moonlet.spawn(body).join() == 2
                assert len(moonlet.current_task().locals) == 0
        ]],
            function()
                local locals = moonlet.current_task().locals
                locals.y = locals.x[0] + 1
            end
        )
    end)

    it("runs before others of its round if its priority is higher", function()
        assert.equal(
            "high first second low",
            run [[
            def main():
                order = []
                tasks = [moonlet.spawn(order.append, n) for n in ("low", "first", "second", "high")]
                tasks[0].priority, tasks[3].priority = -1, 2
                assert [t.priority for t in tasks] == [-1, 0, 0, 2]
                moonlet.wait_all(tasks)
                return " ".join(order)
        ]]
        )
    end)

    it("does not keep a run from ending if it is a daemon", function()
        run [[
            def main():
                task = moonlet.spawn(moonlet.sleep, 1000)
                assert task.daemon is False
                task.daemon = True
                assert task.daemon is True
        ]]
    end)

    local wrong = {
        ["task.foo"] = "AttributeError: 'Task' object has no attribute 'foo'",
        ["task.foo = 1"] = "AttributeError: 'Task' object has no attribute 'foo'",
        ["task.status = 1"] = "AttributeError: property 'status' of 'Task' object has no setter",
        ["task.name = 5"] = "TypeError: bad value for 'name' (str expected, got int)",
        ["__import__('copy').copy(task)"] = "TypeError: cannot copy 'Task' object",
        ["__import__('copy').deepcopy([task])"] = "TypeError: cannot copy 'Task' object",
        ["task.join = 1"] = "AttributeError: 'Task' object attribute 'join' is read-only",
        ["task.priority = 'x'"] = "TypeError: bad value for 'priority' (integer expected, got string)",
        ["task.join('x')"] = "TypeError: bad argument #1 to 'join' (seconds expected, got string)",
        ["task.join(-1)"] = "ValueError: bad argument #1 to 'join' (seconds expected that are not negative, got -1)",
        ["task.wait(-1)"] = "ValueError: bad argument #1 to 'wait' (seconds expected that are not negative, got -1)",
        ["task.link(5)"] = "TypeError: bad argument #1 to 'link' (function or Python callable expected, got number)",
        ["task.link(print, 'x')"] = "ValueError: bad argument #2 to 'link' ('success', 'failure' or 'any' expected, "
            .. "got 'x')",
        ["moonlet.Task.join(5)"] = "TypeError: bad argument #1 to 'join' (task expected, got number)",
        ["task.join()"] = "RuntimeError: it cannot join itself",
    }
    for statement, text in pairs(wrong) do
        it("says what is wrong with " .. statement, function()
            assert.equal(
                text,
                run(
                    [[
                    def main(statement):
                        task = moonlet.current_task()
                        task.name = "it"
                        return text_of(exec, statement, dict(globals(), task=task))
                ]],
                    statement
                )
            )
        end)
    end
end)

describe("in Python, the module moonlet", function()
    it("lists the scheduler's names, and has them for import", function()
        local ns = define [[
            from moonlet import spawn, run as start, CancelScope
            names = dir(moonlet)
            assert names == sorted(set(names))
            of_each_state = {"frames"}
            assert set(moonlet._scheduler.__all__) <= set(names)
            for name in set(moonlet._scheduler.__all__) - of_each_state:
                assert name in names and getattr(moonlet, name) is vars(moonlet)[name], name
                assert getattr(moonlet, name).__module__ == "moonlet", name
        ]]
        for file, list in pairs {
            hub = "run step pollfd current_task sleep now on_error",
            task = "spawn spawn_later defer wait_all wait_any Task",
            scope = "cancel_scope move_on_after move_on_at fail_after fail_at shield checkpoint CancelScope",
            nursery = "nursery Nursery",
            time = "at every virtual_clock VirtualClock",
            threads = "in_thread set_thread_limit wait spawn_threadsafe",
        } do
            for name in list:gmatch "%S+" do
                assert(py.contains(ns.names, name), file .. "." .. name)
            end
        end
    end)

    it("documents what it has, with signatures", function()
        local ns = define [[
            import inspect, pydoc
            for name in moonlet._scheduler.__all__:
                value = getattr(moonlet, name)
                assert value.__doc__, name
                if callable(value) and not isinstance(value, (type, moonlet.LuaTable)):
                    inspect.signature(value)
            text = pydoc.render_doc(moonlet.spawn, renderer=pydoc.plaintext)
            text += str(inspect.signature(moonlet.Task.join))
        ]]
        assert.equal(
            "Python Library Documentation: function spawn in module moonlet\n\nspawn(f, /, *args, **kwargs)\n"
                .. "    A new task that will call f(*args, **kwargs) when the current one waits.\n(self, timeout=None)",
            ns.text
        )
    end)

    it("says that a name is none of its", function()
        local ns = define [[
            text = text_of(lambda: moonlet.nothing)
        ]]
        assert.equal("AttributeError: module 'moonlet' has no attribute 'nothing'", ns.text)
    end)

    it("cannot be used in a thread that has no Lua", function()
        local ns = define [[
            def main():
                return moonlet.in_thread(text_of, moonlet.spawn, print)
        ]]
        assert.equal("RuntimeError: no Lua state runs in this thread", moonlet.run(ns.main))
    end)
end)
