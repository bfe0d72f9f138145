-- Python objects in Lua: what Lua can do with them is what Python can.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message

describe("py.import", function()
    it("gives the module, of a dotted name the last one", function()
        assert.equal("math", py.import("math").__name__)
        assert.equal("os.path", (py.import("os").path.__name__:gsub("posix", "os.")))
        assert.equal("xml.dom", py.import("xml.dom").__name__)
    end)

    it("raises what import raises", function()
        assert.equal(
            "ModuleNotFoundError: No module named 'no_such_module'",
            message(py.import, "no_such_module")
        )
        assert.equal(
            "ModuleNotFoundError: No module named 'xml.nothing'",
            message(py.import, "xml.nothing")
        )
    end)

    it("needs a name", function()
        local function import(name)
            py.import(name)
        end
        assert.equal(
            "bad argument #1 to 'import' (string expected, got nil)",
            message(import, nil)
        )
    end)
end)

describe("py.eval and py.exec", function()
    it("work in __main__", function()
        py.exec "spec_global = 1"
        assert.equal(1, eval "spec_global")
        assert.equal(1, py.import("__main__").spec_global)
        py.exec "del spec_global"
    end)

    it("work in a dict of one's own", function()
        local globals = py.builtins.dict()
        py.exec("x = 2", globals)
        assert.equal(2, globals.x)
        assert.equal(4, eval("x * x", globals))
    end)

    it("refuse other globals", function()
        assert.equal(
            "TypeError: globals must be a dict, not moonlet.LuaTable",
            message(eval, "1", {})
        )
        assert.equal("TypeError: globals must be a dict, not int", message(py.exec, "1", 1))
    end)

    it("raise SyntaxError that names the Lua line and the line of the code", function()
        assert.matches(
            "^SyntaxError: invalid syntax %(<python at pyproxy_spec.lua:%d+>, line 2%)$",
            message(function()
                py.exec "\n1 +* 2"
            end)
        )
        assert.matches("^SyntaxError: ", message(eval, "x = 1"))
        assert.matches("^IndentationError: ", message(py.exec, " x = 1\n  y = 2"))
    end)

    it("take no null bytes", function()
        assert.matches("Python code cannot contain null bytes%)$", message(eval, "1\0"))
        assert.matches("the name of a module cannot contain null bytes%)$", message(py.import, "a\0b"))
    end)

    it("exec returns nothing", function()
        assert.equal(0, select("#", py.exec "1"))
    end)
end)

describe("a call", function()
    it("passes arguments and keyword arguments", function()
        local f = eval "lambda *args, **kwargs: repr((args, kwargs))"
        assert.equal("((), {})", f())
        assert.equal("((1, 'a'), {})", f(1, "a"))
        assert.equal("((), {'x': 1})", f(py.kw { x = 1 }))
        assert.equal("((1,), {'x': [2]})", f(1, py.kw { x = eval "[2]" }))
        assert.equal("((), {})", f(py.kw {}))
        assert.equal("((1, 2, 3, 4, 5, 6, 7, 8, 9, 10), {})", f(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    end)

    it("of a method is o:m() or o.m()", function()
        local list = py.builtins.list()
        list:append(1)
        list.append(2)
        assert.equal("[1, 2]", tostring(list))
        assert.equal(1, list:count(2))
        assert.equal("[1, 2, 1, 2]", tostring(list:__add__(list)))
    end)

    it("of a class makes an instance", function()
        local namespace = support.python [[
            class Point:
                def __init__(self, x, y=0):
                    self.x, self.y = x, y
        ]]
        local p = namespace.Point(1, py.kw { y = 2 })
        assert.same({ 1, 2 }, { p.x, p.y })
    end)

    it("raises TypeError for what cannot be called or called so", function()
        assert.equal("TypeError: 'list' object is not callable", message(eval "[]"))
        assert.equal("TypeError: len() takes exactly one argument (0 given)", message(eval "len"))
        assert.matches(
            "unexpected keyword argument 'nope'",
            message(eval "lambda: 0", py.kw { nope = 1 })
        )
        assert.equal(
            "TypeError: keyword names must be strings, not number",
            message(eval "lambda **k: k", py.kw { 1 })
        )
    end)

    it("takes keyword arguments only at the end", function()
        assert.equal("TypeError: py.kw must be the last argument",
            message(eval "lambda *a: a", py.kw { x = 1 }, 2))
    end)

    it("takes the keywords of the table as it is then, whoever changes it meanwhile", function()
        local namespace = support.python [[
            import gc
            before = gc.get_threshold()

            def watch(f):
                global callback
                callback = lambda phase, info: f()
                gc.callbacks.append(callback)
                gc.set_threshold(1, 1, 1)

            def stop():
                gc.set_threshold(*before)
                gc.callbacks.remove(callback)

            def check(**keywords):
                return all(v is not None and k.startswith("k") for k, v in keywords.items())

            def check_switch(*args, **keywords):
                return check(**keywords)
        ]]
        local keywords = py.kw {}
        local count = 30 -- so many that Python may collect garbage when it makes room for them
        for i = 1, count do
            keywords["k" .. i] = {}
        end
        namespace.watch(function()
            for i = 1, count < 5000 and 20 or 0 do
                keywords["k" .. count + i] = {}
                keywords["k" .. (count + i) // 2] = nil
            end
            count = count + 20
        end)
        local good = 0
        for _ = 1, 100 do
            good = good + (namespace.check(keywords) and 1 or 0)
            good = good + (moonlet.greenlet(namespace.check_switch):switch(keywords) and 1 or 0)
        end
        namespace.stop()
        assert.equal(200, good)
        assert.is_true(count > 30)
    end)

    it("needs a table for py.kw", function()
        local function kw(value)
            py.kw(value)
        end
        assert.equal("bad argument #1 to 'kw' (table expected, got string)", message(kw, "x"))
    end)
end)

describe("o:m(...)", function()
    local namespace = support.python [[
        import types
        class Base:
            def plain(self, *args, **kwargs):
                return self.tag, args, kwargs
            def hidden(self):
                return "hidden"
        class C(Base):
            def __init__(self, tag):
                self.tag = tag
                self.attribute = lambda *args: ("attribute", args)
                self.hidden = lambda *args: ("instance", args)
                self.bound = Base.plain.__get__(self)
                self.number = 7
                self.kind = dict
            @staticmethod
            def static(*args):
                return "static", args
            @classmethod
            def of_class(cls, *args):
                return cls.__name__, args
            @property
            def computed(self):
                return lambda *args: ("computed " + self.tag, args)
            @property
            def refused(self):
                raise AttributeError("refused")
            def __getattr__(self, name):
                if name.startswith("dynamic"):
                    return lambda *args: (name, args)
                raise AttributeError(name)
            def __call__(self, *args):
                return "called", args
        class Namespace(types.SimpleNamespace):
            pass
        class Slots:
            __slots__ = ("f",)
    ]]
    local c = namespace.C "tag"

    local function parts(...)
        local list = table.pack(...)
        for i = 1, list.n do
            list[i] = tostring(list[i])
        end
        return table.concat(list, " ")
    end

    it("calls a method of the class, also an inherited one", function()
        assert.equal("tag (1, 2) {}", parts(c:plain(1, 2)))
        assert.equal("tag (None,) {'k': 'v'}", parts(c:plain(nil, py.kw { k = "v" })))
        assert.equal(71, (eval "1 << 70"):bit_length())
    end)

    it("calls what an instance has of its own without passing the object", function()
        assert.equal("attribute (1,)", parts(c:attribute(1)))
        assert.equal("instance ()", parts(c:hidden()))
        assert.equal("tag (1,) {}", parts(c:bound(1)))
        assert.equal("{}", tostring(c:kind()))
        local slots = namespace.Slots()
        slots.f = eval "lambda *args: ('slot', args)"
        assert.equal("slot (3,)", parts(slots:f(3)))
    end)

    it("calls static methods, class methods, computed ones and those of __getattr__", function()
        assert.equal("static (1,)", parts(c:static(1)))
        assert.equal("C (1,)", parts(c:of_class(1)))
        assert.equal("C (1,)", parts(namespace.C:of_class(1)))
        assert.equal("computed tag (1,)", parts(c:computed(1)))
        assert.equal("dynamic_x (1,)", parts(c:dynamic_x(1)))
    end)

    it("passes the same object as an argument", function()
        local _, args = c:plain(c)
        assert.is_true(args[0] == c and #args == 1)
        _, args = c:attribute(c)
        assert.is_true(args[0] == c and #args == 1)
    end)

    it("looks the method up before the arguments are evaluated", function()
        local order = {}
        local function argument()
            table.insert(order, "argument")
        end
        assert.equal("AttributeError: missing", message(function()
            c:missing(argument())
        end))
        assert.same({}, order)
    end)

    it("sees a method that was replaced or removed", function()
        local ns = support.python [[
            class D:
                def m(self):
                    return "first"
            d = D()
        ]]
        local function call()
            return ns.d:m()
        end
        assert.equal("first", call())
        ns.D.m = eval "lambda self: 'second'"
        assert.equal("second", call())
        ns.d.m = eval "lambda: 'own'"
        assert.equal("own", call())
        py.builtins.delattr(ns.d, "m")
        assert.equal("second", call())
        py.builtins.delattr(ns.D, "m")
        assert.equal("AttributeError: 'D' object has no attribute 'm'", message(call))
    end)

    it("leaves a Lua function in an attribute to Lua's rules", function()
        local ns = py.import("types").SimpleNamespace()
        ns.f = function(self, x)
            return self == ns, x
        end
        assert.equal("true 5", parts(ns:f(5)))
    end)

    it("of a mapping is its method, else the item of that name", function()
        local dict = eval "{'get': 1, 'f': lambda *args: ('item', args)}"
        assert.equal("1 2", parts(dict:get("get"), dict:get("x", 2)))
        assert.equal("item (3,)", parts(dict:f(3)))
        assert.equal("AttributeError: 'dict' object has no attribute 'nothing'", message(function()
            dict:nothing()
        end))
    end)

    it("of a module or a class is its function", function()
        assert.equal(2, py.import("math"):floor(2.5))
        assert.equal("tag (1,) {}", parts(namespace.C:plain(c, 1)))
    end)

    it("fails as Lua does if it cannot be called", function()
        assert.equal("attempt to call a number value (method 'number')", message(function()
            c:number()
        end))
        assert.equal("AttributeError: refused", message(function()
            c:refused()
        end))
    end)

    it("is not misled by tables that inherit from an object", function()
        local list = eval "[]"
        local heir = setmetatable({}, { __index = list })
        local expected = "calling 'append' on bad self (Python object expected, got table)"
        assert.equal(expected, message(function()
            heir:append(1)
        end))
        assert.equal(0, #list)
    end)

    it("works with pcall, in coroutines and tail calls", function()
        local function tail(...)
            return c:plain(...)
        end
        assert.equal("tag (1,) {}", parts(tail(1)))
        assert.equal("tag (2,) {}", parts(coroutine.wrap(tail)(2)))
        assert.equal("true tag (3,) {}", parts(pcall(tail, 3)))
    end)

    it("and o.m differ: the latter is bound", function()
        local plain = c.plain
        assert.equal("tag (1,) {}", parts(plain(1)))
        assert.equal("tag (1,) {}", parts(c.plain(1)))
        assert.equal("tag (1,) {}", parts(c["plain"](1)))
    end)

    it("does not keep the class", function()
        local ns = support.python [[
            import weakref
            class Gone:
                def m(self): pass
            reference = weakref.ref(Gone)
        ]]
        ns.Gone():m()
        ns:pop "Gone"
        support.collect()
        assert.is_nil(ns.reference())
    end)
end)

describe("o.x", function()
    it("gets and sets attributes", function()
        local o = support.python("class C: x = 1").C()
        assert.equal(1, o.x)
        o.x = 2
        assert.equal(2, o.x)
    end)

    it("raises AttributeError where there is none", function()
        local o = eval "object()"
        local function get()
            return o.nothing
        end
        local function set()
            o.nothing = 1
        end
        assert.equal("AttributeError: 'object' object has no attribute 'nothing'", message(get))
        assert.equal("AttributeError: 'object' object has no attribute 'nothing'", message(set))
    end)

    it("is the attribute of a class, not an item of it", function()
        assert.equal("int", eval("int").__name__)
        assert.matches("^AttributeError: ", message(function()
            return eval("list").nothing
        end))
    end)
end)

describe("o[k] of a mapping", function()
    it("is its item, nil where there is none", function()
        local d = eval "{'a': 1, 2: 'two', None: 0}"
        assert.equal(1, d.a)
        assert.equal("two", d[2])
        assert.is_nil(d.b)
        assert.is_nil(d[3])
    end)

    it("is a method where no item has that name", function()
        local d = eval "{'keys': 5}"
        assert.equal(5, d.keys)
        assert.equal(1, select("#", d:items()))
        assert.equal("dict_keys(['keys'])", tostring(py.attr(d, "keys")()))
    end)

    it("assigns items", function()
        local d = py.builtins.dict()
        d.x = 1
        d[5] = "five"
        d[2.5] = nil
        assert.equal("{'x': 1, 5: 'five', 2.5: None}", tostring(d))
    end)

    it("asks __missing__", function()
        local d = py.import("collections").defaultdict(py.builtins.list)
        d.x:append(1)
        assert.equal("[1]", tostring(d.x))
    end)

    it("raises TypeError for a key that cannot be hashed", function()
        local d = py.builtins.dict()
        local list = py.builtins.list()
        local function get()
            return d[list]
        end
        local function set()
            d[list] = 1
        end
        assert.equal("TypeError: unhashable type: 'list'", message(get))
        assert.equal("TypeError: unhashable type: 'list'", message(set))
    end)

    it("takes Lua values as keys, by identity", function()
        local d, t = py.builtins.dict(), {}
        d[t] = "table"
        d[print] = "function"
        assert.equal("table", d[t])
        assert.equal("function", d[print])
        assert.is_nil(d[{}])
    end)
end)

describe("o[k] of a sequence", function()
    it("counts from 0, and from the end with negative numbers", function()
        local list = eval "['a', 'b', 'c']"
        assert.same({ "a", "c", "c" }, { list[0], list[2], list[-1] })
        list[0] = "A"
        assert.equal("['A', 'b', 'c']", tostring(list))
    end)

    it("takes slices", function()
        local list = eval "[0, 1, 2, 3]"
        assert.equal("[1, 2]", tostring(list[py.builtins.slice(1, 3)]))
    end)

    it("raises IndexError outside of it and TypeError for other keys", function()
        local list = eval "[1]"
        local function get(key)
            return list[key]
        end
        assert.equal("IndexError: list index out of range", message(get, 1))
        assert.equal(
            "TypeError: list indices must be integers or slices, not float",
            message(get, 0.0)
        )
        assert.equal(
            "TypeError: list indices must be integers or slices, not float",
            message(get, 0.5)
        )
        assert.equal("IndexError: list assignment index out of range", message(function()
            list[5] = 0
        end))
        local function assign()
            eval("(1, 2)")[0] = 1
        end
        assert.equal("TypeError: 'tuple' object does not support item assignment", message(assign))
    end)
end)

describe("operators", function()
    it("are Python's", function()
        local n = eval "2**64"
        local function value(o)
            return tostring(o)
        end
        assert.equal("18446744073709551617", value(n + 1))
        assert.equal("-18446744073709551615", value(1 - n))
        assert.equal("36893488147419103232", value(n * 2))
        assert.equal(9223372036854775808.0, n / 2)
        assert.equal(6, n % 10)
        assert.equal("340282366920938463463374607431768211456", value(n ^ 2))
        assert.equal("6148914691236517205", value(n // 3))
        assert.equal("-18446744073709551616", value(-n))
        assert.equal(0, n & 1)
        assert.equal("18446744073709551617", value(n | 1))
        assert.equal("18446744073709551617", value(n ~ 1))
        assert.equal("-18446744073709551617", value(~n))
        assert.equal("36893488147419103232", value(n << 1))
        assert.equal(1, n >> 64)
    end)

    it("compare", function()
        local Fraction = py.import("fractions").Fraction
        local half, third = Fraction(1, 2), Fraction(1, 3)
        assert.is_true(third < half)
        assert.is_true(third <= half)
        assert.is_false(third > half)
        assert.is_true(half > 0.25)
        assert.is_true(0.25 < half)
        assert.is_true(half == Fraction(2, 4))
        assert.is_true(half ~= third)
    end)

    it("join sequences, and text with anything", function()
        assert.equal("[1, 2]", tostring(eval "[1]" .. eval "[2]"))
        assert.equal("list: [1]", "list: " .. eval "[1]")
        assert.equal("[1]!", eval "[1]" .. "!")
    end)

    it("raise TypeError for what they don't know", function()
        local o = eval "object()"
        local function unsupported(f, text)
            assert.equal("TypeError: " .. text, message(f))
        end
        unsupported(function()
            return o + 1
        end, "unsupported operand type(s) for +: 'object' and 'int'")
        unsupported(function()
            return {} + o
        end, "unsupported operand type(s) for +: 'moonlet.LuaTable' and 'object'")
        unsupported(function()
            return -o
        end, "bad operand type for unary -: 'object'")
        unsupported(function()
            return o < o
        end, "'<' not supported between instances of 'object' and 'object'")
        unsupported(function()
            return {} <= o
        end, "'<=' not supported between instances of 'moonlet.LuaTable' and 'object'")
        unsupported(function()
            return o <= {}
        end, "'<=' not supported between instances of 'object' and 'moonlet.LuaTable'")
    end)

    it("leave it to a Lua metamethod where Python knows nothing", function()
        local o = eval "object()"
        local t = setmetatable({}, {
            __add = function(a)
                return a == o and "object + table" or "table + object"
            end,
            __lt = function(a)
                return a == o
            end,
        })
        assert.equal("table + object", t + o)
        assert.equal("object + table", o + t)
        assert.is_true(o < t)
        assert.is_false(t < o)
        assert.is_true(t > o)
    end)
end)

describe("#o", function()
    it("is len()", function()
        assert.equal(3, #eval "[1, 2, 3]")
        assert.equal(0, #eval "{}")
    end)

    it("raises TypeError where there is no length", function()
        assert.equal("TypeError: object of type 'object' has no len()", message(function()
            return #eval "object()"
        end))
    end)
end)

describe("tostring", function()
    it("is str(), of an exception its type and text", function()
        assert.equal("[1, 'a']", tostring(eval "[1, 'a']"))
        assert.equal("ValueError: text", tostring(eval "ValueError('text')"))
        assert.equal("ValueError", tostring(eval "ValueError()"))
        assert.equal("h\u{e9}", tostring(eval "type('T', (), {'__str__': lambda s: 'h\\xe9'})()"))
    end)
end)

describe("iteration", function()
    it("with py.iter gives the items", function()
        local sum = 0
        for x in py.iter(eval "[1, 2, 3]") do
            sum = sum + x
        end
        assert.equal(6, sum)
    end)

    it("gives the parts of items that are tuples as several values", function()
        local seen = {}
        for k, v in py.iter(eval "{'a': 1}.items()") do
            seen[k] = v
        end
        assert.same({ a = 1 }, seen)
    end)

    it("of an iterator needs no py.iter", function()
        local seen = {}
        for x in eval "(x * x for x in range(3))" do
            table.insert(seen, x)
        end
        for i, c in py.builtins.enumerate "ab" do
            table.insert(seen, i .. c)
        end
        assert.same({ 0, 1, 4, "0a", "1b" }, seen)
        assert.equal("ZeroDivisionError: division by zero", message(function()
            for _ in eval "(1 / 0 for _ in [1])" do
                error "not reached"
            end
        end))
        assert.equal("TypeError: 'list' object is not callable", message(function()
            for _ in eval "[1]" do
                error "not reached"
            end
        end))
    end)

    it("does not end at None", function()
        local seen = {}
        for x, y in py.iter(eval "[None, (None, 1), (), (2, None), 3]") do
            table.insert(seen, tostring(x) .. " " .. tostring(y))
        end
        assert.same({ "None nil", "None 1", "() nil", "2 nil", "3 nil" }, seen)
        for x in py.iter(eval "[None]") do
            assert.is_true(x == py.none)
        end
    end)

    it("with pairs gives keys and values of mappings, indices and items of others", function()
        local seen = {}
        for k, v in pairs(eval "{'a': 1, 'b': 2}") do
            seen[k] = v
        end
        assert.same({ a = 1, b = 2 }, seen)
        seen = {}
        for i, v in pairs(eval "['x', 'y']") do
            seen[i] = v
        end
        assert.same({ [0] = "x", [1] = "y" }, seen)
    end)

    it("goes through generators as they come", function()
        local log = {}
        for x in py.iter(eval "(i * i for i in range(4))") do
            log[#log + 1] = x
        end
        assert.same({ 0, 1, 4, 9 }, log)
    end)

    it("raises what the iterator raises", function()
        assert.equal(
            "TypeError: 'object' object is not iterable",
            message(py.iter, eval "object()")
        )
        assert.equal("ZeroDivisionError: division by zero", message(function()
            for _ in py.iter(eval "(1 / 0 for _ in [1])") do
                error "not reached"
            end
        end))
    end)

    it("needs a Python object", function()
        local function iterate(value)
            py.iter(value)
        end
        assert.equal(
            "bad argument #1 to 'iter' (Python object expected, got table)",
            message(iterate, {})
        )
    end)
end)

describe("<close>", function()
    it("leaves a context manager", function()
        local namespace = support.python [[
            log = []
            class Manager:
                def __enter__(self):
                    return self
                def __exit__(self, *args):
                    log.append(args)
        ]]
        do
            local _ <close> = namespace.Manager()
        end
        assert.equal("[(None, None, None)]", tostring(namespace.log))
    end)

    it("closes what has a method close", function()
        local stream = py.import("io").StringIO()
        do
            local _ <close> = stream
        end
        assert.is_true(stream.closed)
    end)

    it("raises AttributeError at the end for what can't be closed", function()
        assert.equal("AttributeError: 'list' object has no attribute 'close'", message(function()
            local _ <close> = eval "[]"
        end))
    end)
end)

describe("py.attr and py.isinstance", function()
    it("get an attribute that an item hides", function()
        assert.equal("dict_values([1])", tostring(py.attr(eval "{'values': 1}", "values")()))
        assert.matches("^AttributeError: ", message(py.attr, eval "{}", "nothing"))
    end)

    it("ask for a type", function()
        assert.is_true(py.isinstance(1, py.builtins.int))
        assert.is_false(py.isinstance("x", py.builtins.int))
        assert.is_true(py.isinstance({}, py.import("collections.abc").Mapping))
        assert.equal(
            "TypeError: isinstance() arg 2 must be a type, a tuple of types, or a union",
            message(py.isinstance, 1, 2)
        )
    end)
end)

describe("an error inside a special method", function()
    local namespace = support.python [[
        class Bad:
            def fail(name):
                def method(*args):
                    raise ValueError(name)
                return method
            for name in ("eq lt len getitem setitem getattr setattr str add radd neg iter call "
                         "exit contains").split():
                locals()["__%s__" % name] = fail(name)
            __hash__ = object.__hash__
    ]]
    local bad, other = namespace.Bad(), namespace.Bad()
    local function fails(name, f)
        it("is an error in Lua: " .. name, function()
            assert.equal("ValueError: " .. name, message(f))
        end)
    end
    -- stylua: ignore start
    fails("eq", function() return bad == other end)
    fails("lt", function() return bad < other end)
    fails("len", function() return #bad end)
    fails("getitem", function() return bad[1] end)
    fails("setitem", function() bad[1] = 1 end)
    fails("getattr", function() return bad.x end)
    fails("setattr", function() bad.x = 1 end)
    fails("str", function() return tostring(bad) end)
    fails("add", function() return bad + 1 end)
    fails("radd", function() return 1 + bad end)
    fails("neg", function() return -bad end)
    fails("iter", function() return py.iter(bad) end)
    fails("iter", function() return pairs(bad) end)
    fails("call", function() return bad() end)
    fails("exit", function() local _ <close> = bad end)
    fails("str", function() return "" .. bad end)
    -- stylua: ignore end
end)
