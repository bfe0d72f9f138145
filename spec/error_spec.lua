-- Errors keep their identity on the way across, and tracebacks tell of both languages.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local error_of, message = support.error_of, support.message

local namespace = support.python [[
    import traceback
    import moonlet
    from greenlet import greenlet, getcurrent

    def call(f, *args):
        return f(*args)

    def catch(f, *args):
        try:
            return f(*args)
        except BaseException as e:
            return e

    def lines(e):
        return "\n".join("%s:%s" % (f.filename.rpartition("/")[2], f.name)
                         for f in traceback.extract_tb(e.__traceback__))

    def fail(text="failure"):
        raise ValueError(text)

    def fail_with(e):
        raise e

    def reraise(f):
        try:
            f()
        except Exception:
            raise

    def wrap(f):
        try:
            f()
        except Exception as e:
            raise KeyError("wrapped") from e

    def swallow(f):
        try:
            f()
        except Exception:
            pass
        return "swallowed"
]]

describe("a Python exception in Lua", function()
    it("is the exception object", function()
        local e = error_of(namespace.fail)
        assert.is_true(py.isinstance(e, py.builtins.ValueError))
        assert.equal("failure", e.args[0])
        assert.equal("ValueError: failure", tostring(e))
    end)

    it("that goes on to Python is the same object", function()
        local e = py.builtins.ValueError "one"
        local again = namespace.catch(function()
            namespace.fail_with(e)
        end)
        assert.is_true(rawequal(e, again))
        again = namespace.catch(function()
            error(error_of(namespace.fail_with, e))
        end)
        assert.is_true(rawequal(e, again))
    end)

    it("may be raised by error(), as instance or class", function()
        local e = py.builtins.KeyError "k"
        assert.is_true(rawequal(e, namespace.catch(error, e)))
        assert.equal("KeyError", tostring(namespace.catch(error, py.builtins.KeyError)))
    end)

    it("passes through many calls of both languages", function()
        local e = py.builtins.ValueError "deep"
        local function down(depth)
            if depth == 0 then
                namespace.fail_with(e)
            end
            namespace.call(namespace.call, down, depth - 1)
        end
        assert.is_true(rawequal(e, error_of(down, 20)))
    end)

    it("passes through coroutines", function()
        local e = py.builtins.ValueError "co"
        assert.is_true(rawequal(e, error_of(coroutine.wrap(function()
            namespace.fail_with(e)
        end))))
        local co = coroutine.create(function()
            namespace.fail_with(e)
        end)
        local _, got = coroutine.resume(co)
        assert.is_true(rawequal(e, got))
    end)

    it("has a text even where str() fails", function()
        local e = support.python([[
            class Untold(Exception):
                def __str__(self):
                    raise ValueError
        ]]).Untold()
        assert.equal("Untold: <exception str() failed>", tostring(e))
    end)

    it("keeps its cause and context", function()
        local e = error_of(namespace.wrap, namespace.fail)
        assert.equal("KeyError: 'wrapped'", tostring(e))
        assert.equal("ValueError: failure", tostring(e.__cause__))
    end)

    it("is no error any more once it was caught", function()
        pcall(namespace.fail)
        assert.equal(2, py.eval "1 + 1")
        assert.is_nil((py.import("sys").exc_info()))
    end)
end)

describe("a Lua error in Python", function()
    it("is a LuaError with the value, and a text", function()
        local e = namespace.catch(error, "text", 0)
        assert.is_true(py.isinstance(e, py.import("moonlet").LuaError))
        assert.equal("text", e.value)
        assert.equal("moonlet.LuaError: text", tostring(e))
        assert.is_true(py.isinstance(e, py.builtins.Exception))
    end)

    it("keeps the value, whatever it is", function()
        local t = { code = 1 }
        for _, value in ipairs { t, 42, 1.5, true, print } do
            local e = namespace.catch(error, value)
            assert.is_true(rawequal(value, e.value))
        end
        assert.is_nil(namespace.catch(error, nil).value)
    end)

    it("has a text that __tostring gives", function()
        local value = setmetatable({}, {
            __tostring = function()
                return "described"
            end,
        })
        assert.equal("moonlet.LuaError: described", tostring(namespace.catch(error, value)))
        assert.equal("moonlet.LuaError: {}", tostring(namespace.catch(error, {})))
        local bad = setmetatable({}, {
            __tostring = function()
                error "no text"
            end,
        })
        assert.equal(
            "moonlet.LuaError: (error object is a table value)",
            tostring(namespace.catch(error, bad))
        )
    end)

    it("that goes on to Lua is the same value", function()
        local value = {}
        assert.is_true(rawequal(value, error_of(namespace.call, error, value)))
        assert.is_true(rawequal(value, error_of(namespace.reraise, function()
            error(value)
        end)))
    end)

    it("may be raised again later", function()
        local value = {}
        local e = namespace.catch(error, value)
        pcall(error, "another")
        namespace.catch(error, "and another")
        assert.is_true(rawequal(value, error_of(namespace.fail_with, e)))
    end)

    it("can be raised by Python code", function()
        local raise = py.eval("lambda *args: fail_with(moonlet.LuaError(*args))", namespace)
        assert.equal("made in Python", error_of(raise, "made in Python"))
        assert.equal("moonlet.LuaError", tostring(error_of(raise)))
        assert.equal("moonlet.LuaError: made in Python", tostring(namespace.catch(function()
            raise "made in Python"
        end)))
    end)

    it("can be swallowed", function()
        assert.equal("swallowed", namespace.swallow(error))
    end)

    it("is the cause of what is raised from it", function()
        local e = error_of(namespace.wrap, function()
            error("the cause", 0)
        end)
        assert.equal("moonlet.LuaError: the cause", tostring(e.__cause__))
    end)

    it("has Lua's own texts", function()
        local function text(f)
            return tostring(namespace.catch(f)):gsub("^moonlet.LuaError: .*_spec.lua:%d+: ", "")
        end
        assert.equal("attempt to index a nil value (local 'x')", (text(function()
            local x = nil
            return x.y
        end)))
        assert.equal("attempt to perform arithmetic on a table value", (text(function()
            return {} + 1
        end)))
        assert.matches("stack overflow", (text(function()
            local function f()
                return 1 + f()
            end
            return f()
        end)))
    end)
end)

describe("an error that nobody catches in a greenlet", function()
    it("reaches its parent: from Lua in Lua", function()
        local value = {}
        local g = moonlet.greenlet(error)
        assert.is_true(rawequal(value, error_of(g.switch, g, value)))
    end)

    it("reaches its parent: from Python in Lua", function()
        local e = py.builtins.ValueError "uncaught"
        local g = moonlet.greenlet(namespace.fail_with)
        assert.is_true(rawequal(e, error_of(g.switch, g, e)))
    end)

    it("reaches its parent: from Lua in Python", function()
        local value = {}
        local g = moonlet.greenlet(error)
        local e = namespace.catch(py.eval "lambda g, v: g.switch(v)", g, value)
        assert.equal("LuaError", py.builtins.type(e).__name__)
        assert.is_true(rawequal(value, e.value))
    end)

    it("goes up through parents of both languages", function()
        local value = {}
        local outer = moonlet.greenlet(function()
            local middle = moonlet.greenlet(function(...)
                return namespace.call(...)
            end)
            local inner = py.import("greenlet").greenlet(error, middle)
            middle:switch(function()
                return inner:switch(value)
            end)
        end)
        assert.is_true(rawequal(value, error_of(outer.switch, outer)))
    end)

    it("can be thrown by either language into either", function()
        local function lua_body()
            local ok, err = pcall(support.pause)
            return ok, err
        end
        local python_body = py.eval("lambda: catch(getcurrent().parent.switch)", namespace)
        local throw = py.eval "lambda g, e: g.throw(e)"
        local e = py.builtins.ValueError "thrown"

        local g = moonlet.greenlet(lua_body)
        g:switch()
        assert.is_true(rawequal(e, select(2, throw(g, e))))
        g = moonlet.greenlet(python_body)
        g:switch()
        assert.is_true(rawequal(e, g:throw(e)))
        g = moonlet.greenlet(python_body)
        g:switch()
        local value = {}
        local got = g:throw(value)
        assert.equal("LuaError", py.builtins.type(got).__name__)
        assert.is_true(rawequal(value, got.value))
    end)
end)

describe("the traceback of an exception", function()
    it("lists Lua and Python frames in one order", function()
        local function inner()
            namespace.fail()
        end
        local function outer()
            namespace.call(function()
                inner()
                return 1
            end)
        end
        local e = namespace.catch(function()
            outer()
            return 1
        end)
        local text = namespace.lines(e)
        local names = text:gsub("<function:%d+>", "<function>"):gsub("[^\n]*:", ""):gsub("\n", " ")
        assert.equal("catch <function> outer call <function> inner fail", names)
        assert.matches("\nerror_spec.lua:outer\n<python at support.lua:%d+>:call\n", text)
    end)

    it("of a Lua error too", function()
        local function thrower()
            local t = nil
            return t.x
        end
        local e = namespace.catch(function()
            namespace.call(thrower)
        end)
        assert.matches(
            "catch\nerror_spec.lua:<function:%d+>\n.*call\nerror_spec.lua:",
            namespace.lines(e)
        )
    end)

    it("has the source lines of Lua", function()
        local e = namespace.catch(function()
            error "this very line"
        end)
        local text = namespace.traceback.format_exception(e)
        assert.matches('    error "this very line"\n', py.eval "''.join"(text))
    end)

    it("goes through a greenlet's end", function()
        local g = moonlet.greenlet(function()
            namespace.fail()
        end)
        local e = namespace.catch(function()
            g:switch()
        end)
        assert.matches("catch\n.*error_spec.lua:.*fail$", namespace.lines(e))
    end)
end)

describe("too deep a recursion", function()
    it("through both languages is RecursionError", function()
        local function down()
            return (namespace.call(down))
        end
        assert.equal("RecursionError: maximum recursion depth exceeded", message(down))
        local g = moonlet.greenlet(down)
        assert.matches("^RecursionError", message(g.switch, g))
    end)

    it("that Python does not limit is limited by Lua", function()
        local sys = py.import "sys"
        local limit = sys.getrecursionlimit()
        sys.setrecursionlimit(1000000)
        local function down()
            return (namespace.call(down))
        end
        local text = message(down)
        sys.setrecursionlimit(limit)
        assert.equal("C stack overflow", text)
    end)

    it("is survived by the program", function()
        local function down()
            return 1 + down()
        end
        assert.matches("stack overflow", message(namespace.call, down))
        assert.matches(
            "stack overflow",
            message(moonlet.greenlet(down).switch, moonlet.greenlet(down))
        )
        assert.equal(2, py.eval "1 + 1")
    end)
end)

describe("syntax errors", function()
    it("of Lua are messages of load, in Python, too", function()
        local load = py.eval("lambda load, text: load(text)")
        local result, text = load(_G.load, "x =")
        assert.is_nil(result)
        assert.equal('[string "x ="]:1: unexpected symbol near <eof>', text)
    end)

    it("of Python are SyntaxError", function()
        assert.matches("^SyntaxError: '%(' was never closed", message(py.eval, "("))
    end)
end)
