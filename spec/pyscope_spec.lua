-- Cancel scopes in Python: what `with` enters.

local moonlet = require "moonlet"
local support = require "spec.support"
local run = support.run_timed

describe("in Python, with moonlet.move_on_after", function()
    it("leaves the block when the time is over", function()
        run [[
            def main():
                start = moonlet.now()
                with moonlet.move_on_after(3) as scope:
                    moonlet.sleep(10)
                    assert False
                assert round(moonlet.now() - start, 6) == 3
                assert scope.caught is True and scope.cancelled is True
                assert type(scope) is moonlet.CancelScope
        ]]
    end)

    it("does nothing to a block that ends before", function()
        run [[
            def main():
                with moonlet.move_on_after(3) as scope:
                    moonlet.sleep(1)
                moonlet.sleep(10)
                assert scope.caught is False and scope.cancelled is False
        ]]
    end)

    it("counts from the beginning of the block", function()
        run [[
            def main():
                manager = moonlet.move_on_after(3)
                moonlet.sleep(5)
                for _ in range(2):  # and can be used again
                    start = moonlet.now()
                    with manager as scope:
                        moonlet.sleep(10)
                    assert scope.caught and round(moonlet.now() - start, 6) == 3
        ]]
    end)

    it("lets the outer deadline win", function()
        run [[
            def main():
                start = moonlet.now()
                with moonlet.move_on_after(1) as outer:
                    with moonlet.move_on_after(2) as inner:
                        moonlet.sleep(10)
                    assert False
                assert outer.caught and not inner.caught and not inner.cancelled
                assert round(moonlet.now() - start, 6) == 1
        ]]
    end)

    it("has a deadline that can be moved", function()
        run [[
            import math
            def main():
                start = moonlet.now()
                with moonlet.move_on_after(1) as scope:
                    assert round(scope.deadline - start, 6) == 1
                    scope.deadline += 4
                    moonlet.sleep(3)
                    scope.deadline = math.inf
                    moonlet.sleep(100)
                    scope.deadline = moonlet.now() + 1
                    moonlet.sleep(100)
                assert round(moonlet.now() - start, 6) == 104
        ]]
    end)

    it("can be told a time: move_on_at", function()
        run [[
            def main():
                start = moonlet.now()
                with moonlet.move_on_at(start + 2) as scope:
                    moonlet.sleep(10)
                assert scope.caught and round(moonlet.now() - start, 6) == 2
        ]]
    end)
end)

describe("in Python, with moonlet.fail_after", function()
    it("raises TimeoutError, whose cause tells where", function()
        assert.equal(
            "TimeoutError: timed out after 2 seconds, Cancelled: the deadline has passed (fail_after), True",
            run [[
            import traceback
            def slow():
                moonlet.sleep(10)
            def main():
                try:
                    with moonlet.fail_after(2):
                        slow()
                except TimeoutError as e:
                    cause = e.__cause__
                    text = "".join(traceback.format_exception(e))
                    return "{}: {}, {}: {}, {}".format(type(e).__name__, e, type(cause).__name__, cause,
                                                       "in slow" in text)
        ]]
        )
    end)

    it("lets results and other errors pass", function()
        run [[
            def main():
                with moonlet.fail_after(2):
                    moonlet.sleep(1)
                error = ValueError(1)
                try:
                    with moonlet.fail_after(2):
                        raise error
                except ValueError as e:
                    assert e is error and e.__context__ is None
        ]]
    end)

    it("can be told a time: fail_at", function()
        assert.equal(
            "TimeoutError: timed out",
            run [[
            def main():
                def body():
                    with moonlet.fail_at(moonlet.now() + 1):
                        moonlet.sleep(2)
                return text_of(body)
        ]]
        )
    end)

    it("ends quietly if its scope was cancelled otherwise", function()
        run [[
            def main():
                with moonlet.fail_after(2) as scope:
                    scope.cancel()
                    moonlet.sleep(10)
                assert scope.caught
        ]]
    end)

    it("times out Lua code, too, whose pcall does not keep the cancel", function()
        local closed = false
        assert.equal(
            "TimeoutError: timed out after 1 seconds",
            run(
                [[
                def main(f):
                    def body():
                        with moonlet.fail_after(1):
                            f()
                    return text_of(body)
            ]],
                function()
                    local _ <close> = setmetatable({}, {
                        __close = function()
                            closed = true
                        end,
                    })
                    pcall(pcall, moonlet.sleep, 10)
                    error "not reached"
                end
            )
        )
        assert.is_true(closed)
    end)
end)

describe("in Python, moonlet.Cancelled", function()
    it("is no Exception", function()
        run [[
            def main():
                log = []
                with moonlet.cancel_scope() as scope:
                    scope.cancel("reason")
                    try:
                        moonlet.sleep(1)
                    except Exception:
                        log.append("except")
                    finally:
                        log.append("finally")
                assert log == ["finally"] and scope.caught
                assert moonlet.Cancelled.__mro__[1] is BaseException
        ]]
    end)

    it("is raised again at each wait by who has swallowed it, while others run", function()
        run [[
            def main():
                count = 0
                other = []
                def work():
                    for i in range(5):
                        other.append(i)
                        moonlet.sleep(0)
                task = moonlet.spawn(work)
                with moonlet.cancel_scope() as scope:
                    scope.cancel()
                    while True:
                        try:
                            moonlet.sleep(1)
                        except:
                            count += 1
                            if count == 10:
                                break
                    moonlet.sleep(0)
                    assert False
                assert scope.caught and count == 10 and other == [0, 1, 2, 3, 4]
        ]]
    end)

    it("carries the reason", function()
        assert.equal(
            "because, the task was cancelled",
            run [[
            def main():
                texts = []
                for args in ("because",), ():
                    with moonlet.cancel_scope() as scope:
                        scope.cancel(*args)
                        try:
                            moonlet.sleep(1)
                        except BaseException as e:
                            texts.append(str(e))
                            raise
                return ", ".join(texts)
        ]]
        )
    end)

    it("ends at the scope that it belongs to, not before", function()
        run [[
            def main():
                log = []
                with moonlet.cancel_scope() as outer:
                    with moonlet.cancel_scope() as middle:
                        with moonlet.cancel_scope() as inner:
                            middle.cancel()
                            moonlet.sleep(1)
                        log.append("inner")
                    moonlet.sleep(1)
                    log.append("outer")
                assert log == ["outer"]
                assert (outer.caught, middle.caught, inner.caught) == (False, True, False)
                assert (outer.cancelled, middle.cancelled, inner.cancelled) == (False, True, False)
        ]]
    end)
end)

describe("in Python, with moonlet.shield", function()
    it("keeps out cancels, so that a finally can wait", function()
        run [[
            def main():
                log = []
                def body():
                    try:
                        moonlet.sleep(100)
                    finally:
                        with moonlet.shield():
                            moonlet.sleep(5)
                            log.append("cleaned up")
                        moonlet.sleep(0)
                        log.append("not reached")
                task = moonlet.spawn(body)
                moonlet.sleep(1)
                start = moonlet.now()
                task.cancel()
                assert task.wait() and task.status == "cancelled"
                assert log == ["cleaned up"] and round(moonlet.now() - start, 6) == 5
        ]]
    end)

    it("is an option of every scope, and an attribute", function()
        run [[
            def main():
                for manager in (moonlet.cancel_scope(shield=True), moonlet.move_on_after(9, shield=True),
                                moonlet.fail_after(9, shield=True), moonlet.shield(),
                                moonlet.move_on_at(moonlet.now() + 99, shield=True),
                                moonlet.fail_at(moonlet.now() + 99, shield=True)):
                    with moonlet.cancel_scope() as outer:
                        outer.cancel()
                        with manager as inner:
                            assert inner.shield is True
                            moonlet.sleep(1)
                            inner.shield = False
                            moonlet.sleep(1)
                            assert False
                    assert outer.caught
        ]]
    end)
end)

describe("in Python, a cancel scope", function()
    it("can be given a deadline", function()
        run [[
            import math
            def main():
                with moonlet.cancel_scope(deadline=moonlet.now() + 1) as scope:
                    moonlet.sleep(2)
                assert scope.caught
                with moonlet.cancel_scope() as scope:
                    assert scope.deadline == math.inf
        ]]
    end)

    it("can be cancelled by another task", function()
        run [[
            def main():
                with moonlet.cancel_scope() as scope:
                    moonlet.spawn(scope.cancel, "by another")
                    moonlet.sleep(100)
                assert scope.caught and scope.cancel() is False
        ]]
    end)

    it("shows itself", function()
        assert.equal(
            "<moonlet.move_on_after, to be entered with `with`> <moonlet.CancelScope move_on_after> "
                .. "<moonlet.CancelScope move_on_after, cancelled>",
            run [[
            def main():
                manager = moonlet.move_on_after(1)
                with manager as scope:
                    texts = [repr(manager), repr(scope)]
                    scope.cancel()
                    texts.append(repr(scope))
                return " ".join(texts)
        ]]
        )
    end)

    it("is the same to Lua", function()
        run(
            [[
            def main(f):
                with moonlet.cancel_scope() as scope:
                    assert f(scope) is scope
                    moonlet.sleep(1)
                assert scope.caught
        ]],
            function(scope)
                assert(scope.deadline == math.huge and not scope.cancelled)
                scope:cancel "from Lua"
                return scope
            end
        )
    end)

    it("of Lua is a CancelScope in Python", function()
        local namespace = support.python [[
            import moonlet
            def body(scope):
                assert type(scope) is moonlet.CancelScope
                scope.cancel("from Python")
                moonlet.sleep(1)
        ]]
        moonlet.run(function()
            assert.is_false(moonlet.cancel_scope(namespace.body))
        end)
    end)

    it("is to be left by the task that has entered it", function()
        assert.equal(
            "RuntimeError: the cancel_scope was opened by main, but other leaves it",
            run [[
            def main():
                moonlet.current_task().name = "main"
                manager = moonlet.cancel_scope()
                manager.__enter__()
                def leave():
                    moonlet.current_task().name = "other"
                    manager.__exit__(None, None, None)
                return text_of(moonlet.spawn(leave).join)
        ]]
        )
    end)

    it("cannot be entered twice at a time, or left before", function()
        assert.equal(
            "RuntimeError: this move_on_after was entered before and not left yet\n"
                .. "RuntimeError: this move_on_after was not entered",
            run [[
            def main():
                manager = moonlet.move_on_after(1)
                with manager:
                    text = text_of(manager.__enter__)
                return text + "\n" + text_of(manager.__exit__, None, None, None)
        ]]
        )
    end)

    local wrong = {
        ["moonlet.move_on_after('x')"] = "TypeError: bad argument #1 to 'move_on_after' (seconds expected, "
            .. "got string)",
        ["moonlet.move_on_after(-1)"] = "ValueError: bad argument #1 to 'move_on_after' (seconds expected that are not "
            .. "negative, got -1)",
        ["moonlet.fail_after(None)"] = "TypeError: bad argument #1 to 'fail_after' (seconds expected, got nil)",
        ["moonlet.fail_at('x')"] = "TypeError: bad argument 'time' to 'fail_at' (time expected, got string)",
        ["moonlet.move_on_at([])"] = "TypeError: bad argument 'time' to 'move_on_at' (time expected, "
            .. "got Python object)",
        ["moonlet.cancel_scope(5)"] = "TypeError: cancel_scope() takes 0 positional arguments but 1 was given",
        ["moonlet.cancel_scope(deadline='x')"] = "TypeError: bad argument 'deadline' to 'cancel_scope' "
            .. "(time expected, got string)",
        ["moonlet.CancelScope()"] = "TypeError: cannot create 'CancelScope' instances",
        ["scope.deadline = 'x'"] = "TypeError: bad value for 'deadline' (time expected, got string)",
        ["scope.caught = 1"] = "AttributeError: property 'caught' of 'CancelScope' object has no setter",
        ["scope.foo"] = "AttributeError: 'CancelScope' object has no attribute 'foo'",
    }
    for statement, text in pairs(wrong) do
        it("says what is wrong with " .. statement, function()
            assert.equal(
                text,
                run(
                    [[
                    def main(statement):
                        with moonlet.cancel_scope() as scope:
                            return text_of(exec, statement, dict(globals(), scope=scope))
                ]],
                    statement
                )
            )
        end)
    end
end)
