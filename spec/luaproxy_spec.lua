-- Lua values in Python: what Python can do with them is what Lua can.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message

--- Evaluates a Python expression with these names; as text.
local function value(expression, names)
    local globals = py.builtins.dict(py.kw(names or {}))
    return py.builtins.repr(eval(expression, globals))
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(py.exec, code, py.builtins.dict(py.kw(names or {})))
end

describe("a table", function()
    local t = { 10, 20, 30, x = "ex" }

    it("has its fields as items and attributes, None where there are none", function()
        assert.equal(
            "(10, 'ex', 'ex', None, None)",
            value("t[1], t['x'], t.x, t[0], t.y", { t = t })
        )
    end)

    it("can be written to", function()
        local u = {}
        py.exec(
            "t.a = 1; t['b'] = 'two'; t[1] = None; t[2] = t",
            py.builtins.dict(py.kw { t = u })
        )
        assert.same({ a = 1, b = "two", [2] = u }, u)
        py.exec("del t.a, t['b'], t[2]", py.builtins.dict(py.kw { t = u }))
        assert.same({}, u)
    end)

    it("has Lua's length, and is true even if empty", function()
        assert.equal("(3, 0, True)", value("len(t), len(e), bool(e)", { t = t, e = {} }))
    end)

    it("is iterated by its keys", function()
        assert.equal("[1, 2, 3, 'x']", value("sorted(t, key=str)", { t = t }))
        assert.equal("True", value("set(t.keys()) == {1, 2, 3, 'x'}", { t = t }))
    end)

    it("is a mapping", function()
        assert.equal(
            "{'a': 1, 'b': 2}",
            value("dict(sorted(t.items()))", { t = { a = 1, b = 2 } })
        )
        assert.equal("[1]", value("list(t.values())", { t = { a = 1 } }))
        assert.equal(
            "(1, None, 5)",
            value("t.get('a'), t.get('b'), t.get('b', 5)", { t = { a = 1 } })
        )
        assert.equal("(True, False)", value("'a' in t, 'b' in t", { t = { a = 1 } }))
        assert.equal("{'a': 1}", value("dict(t)", { t = { a = 1 } }))
        assert.equal("{'a': 1}", value("(lambda **k: k)(**t)", { t = { a = 1 } }))
        assert.equal("True", value(
            "isinstance(t, __import__('collections.abc').abc.Mapping)", { t = {} }
        ))
    end)

    it("obeys its metatable", function()
        local m = setmetatable({}, {
            __index = function(_, key)
                return key .. "!"
            end,
            __len = function()
                return 42
            end,
            __call = function(_, a, b)
                return a + b
            end,
            __tostring = function()
                return "as text"
            end,
            __pairs = function()
                return next, { p = 1 }
            end,
        })
        assert.equal(
            "('x!', 42, 3, 'as text', [('p', 1)])",
            value("t.x, len(t), t(1, 2), str(t), list(t.items())", { t = m })
        )
    end)

    it("has operators where its metatable has them", function()
        local m = setmetatable({}, {})
        for _, event in ipairs {
            "add", "sub", "mul", "div", "mod", "pow", "idiv", "band", "bor", "bxor", "shl", "shr",
            "unm", "bnot",
        } do
            getmetatable(m)["__" .. event] = function()
                return event
            end
        end
        assert.equal("['add', 'sub', 'mul', 'div', 'mod', 'pow', 'idiv', 'band', 'bor', 'bxor', "
            .. "'shl', 'shr', 'unm', 'bnot', 'add']", value(
            "[t+1, t-1, t*1, t/1, t%1, t**1, t//1, t&1, t|1, t^1, t<<1, t>>1, -t, ~t, 1+t]",
            { t = m }
        ))
    end)

    it("is compared as Lua does", function()
        local meta = {
            __eq = function(a, b)
                return a.n == b.n
            end,
            __lt = function(a, b)
                return a.n < b.n
            end,
            __le = function(a, b)
                return a.n <= b.n
            end,
        }
        local a, b = setmetatable({ n = 1 }, meta), setmetatable({ n = 2 }, meta)
        assert.equal(
            "[False, True, True, True, False, False]",
            value("[a == b, a != b, a < b, a <= b, a > b, a >= b]", { a = a, b = b })
        )
        assert.equal("[False, True, False]", value("[t == 1, t != 1, t == None]", { t = {} }))
    end)

    it("has Lua's errors", function()
        local names = { t = {} }
        assert.matches("^attempt to call a table value", fails("t()", names))
        assert.matches("^attempt to perform arithmetic on a table value", fails("t + 1", names))
        assert.matches("^attempt to compare two table values", fails("t < t", names))
        assert.matches("^attempt to compare table with number", fails("t < 1", names))
        assert.matches("index is nil$", fails("t[None] = 1", names))
        assert.matches("index is NaN$", fails("t[float('nan')] = 1", names))
        assert.matches("^TypeError: unsupported operand", fails("t + object()", names))
    end)

    it("leaves names with two underscores to Python", function()
        assert.equal("'LuaTable'", value("t.__class__.__name__", { t = {} }))
        assert.matches("^AttributeError: .*'__nothing__'", fails("t.__nothing__", { t = {} }))
    end)

    it("can be weakly referenced, but not made", function()
        assert.equal("True", value("__import__('weakref').ref(t)() is t", { t = {} }))
        assert.equal(
            "TypeError: cannot create 'moonlet.LuaTable' instances",
            fails "import moonlet; moonlet.LuaTable()"
        )
    end)
end)

describe("a function", function()
    it("is called with arguments, keyword arguments as one table at the end", function()
        local function f(...)
            local n = select("#", ...)
            local last = n > 0 and select(n, ...)
            return n, type(last) == "table" and last.k
        end
        assert.equal("(2, False)", value("f(1, 2)", { f = f }))
        assert.equal("(0, False)", value("f()", { f = f }))
        assert.equal("(2, 'v')", value("f(1, k='v')", { f = f }))
        assert.equal("(3, 'v')", value("f(*[1, 2], **{'k': 'v'})", { f = f }))
    end)

    it("keeps keyword arguments as such when it passes them on", function()
        local show = eval "lambda *args, **kwargs: repr((args, kwargs))"
        assert.equal("\"((1,), {'k': 2})\"", value("f(1, k=2)", {
            f = function(...)
                return show(...)
            end,
        }))
    end)

    it("serves as a callback", function()
        local function negative(x)
            return -x
        end
        assert.equal("[3, 2, 1]", value("sorted([1, 2, 3], key=f)", { f = negative }))
        assert.equal("[-1, -2]", value("list(map(f, [1, 2]))", { f = negative }))
        assert.equal("-5", value("__import__('functools').partial(f, 5)()", { f = negative }))
        assert.equal("True", value("callable(f)", { f = negative }))
    end)

    it("has no fields", function()
        assert.equal("AttributeError: 'moonlet.LuaFunction' object has no attribute 'x'",
            fails("f.x", { f = print }))
        assert.equal("False", value("hasattr(f, 'x')", { f = print }))
        assert.matches(
            "^attempt to get length of a function value",
            fails("len(f)", { f = print })
        )
    end)

    it("works for both languages after a switch in its middle", function()
        local g = moonlet.greenlet(function()
            return value("[f(1), f(2)]", { f = support.pause })
        end)
        assert.equal(1, g:switch())
        assert.equal(2, g:switch "a")
        assert.equal("['a', 'b']", g:switch "b")
    end)
end)

describe("a userdata", function()
    it("has what its metatable gives", function()
        local name = support.file "content"
        local file = io.open(name)
        assert.equal("'content'", value("f.read(f, 'a')", { f = file }))
        assert.matches("^'file %(0x%x+%)'$", value("str(f)", { f = file }))
        file:close()
        os.remove(name)
        assert.equal("'file (closed)'", value("str(f)", { f = file }))
    end)
end)

describe("an error inside a metamethod", function()
    local m = setmetatable({}, {})
    for _, event in ipairs {
        "index", "newindex", "call", "len", "eq", "lt", "le", "add", "unm", "tostring", "pairs",
    } do
        getmetatable(m)["__" .. event] = function()
            error(event, 0)
        end
    end
    local other = setmetatable({}, getmetatable(m))

    for code, event in pairs {
        ["m.x"] = "index",
        ["m[1]"] = "index",
        ["1 in m"] = "index",
        ["m.get(1)"] = "index",
        ["m.x = 1"] = "newindex",
        ["m[1] = 1"] = "newindex",
        ["del m[1]"] = "newindex",
        ["m()"] = "call",
        ["len(m)"] = "len",
        ["m == o"] = "eq",
        ["m < o"] = "lt",
        ["m > o"] = "lt",
        ["m <= o"] = "le",
        ["m + 1"] = "add",
        ["1 + m"] = "add",
        ["-m"] = "unm",
        ["str(m)"] = "tostring",
        ["list(m)"] = "pairs",
        ["dict(m)"] = "pairs",
        ["list(m.items())"] = "pairs",
    } do
        it("is an exception in Python: " .. code, function()
            assert.equal("LuaError " .. event, py.eval("attempt", support.python [[
                import moonlet
                def attempt(code, m, o):
                    try:
                        exec(code)
                    except moonlet.LuaError as e:
                        return type(e).__name__ + " " + e.value
            ]])(code, m, other))
        end)
    end

    it("does not harm repr, hash and truth", function()
        assert.equal("(True, True)", value("hash(m) == hash(m), bool(m)", { m = m }))
        assert.matches("^<moonlet.LuaTable at 0x", value("m", { m = m }))
    end)

    it("of a finalizer is a warning only", function()
        setmetatable({}, {
            __gc = function()
                error "in __gc"
            end,
        })
        support.collect()
    end)
end)
