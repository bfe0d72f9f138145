-- Lua's coroutines in Python, with the protocol of generators.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message
local lua = py.import "moonlet.lua"

--- Evaluates a Python expression with these names; as text.
local function value(expression, names)
    return py.builtins.repr(py.eval(expression, py.builtins.dict(py.kw(names or {}))))
end

--- Runs Python statements with these names.
local function run(code, names)
    local globals = py.builtins.dict(py.kw(names or {}))
    py.exec("import moonlet; from moonlet import lua", globals)
    py.exec(code, globals)
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

--- A value that tells in `log` that it was closed, and with what error.
local function closable(log, err)
    return setmetatable({}, {
        __close = function(_, reason)
            table.insert(log, reason == nil and "closed" or reason)
            if err then
                error(err, 0)
            end
        end,
    })
end

describe("a coroutine in Python", function()
    it("is made from a Lua function and arguments", function()
        run([[
            co = lua.coroutine(f, 1, None, 2)
            assert type(co) is moonlet.LuaThread
            assert co.send(3) == (4, 1, None, 2, 3)
        ]], {
            f = function(...)
                coroutine.yield(select("#", ...), ...)
            end,
        })
        assert.equal("[1, 2, 3]", value("list(lua.coroutine(f, 3))", {
            lua = lua,
            f = function(n)
                for i = 1, n do
                    coroutine.yield(i)
                end
            end,
        }))
    end)

    it("needs a Lua function", function()
        assert.equal(
            "TypeError: a coroutine needs a Lua function, not builtin_function_or_method",
            fails "lua.coroutine(print)"
        )
        assert.equal(
            "TypeError: a coroutine needs a Lua function, not moonlet.LuaTable",
            fails("lua.coroutine(t)", { t = {} })
        )
        assert.equal(
            "ValueError: a coroutine takes at most 253 arguments, not 254",
            fails("lua.coroutine(f, *range(254))", { f = print })
        )
        assert.equal("(253,)", value("tuple(lua.coroutine(f, *range(253)))", {
            lua = lua,
            f = function(...)
                coroutine.yield(select("#", ...))
            end,
        }))
    end)

    it("gives what it yields: nothing is None, several values are a tuple", function()
        local co = coroutine.create(function()
            coroutine.yield()
            coroutine.yield(1)
            coroutine.yield(1, nil, "x")
            return "not yielded"
        end)
        assert.equal("[None, 1, (1, None, 'x')]", value("list(co)", { co = co }))
    end)

    it("has the value that it returns in StopIteration", function()
        run([[
            for returns, expected in ((none, None), (one, 1), (two, (1, 2))):
                co = lua.coroutine(returns)
                try:
                    co.send()
                except StopIteration as e:
                    assert e.value == expected
                else:
                    assert False
                assert next(co, "over") == "over"
            def delegate():
                return (yield from lua.coroutine(two))
            try:
                next(delegate())
            except StopIteration as e:
                assert e.value == (1, 2)
        ]], {
            none = function() end,
            one = function() return 1 end,
            two = function() return 1, 2 end,
        })
    end)

    it("gets values by send: any number, the first time as arguments", function()
        local got = {}
        run([[
            co.send("a", "b")
            co.send()
            co.send(None, 1)
        ]], {
            co = coroutine.create(function(...)
                got[1] = table.pack(...)
                got[2] = table.pack(coroutine.yield())
                got[3] = table.pack(coroutine.yield())
                coroutine.yield()
            end),
        })
        assert.same({ { "a", "b", n = 2 }, { n = 0 }, { nil, 1, n = 2 } }, got)
    end)

    it("is a Generator", function()
        assert.equal("True", value(
            "isinstance(co, __import__('collections.abc').abc.Generator)",
            { co = coroutine.create(print) }
        ))
        assert.equal(
            "TypeError: object of type 'moonlet.LuaThread' has no len()",
            fails("len(co)", { co = coroutine.create(print) })
        )
    end)

    it("is the same coroutine in Lua", function()
        local co = lua.coroutine(function(a)
            local b = coroutine.yield(a)
            return a + b
        end)
        assert.equal("thread", type(co))
        assert.equal(2, select(2, coroutine.resume(co, 2)))
        run("try: co.send(5)\nexcept StopIteration as e: assert e.value == 7", { co = co })
        assert.equal("dead", coroutine.status(co))
    end)

    it("has a status", function()
        local statuses = {}
        local co
        local note = py.eval "lambda co, to: to.append(co.status)"
        local list = py.builtins.list()
        co = coroutine.create(function()
            note(co, list)
            coroutine.wrap(function()
                note(co, list)
            end)()
            coroutine.yield()
        end)
        note(co, list)
        run("next(co)", { co = co })
        note(co, list)
        run("next(co, None)", { co = co })
        note(co, list)
        for status in py.iter(list) do
            statuses[#statuses + 1] = status
        end
        assert.same({ "suspended", "running", "normal", "suspended", "dead" }, statuses)
    end)

    it("that runs cannot be resumed or closed", function()
        for _, code in ipairs { "next(co)", "co.send(1)", "co.throw(ValueError)" } do
            local co
            co = coroutine.create(function()
                assert.equal("cannot resume non-suspended coroutine", fails(code, { co = co }))
                coroutine.wrap(function()
                    assert.equal("cannot resume non-suspended coroutine", fails(code, { co = co }))
                end)()
                return "reached"
            end)
            assert.same({ true, "reached" }, { coroutine.resume(co) })
        end
        local co
        co = coroutine.create(function()
            assert.equal("cannot close a running coroutine", fails("co.close()", { co = co }))
            coroutine.wrap(function()
                assert.equal("cannot close a normal coroutine", fails("co.close()", { co = co }))
            end)()
            return "reached"
        end)
        assert.same({ true, "reached" }, { coroutine.resume(co) })
    end)

    it("outlives who made it", function()
        local holder = py.builtins.list()
        coroutine.wrap(function()
            moonlet.greenlet(function()
                holder:append(coroutine.create(function(...)
                    local first = ...
                    while true do
                        first = first + coroutine.yield(first)
                    end
                end))
            end):switch()
        end)()
        support.collect()
        run([[
            import gc
            assert co.send(1) == 1
            collect()
            gc.collect()
            assert co.send(2) == 3
        ]], { co = holder[0], collect = collectgarbage })
    end)

    it("can be left by a switch and gone on with", function()
        local co = coroutine.create(function(pause)
            for i = 1, 2 do
                coroutine.yield(pause(i))
            end
        end)
        local g = moonlet.greenlet(function()
            return value("[co.send(pause), next(co)]", { co = co, pause = support.pause })
        end)
        assert.equal(1, (g:switch()))
        assert.equal("normal", coroutine.status(co))
        assert.equal("cannot resume non-suspended coroutine", fails("next(co)", { co = co }))
        assert.equal(2, (g:switch "a"))
        assert.equal("['a', 'b']", (g:switch "b"))
    end)

    it("can be left by Python code in it", function()
        local namespace = support.python [[
            from greenlet import greenlet, getcurrent
            def pause(x):
                return getcurrent().parent.switch(x)
            def drive(co):
                return list(co)
        ]]
        local co = lua.coroutine(function()
            table.sort({ 1, 2 }, function()
                coroutine.wrap(function()
                    namespace.pause "inside"
                end)()
                return false
            end)
            coroutine.yield(namespace.pause "outside")
        end)
        local g = moonlet.greenlet(namespace.drive)
        assert.equal("inside", (g:switch(co)))
        assert.equal("outside", (g:switch()))
        assert.equal("['x']", py.builtins.repr((g:switch "x")))
    end)

    it("can be many, nested deeply", function()
        assert.equal("100", value("nest(nest, 100)", {
            nest = function(nest, depth)
                local drive = py.eval "lambda co: [*co][0]"
                return drive(lua.coroutine(function()
                    coroutine.yield(depth == 0 and 0 or 1 + nest(nest, depth - 1))
                end))
            end,
        }))
    end)
end)

describe("an error in a coroutine", function()
    it("is a LuaError with its text, and ends it", function()
        run([[
            co = lua.coroutine(f)
            assert next(co) == 1
            try:
                next(co)
            except moonlet.LuaError as e:
                assert e.value == "text" == str(e)
            else:
                assert False
            assert co.status == "dead"
            assert list(co) == []
            try:
                co.send(1)
            except StopIteration as e:
                assert e.value is None
        ]], {
            f = function()
                coroutine.yield(1)
                error("text", 0)
            end,
        })
    end)

    it("has the coroutine's frames in the traceback", function()
        local namespace = support.python [[
            import traceback
            def trace(co):
                try:
                    next(co)
                except Exception as e:
                    return " ".join(f.name for f in traceback.extract_tb(e.__traceback__))
            def fail():
                raise ValueError
        ]]
        local function deep()
            error "deep"
        end
        local function middle()
            deep()
            return 1
        end
        local function python()
            namespace.fail()
            return 1
        end
        for expected, f in pairs { ["f deep"] = middle, ["f fail"] = python } do
            local names = namespace.trace(coroutine.create(function()
                f()
                return 1
            end))
            assert.equal("trace <function> " .. expected, (names:gsub("function:%d+", "function")))
        end
    end)

    it("keeps its identity", function()
        local reason, exception = {}, py.builtins.KeyError "k"
        local start = py.eval "lambda f: next(__import__('moonlet').lua.coroutine(f))"
        assert.equal(reason, support.error_of(start, function()
            error(reason)
        end))
        assert.is_true(rawequal(exception, support.error_of(start, function()
            error(exception)
        end)))
        assert.is_nil(support.error_of(start, function()
            error(nil)
        end))
        assert.matches("^ValueError: invalid literal", message(start, function()
            py.builtins.int "x"
        end))
    end)

    it("closes what is to be closed", function()
        local log = {}
        assert.equal("text", fails("list(lua.coroutine(f))", {
            f = function()
                local _ <close> = closable(log)
                error("text", 0)
            end,
        }))
        assert.same({ "text" }, log)
        assert.equal("in close", fails([[
            try:
                list(lua.coroutine(f))
            except moonlet.LuaError as e:
                assert e.__context__.value == "text"
                raise
        ]], {
            f = function()
                local _ <close> = closable({}, "in close")
                error("text", 0)
            end,
        }))
    end)

    it("may be that the stack overflows", function()
        local function recurse()
            return 1 + recurse()
        end
        assert.matches("stack overflow", fails("next(lua.coroutine(f))", { f = recurse }))
    end)

    it("may end a greenlet", function()
        local g = moonlet.greenlet(function()
            run("for _ in co: pass", {
                co = coroutine.create(function()
                    support.pause()
                end),
            })
        end)
        g:switch()
        assert.equal("greenlet.GreenletExit", tostring(g:throw()))
        assert.is_true(g.dead)
    end)
end)

describe("throw", function()
    --- Yields 1, and then what pcall(coroutine.yield) says of the error.
    local function catching()
        local _, err = pcall(coroutine.yield, 1)
        coroutine.yield(err)
        return "returned"
    end

    it("raises where the coroutine has yielded", function()
        run([[
            co = lua.coroutine(f)
            e = ValueError("thrown")
            assert next(co) == 1
            assert co.throw(e) is e
            try:
                next(co)
            except StopIteration as stop:
                assert stop.value == "returned"
        ]], { f = catching })
    end)

    it("raises the value of a LuaError", function()
        run([[
            try:
                fail(value)
            except moonlet.LuaError as e:
                co = lua.coroutine(f)
                next(co)
                assert co.throw(e) == value
        ]], { f = catching, fail = error, value = {} })
    end)

    it("takes a class, too, and the arguments of a generator's throw", function()
        run([[
            for args in ((KeyError,), (KeyError, "k"), (KeyError, KeyError("k")),
                         (KeyError("k"), None, None)):
                co = lua.coroutine(f)
                next(co)
                assert type(co.throw(*args)) is KeyError
        ]], { f = catching })
        local names = { co = coroutine.create(catching) }
        assert.equal(
            "TypeError: exceptions must be classes or instances deriving from BaseException, not int",
            fails("co.throw(1)", names)
        )
        assert.equal(
            "TypeError: instance exception may not have a separate value",
            fails("co.throw(ValueError(), 1)", names)
        )
        assert.equal(
            "TypeError: throw() third argument must be a traceback object",
            fails("co.throw(ValueError, None, 1)", names)
        )
        assert.equal(
            "TypeError: throw expected at least 1 argument, got 0",
            fails("co.throw()", names)
        )
        assert.equal("suspended", coroutine.status(names.co))
    end)

    it("passes through a coroutine that does not catch it", function()
        local log = {}
        run([[
            import traceback
            co = lua.coroutine(f)
            next(co)
            e = ValueError("thrown")
            try:
                co.throw(e)
            except ValueError as error:
                assert error is e
                names = [f.name for f in traceback.extract_tb(e.__traceback__)]
                assert "inner" in names, names
            else:
                assert False
            assert co.status == "dead"
        ]], {
            f = function()
                local _ <close> = closable(log)
                local function inner()
                    coroutine.yield()
                    return 1
                end
                return 1 + inner()
            end,
        })
        assert.matches("ValueError: thrown", tostring(log[1]))
    end)

    it("into a new coroutine or a dead one raises at once", function()
        local started = false
        run([[
            e = ValueError("thrown")
            for i in range(2):
                try:
                    co.throw(e)
                except ValueError as error:
                    assert error is e
                else:
                    assert False
                assert co.status == "dead"
        ]], {
            co = coroutine.create(function()
                started = true
            end),
        })
        assert.is_false(started)
    end)

    it("goes the way of delegation", function()
        run([[
            def delegate():
                return (yield from lua.coroutine(f))
            g = delegate()
            next(g)
            e = ValueError()
            assert g.throw(e) is e
        ]], { f = catching })
    end)

    it("leaves hooks as they were", function()
        local lines = 0
        local co = coroutine.create(catching)
        debug.sethook(co, function()
            lines = lines + 1
        end, "l")
        run("next(co); co.throw(ValueError)", { co = co })
        assert.is_function((debug.gethook(co)))
        local before = lines
        assert.is_true(before > 0)
        coroutine.resume(co)
        assert.is_true(lines > before)
    end)

    it("reaches a coroutine that has yielded inside of calls", function()
        run([[
            co = lua.coroutine(f)
            next(co)
            assert isinstance(co.throw(KeyError("k")), KeyError)
        ]], {
            f = function()
                local t = setmetatable({}, {
                    __index = function()
                        return coroutine.yield(1)
                    end,
                })
                local _, err = pcall(function()
                    return t.x
                end)
                coroutine.yield(err)
            end,
        })
    end)
end)

describe("close", function()
    it("ends a coroutine and closes what is to be closed", function()
        local log = {}
        local co = coroutine.create(function()
            local _ <close> = closable(log)
            coroutine.yield()
        end)
        run("next(co); co.close(); assert co.status == 'dead'; co.close()", { co = co })
        assert.same({ "closed" }, log)
        assert.equal("[]", value("list(co)", { co = co }))
        local new = coroutine.create(print)
        run("co.close()", { co = new })
        assert.equal("dead", coroutine.status(new))
    end)

    it("raises what __close raises", function()
        local co = coroutine.create(function()
            local _ <close> = closable({}, "in close")
            coroutine.yield()
        end)
        assert.equal("in close", fails("next(co); co.close()", { co = co }))
        assert.equal("dead", coroutine.status(co))
        run("co.close()", { co = co })
    end)
end)

describe("the main thread", function()
    it("is no coroutine", function()
        local main = coroutine.running()
        if select(2, coroutine.running()) then
            assert.equal("'running'", value("co.status", { co = main }))
        end
        coroutine.wrap(function()
            assert.equal("'normal'", value("co.status", { co = main }))
            assert.equal("cannot resume non-suspended coroutine", fails("next(co)", { co = main }))
        end)()
    end)
end)

describe("in another thread, or with its state closed,", function()
    local uses = [[
from moonlet import lua

def uses(co, f):
    i = lua.iterate(f)
    return [lambda: next(co), lambda: co.send(1), lambda: co.throw(ValueError()),
            lambda: co.status, lambda: lua.coroutine(f), lambda: lua.iterate(f), lambda: next(i)]

def outcome(f):
    try:
        return f()
    except BaseException as e:
        return type(e).__name__ + ": " + str(e)
]]

    it("every use is an error", function()
        local all = support.python(uses .. [[
import threading

def outcomes(co, f):
    result = []
    all = uses(co, f)
    thread = threading.Thread(target=lambda: result.extend(map(outcome, all)))
    thread.start()
    thread.join()
    return set(result)
        ]]).outcomes(coroutine.create(print), print)
        assert.equal("{'RuntimeError: a Lua value can only be used in the thread that runs its Lua "
            .. "state'}", py.builtins.str(all):gsub('"', "'"))
        local output, status = support.child([==[
            local py = require("moonlet").python
            py.exec [=[]==] .. uses .. [==[
def at_exit(all):
    print(*set(map(outcome, all)), sep="\n")
            ]=]
            local main = py.import "__main__"
            local co = coroutine.create(coroutine.yield)
            coroutine.resume(co)
            py.import("atexit").register(main.at_exit, main.uses(co, print))
        ]==])
        assert.equal("RuntimeError: the Lua state is closed\n", output)
        assert.equal(0, status)
    end)

    it("closing is an error, or has nothing to do", function()
        local output, status = support.child [==[
            require("moonlet").python.exec [[
                import atexit, threading
                from moonlet import lua
                wait = lua.globals().coroutine["yield"]
                co, delegated = lua.coroutine(wait), lua.coroutine(wait)
                next(co)
                file = lua.eval("io.tmpfile()")
                i = lua.iterate(print, None, None, file)
                def delegate():
                    yield from delegated
                generator = delegate() # closed by Python at its end
                next(generator)
                def close(o):
                    try:
                        print(o.close())
                    except RuntimeError as e:
                        print(e)
                thread = threading.Thread(target=close, args=(co,))
                thread.start()
                thread.join()
                for o in co, i:
                    atexit.register(close, o)
            ]]
        ]==]
        assert.equal("a Lua value can only be used in the thread that runs its Lua state\n"
            .. "None\nNone\n", output)
        assert.equal(0, status)
    end)
end)
