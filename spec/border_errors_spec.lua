-- Every way in which code of one language is called by the other may end in an error: it arrives
-- there as the same object or value, wherever that is, and nothing is out of order afterwards.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

local namespace = support.python [[
    import sys
    from greenlet import greenlet
    from moonlet import LuaError

    def catch(f, *args):
        try:
            f(*args)
        except BaseException as e:
            return e
        raise AssertionError("an error was expected")

    def call(f, *args):
        return f(*args)

    def call_deep(depth, f, *args):
        return call_deep(depth - 1, f, *args) if depth else f(*args)

    def catch_often(count, f, *args):
        for _ in range(count):
            e = catch(f, *args)
        return e

    def reraise(f, *args):
        try:
            f(*args)
        except BaseException as e:
            raise e

    def run(f, *args):
        return greenlet(f).switch(*args)
]]
local catch, call = namespace.catch, namespace.call
local LuaError = namespace.LuaError

--- A text for messages, of whatever cannot fail.
local function show(value)
    local ok, text = pcall(tostring, value)
    return ok and text or type(value)
end

local function same(a, b)
    return rawequal(a, b) or (a ~= a and b ~= b)
end

--- Where code may run.
local places = {
    ["the main greenlet"] = function(f)
        return f()
    end,
    ["a greenlet of Lua"] = function(f)
        return moonlet.greenlet(f):switch()
    end,
    ["a greenlet of Python"] = function(f)
        return namespace.run(f)
    end,
    ["a coroutine"] = function(f)
        return coroutine.wrap(f)()
    end,
    ["a coroutine in a greenlet in a coroutine"] = function(f)
        return coroutine.wrap(function()
            return moonlet.greenlet(coroutine.wrap(f)):switch()
        end)()
    end,
}

local ROUNDS = support.sanitized and 30 or 300

-- ------------------------------------------------------------------------------- Lua's errors

local untold = setmetatable({}, {
    __tostring = function()
        error "no text"
    end,
})
local odd_text = setmetatable({}, {
    __tostring = function()
        return {}
    end,
})
local odd_name = setmetatable({}, { __name = {} })
local closed = setmetatable({}, { __metatable = "closed", __tostring = {} })

--- By name, since nil is one of them.
local values = {
    ["nil"] = {},
    ["false"] = { false },
    ["true"] = { true },
    ["a number"] = { 42 },
    ["a float"] = { 1.5 },
    ["nan"] = { 0 / 0 },
    ["a string"] = { "text" },
    ["an empty string"] = { "" },
    ["no UTF-8"] = { "\xff\0\xfe" },
    ["a table"] = { { 1 } },
    ["a function"] = { print },
    ["a userdata"] = { io.stdout },
    ["a coroutine"] = { coroutine.create(print) },
    ["what has no text"] = { untold },
    ["what has a table for its text"] = { odd_text },
    ["what has a table for its name"] = { odd_name },
    ["what hides its metatable"] = { closed },
    ["a Python object"] = { py.builtins.object() },
    ["a Python list"] = { py.list { 1 } },
    ["a greenlet"] = { moonlet.greenlet(print) },
    ["an exception"] = { py.builtins.ValueError "one" },
    ["KeyboardInterrupt"] = { py.builtins.KeyboardInterrupt() },
    ["SystemExit"] = { py.builtins.SystemExit(3) },
    ["StopIteration"] = { py.builtins.StopIteration "end" },
    ["GeneratorExit"] = { py.builtins.GeneratorExit() },
}

local function is_exception(value)
    return type(value) == "userdata" and py.isinstance(value, py.builtins.BaseException)
end

--- Checks that the Python callable `f` raises `value`, at whatever distance.
local function raises(value, f, ...)
    local exception = catch(f, ...)
    if is_exception(value) then
        assert(rawequal(exception, value), show(exception))
    else
        assert(py.isinstance(exception, LuaError), show(exception))
        assert(same(exception.value, value), show(exception.value))
    end
    for _, path in ipairs {
        { call, f, ... }, { namespace.reraise, f, ... }, { namespace.call_deep, 5, f, ... },
        { call, call, call, f, ... }, { pcall, call, f, ... },
    } do
        local results = table.pack(pcall(table.unpack(path)))
        if path[1] == pcall then
            table.remove(results, 1)
        end
        assert(results[1] == false and same(results[2], value), show(results[2]))
    end
    local args = { ... }
    local again = table.pack(pcall(call, function()
        local ok, e = pcall(f, table.unpack(args))
        assert(not ok)
        call(call, rawequal, 1, 1) -- something else in between
        error(e, 0)
    end))
    assert(again[1] == false and same(again[2], value), show(again[2]))
end

describe("an error of Lua through Python and back is itself:", function()
    for name, box in pairs(values) do
        it(name, function()
            for _, place in pairs(places) do
                place(function()
                    raises(box[1], error, box[1], 0)
                end)
            end
        end)
        it(name .. ", at the end of a greenlet", function()
            local g = moonlet.greenlet(error)
            local ok, e = pcall(g.switch, g, box[1], 0)
            assert(not ok and same(e, box[1]))
            ok, e = pcall(namespace.run, error, box[1], 0)
            assert(not ok and same(e, box[1]))
        end)
        it(name .. ", thrown into a greenlet", function()
            for _, body in ipairs {
                support.pause,
                py.eval("lambda: __import__('greenlet').getcurrent().parent.switch()"),
            } do
                local g = moonlet.greenlet(body)
                g:switch()
                local value = box[1]
                if value == nil then
                    value = false -- without a value it is GreenletExit
                end
                local ok, e = pcall(g.throw, g, value)
                assert(not ok and same(e, value), show(e))
            end
        end)
    end

    it("and has a readable text in Python", function()
        local function text(value)
            return py.builtins.str(catch(error, value, 0))
        end
        assert.equal("(error object is a table value)", text(untold))
        assert.equal("(error object is a table value)", text(odd_text))
        assert.matches("^table: 0x", text(odd_name))
        assert.equal("nil", text(nil))
        assert.equal("false", text(false))
        assert.matches("nan", text(0 / 0))
    end)
end)

--- The metamethods, and what of Python calls them.
local metamethods = {
    __index = { "v.x", "v['x']", "v[1]", "getattr(v, 'x', None)", "'x' in v", "v.get('x')" },
    __newindex = { "setattr(v, 'x', 1)", "v.__setitem__('x', 1)", "v.update(x=1)" },
    __call = { "v()", "v(1, 2)", "v(1, x=2)", "list(map(v, [1]))", "sorted([1, 2], key=v)" },
    __len = { "len(v)" },
    __unm = { "-v" },
    __bnot = { "~v" },
    __add = { "v + 1", "1 + v", "v + v", "sum([v])" },
    __sub = { "v - 1", "1 - v" },
    __mul = { "v * 1", "1 * v" },
    __div = { "v / 1", "1 / v" },
    __mod = { "v % 1", "1 % v" },
    __pow = { "v ** 1", "1 ** v" },
    __idiv = { "v // 1", "1 // v" },
    __band = { "v & 1", "1 & v" },
    __bor = { "v | 1", "1 | v" },
    __bxor = { "v ^ 1", "1 ^ v" },
    __shl = { "v << 1", "1 << v" },
    __shr = { "v >> 1", "1 >> v" },
    __lt = { "v < w", "v > w", "sorted([v, w])", "max(v, w)" },
    __le = { "v <= w", "v >= w" },
    __eq = { "v == w", "v != w", "w in [v]", "[v].index(w)", "[v] == [w]" },
    __tostring = { "str(v)", "format(v)", "'%s' % v", "f'{v}'", "print(v, file=sys.stderr)" },
    __pairs = { "list(v)", "dict(v)", "list(v.items())", "v.update(v)", "[*v]" },
    __close = { "v.__exit__(None, None, None)" },
}

describe("an error in", function()
    for event, expressions in pairs(metamethods) do
        it(event .. " reaches Python", function()
            for _, expression in ipairs(expressions) do
                local f = py.eval("lambda v, w: " .. expression, namespace)
                for _, value in ipairs { { 1 }, "text", 42, py.builtins.ValueError "e" } do
                    local metatable = {
                        [event] = function()
                            error(value, 0)
                        end,
                    }
                    local v, w = setmetatable({}, metatable), setmetatable({}, metatable)
                    raises(value, f, v, w)
                    for _, place in pairs(places) do
                        place(function()
                            local e = namespace.catch_often(ROUNDS // 30, f, v, w)
                            assert(same(is_exception(value) and e or e.value, value))
                        end)
                    end
                end
            end
        end)
    end

    it("an iterator function reaches Python", function()
        local value = {}
        local v = setmetatable({}, {
            __pairs = function()
                return function(_, key)
                    if key == 3 then
                        error(value)
                    end
                    return (key or 0) + 1, true
                end
            end,
        })
        raises(value, py.eval "lambda v: list(v)", v)
        raises(value, py.eval "lambda v: [x for x in v.items()]", v)
        local n = 0
        local loop = py.eval("lambda v, f: [f(x) for x in v]")
        raises(value, loop, v, function()
            n = n + 1
        end)
        assert.is_true(n > 0)
    end)

    it("a coroutine reaches Python, and it is dead", function()
        for _, box in pairs(values) do
            local co = coroutine.create(function()
                coroutine.yield(1)
                error(box[1], 0)
            end)
            assert.equal(1, py.builtins.next(co))
            if not is_exception(box[1]) then
                local e = catch(py.builtins.next, co)
                assert(same(e.value, box[1]), show(e))
            else
                assert(rawequal(catch(py.builtins.next, co), box[1]))
            end
            assert.equal("dead", coroutine.status(co))
        end
    end)

    it("__gc is a warning of Lua, not an error of Python", function()
        assert.matches("^Lua warning: error in __gc.*\nwent on\n$", (support.child [[
            warn "@on"
            local py = require "moonlet".python
            io.stderr:setvbuf "no"
            local f = py.eval "lambda f: f()"
            f(function()
                for i = 1, 10 do
                    setmetatable({}, {__gc = function() error {} end})
                end
                collectgarbage()
            end)
            f(function()
                setmetatable({}, {__gc = function() f(error, {}) end})
                collectgarbage()
            end)
            print "went on"
        ]]))
    end)

    it("__close on the way of another error replaces it", function()
        local second = {}
        local function f()
            local _ <close> = setmetatable({}, {
                __close = function()
                    error(second)
                end,
            })
            call(error, {})
        end
        raises(second, f)
    end)

    it("__close does not hide an error that comes through it", function()
        local value = {}
        raises(value, function()
            local _ <close> = setmetatable({}, {
                __close = function()
                    pcall(call, error, "another")
                end,
            })
            call(error, value)
        end)
    end)
end)

describe("what a metamethod returns wrongly is an error:", function()
    local function with(event, result)
        return setmetatable({}, {
            [event] = function()
                return result
            end,
        })
    end
    local function fails(expected, expression, v)
        local f = py.eval("lambda v: " .. expression)
        for _ = 1, 3 do
            assert.matches(expected, message(call, f, v))
        end
    end

    it("__len", function()
        fails("^object length is not an integer", "len(v)", with("__len", "x"))
        fails("^object length is not an integer", "len(v)", with("__len", nil))
        fails("^object length is not an integer", "len(v)", with("__len", 1.5))
        fails("^ValueError: .* negative", "len(v)", with("__len", -1))
        assert.equal(3, call(py.builtins.len, with("__len", 3.0)))
        assert.equal(
            math.maxinteger,
            call(py.builtins.len, with("__len", math.maxinteger))
        )
    end)

    it("__tostring", function()
        fails("^'__tostring' must return a string$", "str(v)", with("__tostring", 1 == 2))
        fails("^'__tostring' must return a string$", "str(v)", with("__tostring", {}))
        assert.equal("5", call(py.builtins.str, with("__tostring", "5")))
    end)

    it("__pairs", function()
        fails("attempt to call a nil value", "list(v)", with("__pairs", nil))
        fails("attempt to call a number value", "list(v)", with("__pairs", 1))
    end)

    it("and what is no function", function()
        local v = setmetatable({}, { __call = 1, __add = true, __lt = {}, __index = 5, __len = "" })
        fails("attempt to call a", "v()", v)
        fails("attempt to call a", "v + 1", v)
        fails("attempt to call a", "v < v", v)
        fails("attempt to index a number value", "v.x", v)
        fails("attempt to call a", "len(v)", v)
    end)
end)

-- ------------------------------------------------------------------------------ Python's errors

local classes = support.python [[
    import moonlet
    from greenlet import GreenletExit

    class Untold(Exception):
        def __str__(self):
            raise ValueError("no text")

    class OddText(Exception):
        def __str__(self):
            return 5

    class Meta(type):
        def __getattribute__(cls, name):
            if name in ("__qualname__", "__module__"):
                raise KeyError(name)
            return super().__getattribute__(name)

    class Nameless(Exception, metaclass=Meta):
        pass

    class Unequal(Exception):
        def __eq__(self, other):
            raise ValueError("not to be compared")
        __hash__ = None

    class Child(moonlet.LuaError):
        pass

    def make(value, cls=moonlet.LuaError):
        error = cls("made")
        error.value = value
        return error

    exceptions = [ValueError("v"), KeyError("k"), BaseException("b"), KeyboardInterrupt(),
                  SystemExit(1), StopIteration(1), GeneratorExit(), AttributeError("a"),
                  IndexError(), MemoryError(), RecursionError(), StopAsyncIteration(), Untold(),
                  OddText(), Nameless(), Unequal(), UnicodeDecodeError("utf-8", b"x", 0, 1, "r"),
                  ExceptionGroup("g", [ValueError(), TypeError()]), Warning("w")]
]]

local function fail_with(e)
    return support.python([[
        def f(e):
            def fail(*args):
                raise e
            return fail
    ]]).f(e)
end

describe("an exception of Python through Lua and back is itself:", function()
    for e in py.iter(classes.exceptions) do
        it(py.builtins.type(e).__name__ or "Nameless", function()
            local fail = fail_with(e)
            for _, place in pairs(places) do
                place(function()
                    raises(e, fail)
                    raises(e, function()
                        fail()
                    end)
                    raises(e, function()
                        coroutine.wrap(function()
                            fail()
                        end)()
                    end)
                end)
            end
        end)
    end

    it("a LuaError, which in Lua is its value", function()
        for _, value in pairs(values) do
            local e = classes.make(value[1])
            local fail = fail_with(e)
            local ok, got = pcall(fail)
            assert(not ok and same(got, value[1]), show(got))
            if not is_exception(value[1]) and value[1] == value[1] then
                assert(rawequal(e, catch(function()
                    fail()
                end)))
            end
        end
        local e = classes.make({}, classes.Child)
        assert(rawequal(e, catch(function()
            fail_with(e)()
        end)))
    end)

    it("and has a text in Lua", function()
        assert.equal("Untold: <exception str() failed>", tostring(classes.Untold()))
        assert.equal("OddText: <exception str() failed>", tostring(classes.OddText()))
        assert.matches("Nameless", tostring(classes.Nameless "x"))
    end)
end)

--- Special methods: a class whose `method` fails, and what of Lua calls it.
local specials = {
    __getattr__ = { "return o.x", "o:x()" },
    __getattribute__ = { "return o.x", "o:x()" },
    __setattr__ = { "o.x = 1" },
    __delattr__ = { "py.delattr(o, 'x')" },
    __getitem__ = { "return o[1]", "return o[{}]", "return py.item(o, 1)", "return py.builtins.list(o)" },
    __setitem__ = { "o[1] = 1", "py.setitem(o, 1, 1)" },
    __delitem__ = { "py.delitem(o, 1)" },
    __contains__ = { "return py.contains(o, 1)" },
    __len__ = { "return #o" },
    __iter__ = { "return py.iter(o)", "return pairs(o)" },
    __call__ = { "return o()", "o(1, 2)", "return py.builtins.map(o, 'a')()", "pcall_(o)" },
    __eq__ = { "return o == p" },
    __lt__ = { "return o < p", "return p > o", "return o < 1" },
    __le__ = { "return o <= p", "return o <= 1" },
    __gt__ = { "return o > p", "return 1 < o" },
    __ge__ = { "return o >= p", "return 1 <= o" },
    __add__ = { "return o + 1" },
    __radd__ = { "return 1 + o" },
    __sub__ = { "return o - 1" },
    __mul__ = { "return o * 2" },
    __truediv__ = { "return o / 2" },
    __floordiv__ = { "return o // 2" },
    __mod__ = { "return o % 2" },
    __pow__ = { "return o ^ 2" },
    __and__ = { "return o & 2" },
    __or__ = { "return o | 2" },
    __xor__ = { "return o ~ 2" },
    __lshift__ = { "return o << 2" },
    __rshift__ = { "return o >> 2" },
    __neg__ = { "return -o" },
    __invert__ = { "return ~o" },
    __str__ = { "return tostring(o)", "return 'x' .. o", "return ('%s'):format(o)" },
    __repr__ = { "return py.builtins.repr(o)", "return tostring(o)" },
    __hash__ = { "return py.builtins.hash(o)", "py.eval '{}'[o] = 1", "return py.eval '{}'[o]" },
    __index__ = { "return py.eval '[1]'[o]" },
    __enter__ = { "local _ <close> = py.with(o)" },
    __exit__ = { "local _ <close> = o", "local _ <close> = py.with(o)" },
    __bool__ = { "return py.builtins.bool(o)" },
    __format__ = { "return py.builtins.format(o)" },
    __dir__ = { "return py.builtins.dir(o)" },
}

describe("an exception in", function()
    local make = support.python([[
        def make(name, exception):
            def method(*args):
                raise exception
            members = {name: method, "__enter__": lambda self: self,
                       "__exit__": lambda *args: None}
            members[name] = method
            return type("Special", (), members)()
    ]]).make
    for method, snippets in pairs(specials) do
        it(method .. " reaches Lua", function()
            for _, exception in ipairs {
                py.builtins.ValueError "v", py.builtins.KeyboardInterrupt(),
                py.builtins.SystemExit(), py.builtins.GeneratorExit(), classes.Untold(),
            } do
                local o, p = make(method, exception), make(method, exception)
                for _, code in ipairs(snippets) do
                    local f = assert(load("local o, p, py, pcall_ = ... " .. code))
                    for _, place in pairs(places) do
                        place(function()
                            for _ = 1, ROUNDS // 30 do
                                local ok, e = pcall(f, o, p, py, call)
                                assert(not ok and rawequal(e, exception), code .. show(e))
                            end
                        end)
                    end
                    assert(rawequal(exception, catch(f, o, p, py, call)))
                end
            end
        end)
    end

    it("__next__ reaches Lua, but StopIteration is the end", function()
        local ns = support.python [[
            class Iterator:
                def __init__(self, exception):
                    self.n, self.exception = 0, exception
                def __iter__(self):
                    return self
                def __next__(self):
                    self.n += 1
                    if self.n == 3:
                        raise self.exception
                    return self.n
        ]]
        local e = py.builtins.ValueError()
        local seen = 0
        local ok, got = pcall(function()
            for _ in py.iter(ns.Iterator(e)) do
                seen = seen + 1
            end
        end)
        assert(not ok and rawequal(got, e) and seen == 2)
        seen = 0
        for _ in ns.Iterator(py.builtins.StopIteration) do
            seen = seen + 1
        end
        assert.equal(2, seen)
    end)

    it("a property reaches Lua", function()
        local ns = support.python [[
            class Descriptor:
                def __get__(self, o, cls):
                    raise KeyError("get")
                def __set__(self, o, value):
                    raise KeyError("set")
            class O:
                d = Descriptor()
                @property
                def p(self):
                    raise KeyError("p")
                @p.setter
                def p(self, value):
                    raise KeyError("setter")
        ]]
        local o = ns.O()
        assert.equal("KeyError: 'get'", message(function() return o.d end)) -- luacheck: ignore
        assert.equal("KeyError: 'get'", message(function() o:d() end)) -- luacheck: ignore
        assert.equal("KeyError: 'set'", message(function() o.d = 1 end)) -- luacheck: ignore
        assert.equal("KeyError: 'p'", message(function() return o.p end)) -- luacheck: ignore
        assert.equal("KeyError: 'p'", message(function() o:p() end)) -- luacheck: ignore
        assert.equal("KeyError: 'setter'", message(function() o.p = 1 end)) -- luacheck: ignore
    end)

    it("__bool__ of what a comparison returns reaches Lua", function()
        local ns = support.python [[
            class Answer:
                def __bool__(self):
                    raise KeyError("bool")
            class O:
                def __eq__(self, other): return Answer()
                def __lt__(self, other): return Answer()
                def __le__(self, other): return Answer()
        ]]
        local a, b = ns.O(), ns.O()
        assert.equal("KeyError: 'bool'", message(function() return a == b end)) -- luacheck: ignore
        assert.equal("KeyError: 'bool'", message(function() return a < b end)) -- luacheck: ignore
        assert.equal("KeyError: 'bool'", message(function() return a <= b end)) -- luacheck: ignore
    end)

    it("__del__ is reported by Python, and no error of Lua", function()
        local ns = support.python [[
            import sys
            seen = []
            class O:
                def __del__(self):
                    raise KeyError("del")
            def hook(args):
                seen.append(args.exc_value.args[0])
            def start():
                global before
                before, sys.unraisablehook = sys.unraisablehook, hook
            def stop():
                sys.unraisablehook = before
        ]]
        ns.start()
        for _ = 1, 10 do
            assert(ns.O())
        end
        support.collect()
        ns.stop()
        assert.equal(10, #ns.seen)
        assert.equal("del", ns.seen[0])
    end)
end)

describe("what a special method returns wrongly is an error:", function()
    local make = support.python([[
        def make(name, result):
            return type("Special", (), {name: lambda *args: result})()
    ]]).make
    local function fails(expected, method, result, f)
        for _ = 1, 3 do
            assert.equal(expected, message(f, make(method, result)))
        end
    end
    local function length(o)
        return #o
    end

    it("__len__", function()
        fails("ValueError: __len__() should return >= 0", "__len__", -1, length)
        fails("TypeError: 'str' object cannot be interpreted as an integer", "__len__", "x", length)
        fails("TypeError: 'float' object cannot be interpreted as an integer", "__len__", 1.0, length)
        fails("OverflowError: cannot fit 'int' into an index-sized integer", "__len__",
            py.eval "2**70", length)
    end)

    it("__str__ and __repr__", function()
        fails("TypeError: __str__ returned non-string (type int)", "__str__", 1, tostring)
        fails("TypeError: __repr__ returned non-string (type int)", "__repr__", 1, py.builtins.repr)
    end)

    it("__iter__", function()
        fails("TypeError: iter() returned non-iterator of type 'int'", "__iter__", 1, py.iter)
    end)

    it("__hash__", function()
        fails("TypeError: __hash__ method should return an integer", "__hash__", "x", function(o)
            return py.eval "{}"[o]
        end)
    end)

    it("__index__", function()
        fails("TypeError: __index__ returned non-int (type str)", "__index__", "x", function(o)
            return py.eval "[1]"[o]
        end)
    end)

    it("__bool__", function()
        fails("TypeError: __bool__ should return bool, returned int", "__bool__", 1,
            py.builtins.bool)
    end)

    it("and a comparison that returns no bool is its truth value", function()
        assert.is_true(make("__eq__", "yes") == make("__eq__", "yes"))
        assert.is_false(make("__eq__", "") == make("__eq__", ""))
        assert.is_false(make("__lt__", 0) < 1)
        assert.is_true(make("__le__", py.list { 0 }) <= 1)
    end)
end)

describe("an object that lies about its class", function()
    local ns = support.python [[
        class Liar:
            __class__ = int
        class Raiser:
            @property
            def __class__(self):
                raise KeyError("class")
        class Meta(type):
            def __instancecheck__(cls, o):
                if o == 1:
                    raise KeyError("instance")
                return True
            def __call__(cls, *args):
                raise KeyError("call")
            def __getattr__(cls, name):
                raise KeyError(name)
        class All(metaclass=Meta):
            pass
    ]]

    it("crosses as what it is", function()
        local liar = ns.Liar()
        assert.equal("userdata", type(liar))
        assert.is_true(rawequal(liar, call(function(o)
            return o
        end, liar)))
        assert.is_true(py.isinstance(liar, py.builtins.int))
    end)

    it("may fail when it is asked", function()
        assert.equal("KeyError: 'class'", message(py.isinstance, ns.Raiser(), py.builtins.int))
        assert.equal("KeyError: 'instance'", message(py.isinstance, 1, ns.All))
        assert.is_true(py.isinstance(2, ns.All))
        assert.equal("KeyError: 'call'", message(ns.All))
        assert.equal("KeyError: 'x'", message(function() return ns.All.x end)) -- luacheck: ignore
    end)
end)

-- ------------------------------------------------------------------------------------ recursion

describe("a recursion through both languages ends in an error", function()
    local ns = support.python [[
        import re, sys
        from greenlet import greenlet
        def call(f, *args):
            return f(*args)
        class O:
            def __getattr__(self, name): return hook()
            def __getitem__(self, key): return hook()
            def __eq__(self, other): return hook()
            def __str__(self): return hook()
            def __len__(self): return hook()
            def __iter__(self): return iter([hook()])
        o = O()
        p = O()
    ]]
    local o, p = ns.o, ns.p
    local sys = py.import "sys"
    local ways
    ways = {
        ["calls"] = function()
            return (ns.call(ways["calls"]))
        end,
        ["attributes"] = function()
            return o.x
        end,
        ["items"] = function()
            return o[1]
        end,
        ["=="] = function()
            return o == p
        end,
        ["texts"] = function()
            return tostring(o)
        end,
        ["#"] = function()
            return #o
        end,
        ["iteration"] = function()
            return (py.builtins.list(o))
        end,
        ["__index"] = function()
            return setmetatable({}, {
                __index = function(t)
                    return ns.call(getmetatable(t).__index, t)
                end,
            }).x
        end,
        ["sorted"] = function()
            return py.builtins.sorted(py.list { 2, 1 }, py.kw { key = ways["sorted"] })
        end,
        ["table.sort and re.sub"] = function()
            local t = { 1, 2, 3 }
            table.sort(t, function()
                return ns.re.sub(".", ways["table.sort and re.sub"], "abc") == ""
            end)
        end,
        ["string.gsub"] = function()
            return (("a"):gsub(".", function()
                return ns.call(ways["string.gsub"])
            end))
        end,
        ["coroutines"] = function()
            return coroutine.wrap(function()
                return (ns.call(ways["coroutines"]))
            end)()
        end,
    }
    local function clean(e)
        local text = tostring(e)
        return text:find "^RecursionError" or text:find "stack overflow"
    end
    for name, f in pairs(ways) do
        for _, limit in ipairs { 1000, 1000000 } do
            it(("of %s, at Python's limit %d"):format(name, limit), function()
                ns.hook = f
                for _, place in pairs(places) do
                    local before = sys.getrecursionlimit()
                    sys.setrecursionlimit(limit)
                    local ok, e = place(function()
                        return pcall(f)
                    end)
                    sys.setrecursionlimit(before)
                    assert(not ok and clean(e), show(e))
                    assert.equal(2, call(py.eval "lambda f: f(1)", function(x)
                        return x + 1
                    end))
                end
            end)
        end
    end

    it("of greenlets in greenlets", function()
        local function down()
            return moonlet.greenlet(function()
                return (ns.call(down))
            end):switch()
        end
        assert.matches("^RecursionError", message(down))
    end)
end)

it("after all these errors nothing is left of them", function()
    assert.is_nil((py.import("sys").exc_info()))
    assert.equal("nil nil", call(function()
        return tostring(py.import("sys").exc_info()) .. " " .. tostring(moonlet.current().parent)
    end))
end)
