-- Nurseries in Python, and in both languages at once.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local prelude = [[
    def fail(error, after=0):
        moonlet.sleep(after)
        raise error
]]

--- Runs main(...) of these Python statements as the main task, with a virtual clock.
local function run(code, ...)
    local namespace = support.define(prelude, code)
    return moonlet.run(namespace.timed, namespace.main, ...)
end

describe("in Python, with moonlet.nursery", function()
    it("the block ends when all its tasks have", function()
        run [[
            def main():
                log = []
                def work(seconds, text=""):
                    moonlet.sleep(seconds)
                    log.append(str(seconds) + text)
                with moonlet.nursery() as n:
                    assert type(n) is moonlet.Nursery and isinstance(n, moonlet.CancelScope)
                    a = n.spawn(work, 2)
                    b = n.spawn(work, 1, text=" s")
                    assert type(a) is moonlet.Task
                    log.append("spawned")
                assert log == ["spawned", "1 s", "2"] and a.ended and b.ended
        ]]
    end)

    it("gives tasks their arguments as they are", function()
        run [[
            def main():
                with moonlet.nursery() as n:
                    task = n.spawn(lambda *args: args, b"x", (1,), None)
                assert task.result == (b"x", (1,), None)
        ]]
    end)

    it("tasks can spawn others there, until the block has ended", function()
        assert.equal(
            "RuntimeError: the nursery is closed: its block has ended",
            run [[
            def main():
                log = []
                def parent(n):
                    moonlet.sleep(1)
                    n.spawn(lambda: (moonlet.sleep(1), log.append("grandchild")))
                with moonlet.nursery() as n:
                    n.spawn(parent, n)
                assert log == ["grandchild"]
                return text_of(n.spawn, print)
        ]]
        )
    end)

    it("the first failure cancels the others and the block", function()
        run [[
            def main():
                error = ValueError("v")
                log = []
                def other():
                    try:
                        moonlet.sleep(100)
                    finally:
                        log.append("other")
                start = moonlet.now()
                try:
                    with moonlet.nursery() as n:
                        n.spawn(other)
                        n.spawn(fail, error, 1)
                        try:
                            moonlet.sleep(100)
                        finally:
                            log.append("block")
                except ExceptionGroup as group:
                    assert group.exceptions == (error,)
                    assert group.exceptions[0] is error
                    assert str(group) == "a task of a nursery has failed (1 sub-exception)", group
                else:
                    assert False
                assert sorted(log) == ["block", "other"] and round(moonlet.now() - start, 6) == 1
        ]]
    end)

    it("all errors are kept", function()
        run [[
            def main():
                def stubborn():
                    try:
                        moonlet.sleep(100)
                    finally:
                        raise KeyError("second")
                log = []
                try:
                    with moonlet.nursery() as n:
                        n.spawn(stubborn)
                        n.spawn(fail, ValueError("first"), 1)
                except* ValueError as group:
                    log += group.exceptions
                except* KeyError as group:
                    log += group.exceptions
                assert [repr(e) for e in log] == ["ValueError('first')", "KeyError('second')"], log
        ]]
    end)

    it("the error of the block comes first, once, and cancels the tasks", function()
        run [[
            import traceback
            def main():
                error = KeyError("block")
                try:
                    with moonlet.nursery() as n:
                        task = n.spawn(moonlet.sleep, 100)
                        moonlet.sleep(0)
                        raise error
                except ExceptionGroup as group:
                    assert group.exceptions == (error,)
                    text = "".join(traceback.format_exception(group))
                    assert text.count("KeyError: 'block'") == 1, text
                else:
                    assert False
                assert task.status == "cancelled"
        ]]
    end)

    it("groups nest", function()
        run [[
            def main():
                def inner():
                    with moonlet.nursery() as n:
                        n.spawn(fail, ValueError(1))
                try:
                    with moonlet.nursery() as n:
                        n.spawn(inner)
                except ExceptionGroup as group:
                    assert [type(e) for e in group.exceptions] == [ExceptionGroup]
                    matched, rest = group.split(ValueError)
                    assert rest is None
        ]]
    end)

    it("shows in a traceback where each error comes from", function()
        local text = run [[
            import traceback
            def culprit():
                raise ValueError("deep")
            def main():
                try:
                    with moonlet.nursery() as n:
                        n.spawn(culprit)
                except ExceptionGroup:
                    return traceback.format_exc()
        ]]
        assert.matches("in main\n", text)
        assert.matches("in culprit\n.*ValueError: deep", text)
    end)

    it("KeyboardInterrupt and SystemExit are not put into a group", function()
        run [[
            def main():
                for error in SystemExit(3), KeyboardInterrupt():
                    try:
                        with moonlet.nursery() as n:
                            n.spawn(moonlet.sleep, 100)
                            n.spawn(fail, error)
                    except type(error) as e:
                        assert e is error
                    else:
                        assert False
                    try:
                        with moonlet.nursery() as n:
                            raise error
                    except type(error) as e:
                        assert e is error
        ]]
    end)

    it("cancel ends it without an error", function()
        run [[
            def main():
                with moonlet.nursery() as n:
                    task = n.spawn(moonlet.sleep, 100)
                    n.spawn(lambda: n.cancel("enough"))
                    moonlet.sleep(100)
                    assert False
                assert n.caught and n.cancelled and task.status == "cancelled"
                with moonlet.nursery() as n:
                    n.spawn(moonlet.sleep, 100)
                    n.cancel()
        ]]
    end)

    it("a deadline ends it", function()
        run [[
            def main():
                start = moonlet.now()
                with moonlet.move_on_after(3) as scope:
                    with moonlet.nursery() as n:
                        n.spawn(moonlet.sleep, 100)
                assert round(moonlet.now() - start, 6) == 3 and scope.caught
                with moonlet.nursery() as n:
                    n.deadline = moonlet.now() + 2
                    n.spawn(moonlet.sleep, 100)
                assert round(moonlet.now() - start, 6) == 5
        ]]
    end)

    it("a deadline around it is missed by its tasks, too", function()
        assert.equal(
            "TimeoutError: timed out after 3 seconds",
            run [[
            def main():
                def body():
                    with moonlet.fail_after(3), moonlet.nursery() as n:
                        n.spawn(moonlet.sleep, 100)
                return text_of(body)
        ]]
        )
        assert.equal(
            "TimeoutError: timed out after 0.001 seconds",
            support.message(moonlet.run, function()
                moonlet.fail_after(0.001, moonlet.nursery, function(n)
                    n:spawn(moonlet.sleep, 100)
                end)
            end)
        )
    end)

    it("a cancel from outside reaches all tasks and passes through", function()
        run [[
            def main():
                tasks = []
                def body():
                    with moonlet.nursery() as n:
                        tasks.append(n.spawn(moonlet.sleep, 100))
                        moonlet.sleep(100)
                task = moonlet.spawn(body)
                moonlet.sleep(1)
                task.cancel()
                assert task.wait() and task.status == "cancelled" and tasks[0].status == "cancelled"
        ]]
    end)

    it("shows itself", function()
        assert.equal(
            "<moonlet.nursery, to be entered with `with`> <moonlet.Nursery 1 tasks> <moonlet.Nursery 0 tasks, closed>",
            run [[
            def main():
                manager = moonlet.nursery()
                texts = [repr(manager)]
                with manager as n:
                    n.spawn(moonlet.sleep, 1)
                    texts.append(repr(n))
                texts.append(repr(n))
                return " ".join(texts)
        ]]
        )
    end)
end)

describe("in Python, a nursery's start", function()
    it("waits until the task says that it has started", function()
        run [[
            def serve(started, port, *, name):
                moonlet.sleep(2)
                started(port + 1)
                moonlet.sleep(3)
                return name
            def main():
                start = moonlet.now()
                with moonlet.nursery() as n:
                    assert n.start(serve, 80, name="x") == 81
                    assert round(moonlet.now() - start, 6) == 2
                assert round(moonlet.now() - start, 6) == 5
        ]]
    end)

    it("gives what started was called with as it is", function()
        run [[
            def main():
                with moonlet.nursery() as n:
                    for args, result in ((), None), ((b"x",), b"x"), (((1, 2),), (1, 2)), ((1, b"y"), (1, b"y")):
                        assert n.start(lambda started: started(*args)) == result
        ]]
    end)

    it("raises the error of a task that fails before, and it alone is told", function()
        run [[
            def main():
                error = OSError("in use")
                with moonlet.nursery() as n:
                    other = n.spawn(moonlet.sleep, 1)
                    try:
                        n.start(lambda started: fail(error))
                    except OSError as e:
                        assert e is error
                    else:
                        assert False
                assert other.status == "done"
        ]]
    end)

    it("is cancelled with its task when the time is over", function()
        run [[
            def main():
                log = []
                def serve(started):
                    try:
                        moonlet.sleep(100)
                    finally:
                        log.append("ended")
                with moonlet.nursery() as n:
                    with moonlet.move_on_after(1) as scope:
                        n.start(serve)
                    moonlet.sleep(1)
                    assert scope.caught and log == ["ended"]
        ]]
    end)

    it("says what was wrong", function()
        assert.equal(
            "RuntimeError: it has ended before it called started()\nRuntimeError: started() was called before\n"
                .. "TypeError: bad argument #1 to 'start' (function or Python callable expected, got number)",
            run [[
            def main():
                def name_only(started):
                    moonlet.current_task().name = "it"
                def twice(started):
                    started()
                    texts.append(text_of(started))
                texts = []
                with moonlet.nursery() as n:
                    texts.append(text_of(n.start, name_only))
                    n.start(twice)
                    texts.append(text_of(n.start, 5))
                return "\n".join(texts)
        ]]
        )
    end)
end)

describe("a nursery of both languages", function()
    it("of Lua has Python tasks, whose exceptions keep their identity", function()
        local ns = support.define(prelude)
        local err = py.builtins.ValueError "v"
        local group = support.error_of(moonlet.run, function()
            moonlet.nursery(function(n)
                n:spawn(ns.fail, err)
                n:spawn(moonlet.sleep, 1000)
            end)
        end)
        assert.is_true(py.isinstance(group, py.builtins.ExceptionGroup))
        assert.equal(err, group.exceptions[0])
    end)

    it("of Python has Lua tasks, whose errors are LuaErrors in the group", function()
        local value = { "value" }
        run(
            [[
            def main(f, text, value):
                try:
                    with moonlet.nursery() as n:
                        n.spawn(f, value)
                        moonlet.sleep(100)
                except* moonlet.LuaError as group:
                    error, = group.exceptions
                    assert error.value is value
                try:
                    with moonlet.nursery() as n:
                        n.spawn(text)
                except* moonlet.LuaError as group:
                    assert str(group.exceptions[0]) == "text", group.exceptions
        ]],
            error,
            function()
                error("text", 0)
            end,
            value
        )
    end)

    it("passes a group through both languages as the same object", function()
        local ns = support.define(prelude)
        py.exec(
            [[
            def inner(log):
                try:
                    with moonlet.nursery() as n:
                        n.spawn(fail, KeyError(1))
                except ExceptionGroup as group:
                    log.append(group)
                    raise
            def outer(f, log):
                try:
                    f(inner, log)
                except ExceptionGroup as group:
                    return group is log[0]
        ]],
            ns
        )
        local log = py.builtins.list()
        assert.is_true(moonlet.run(ns.outer, function(inner, l)
            local ok, err = pcall(inner, l)
            assert(not ok and err == l[0])
            error(err, 0)
        end, log))
    end)

    it("of Lua can be used by Python, and the other way round", function()
        local order = {}
        local ns = support.define(prelude)
        py.exec(
            [[
            def use(n, work):
                assert type(n) is moonlet.Nursery
                n.spawn(work, "by Python")
                return n.start(lambda started, x: started(x), b"\xff")
            def give(f):
                with moonlet.nursery() as n:
                    f(n)
        ]],
            ns
        )
        local function work(text)
            order[#order + 1] = text
        end
        moonlet.run(function()
            moonlet.nursery(function(n)
                assert(ns.use(n, work) == "\xff")
                assert(n:start(py.eval "lambda started, x: started(x, 2)", 1) == 1)
            end)
            ns.give(function(n)
                n:spawn(work, "by Lua")
                local ok, err = pcall(n.start, n, function()
                    error("early", 0)
                end)
                assert(not ok and err == "early")
            end)
        end)
        assert.same({ "by Python", "by Lua" }, order)
    end)
end)
