-- What values become on their way from one language to the other.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, repr = py.eval, py.builtins.repr
local identity = eval "lambda x: x"
local first = eval "lambda *x: x[0]"

--- repr() of what Python gets for a Lua value.
local function seen(value)
    return repr(value)
end

local function kind(value)
    return math.type(value) or type(value)
end

describe("a Python value in Lua:", function()
    local function becomes(expression, expected)
        local value = eval(expression)
        assert.equal(expected, value)
        assert.equal(kind(expected), kind(value))
    end

    it("None is nil", function()
        becomes("None", nil)
    end)

    it("a bool is a boolean", function()
        becomes("True", true)
        becomes("False", false)
    end)

    it("an int of 64 bits is an integer", function()
        becomes("1", 1)
        becomes("-1", -1)
        becomes("2**63 - 1", math.maxinteger)
        becomes("-2**63", math.mininteger)
    end)

    it("a larger int is an object with working operators", function()
        local big = eval "2**70"
        assert.equal("userdata", type(big))
        assert.equal("1180591620717411303424", tostring(big))
        assert.equal("1180591620717411303425", tostring(big + 1))
        assert.equal("-1180591620717411303424", tostring(-big))
        assert.equal(1 << 40, big >> 30)
        assert.equal(0, big - big)
        assert.is_true(big == eval "2**70")
        assert.is_true(big > eval "2**69")
        assert.equal("9223372036854775808", tostring(eval "2**63"))
        assert.equal("-9223372036854775809", tostring(eval "-2**63 - 1"))
    end)

    it("a float is a float, also a whole one", function()
        becomes("1.0", 1.0)
        becomes("0.5", 0.5)
        becomes("float('inf')", math.huge)
        local nan = eval "float('nan')"
        assert.is_true(nan ~= nan)
        assert.equal("-0.0", tostring(eval "-0.0"))
    end)

    it("a str is a string in UTF-8", function()
        becomes("'text'", "text")
        becomes("''", "")
        becomes("'h\\u00e9llo \\u20ac \\U0001f319'", "h\u{e9}llo \u{20ac} \u{1f319}")
        becomes("'a\\0b'", "a\0b")
    end)

    it("bytes are a string", function()
        becomes("b'a\\0\\xff'", "a\0\xff")
        becomes("b''", "")
    end)

    it("a tuple from a call is several values", function()
        assert.same({ n = 3, 1, nil, "x" }, table.pack(eval "lambda: (1, None, 'x')"()))
        assert.equal(0, select("#", eval "lambda: ()"()))
        assert.same({ n = 1, 1 }, table.pack(eval "lambda: (1,)"()))
    end)

    it("a tuple elsewhere is itself", function()
        local list = eval "[(1, 2)]"
        assert.equal("(1, 2)", tostring(list[0]))
        assert.equal(2, list[0][1])
        assert.equal("(3, 4)", tostring((eval "lambda: ((3, 4), 5)"())))
        assert.equal("((3, 4), 5)", tostring(eval "((3, 4), 5)"))
    end)

    it("a subclass of these types stays an object", function()
        local namespace = support.python [[
            import enum
            class Text(str): pass
            class Number(int): pass
            class Color(enum.IntEnum):
                RED = 1
        ]]
        for _, expression in ipairs { "Text('t')", "Number(1)", "Color.RED" } do
            assert.equal("userdata", type(eval(expression, namespace)))
        end
        assert.equal("t", tostring(eval("Text('t')", namespace)))
        assert.equal(2, eval("Number(1)", namespace) + 1)
    end)

    it("anything else is a userdata, the same for the same object", function()
        local namespace = support.python "a = [1]; b = [1]"
        assert.equal("userdata", type(namespace.a))
        assert.is_true(rawequal(namespace.a, namespace.a))
        assert.is_false(rawequal(namespace.a, namespace.b))
        assert.is_true(namespace.a == namespace.b)
        local t = { [namespace.a] = "a" }
        assert.equal("a", t[namespace.a])
        assert.is_nil(t[namespace.b])
    end)

    it("a greenlet is a greenlet", function()
        assert.equal(moonlet.current(), py.import("greenlet").getcurrent())
    end)
end)

describe("a Lua value in Python:", function()
    it("nil is None", function()
        assert.equal("None", seen(nil))
    end)

    it("a boolean is a bool", function()
        assert.equal("True", seen(true))
        assert.equal("False", seen(false))
    end)

    it("an integer is an int and a float a float", function()
        assert.equal("1", seen(1))
        assert.equal("1.0", seen(1.0))
        assert.equal("9223372036854775807", seen(math.maxinteger))
        assert.equal("-9223372036854775808", seen(math.mininteger))
        assert.equal("0.1", seen(0.1))
        assert.equal("1e+100", seen(1e100))
        assert.equal("inf", seen(1 / 0))
        assert.equal("-0.0", seen(-0.0))
    end)

    it("a string is a str if it is UTF-8, else bytes", function()
        assert.equal("'text'", seen "text")
        assert.equal("''", seen "")
        assert.equal("'a\\x00b'", seen "a\0b")
        assert.equal("'h\u{e9}llo'", seen "h\u{e9}llo")
        assert.equal("b'\\xff'", seen "\xff")
        assert.equal("b'\\xc0\\x80'", seen "\xc0\x80") -- an overlong form
        assert.equal("b'\\xf4\\x90\\x80\\x80'", seen "\u{110000}") -- beyond Unicode
    end)

    it("py.bytes makes bytes of any string", function()
        assert.equal("b'text'", seen(py.bytes "text"))
        assert.equal("b'h\\xc3\\xa9\\x00'", seen(py.bytes "h\u{e9}\0"))
    end)

    it("tables, functions, coroutines and userdata are live objects", function()
        assert.matches("^<moonlet.LuaTable at 0x%x+ {}>$", seen {})
        assert.matches("^<moonlet.LuaFunction at 0x%x+>$", seen(print))
        assert.matches("^<moonlet.LuaThread at 0x%x+>$", seen(coroutine.create(print)))
        assert.matches("^<moonlet.LuaUserdata at 0x%x+>$", seen(io.stdout))
    end)

    it("is equal to and hashed like another proxy of the same value", function()
        local namespace = support.python [[
            def same(a, b):
                return a == b, hash(a) == hash(b), len({a, b}), a in [b], {a: 1}.get(b)
        ]]
        for _, value in ipairs { {}, print, coroutine.create(print), io.stdout } do
            assert.same({ true, true, 1, true, 1 }, { namespace.same(value, value) })
        end
        assert.same(
            { false, 2 },
            { (namespace.same({}, {})), (select(3, namespace.same({}, {}))) }
        )
    end)

    it("several results are a tuple, one is itself, none is None", function()
        local call = eval "lambda f: repr(f())"
        assert.equal("(1, None, 'x')", call(function()
            return 1, nil, "x"
        end))
        assert.equal("(None, None)", call(function()
            return nil, nil
        end))
        assert.equal("1", call(function()
            return 1
        end))
        assert.equal("None", call(function() end))
    end)

    it("nil in the middle of arguments and at their end is None", function()
        local all = eval "lambda *args: repr(args)"
        assert.equal("(1, None, 2)", all(1, nil, 2))
        assert.equal("(None, None)", all(nil, nil))
        assert.equal("()", all())
    end)

    it("a greenlet is a greenlet", function()
        local g = moonlet.greenlet(print)
        assert.is_true(py.isinstance(g, py.import("greenlet").greenlet))
        assert.matches("^<greenlet.greenlet object at 0x%x+ ", seen(g))
    end)
end)

describe("there and back again", function()
    it("a Lua value is itself", function()
        local co = coroutine.create(print)
        for _, value in ipairs {
            true, 1, 1.5, 2.0, "", "text", "\0", "\xff\xfe", "h\u{e9}llo",
            {}, print, co, io.stdout, moonlet.current(),
        } do
            assert.is_true(rawequal(value, identity(value)))
            assert.equal(kind(value), kind(identity(value)))
        end
        assert.is_nil(identity(nil))
        local nan = identity(0 / 0)
        assert.is_true(nan ~= nan)
    end)

    it("a Python object is itself", function()
        local call = eval "lambda f, x: f(x) is x"
        local function back(x)
            return x
        end
        for _, expression in ipairs {
            "object()", "[]", "{}", "len", "int", "2**70", "1j", "...", "NotImplemented",
            "ValueError()", "set()", "bytearray(b'x')", "range(3)",
        } do
            assert.is_true(call(back, eval(expression)), expression)
        end
    end)

    it("a string with lone surrogates is the same str", function()
        local namespace = support.python [[
            text = "a\ud800b\udcff"
            def check(f):
                return f(text) == text
        ]]
        assert.is_true(namespace.check(function(s)
            assert.equal("a\u{d800}b\u{dcff}", s)
            return s
        end))
    end)

    it("a tuple through a Lua function is a tuple again", function()
        local call = eval "lambda f: repr(f((1, None)))"
        assert.equal("(1, None)", call(function(t)
            assert.equal("userdata", type(t))
            return t
        end))
    end)

    it("values of a switch are converted like those of a call", function()
        local namespace = support.python [[
            from greenlet import getcurrent
            def body(*args):
                while True:
                    args = getcurrent().parent.switch(repr(args))
        ]]
        local g = moonlet.greenlet(namespace.body)
        assert.equal("(1, None, 1.0)", g:switch(1, nil, 1.0))
        assert.equal("()", g:switch())
        assert.equal("'one'", g:switch "one")
        assert.equal("(b'\\xff', 2)", g:switch("\xff", 2))
        assert.equal("{'k': 1}", g:switch(py.kw { k = 1 }))
        assert.equal("((1,), {'k': 2})", g:switch(1, py.kw { k = 2 }))
    end)

    it("keyword arguments of a switch to Lua are one table at the end", function()
        local namespace = support.python [[
            def send(g):
                return g.switch(1, two=2)
        ]]
        local g = moonlet.greenlet(function(one, keywords)
            return one, keywords.two
        end)
        assert.same({ 1, 2 }, { namespace.send(g) })
    end)

    it("many values are as good as few", function()
        local many = {}
        for i = 1, 5000 do
            many[i] = i
        end
        assert.equal(1, (first(table.unpack(many))))
        assert.equal(5000, (eval "lambda *x: len(x)")(table.unpack(many)))
        assert.equal(5000, select("#", eval "lambda: tuple(range(5000))"()))
    end)

    it("more than a Lua stack holds are an error", function()
        assert.equal(
            "stack overflow (a tuple of 2000000 items as results)",
            support.message(eval "lambda: (None,) * 2000000")
        )
    end)
end)
