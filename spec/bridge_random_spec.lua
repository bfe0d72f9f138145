-- Random values on random ways across the border and back, beside a model of what they must become
-- there (docs/bridge.md). MOONLET_SEED=n repeats what a failure names.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local seed = tonumber(os.getenv "MOONLET_SEED") or 20240229
local ROUNDS = support.scaled(10000)

local namespace = support.python [[
    import struct
    from greenlet import greenlet, getcurrent
    from moonlet import LuaTable, LuaFunction, LuaThread, LuaUserdata, LuaError

    proxies = {"table": LuaTable, "function": LuaFunction, "thread": LuaThread,
               "userdata": LuaUserdata}

    def is_what(x, kind, data):
        """Whether x is of this kind, with this content, as bytes or text."""
        if kind == "nil":
            return x is None
        if kind == "boolean":
            return x is (data == "true")
        if kind == "integer":
            return type(x) is int and str(x) == data
        if kind == "float":
            return type(x) is float and struct.pack("<d", x).hex() == data
        if kind == "str":
            return type(x) is str and x.encode("utf-8", "surrogatepass").hex() == data
        if kind == "bytes":
            return type(x) is bytes and x.hex() == data
        return type(x) is proxies[kind]

    def identity(*args):
        return args

    def through(f, *args):
        return f(*args)

    def through_keywords(f, **kwargs):
        return f(**kwargs)

    def through_error(f, *args):
        try:
            f(*args)
        except LuaError as e:
            return [e.value]
        except BaseException as e:
            return [e]

    def through_closure(x):
        return lambda: x

    def through_generator(*args):
        for x in args:
            yield [x]

    def through_greenlet(*args):
        while True:
            args = getcurrent().parent.switch(list(args))
            args = args if isinstance(args, tuple) else (args,)

    def through_table(t, key, value):
        t[key] = value
        again = t[key]
        if value == b"bytes":
            value = "bytes"  # it has been a string of Lua
        assert same(again, value), (again, value)
        return [again]

    def same(a, b):
        return a is b or (type(a) is type(b) and (a == b or a != a))

    def make_big(n):
        return [2 ** n, -2 ** n, 2 ** n - 1, 10 ** n][n % 4]

    class Attributes:
        pass
]]

-- ------------------------------------------------------------------------------------- values

local random = math.random

local function one_of(list)
    return list[random(#list)]
end

local function random_bytes(length)
    local bytes = {}
    for i = 1, length do
        bytes[i] = string.char(random(0, 255))
    end
    return table.concat(bytes)
end

local function random_text(length, surrogates)
    local text = {}
    for i = 1, length do
        local code = one_of { random(0, 127), random(0, 127), random(0x80, 0xffff), random(0x10000, 0x10ffff) }
        if code >= 0xd800 and code < 0xe000 and not surrogates then
            code = 0x20ac
        end
        text[i] = utf8.char(code)
    end
    return table.concat(text)
end

local lengths = { 0, 1, 2, 10, 39, 40, 41, 42, 200 }

local makers = {
    function() return nil end, -- luacheck: ignore
    function() return random() < 0.5 end, -- luacheck: ignore
    function()
        return one_of {
            0, 1, -1, math.maxinteger, math.mininteger, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, 256,
            257, -6, (1 << 62), random(0), random(-1000, 1000),
        }
    end,
    function()
        return one_of {
            0.0, -0.0, 1.0, 0 / 0, 1 / 0, -1 / 0, 2.0 ^ 53, 2.0 ^ 63, -2.0 ^ 63, 5e-324, 1.7e308,
            0.1, random(), random() * 1e300, string.unpack("<d", random_bytes(8)),
        }
    end,
    function()
        return random_bytes(one_of(lengths))
    end,
    function()
        return random_text(one_of(lengths))
    end,
    function()
        return random_text(one_of(lengths), true)
    end,
    function()
        return one_of { "", "\0", "x\0y", "\xff", "\xed\xa0\x80", "\xed\xa0\x81\xed\xb0\x80", "\xc0\x80",
            "\xf4\x90\x80\x80", ("x"):rep(one_of(lengths)), ("\0"):rep(40), ("é"):rep(20), "é", "1", "nil" }
    end,
    function()
        if random() < 0.9 then
            return "short"
        end
        return (one_of { "x", "é", "\xff" }):rep(50000)
    end,
    function() return {} end, -- luacheck: ignore
    function()
        return { random(), { random(10) }, x = "y" }
    end,
    function()
        local x = random()
        return function()
            return x
        end
    end,
    function()
        return one_of { print, io.stdout, coroutine.create(print), moonlet.current() }
    end,
    function()
        return one_of {
            py.builtins.object(), py.list { 1 }, py.dict {}, py.builtins.len, py.eval "((1, 2),)"[0],
            namespace.make_big(random(64, 200)), py.bytes "bytes", py.eval "['\\ud800']", py.none,
            py.eval "1j", py.builtins.ValueError "v",
        }
    end,
}

local function new_value()
    return one_of(makers)()
end

-- -------------------------------------------------------------------------------------- model

local function hex(s)
    return (s:gsub(".", function(c)
        return ("%02x"):format(c:byte())
    end))
end

--- What a string is in Python.
local function kind_of_string(s)
    if utf8.len(s) then
        return "str"
    end
    if not utf8.len(s, 1, -1, true) then
        return "bytes"
    end
    for _, code in utf8.codes(s, true) do
        if code > 0x10ffff then
            return "bytes"
        end
    end
    return "str"
end

--- Checks what Python sees of a Lua value.
local function check_seen(value)
    local kind, data = math.type(value) or type(value), nil
    if kind == "boolean" or kind == "integer" then
        data = tostring(value)
    elseif kind == "float" then
        data = hex(("<d"):pack(value))
    elseif kind == "string" then
        kind, data = kind_of_string(value), hex(value)
    elseif kind == "userdata" and value ~= io.stdout then
        return -- a Python object, or a greenlet: checked by identity
    end
    assert(namespace.is_what(value, kind, data), ("%s is not %s"):format(py.builtins.repr(value), kind))
end

--- A bytes object arrives as a string; so does py.none as nil.
local function expected(value)
    if type(value) == "userdata" and value ~= io.stdout then
        if rawequal(value, py.none) then
            return nil
        end
        if py.isinstance(value, py.builtins.bytes) then
            return tostring(py.import("codecs").decode(value, "latin-1"))
        end
    end
    return value
end

local function same(a, b)
    if a ~= a and b ~= b then
        return type(a) == "number" and type(b) == "number"
    end
    if a == 0 and b == 0 then
        return math.type(a) == math.type(b) and tostring(a) == tostring(b)
    end
    return rawequal(a, b) and math.type(a) == math.type(b)
end

local function check_same(got, value)
    value = expected(value)
    if not same(got, value) then
        error(("%s instead of %s"):format(tostring(got), tostring(value)), 0)
    end
end

-- --------------------------------------------------------------------------------------- ways

--- Containers of Python, and tables that say what must be in them.
local list, list_model = py.builtins.list(), {}
local dict, dict_model = py.dict {}, {}
local attributes, attribute_model = namespace.Attributes(), {}
local lua_table, table_model = {}, {}
for _ = 1, 20 do
    list:append(py.none)
end

local greenlet = moonlet.greenlet(namespace.through_greenlet)
greenlet:switch()

local names = { "a", "b", "c", "a longer name that is one of more than forty bytes" }

local function pack_values(count)
    local values = table.pack()
    values.n = count
    for i = 1, count do
        values[i] = new_value()
    end
    return values
end

local function check_all(got, values)
    assert(got.n == values.n, ("%d values instead of %d"):format(got.n, values.n))
    for i = 1, values.n do
        check_same(got[i], values[i])
    end
end

--- A tuple is several values where it is a result.
local returns = { ["a closure"] = true, ["a greenlet of Lua"] = true, ["a greenlet of Python"] = true }

local ways = {
    identity = function(value)
        check_same((namespace.identity(value, 1)), value)
    end,
    ["many arguments and results"] = function()
        local values = pack_values(random(0, 30))
        if values.n == 1 then
            values.n = 2
        end
        check_all(table.pack(namespace.identity(table.unpack(values, 1, values.n))), values)
    end,
    ["a Lua function that Python calls"] = function()
        local values = pack_values(random(2, 20))
        local got
        local results = table.pack(namespace.through(function(...)
            got = table.pack(...)
            return ...
        end, table.unpack(values, 1, values.n)))
        check_all(got, values)
        check_all(results, values)
    end,
    ["keyword arguments"] = function(value)
        local name = one_of(names):gsub(" ", "_")
        local got = namespace.through_keywords(function(keywords)
            return { keywords[name] }
        end, py.kw { [name] = value == nil and py.none or value })
        check_same(got[1], value)
    end,
    ["a list"] = function(value)
        local i = random(0, 19)
        check_same(list[i], list_model[i])
        list[i] = value
        list_model[i] = value
        check_same(list[i - 20], value)
    end,
    ["a dict"] = function(value)
        local key = one_of { random(10), one_of(names), "\xff" .. random(3) }
        check_same(dict[key], dict_model[key])
        dict[key] = value
        dict_model[key] = value
        check_same(dict[key], value)
    end,
    attributes = function(value)
        local name = one_of(names)
        if attribute_model[name] ~= nil then
            check_same(attributes[name], attribute_model[name])
        end
        attributes[name] = value
        attribute_model[name] = value
        check_same(attributes[name], value)
    end,
    ["a table that Python writes"] = function(value)
        local key = one_of { random(10), one_of(names), "\xff" .. random(3), true, 0.5, print }
        check_same(lua_table[key], table_model[key])
        local got = namespace.through_table(lua_table, key, value)
        table_model[key] = value
        check_same(got[0], value)
        check_same(lua_table[key], value)
    end,
    ["an error"] = function(value)
        local got = namespace.through_error(error, value, 0)
        check_same(got[0], value)
        local ok, e = pcall(namespace.through, error, value, 0)
        assert(not ok)
        check_same(e, value)
    end,
    ["a closure"] = function(value)
        local f = namespace.through_closure(value)
        check_same((f()), value)
    end,
    ["a generator"] = function()
        local values = pack_values(random(0, 5))
        local i = 0
        for box in namespace.through_generator(table.unpack(values, 1, values.n)) do
            i = i + 1
            check_same(box[0], values[i])
        end
        assert(i == values.n)
    end,
    ["a Lua coroutine that Python resumes"] = function(value)
        local co = coroutine.create(function(x)
            while true do
                x = coroutine.yield({ x })
            end
        end)
        local send = py.eval "lambda co, x: co.send(x)"
        check_same(send(co, value)[1], value)
        check_same(send(co, value)[1], value)
    end,
    ["a greenlet of Python"] = function(value)
        check_same(greenlet:switch(value)[0], value)
    end,
    ["a greenlet of Lua"] = function(value)
        local g = moonlet.greenlet(function(...)
            local x = support.pause(...)
            return { x }
        end)
        local run = py.eval "lambda g, x: [g.switch(x)]"
        check_same(run(g, value)[0], value)
        check_same(run(g, value)[0][1], value)
    end,
    copies = function(value)
        value = expected(value)
        if value == nil or type(value) == "table" or type(value) == "userdata" then
            value = 1 -- copies of those are something else
        end
        local t = { value, { value, { x = value } }, [3] = { n = { value } } }
        local copy = moonlet.table(py.list(t))
        for _, got in ipairs { copy[1], copy[2][1], copy[2][2].x, copy[3].n[1] } do
            check_same(got, value)
        end
    end,
    seen = check_seen,
}

local ways_in_order = {}
for name in pairs(ways) do
    ways_in_order[#ways_in_order + 1] = name
end
table.sort(ways_in_order)

--- Sends random values on random ways.
local function run(rounds)
    local kept = {}
    for round = 1, rounds do
        local name = one_of(ways_in_order)
        local value
        if random() < 0.3 then
            value = kept[random(50)]
        else
            value = new_value()
            kept[random(50)] = value
        end
        local is_object = type(value) == "userdata"
        if returns[name] and is_object and py.isinstance(value, py.builtins.tuple) then
            value = "no tuple"
        end
        local ok, e = pcall(ways[name], value)
        if not ok then
            error(("seed %d, round %d: %s: %s"):format(seed, round, name, tostring(e)))
        end
    end
    for i = 0, 19 do
        check_same(list[i], list_model[i])
    end
    for key, value in pairs(dict_model) do
        check_same(dict[key], value)
    end
end

describe("random values are on every way what the model says; seed " .. seed, function()
    it("while both collectors do as they like", function()
        math.randomseed(seed)
        run(ROUNDS)
    end)

    it("while both collect all the time, and finalizers cross the border", function()
        math.randomseed(seed)
        local gc = py.import "gc"
        local before = table.pack(gc.get_threshold())
        local pause, speed = collectgarbage("setpause", 10), collectgarbage("setstepmul", 1000)
        local running = true
        local function finalize(o)
            namespace.identity(o, "finalized", {})
            if running then
                setmetatable({}, getmetatable(o))
            end
        end
        setmetatable({}, { __gc = finalize })
        gc.set_threshold(20, 5, 5)
        local ok, e = pcall(run, ROUNDS // 5)
        gc.set_threshold(table.unpack(before))
        running = false
        collectgarbage("setpause", pause)
        collectgarbage("setstepmul", speed)
        assert(ok, e)
    end)
end)
