-- Deep copies on request: Lua tables as Python containers, Python containers as Lua tables.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message
local rebuild = moonlet.table

--- The text of the error of py[name](...), called by that name.
local function misuse(name, ...)
    local call = load("local m = ... m." .. name .. "(select(2, ...))", "@copy_spec.lua")
    return message(call, moonlet, ...)
end

--- Checks str() of what was made.
local function becomes(expected, made)
    assert.equal(expected, tostring(made))
end

--- A table with `depth` tables in it, each in the one before; and the innermost.
local function nest(depth)
    local top = {}
    local t = top
    for _ = 1, depth do
        t[1] = {}
        t = t[1]
    end
    return top, t
end

describe("py.dict", function()
    it("makes a dict of the pairs", function()
        becomes("{'x': 1}", py.dict { x = 1 })
        becomes("{1: 'a', 2: 'b'}", py.dict { "a", "b" })
        becomes("{2.5: True}", py.dict { [2.5] = true })
        becomes("{}", py.dict {})
        assert.is_true(py.isinstance(py.dict {}, py.builtins.dict))
    end)

    it("makes lists of nested tables whose keys are 1 to n, dicts of others", function()
        becomes("{'t': [1, 2]}", py.dict { t = { 1, 2 } })
        becomes("{'t': {'x': 1}}", py.dict { t = { x = 1 } })
        becomes("{'t': {1: 1, 'x': 2}}", py.dict { t = { 1, x = 2 } })
        becomes("{'t': {2: 1}}", py.dict { t = { [2] = 1 } })
        becomes("{'t': {0: 1}}", py.dict { t = { [0] = 1 } })
        becomes("{'t': {1: 1, 3: 3}}", py.dict { t = { 1, nil, 3 } })
        becomes("{'t': [{'x': [1]}, [2]]}", py.dict { t = { { x = { 1 } }, { 2 } } })
    end)

    it("makes a dict of an empty table; py.list() is an empty list", function()
        becomes("{'t': {}}", py.dict { t = {} })
        becomes("{'t': []}", py.dict { t = py.list() })
    end)

    it("makes lists of what table.pack gives, if there is a value in it", function()
        becomes("{'t': ['a', None, 'c', None]}", py.dict { t = table.pack("a", nil, "c", nil) })
        becomes("{'t': [1]}", py.dict { t = { 1, n = 1 } })
        becomes("{'t': {'n': 2}}", py.dict { t = table.pack(nil, nil) })
        becomes("{'t': {1: 1, 2: 2, 'n': 1}}", py.dict { t = { 1, 2, n = 1 } })
        becomes("{'t': {1: 1, 'n': 'x'}}", py.dict { t = { 1, n = "x" } })
    end)

    it("leaves what is not a table as it is", function()
        local object = py.builtins.object()
        local function f() end
        local co = coroutine.create(f)
        local made = py.dict {
            object = object, f = f, co = co, file = io.stdout, list = eval "[[]]",
            none = py.none, text = "h\u{e9}", bytes = "\xff", float = 1.0, int = 1,
        }
        assert.is_true(rawequal(object, made.object))
        assert.equal(f, made.f)
        assert.equal(co, made.co)
        assert.equal(io.stdout, made.file)
        becomes("[[]]", made.list)
        assert.is_true(py.contains(made, "none"))
        assert.is_nil(made.none)
        becomes(
            "('h\u{e9}', b'\\xff', 1.0, 1)",
            eval "lambda d: repr((d['text'], d['bytes'], d['float'], d['int']))"(made)
        )
    end)

    it("is a copy: what is changed in one is not in the other", function()
        local t = { list = { 1 } }
        local made = py.dict(t)
        made.list:append(2)
        t.list[1] = "changed"
        becomes("{'list': [1, 2]}", made)
        assert.same({ list = { "changed" } }, t)
    end)

    it("copies a table once that is in two places", function()
        local shared = { "shared" }
        local made = py.dict { a = shared, b = shared, c = { shared } }
        becomes("['shared']", made.a)
        assert.is_true(rawequal(made.a, made.b))
        assert.is_true(rawequal(made.a, made.c[0]))
    end)

    it("keeps cycles", function()
        local t = { name = "top" }
        t.self, t.list = t, { t }
        local made = py.dict(t)
        assert.is_true(rawequal(made, made.self))
        assert.is_true(rawequal(made, made.list[0]))
        local a, b = {}, {}
        a.other, b.other = b, a
        made = py.dict(a)
        assert.is_false(rawequal(made, made.other))
        assert.is_true(rawequal(made, made.other.other))
    end)

    it("takes tables as they are, without asking metamethods", function()
        local function never()
            error "asked"
        end
        local t = setmetatable(
            { x = 1, list = setmetatable({ 1 }, { __len = never, __index = never }) },
            { __index = never, __pairs = never, __len = never, __call = never }
        )
        becomes("1 [1]", eval "lambda d: '%s %s' % (d['x'], d['list'])"(py.dict(t)))
    end)

    it("takes keys of all types but tables", function()
        local key = py.builtins.object()
        local made = py.dict { [key] = 1, [print] = 2, [true] = 3, ["\xff"] = 4, [py.none] = 5 }
        assert.same({ 1, 2, 3, 4, 5 }, {
            py.item(made, key), py.item(made, print), py.item(made, true),
            py.item(made, "\xff"), py.item(made, nil),
        })
        assert.equal("TypeError: unhashable type: 'dict'", message(py.dict, { [{}] = 1 }))
        assert.equal("TypeError: unhashable type: 'list'", message(py.dict, { [{ 1 }] = 1 }))
        assert.equal(
            "TypeError: unhashable type: 'list'",
            message(py.dict, { t = { [eval "[]"] = 1 } })
        )
    end)

    it("does not lose one of two keys that are equal in Python", function()
        local text = "ValueError: two keys of the table are equal in Python: "
        assert.equal(text .. "1", (message(py.dict, { "one", [true] = "yes" }):gsub("True", "1")))
        local a, b = eval "2**70", eval "2**70 + 0"
        assert.equal(
            text .. "1180591620717411303424",
            message(py.dict, { [a] = 1, [eval "lambda: 2**69 * 2"()] = 2, [b] = 3 })
        )
    end)

    it("is Python's dict() for a Python object and for nothing", function()
        becomes("{}", py.dict())
        becomes("{'a': 1}", py.dict(eval "[('a', 1)]"))
        local d = eval "{'x': [1]}"
        assert.is_true(py.dict(d) == d)
        assert.is_false(rawequal(py.dict(d), d))
        assert.equal("TypeError: 'object' object is not iterable", message(py.dict, eval "object()"))
    end)

    it("needs a table or a Python object", function()
        local text = "bad argument #1 to 'dict' (table or Python object expected, got %s)"
        assert.equal(text:format "nil", misuse("python.dict", nil))
        assert.equal(text:format "string", misuse("python.dict", "text"))
        assert.equal(text:format "number", misuse("python.dict", 1))
        assert.equal(text:format "function", misuse("python.dict", print))
    end)
end)

describe("py.list", function()
    it("makes a list of the items", function()
        becomes("[1, 'two', 3.0]", py.list { 1, "two", 3.0 })
        becomes("[]", py.list {})
        becomes("[[1, [2]], {'x': 3}]", py.list { { 1, { 2 } }, { x = 3 } })
    end)

    it("has None where a nil is, up to n or the largest key", function()
        becomes("[1, None, 3]", py.list { 1, nil, 3 })
        becomes("[None, None, 3]", py.list { [3] = 3 })
        becomes("[1, None]", py.list(table.pack(1, nil)))
        becomes("[None, None]", py.list(table.pack(nil, nil)))
        becomes("[]", py.list(table.pack()))
        becomes("[1, None, 3]", py.list { 1, py.none, 3 })
    end)

    it("refuses other keys", function()
        local text = "bad argument #1 to 'list' (sequence expected, got a table with the key %s)"
        assert.equal(text:format "'x'", misuse("python.list", { 1, x = 2 }))
        assert.equal(text:format "0", misuse("python.list", { [0] = 1 }))
        assert.equal(text:format "-1", misuse("python.list", { [-1] = 1 }))
        assert.equal(text:format "1.5", misuse("python.list", { [1.5] = 1 }))
        assert.equal(text:format "true", misuse("python.list", { [true] = 1 }))
        assert.equal(text:format "'n'", misuse("python.list", { 1, 2, n = 1 }))
        assert.equal(text:format "'n'", misuse("python.list", { n = -1 }))
        assert.equal(text:format "'n'", misuse("python.list", { 1, n = "1" }))
    end)

    it("refuses a table that is nearly all holes", function()
        local text = "bad argument #1 to 'list' (more than 1000000 holes)"
        assert.equal(text, misuse("python.list", { [math.maxinteger] = 1 }))
        assert.equal(text, misuse("python.list", { 1, n = 1000002 }))
        assert.equal(1000001, #py.list { 1, n = 1000001 })
        becomes("[{9223372036854775807: 1}]", py.list { { [math.maxinteger] = 1 } })
    end)

    it("is Python's list() for a Python object and for nothing", function()
        becomes("[]", py.list())
        becomes("[0, 1, 2]", py.list(eval "range(3)"))
        becomes("[0, 1, 4]", py.list(eval "(i * i for i in range(3))"))
        assert.equal("ZeroDivisionError: division by zero", message(py.list, eval "(1/0 for _ in [1])"))
        assert.equal(
            "bad argument #1 to 'list' (table or Python object expected, got string)",
            misuse("python.list", "text")
        )
    end)

    it("goes as deep as memory reaches", function()
        local depth = support.scaled(1000000)
        local made = py.list((nest(depth)))
        local count = support.python([[
            def count(o):
                levels = 0
                while type(o) is list:
                    o = o[0]
                    levels += 1
                return levels
        ]]).count(made)
        assert.equal(depth, count)
    end)
end)

describe("py.tuple", function()
    it("makes a tuple of the items; tables in it become lists and dicts", function()
        becomes("(1, [2], {'x': 3})", py.tuple { 1, { 2 }, { x = 3 } })
        becomes("()", py.tuple {})
        becomes("(None, 1)", py.tuple { n = 2, [2] = 1 })
        becomes("(1, 2)", py.tuple(eval "[1, 2]"))
        becomes("()", py.tuple())
        assert.equal(1, select("#", py.tuple { 1, 2 }))
    end)

    it("can be a key and an argument", function()
        assert.equal("found", py.item(eval "{(1, 'a'): 'found'}", py.tuple { 1, "a" }))
        becomes("a-1", eval "lambda args: '%s-%s' % args"(py.tuple { "a", 1 }))
    end)

    it("keeps cycles through other containers, but cannot contain itself", function()
        local t = { {} }
        t[1].up = t
        local made = py.tuple(t)
        assert.is_true(rawequal(made, made[0].up))
        t[1] = t
        assert.equal("ValueError: a tuple cannot contain itself", message(py.tuple, t))
    end)

    it("refuses what py.list refuses", function()
        assert.equal(
            "bad argument #1 to 'tuple' (sequence expected, got a table with the key 'x')",
            misuse("python.tuple", { x = 1 })
        )
    end)
end)

describe("py.set", function()
    local sorted = eval "lambda s: repr(sorted(s, key=repr))"

    it("makes a set of the items of a sequence", function()
        assert.equal("['a', 'b']", sorted(py.set { "a", "b", "a" }))
        assert.equal("[False, None]", sorted(py.set { false, nil, false }))
        assert.is_true(py.isinstance(py.set {}, py.builtins.set))
        becomes("set()", py.set {})
        becomes("set()", py.set())
        becomes("{1}", py.set(eval "[1, 1]"))
    end)

    it("makes a set of the keys if all values are true", function()
        assert.equal("['a', 'b']", sorted(py.set { a = true, b = true }))
        assert.equal("[1, 2]", sorted(py.set { [1] = true, [2] = true }))
    end)

    it("refuses anything else", function()
        assert.equal(
            "bad argument #1 to 'set' (sequence expected, got a table with the key 'x')",
            misuse("python.set", { x = 1 })
        )
        assert.equal("TypeError: unhashable type: 'list'", message(py.set, { { 1 } }))
        assert.equal("TypeError: unhashable type: 'dict'", message(py.set, { [{}] = true }))
        assert.equal("TypeError: unhashable type: 'dict'", message(py.set, { py.dict() }))
    end)
end)

describe("moonlet.table", function()
    local function copied(expected, expression, none)
        assert.same(expected, rebuild(eval(expression), none))
    end

    it("makes a table of a mapping", function()
        copied({ x = 1, [2] = "two", [2.5] = true }, "{'x': 1, 2: 'two', 2.5: True}")
        copied({ a = 1 }, "__import__('collections').OrderedDict(a=1)")
        copied({ a = 2 }, "__import__('collections').Counter('aa')")
        copied({ a = 1 }, "__import__('types').MappingProxyType({'a': 1})")
        copied({}, "{}")
    end)

    it("makes a table from index 1 on of a sequence, and of any iterable", function()
        copied({ 1, "two" }, "[1, 'two']")
        copied({ 1, "two" }, "(1, 'two')")
        copied({ 0, 1, 2 }, "range(3)")
        copied({ 1, 2 }, "__import__('collections').deque([1, 2])")
        copied({ 0, 1, 4 }, "(i * i for i in range(3))")
        copied({ "a", "b" }, "{'a': 1, 'b': 2}.keys()")
        copied({ 1.5, 2.5 }, "__import__('array').array('d', [1.5, 2.5])")
        copied({}, "[]")
    end)

    it("makes a table of a set: its elements are the keys", function()
        copied({ a = true, b = true }, "{'a', 'b'}")
        copied({ [1] = true }, "frozenset([1])")
        copied({}, "set()")
    end)

    it("copies what is nested", function()
        copied(
            { { x = { 1, { 2 } } }, { { y = true } }, { 0, 1 } },
            "[{'x': [1, (2,)]}, ({'y'},), range(2)]"
        )
    end)

    it("leaves what is no container, and iterators in it, as they are", function()
        local list = eval "[iter([1]), object(), 2**70, len, bytearray(b'x'), 'text', b'\\xff']"
        local t = rebuild(list)
        for i = 1, 5 do
            assert.is_true(rawequal(list[i - 1], t[i]))
        end
        assert.same({ "text", "\xff" }, { t[6], t[7] })
        local inner = { 1 }
        assert.equal(inner, rebuild(py.list { py.dict { x = 1 }, py.none, print, n = 3 }, inner)[2])
        local holder = eval "[]"
        holder:append(inner)
        assert.equal(inner, rebuild(holder)[1])
    end)

    it("leaves out what is None in a mapping, and counts it in a sequence", function()
        copied({ b = 1 }, "{'a': None, 'b': 1}")
        copied({ 1, nil, 3, n = 3 }, "[1, None, 3]")
        copied({ n = 2 }, "(None, None)")
        copied({ { n = 1 } }, "[[None]]")
    end)

    it("has another value for None if there is one", function()
        copied({ 1, false, 3 }, "[1, None, 3]", false)
        copied({ a = false }, "{'a': None}", false)
        copied({ none = 1 }, "{None: 1}", "none")
        copied({ none = true }, "{None}", "none")
        assert.is_true(rawequal(py.none, rebuild(eval "[[None]]", py.none)[1][1]))
    end)

    it("keeps shared references and cycles", function()
        local t = rebuild(support.python([[
            def make():
                shared = [1]
                top = {"a": shared, "b": (shared,), "set": {2}}
                top["self"] = top
                top["c"] = top["set"]
                return top
        ]]).make())
        assert.equal(t, t.self)
        assert.equal(t.a, t.b[1])
        assert.equal(t.set, t.c)
        assert.same({ 1 }, t.a)
        local list = eval "[]"
        list:append(list)
        t = rebuild(list)
        assert.equal(t, t[1])
    end)

    it("does not take for one what lived at the same address", function()
        local t = rebuild(support.python([[
            from collections.abc import Mapping, Sequence
            class Fresh(Mapping):
                def __getitem__(self, key):
                    return [key]
                def __iter__(self):
                    return iter(range(1, 101))
                def __len__(self):
                    return 100
        ]]).Fresh())
        for i = 1, 100 do
            assert.same({ i }, t[i])
        end
    end)

    it("does not copy keys: a tuple stays what it is", function()
        local d = eval "{(1, 2): 'x'}"
        local key, value = next(rebuild(d))
        becomes("(1, 2)", key)
        assert.equal("x", value)
        assert.is_true(py.dict(rebuild(d)) == d)
        becomes("frozenset({1})", (next(rebuild(eval "{frozenset([1])}"))))
    end)

    it("refuses keys that no table can have", function()
        local text = "ValueError: %s cannot be a key of a Lua table"
        assert.equal(text:format "None", message(rebuild, eval "{None: 1}"))
        assert.equal(text:format "None", message(rebuild, eval "{None}"))
        assert.equal(text:format "nan", message(rebuild, eval "{float('nan'): 1}"))
        assert.equal(text:format "nan", message(rebuild, eval "[{float('nan')}]"))
    end)

    it("does not lose one of two keys that are equal in Lua", function()
        assert.equal(
            "ValueError: two keys are equal in Lua: b'a'",
            message(rebuild, eval "{'a': 1, b'a': 2}")
        )
        assert.equal("ValueError: two keys are equal in Lua: 'a'", message(rebuild, eval "{b'a': 1, 'a': 2}"))
    end)

    it("refuses text and what is no container", function()
        assert.equal("TypeError: 'object' object is not iterable", message(rebuild, eval "object()"))
        assert.equal("TypeError: cannot make a table of a 'bytes' object", message(rebuild, py.bytes "x"))
        local names = support.python "class Text(str): pass"
        assert.equal("TypeError: cannot make a table of a 'Text' object", message(rebuild, names.Text "x"))
    end)

    it("takes text that is a Sequence for text", function()
        local UserString = py.import("collections").UserString
        assert.equal(
            "TypeError: cannot make a table of a 'UserString' object",
            message(rebuild, UserString "x")
        )
        local text = UserString "abc"
        local list = eval "[]"
        list:append(text)
        assert.is_true(rawequal(text, rebuild(list)[1]))
    end)

    it("raises what iterating raises", function()
        assert.equal("ZeroDivisionError: division by zero", message(rebuild, eval "(1/0 for _ in [1])"))
        local names = support.python [[
            from collections.abc import Mapping
            class Bad(Mapping):
                def __init__(self, result):
                    self.result = result
                def __getitem__(self, key): pass
                def __iter__(self): pass
                def __len__(self): pass
                def items(self):
                    if self.result is None:
                        raise KeyError("items")
                    return self.result
        ]]
        assert.equal("KeyError: 'items'", message(rebuild, names.Bad(nil)))
        assert.equal("TypeError: items() of 'Bad' gave no pairs", message(rebuild, names.Bad(eval "[1]")))
    end)

    it("needs a Python object", function()
        local text = "bad argument #1 to 'table' (Python object expected, got %s)"
        assert.equal(text:format "table", misuse("table", {}))
        assert.equal(text:format "nil", misuse("table", nil))
        assert.equal(text:format "no value", misuse "table")
        assert.equal(text:format "string", misuse("table", "text"))
    end)

    it("goes as deep as memory reaches", function()
        local depth = support.scaled(1000000)
        local t = rebuild(support.python([[
            def nest(depth):
                top = o = []
                for _ in range(depth):
                    o.append([])
                    o = o[0]
                return top
        ]]).nest(depth))
        local levels = 0
        while t[1] do
            t = t[1]
            levels = levels + 1
        end
        assert.equal(depth, levels)
    end)
end)

describe("there and back again", function()
    it("a table is equal to what it was", function()
        for _, t in ipairs {
            {}, { 1, 2, 3 }, { x = 1, y = { z = { 1, "a", false } } }, { [1.5] = true },
            { { 1 }, { 2 }, { { 3 } } }, { [10] = 1 },
        } do
            assert.same(t, rebuild(py.dict(t)))
        end
    end)

    it("Python's containers are, with py.none for None", function()
        for _, expression in ipairs {
            "{'a': [1, None, {'b': None}], 'c': [[1.5, True], 'text']}",
            "{'list': [None, None], 1: {2: 3}}",
        } do
            local o = eval(expression)
            assert.is_true(o == py.dict(rebuild(o, py.none)), expression)
        end
    end)

    it("JSON is, through Python's json", function()
        local json = py.import "json"
        local text = json.dumps(py.dict { list = { 1, 2, { x = py.none } }, name = "moon" },
            py.kw { sort_keys = true })
        assert.equal('{"list": [1, 2, {"x": null}], "name": "moon"}', text)
        assert.same({ list = { 1, 2, {} }, name = "moon" }, rebuild(json.loads(text)))
    end)
end)

describe("while a copy is made", function()
    it("Python code can run Lua, switch and copy", function()
        local Key = support.python([[
            from greenlet import getcurrent
            class Key:
                def __init__(self, f):
                    self.f = f
                def __hash__(self):
                    return self.f()
        ]]).Key
        local g = moonlet.greenlet(function()
            local made = py.dict {
                [Key(function()
                    becomes("[[1]]", py.list { { 1 } })
                    return support.pause "hashing"
                end)] = { "value" },
            }
            return tostring(made:values())
        end)
        assert.equal("hashing", g:switch())
        assert.equal("dict_values([['value']])", g:switch(5))
    end)

    it("an error in a hash or comparison ends it", function()
        local Bad = support.python([[
            class Bad:
                def __hash__(self):
                    raise ValueError("hash")
        ]]).Bad
        assert.equal("ValueError: hash", message(py.dict, { { [Bad()] = 1 } }))
        assert.equal("ValueError: hash", message(py.set, { Bad() }))
    end)

    it("a table that changes is an error at worst", function()
        local t = {}
        local Key = support.python([[
            class Key:
                def __init__(self, f):
                    self.f = f
                def __hash__(self):
                    self.f()
                    return 1
        ]]).Key
        for i = 1, 100 do
            t["x" .. i] = i
        end
        t[Key(function()
            for i = 1, 1000 do
                t["y" .. i] = i
            end
            for i = 1, 100 do
                t["x" .. i] = nil
            end
            collectgarbage()
        end)] = 0
        local ok, err = pcall(py.dict, t)
        assert.is_true(ok or tostring(err):match "^invalid key to 'next'" ~= nil)
    end)
end)

describe("memory does not grow", function()
    it("with copies", function()
        local source = { 1, { x = { "a", {} } }, print, eval "[]" }
        source[2].top = source
        support.stays_small(3000, function()
            rebuild(py.list(source))
            py.dict(source)
            py.tuple(source)
            py.set { "a", "b" }
        end)
    end)

    it("with copies that fail", function()
        local bad = { { 1, { x = {} } }, { [{}] = 1 } }
        local list = eval "[[1, {'x': []}], {None: 1}]"
        support.stays_small(3000, function()
            pcall(py.list, bad)
            pcall(py.set, { { 1 } })
            pcall(py.tuple, bad)
            pcall(rebuild, list)
            pcall(rebuild, eval "object()")
        end)
    end)

    -- With a limit for the whole process, which a sanitizer's would not bear.
    it("with copies that run out of it", support.sanitized and function() end or function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            local t = {}
            for i = 1, 300000 do t[i] = { i } end
            local list = py.list(t)
            local resource = py.import "resource"
            local size = tonumber(io.open("/proc/self/statm"):read "a":match "^%d+") * 4096
            local function try(room, f, ...)
                local limits = py.tuple { size + room, -1 }
                resource.setrlimit(resource.RLIMIT_AS, limits)
                local ok, err = pcall(f, ...)
                err = tostring(err)
                resource.setrlimit(resource.RLIMIT_AS, py.tuple { -1, -1 })
                print(ok, err == "MemoryError" or err == "not enough memory" or err)
            end
            for room = 0, 7 do
                try(room << 20, py.list, { t, t, { t } })
                try(room << 20, moonlet.table, list)
            end
            print(#list, #t, #py.list(t), #moonlet.table(list))
        ]]
        assert.equal(("false\ttrue\n"):rep(16) .. "300000\t300000\t300000\t300000\n", output)
        assert.equal(0, status)
    end)
end)
