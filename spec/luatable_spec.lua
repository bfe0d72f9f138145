-- Lua tables as mappings of Python.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

--- Evaluates a Python expression with these names; as text.
local function value(expression, names)
    return py.builtins.repr(py.eval(expression, py.builtins.dict(py.kw(names or {}))))
end

--- Runs Python statements with these names.
local function run(code, names)
    py.exec(code, py.builtins.dict(py.kw(names)))
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

--- A table that has its fields in another one: reading and writing them are functions.
local function proxy(fields)
    return setmetatable({}, {
        __index = fields,
        __newindex = fields,
        __pairs = function()
            return next, fields
        end,
        __len = function()
            return #fields
        end,
    })
end

describe("a table as a MutableMapping", function()
    it("is one", function()
        assert.equal("True", value(
            "isinstance(t, __import__('collections.abc').abc.MutableMapping)", { t = {} }
        ))
    end)

    it("has pop", function()
        local t = { a = 1, b = false }
        assert.equal("(1, 2, None)", value("t.pop('a'), t.pop('a', 2), t.pop('a', None)", { t = t }))
        assert.equal("False", value("t.pop('b')", { t = t }))
        assert.same({}, t)
        assert.equal("KeyError: 'a'", fails("t.pop('a')", { t = t }))
        assert.equal(
            "TypeError: pop expected at least 1 argument, got 0",
            fails("t.pop()", { t = t })
        )
        assert.equal(
            "TypeError: pop expected at most 2 arguments, got 3",
            fails("t.pop(1, 2, 3)", { t = t })
        )
    end)

    it("has popitem", function()
        local t = { a = 1 }
        assert.equal("('a', 1)", value("t.popitem()", { t = t }))
        assert.same({}, t)
        assert.equal("KeyError: 'popitem(): the table is empty'", fails("t.popitem()", { t = t }))
    end)

    it("has setdefault", function()
        local t = { a = 1 }
        assert.equal(
            "(1, 2, None)",
            value("t.setdefault('a', 2), t.setdefault('b', 2), t.setdefault('c')", { t = t })
        )
        assert.same({ a = 1, b = 2 }, t)
    end)

    it("has clear", function()
        local t = { 1, 2, 3, a = 1, [{}] = {} }
        assert.equal("None", value("t.clear()", { t = t }))
        assert.is_nil(next(t))
    end)

    it("has update: from a mapping, pairs, and keyword arguments", function()
        local t = {}
        run("t.update({1: 'one'}); t.update([('a', 1), [True, 2]], b=3); t.update()", { t = t })
        assert.same({ "one", a = 1, [true] = 2, b = 3 }, t)
        local u = {}
        run("u.update(t)", { u = u, t = t })
        assert.same(t, u)
        assert.equal("TypeError: 'int' object is not iterable", fails("t.update(1)", { t = t }))
        assert.equal(
            "ValueError: item 1 has length 3, where a key and a value are expected",
            fails("t.update([(1, 2), (1, 2, 3)])", { t = t })
        )
        assert.matches("index is nil$", fails("t.update([(None, 1)])", { t = t }))
    end)

    it("removes keys with del, whether they are there or not: both are nil then", function()
        local t = { a = 1 }
        run("del t['a'], t['a'], t.b", { t = t })
        assert.is_nil(next(t))
    end)

    it("makes a dict, and keyword arguments", function()
        local t = { a = 1, b = 2 }
        assert.equal("True", value("dict(t) == {**t} == {'a': 1, 'b': 2}", { t = t }))
        assert.equal("3", value("(lambda a, b: a + b)(**t)", { t = t }))
        assert.equal("{'c': 3, 'a': 1, 'b': 2}", value("{'c': 3} | dict(sorted(t.items()))", { t = t }))
    end)

    it("takes the way of its metamethods", function()
        local fields = { a = 1 }
        local t = proxy(fields)
        run("t.update(b=2); t.setdefault('c', 3)", { t = t })
        assert.same({ a = 1, b = 2, c = 3 }, fields)
        assert.equal("(2, 3)", value("t.pop('b'), t.pop('c')", { t = t }))
        assert.equal("(('a', 1), 0)", value("t.popitem(), len(t.keys())", { t = t }))
        run("t.update(a=1, b=2); t.clear()", { t = t })
        assert.same({}, fields)
        assert.is_nil(next(t))
    end)

    it("equals what Lua says it equals", function()
        assert.equal("[True, False, False]", value("[t == t, t == {}, t == u]", { t = {}, u = {} }))
    end)

    it("has no order of its own: there is no reversed()", function()
        assert.equal(
            "TypeError: 'moonlet.LuaTable' object is not reversible",
            fails("reversed(t)", { t = { 1 } })
        )
    end)
end)

describe("the views of a table", function()
    local t = { a = 1, b = 2 }

    it("are live", function()
        local u = { a = 1 }
        run([[
            keys, values, items = t.keys(), t.values(), t.items()
            t.a, t.b = None, 2
            assert list(keys) == ['b'] and list(values) == [2] and list(items) == [('b', 2)]
            assert len(keys) == len(values) == len(items) == 1
        ]], { t = u })
    end)

    it("know what is in them", function()
        assert.equal("[True, False]", value("[k in t.keys() for k in ('a', 'c')]", { t = t }))
        assert.equal("[True, False]", value("[v in t.values() for v in (2, 3)]", { t = t }))
        assert.equal("[True, False, False]", value(
            "[i in t.items() for i in (('a', 1), ('a', 2), ('c', None))]", { t = t }
        ))
    end)

    it("of keys and items are sets", function()
        assert.equal("{'a'}", value("t.keys() & {'a', 'c'}", { t = t }))
        assert.equal("{('b', 2)}", value("t.items() - {('a', 1)}", { t = t }))
        assert.equal("True", value("t.keys() == {'a', 'b'} and t.keys() <= {'a', 'b', 'c'}", { t = t }))
    end)

    it("have a text", function()
        assert.equal(
            "[LuaKeys(['a']), LuaValues([1]), LuaItems([('a', 1)])]",
            value("[t.keys(), t.values(), t.items()]", { t = { a = 1 } })
        )
    end)

    it("give one entry at a time", function()
        local asked = 0
        local u = setmetatable({}, {
            __pairs = function()
                return function()
                    asked = asked + 1
                    return asked, asked
                end
            end,
        })
        assert.equal("[(1, 1), (2, 2)]", value("[i for _, i in zip('ab', t.items())]", { t = u }))
        assert.equal(2, asked)
    end)

    it("are iterated while fields change and go, as in Lua", function()
        local u = {}
        for i = 1, 1000 do
            u[i], u["k" .. i] = i, i
        end
        run([[
            seen = set()
            for key, value in t.items():
                seen.add(key)
                if type(key) is str:
                    del t[key]
                    gc.collect()if value % 100 == 0 else None
                else:
                    t[key] = -value
            assert len(seen) == 2000
        ]], { t = u, gc = { collect = collectgarbage } })
        assert.equal(1000, #u)
        assert.equal("{}", value("{k: v for k, v in t.items() if type(k) is str or v > 0}", { t = u }))
    end)

    it("tell when the table has lost the key where they stand", function()
        local u = { a = 1, b = 2, c = 3 }
        assert.matches("^invalid key to 'next'", fails([[
            for key in t:
                del t[key]
                for i in range(1000):
                    t[i] = i
        ]], { t = u }))
        assert.equal("[]", value("list(i)", { i = py.eval("lambda t: iter(t)")({}) }))
    end)

    it("can be walked by several at a time", function()
        local list = {}
        for i = 1, 10 do
            list[i] = i
        end
        assert.equal("100", value("len([(a, b) for a in t for b in t])", { t = list }))
    end)

    it("pass errors on and are at their end then", function()
        local u = setmetatable({}, {
            __pairs = function()
                return function(_, i)
                    if i == 2 then
                        error("at 2", 0)
                    end
                    return (i or 0) + 1
                end
            end,
        })
        run([[
            import moonlet
            i = iter(t)
            assert next(i) == 1 and next(i) == 2
            try:
                next(i)
            except moonlet.LuaError as e:
                assert e.value == "at 2"
            assert list(i) == []
        ]], { t = u })
        assert.equal("at 2", fails("len(t.keys())", { t = u }))
        assert.equal("at 2", fails("t.clear()", { t = u }))
        assert.equal("at 2", fails("2 in t.values()", { t = u }))
    end)

    it("release what they hold", function()
        local weak = setmetatable({ {} }, { __mode = "v" })
        local holder = py.eval "[]"
        holder:append(py.eval("lambda t: iter(t.items())")(weak[1]))
        support.collect()
        assert.is_table(weak[1])
        holder:clear()
        support.collect()
        assert.is_nil(weak[1])
    end)
end)

describe("the text of a table", function()
    it("shows some of its fields", function()
        assert.matches("^<moonlet.LuaTable at 0x%x+ {}>$", value("t", { t = {} }))
        assert.matches(
            "^<moonlet.LuaTable at 0x%x+ {1: 10, 'x': <table>}>$",
            value("t", { t = { 10, x = {} } })
        )
        assert.matches("{True: <module>}>$", value("t", { t = { [true] = py.builtins } }))
        assert.matches("{1: 'x+'%.%.%.}>$", value("t", { t = { ("x"):rep(100) } }))
        assert.matches(
            "{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, %.%.%.}>$",
            value("t", { t = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 } })
        )
    end)

    it("runs no metamethods", function()
        local fail = function()
            error "called"
        end
        local t = setmetatable({ 1 }, { __pairs = fail, __index = fail, __tostring = fail })
        assert.matches("{1: 1}>$", value("t", { t = t }))
    end)
end)

describe("dir() of a Lua value", function()
    it("has the fields that are names, and the methods", function()
        local names = py.eval("lambda t: set(dir(t))")({ one = 1, ["no name"] = 2, [3] = 3, ["ü"] = 4 })
        for name, expected in pairs { one = true, ["no name"] = false, ["ü"] = true, keys = true } do
            assert.equal(expected, py.eval("lambda s, n: n in s")(names, name))
        end
    end)

    it("has what is inherited", function()
        local class = setmetatable({ method = print }, { __index = { base = print } })
        local o = setmetatable({ own = 1 }, { __index = class })
        assert.equal("True", value("{'own', 'method', 'base'} <= set(dir(o))", { o = o }))
        assert.equal("True", value("{'read', 'close'} <= set(dir(f))", { f = io.stdout }))
    end)

    it("ends where tables are their own __index", function()
        local t = { x = 1 }
        assert.equal("True", value("'x' in dir(t)", { t = setmetatable(t, { __index = t }) }))
    end)
end)

describe("a copy", function()
    it("of a table has the same fields and metatable", function()
        local meta = { __index = function() return "inherited" end }
        local t = setmetatable({ 1, x = {} }, meta)
        local u = py.import("copy").copy(t)
        assert.is_false(rawequal(t, u))
        assert.equal(t.x, u.x)
        assert.equal(1, u[1])
        assert.equal("inherited", u.y)
        assert.equal(meta, getmetatable(u))
    end)

    it("that is deep has copies of all tables, shared ones and cycles too", function()
        local shared = { "shared" }
        local t = setmetatable({ a = shared, b = shared, [shared] = py.eval "[1]" }, {})
        t.self = t
        local u = py.import("copy").deepcopy(t)
        assert.equal(u, u.self)
        assert.equal(getmetatable(t), getmetatable(u))
        assert.equal(u.a, u.b)
        assert.is_false(rawequal(u.a, shared))
        assert.same({ "shared" }, u.a)
        assert.is_true(u[u.a] == py.eval "[1]")
        assert.is_false(rawequal(u[u.a], t[shared]))
    end)

    it("of a function is the function", function()
        assert.equal(print, py.import("copy").copy(print))
        assert.same({ print }, py.import("copy").deepcopy({ print }))
    end)

    it("of other values, and pickling, are errors", function()
        assert.equal(
            "TypeError: cannot pickle 'moonlet.LuaUserdata' object",
            fails("__import__('copy').copy(f)", { f = io.stdout })
        )
        for _, v in ipairs { {}, print, io.stdout, coroutine.create(print) } do
            assert.matches(
                "^TypeError: cannot pickle 'moonlet.Lua%a+' object$",
                fails("__import__('pickle').dumps(v)", { v = v })
            )
        end
    end)
end)

local uses = [[
import moonlet

def uses(t):
    s, i = moonlet.LuaSequence(t), iter(t)
    return [lambda: t.pop(1), lambda: t.popitem(), lambda: t.clear(), lambda: next(i),
            lambda: t.update(a=1), lambda: t.setdefault(1, 2), lambda: len(t.keys()),
            lambda: dir(t), lambda: s[0], lambda: s.append(1), lambda: s.insert(0, 1),
            lambda: t.__enter__(), lambda: t.__exit__(None, None, None),
            lambda: iter(t), lambda: list(t.values()), lambda: t.__copy__()]

def outcome(f):
    try:
        return f()
    except BaseException as e:
        return type(e).__name__ + ": " + str(e)
]]

describe("a table", function()
    it("cannot be used in another thread", function()
        local all = support.python(uses .. [[
import threading

def outcomes(t):
    result = []
    all = uses(t)
    thread = threading.Thread(target=lambda: result.extend(map(outcome, all)))
    thread.start()
    thread.join()
    return set(result)
        ]]).outcomes { 1 }
        assert.equal("{'RuntimeError: a Lua value can only be used in the thread that runs its Lua "
            .. "state'}", py.builtins.str(all):gsub('"', "'"))
    end)

    it("cannot be used when its state is closed, but shown", function()
        local output, status = support.child([==[
            local py = require("moonlet").python
            py.exec [=[]==] .. uses .. [==[
def at_exit(all, t):
    print(*set(map(outcome, all)), repr(t), sep="\n")
            ]=]
            local main = py.import "__main__"
            local t = { 1 }
            py.import("atexit").register(main.at_exit, main.uses(t), t)
        ]==])
        assert.equal("RuntimeError: the Lua state is closed\n"
            .. "<moonlet.LuaTable of a closed Lua state>\n", output)
        assert.equal(0, status)
    end)
end)
