-- What spec/oom.c runs while memory runs out: small uses of every part of the bridge, in both
-- directions. Each must succeed, or fail with what `is_memory` knows; then succeed again, and leave
-- nothing behind that snapshot() shows.

local moonlet = require "moonlet"
local py = moonlet.python
local main = moonlet.current()

local ns = py.builtins.dict()
py.exec(
    [[
import array, copy, gc, sys
import moonlet, moonlet.lua as lua
from greenlet import greenlet, getcurrent, GreenletExit
from moonlet import LuaError, LuaObject

class Thing:
    def __init__(self, x=None):
        self.x = x
    def method(self, *args, **kwargs):
        return args
    def __add__(self, other): return Thing()
    def __len__(self): return 3
    def __eq__(self, other): return isinstance(other, Thing)
    def __lt__(self, other): return True
    def __hash__(self): return 1
    def __str__(self): return "a thing"
    def __enter__(self): return self
    def __exit__(self, *args): return None
    def __call__(self, *args): return args

class Made(Exception):
    pass

thing = Thing()
listed = [thing, 1, "text", b"bytes", (1, 2), 2**70]
mapping = {"key": thing, "other": [1]}

def call(f, *args, **kwargs):
    return f(*args, **kwargs)

def fail(error):
    raise error

def fail_new():
    raise Made(Thing())

def fail_lua(value):
    raise LuaError(value)

def switch(g, *args, **kwargs):
    return g.switch(*args, **kwargs)

one = ValueError("one")
numbers = array.array("i", [1, 2, 3])

def nap(x):
    moonlet.sleep(0)
    return x

def catch(f, *args):
    try:
        return f(*args)
    except MemoryError:
        raise
    except Exception as e:
        return e

def use_table(t):
    t.a = Thing()
    t["b"] = "text %d" % len(t)
    t[1] = t
    del t.a, t["b"], t[1]
    return t.x, t["y"], t.get("z", 5), len(t), list(t), t.keys(), t.values(), t.items(), "x" in t

def use_operators(t):
    return (t + 1, t - t, 2 * t, t == t, t != 1, t < t, t <= t, t > t, -t, ~t, t & 1, t << 2, t ** 2,
            hash(t) == hash(t), str(t), repr(t), bool(t), t("x"), t.name)

def results(*args):
    return args

def strings(n):
    return ["%d in a string that is new" % n, "\ud800%d" % n, b"%d in bytes" % n, "x" * 100]

def table_methods(t):
    t.update({"u": 1, "v": Thing()}, w=2)
    t.setdefault("d", "default")
    t.pop("u"), t.pop("v"), t.pop("none", None)
    list(t.values()), list(t.items()), list(t.keys()), dir(t), repr(t), copy.copy(t), copy.deepcopy(t)
    [x for x in t], {**t}
    t.clear()
    t[1] = 1
    return t.popitem()

def sequence_methods(t):
    s = moonlet.LuaSequence(t)
    s.append(Thing())
    s.insert(0, "x")
    s.extend([1, 2, 3])
    s.reverse()
    return s[0], s[-1], s[1:3], len(s), list(s), s.pop(), s == s, s.index(1), s.clear()

def use_lua():
    assert lua.eval("1 + 1") == 2
    f = lua.eval("function(...) return select('#', ...) end")
    assert f(1, "two", None) == 3
    lua.execute("local x = ...; return x", 5)
    lua.globals()["from_python"] = "text"
    t = lua.table([1, {"a": Thing()}])
    assert len(t) == 2
    return t

def use_coroutine(f):
    co = lua.coroutine(f, 1, "two")
    first = next(co)
    second = co.send(Thing())
    try:
        co.throw(one)
    except ValueError:
        pass
    co.close()
    for x in lua.coroutine(f, 1, "two"):
        break
    return first, second, co.status

def use_iterate(t):
    with t as u:
        pass
    return [x for x in lua.iterate(t.next, t)]

def generate(n):
    for i in range(n):
        yield i, Thing()

def body(*args):
    while True:
        args = getcurrent().parent.switch(*args if isinstance(args, tuple) else (args,))

def unraisable(hook, ignored=[]):
    ignored.append(str(hook.exc_value))
    del ignored[:-1]

sys.unraisablehook = unraisable

def snapshot():
    gc.collect()
    kinds = {}
    for o in gc.get_objects():
        if isinstance(o, (greenlet, LuaError, Made, Thing)):
            kinds[type(o).__name__] = kinds.get(type(o).__name__, 0) + 1
    return "references %d %d %d, %s" % (
        sys.getrefcount(thing), sys.getrefcount(listed), sys.getrefcount(mapping),
        sorted(kinds.items()))
]],
    ns
)

local builtins = py.builtins
local thing, listed, mapping, call, catch = ns.thing, ns.listed, ns.mapping, ns.call, ns.catch
local Thing, LuaError, repr = ns.Thing, ns.LuaError, builtins.repr
local fail, fail_new, fail_lua = ns.fail, ns.fail_new, ns.fail_lua
local use_table, use_operators, results, strings = ns.use_table, ns.use_operators, ns.results, ns.strings
local generate, body, greenlet, switch = ns.generate, ns.body, ns.greenlet, ns.switch
local exception, sentinel = builtins.ValueError "one", { code = 1 }
local lua_tables = setmetatable({}, { __mode = "k" })

local function new(t)
    lua_tables[t] = true
    return t
end

local texts = {
    "not enough memory",
    "MemoryError",
    "out of memory",
    -- What Lua says when a stack cannot grow: luaL_checkstack, table.unpack.
    "stack overflow",
    "too many results to unpack",
    -- CPython loses the exception when there is no memory for a frame object of a caller
    -- (take_ownership of Python/frame.c).
    "SystemError",
}

local function is_memory(e)
    local ok, text = pcall(tostring, e)
    for _, known in ipairs(texts) do
        if not ok or text:find(known, 1, true) then
            return true
        end
    end
    return false
end

--- The error value of f(...), which must fail with one that `want` accepts.
local function fails(want, f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok, "no error")
    if want ~= e and not (type(want) == "function" and want(e)) then
        error(is_memory(e) and e or "another error: " .. tostring(e), 0)
    end
    return e
end

local function pause(...)
    return main:switch(...)
end

local operators = setmetatable({ name = "op" }, {
    __add = function() return new {} end, -- luacheck: ignore
    __sub = function() return 1 end,
    __mul = function() return 2.5 end,
    __unm = function() return "neg" end,
    __bnot = function() return "not" end,
    __band = function() return 1 end,
    __shl = function() return 1 end,
    __pow = function() return 1 end,
    __lt = function() return true end,
    __le = function() return true end,
    __tostring = function() return "operators" end,
    __call = function(_, x) return x .. "!" end,
})

local count = 0
local compiled = builtins.compile("x", "oom", "eval")
local nested = py.eval "(lambda d: d.update(loop=d) or d)({'list': [None, (1, 2)], 'set': {1}})"
nested.list[0] = thing
local none = py.eval "[(None,)]"

local cases = {
    attributes = function()
        thing.x = new {}
        assert(thing.x ~= nil)
        thing.x = Thing()
        assert(thing.x.x == nil)
        thing.x = "text " .. count
        thing.x = nil
        assert(not pcall(function()
            return thing.missing
        end))
    end,
    items = function()
        assert(listed[0] == thing and listed[2] == "text" and listed[3] == "bytes")
        assert(#listed[4] == 2 and tostring(listed[5]) == "1180591620717411303424")
        listed[1] = new { count }
        listed[1] = 1
        mapping.new = "v" .. count
        mapping.new = nil
        mapping[count] = Thing()
        assert(mapping[count] ~= nil and mapping["missing " .. count] == nil)
        builtins.dict.pop(mapping, count)
        builtins.dict.pop(mapping, "new")
    end,
    methods = function()
        assert(thing:method(1, "two", nil, new {}) == 1)
        assert(listed:index(1) == 1)
        assert(mapping:get "key" == thing)
        local o = Thing(1)
        assert(o:method() == nil)
    end,
    new_methods = function()
        local name = "method_" .. count
        builtins.setattr(Thing, name, Thing.method)
        local ok, e = pcall(function()
            return assert(load("local o = ... return o:" .. name .. "(1)"))(thing)
        end)
        builtins.delattr(Thing, name)
        if not ok then
            error(e, 0)
        end
    end,
    keywords = function()
        assert(thing:method(1, py.kw { a = 1, b = new {}, ["c" .. count] = "s" }) == 1)
        local d = builtins.dict(py.kw { one = thing, two = new {} })
        assert(d.one == thing)
        assert(call(function(a, kw)
            return a + kw.b
        end, 1, py.kw { b = 2 }) == 3)
    end,
    calls = function()
        local function f(...)
            return select("#", ...), ...
        end
        assert(call(f) == 0)
        assert(call(f, 1, "two " .. count, nil, new {}, thing, 1.5) == 6)
        assert(select("#", results(1, nil, thing, new {})) == 4)
        local t = new(table.pack(table.unpack({}, 1, 60)))
        assert(call(f, table.unpack(t, 1, 60)) == 60)
        call(f, "a new string that is longer than forty characters " .. count)
    end,
    strings = function()
        local list = strings(count)
        assert(list[0] == count .. " in a string that is new")
        assert(list[1] == "\u{d800}" .. count)
        assert(list[2] == count .. " in bytes")
        assert(list[3] == ("x"):rep(100))
        assert(repr(py.bytes("b" .. count)) == "b'b" .. count .. "'")
        assert(repr "\xff" == "b'\\xff'")
    end,
    tables = function()
        use_table(new { x = 1, y = new {}, 2, "three" })
        use_table(setmetatable(new {}, {
            __index = function(_, k)
                return k
            end,
            __pairs = function()
                return next, { x = 1 }, nil
            end,
            __len = function()
                return 2
            end,
        }))
    end,
    operators_in_python = function()
        use_operators(operators)
    end,
    operators_in_lua = function()
        local o = thing + thing
        assert(o == thing and o < thing)
        assert(#o == 3 and tostring(o) == "a thing")
        assert(listed[5] + 1 > listed[5] and -listed[5] < 0)
        assert(#(listed[4] .. listed[4]) == 4)
        assert(tostring(listed):find "1180591620717411303424")
    end,
    iteration = function()
        local n = 0
        for i, o in py.iter(generate(3)) do
            assert(i == n and o == thing)
            n = n + 1
        end
        for k, v in pairs(mapping) do
            assert(k and v)
        end
        for i in pairs(listed) do
            n = n + i
        end
        assert(n == 18)
    end,
    closing = function()
        do
            local o <close> = Thing()
            assert(o)
        end
        fails(sentinel, function()
            local _ <close> = Thing()
            error(sentinel)
        end)
    end,
    evaluation = function()
        assert(py.eval "1 + 1" == 2)
        assert(py.eval("x", builtins.dict(py.kw { x = thing })) == thing)
        py.exec("y = x", builtins.dict(py.kw { x = thing }))
    end,
    compiled = function()
        assert(builtins.eval(compiled, builtins.dict(py.kw { x = thing })) == thing)
        assert(py.isinstance(thing, Thing) and py.attr(mapping, "keys"))
    end,
    python_errors = function()
        fails(exception, fail, exception)
        fails(exception, call, fail, exception)
        fails(exception, call, function()
            fail(exception)
        end)
        local e = fails(function(e)
            return py.isinstance(e, ns.Made)
        end, fail_new)
        assert(tostring(e):find "Made")
    end,
    lua_errors = function()
        fails(sentinel, call, error, sentinel)
        fails(sentinel, call, function()
            call(function()
                error(sentinel)
            end)
        end)
        local e = catch(error, sentinel)
        assert(py.isinstance(e, LuaError) and e.value == sentinel, tostring(e))
        fails("text " .. count, call, error, "text " .. count, 0)
        fails("raised " .. count, fail_lua, "raised " .. count)
        local ok, value = pcall(call, error)
        assert(not ok)
        if value ~= nil then
            error(value, 0)
        end
    end,
    lua_greenlets = function()
        local g = moonlet.greenlet(function(...)
            local a = pause(...)
            local _, b = pause(a, new {})
            return b, thing
        end)
        assert(g:switch(1, thing, "s" .. count) == 1)
        assert(g:switch(2) == 2)
        assert(g:switch(nil, thing) == thing)
        assert(g.dead and g.parent == main)
    end,
    python_greenlets = function()
        local g = moonlet.greenlet(body)
        assert(g:switch(1, new {}) == 1)
        assert(g:switch("s" .. count) == "s" .. count)
        g:throw()
        assert(g.dead)
        g = greenlet(pause)
        assert(switch(g, 1, new {}) == 1)
        assert(switch(g, thing) == thing)
    end,
    keyword_switches = function()
        local g = moonlet.greenlet(function(a, kw)
            return a + kw.b
        end)
        assert(switch(g, 1, py.kw { b = 2 }) == 3)
        g = moonlet.greenlet(thing.method)
        assert(g:switch(5, py.kw { x = new {} }) == 5)
    end,
    thrown = function()
        local g = moonlet.greenlet(pause)
        g:switch()
        fails(exception, g.throw, g, exception)
        g = moonlet.greenlet(pause)
        g:switch()
        fails(sentinel, g.throw, g, sentinel)
        g = moonlet.greenlet(body)
        g:switch()
        fails(sentinel, g.throw, g, sentinel)
        g = moonlet.greenlet(error)
        fails(sentinel, g.switch, g, sentinel)
        g = moonlet.greenlet(error)
        fails(sentinel, switch, g, sentinel)
    end,
    dropped_greenlets = function()
        local g = moonlet.greenlet(pause)
        g:switch(Thing())
        g = moonlet.greenlet(body)
        g:switch(new {})
        g = moonlet.greenlet(pause) -- luacheck: ignore
    end,
    specialized_greenlets = function()
        local g = moonlet.greenlet(function()
            while true do
                pause()
            end
        end)
        for _ = 1, 40 do
            g:switch()
        end
        g.note = new {}
        assert(g.note)
        g:throw()
    end,
    deep_greenlets = function()
        local all = {}
        for i = 1, 5 do
            all[i] = moonlet.greenlet(i % 2 == 0 and body or pause)
            all[i]:switch(i)
        end
        for i = 1, 5 do
            assert(all[i]:switch(i) == i)
        end
        for i = 1, 5 do
            all[i]:throw()
        end
    end,
    coroutines = function()
        local co = coroutine.wrap(function(x)
            local y = coroutine.yield(call(results, x, new {}))
            return call(function(z)
                return z
            end, y)
        end)
        assert(co(1) == 1 and co(thing) == thing)
        assert(repr(coroutine.create(pause)):find "LuaThread")
    end,
    nested = function()
        local function down(n)
            if n == 0 then
                return Thing()
            end
            return (call(down, n - 1))
        end
        assert(down(80) == thing)
    end,
    sorting = function()
        local list = builtins.sorted("cab", py.kw {
            key = function(x)
                return tostring(x)
            end,
        })
        assert(tostring(list) == "['a', 'b', 'c']")
        local t = new { "b", "c", "a" }
        table.sort(t, function(a, b)
            return call(function()
                return a < b
            end)
        end)
        assert(t[1] == "a")
    end,
    imports = function()
        assert(py.import("os.path").join("a", "b") == "a/b")
    end,
    copies = function()
        assert(py.dict(new { a = 1, b = new { 1, 2, new {} }, c = thing }).a == 1)
        assert(#py.list(new { 1, "two", new { x = 1 } }) == 3)
        assert(py.set(new { a = true }) and py.tuple(new { 1 }))
        local loop = new { 1 }
        loop[2] = loop
        assert(#py.list(loop) == 2)
        local t = new(moonlet.table(nested))
        assert(t.list[1] == thing and t.loop == t)
        assert(#moonlet.table(generate(3)) == 3)
    end,
    contexts = function()
        do
            local _ <close>, o = py.with(Thing()) -- luacheck: ignore
            assert(o)
        end
        fails(sentinel, function()
            local _ <close> = py.with(Thing())
            error(sentinel)
        end)
    end,
    buffers = function()
        do
            local b <close> = py.buffer(ns.numbers)
            b[0] = b[-1]
            assert(#b == 3 and b:string() and b.format == "i" and #b[py.slice(1, nil)] == 2)
        end
        ns.numbers[0] = 1
        local view = py.memoryview("some bytes " .. count)
        assert(view[0] == 115 and #view > 5)
        assert(builtins.bytes(view))
    end,
    accessors = function()
        assert(py.contains(mapping, "key") and py.item(listed, 0) == thing)
        py.setitem(mapping, "x" .. count, 1)
        py.delitem(mapping, "x" .. count)
        py.setattr(thing, "y", new {})
        py.delattr(thing, "y")
        for i, x in builtins.enumerate(listed) do
            assert(i and x)
        end
    end,
    table_methods = function()
        assert(ns.table_methods(new { a = 1, new {}, "text" }))
        assert(ns.table_methods(setmetatable(new { a = 1 }, {})))
    end,
    sequences = function()
        ns.sequence_methods(new { 1, 2, "three" })
    end,
    lua_in_python = function()
        new(ns.use_lua())
    end,
    python_coroutines = function()
        ns.use_coroutine(function(a, b)
            local _ <close> = setmetatable({}, { __close = function() end })
            coroutine.yield(a)
            coroutine.yield(b, new {})
            coroutine.yield()
        end)
    end,
    loops = function()
        local t = setmetatable(new { next = next }, { __close = function() end })
        ns.use_iterate(t)
    end,
    traceback = function()
        local ok, text = xpcall(call, moonlet.traceback, function()
            fail_new()
        end)
        if not tostring(text):find "Made" then
            error(text, 0)
        end
        assert(not ok)
        assert(moonlet.traceback("message", 1):find "message")
    end,
    held = function()
        thing.x = new { thing, {} }
        none[0] = function()
            return thing
        end
        assert(call(none[0]) == thing)
        exception.__traceback__ = nil
        exception.__context__ = nil
        ns.one.__traceback__ = nil
        ns.one.__context__ = nil
        thing.x = nil
        none[0] = nil
    end,
}

function cases.scheduling()
    local function nap(x)
        moonlet.sleep(0)
        return x
    end
    assert(moonlet.spawn(nap, 1):join() == 1)
end

function cases.scheduling_python()
    assert(moonlet.spawn(ns.nap, 1):join() == 1)
end

function cases.deadlines()
    assert(not moonlet.move_on_after(0.00001, moonlet.sleep, 1))
end

function cases.passed_deadlines()
    assert(not moonlet.move_on_at(0, moonlet.sleep, 1))
end

-- moonlet.nursery(f). Of its errors, one is raised alone.
local function in_nursery(f)
    local ok, err = pcall(moonlet.nursery, f)
    if not ok then
        local group = py.isinstance(err, py.builtins.ExceptionGroup)
        error(group and err.exceptions[0] or err, 0)
    end
end

function cases.nurseries()
    in_nursery(function(n)
        n:spawn(moonlet.sleep)
        n:spawn(moonlet.sleep)
    end)
end

function cases.channels()
    local ch = moonlet.channel(1)
    in_nursery(function(n)
        n:spawn(function()
            for i = 1, 3 do
                ch:send(i)
            end
        end)
        assert(ch:receive() + ch:receive() + ch:receive() == 6)
    end)
end

function cases.events()
    local e = moonlet.event()
    in_nursery(function(n)
        n:spawn(e.wait, e)
        moonlet.sleep()
        e:set()
    end)
end

function cases.locks()
    local l = moonlet.lock()
    local function hold()
        l:acquire()
        local ok, err = pcall(moonlet.sleep)
        l:release()
        assert(ok, err)
    end
    in_nursery(function(n)
        n:spawn(hold)
        n:spawn(hold)
    end)
    assert(not l:locked())
end

function cases.cancels()
    in_nursery(function(n)
        n:spawn(moonlet.sleep, 10)
        moonlet.sleep()
        n:cancel()
    end)
end

function cases.timeouts()
    in_nursery(function(n)
        local t = n:spawn(moonlet.sleep, 10)
        if t:wait(0.00001) then
            t:join()
        end
        t:cancel()
    end)
end

function cases.queues()
    local q = moonlet.queue(1)
    in_nursery(function(n)
        n:spawn(function()
            q:put(1)
            q:put(2)
        end)
        assert(q:get() + q:get() == 3)
    end)
end

function cases.starting_later()
    assert(moonlet.spawn_later(0.00001, select, "#"):join() == 0)
end

moonlet.on_error(function() end)

local names = {}
for name in pairs(cases) do
    names[#names + 1] = name
end
table.sort(names)

local snapshot = ns.snapshot

return {
    names = names,
    cases = cases,
    --- What CPython does not survive without memory. Its compiler frees twice (assemble of
    --- Python/compile.c), and every frame that an exception passes takes one of 16 spare
    --- MemoryErrors when it cannot be added to the traceback.
    not_in_python = { evaluation = true },
    --- What has tasks that wait, and cannot even be cancelled when there is never memory again.
    not_forever = {
        cancels = true, channels = true, events = true, locks = true, nurseries = true, queues = true,
        timeouts = true,
    },
    not_forever_in_python = { nested = true },
    --- Where CPython itself loses a reference to `self` of a method that has a comprehension.
    leaks_in_python = { sequences = true },
    --- Undoes what a case that failed in its middle has left behind by rights.
    reset = function()
        exception.__traceback__ = nil
        exception.__context__ = nil
        ns.one.__traceback__ = nil
        ns.one.__context__ = nil
        thing.x = nil
        none[0] = nil
        listed[1] = 1
        mapping:clear()
        mapping:update(py.kw { key = thing, other = builtins.list() })
        count = count + 1
        moonlet.sleep(0.00001) -- errors that nobody can learn of are reported
        -- CPython keeps 16 spare MemoryErrors, and aborts when it needs one and has none
        -- (_PyErr_NormalizeException of Python/errors.c): return those that were caught.
        collectgarbage()
        py.eval "None"
    end,
    snapshot = function()
        -- More than once: what one collector lets go of, the other finds.
        for _ = 1, 4 do
            py.eval "None"
            collectgarbage()
            snapshot()
        end
        local tables = 0
        for _ in pairs(lua_tables) do
            tables = tables + 1
        end
        return ("%s, tables %d"):format(snapshot(), tables)
    end,
    is_memory = is_memory,
}
