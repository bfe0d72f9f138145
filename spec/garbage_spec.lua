-- Collections of both heaps at once: finalizers, weak references, when they happen, identity.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local namespace = support.python [[
    import gc, weakref
    import moonlet
    from greenlet import greenlet, getcurrent

    class Thing:
        x = None

    class Counted(Thing):
        count = 0
        def __init__(self):
            Counted.count += 1
        def __del__(self):
            Counted.count -= 1

    class Final(Thing):
        finalize = staticmethod(lambda self: None)
        def __del__(self):
            self.finalize(self)

    def call(f, *args):
        return f(*args)

    def repeat_(f, count):
        for _ in range(count):
            f()
]]
local Thing, Counted, Final = namespace.Thing, namespace.Counted, namespace.Final

local function apart(f, ...)
    return coroutine.wrap(f)(...)
end

local function cycle(thing)
    local t = { thing }
    thing.x = t
    return t
end

--- The values of Lua that live, by a table with weak keys.
local function weak()
    return setmetatable({}, { __mode = "k" })
end

describe("a finalizer of Python", function()
    before_each(function()
        Final.finalize = function() end
        moonlet.collect()
    end)

    it("sees the cycle as it was", function()
        local said
        Final.finalize = function(thing)
            said = { thing.x[1] == thing, thing.x.name, #thing.x }
        end
        apart(function()
            cycle(Final()).name = "it"
        end)
        local seen = weak()
        moonlet.collect()
        assert.same({ true, "it", 1 }, said)
        assert.is_nil(next(seen))
    end)

    for name, collect in pairs { moonlet = moonlet.collect, gc = namespace.gc.collect } do
        it("may bring the cycle to life again from Lua: " .. name, function()
            local alive
            Final.finalize = function(thing)
                alive = thing.x
            end
            apart(function()
                cycle(Final()).name = "it"
            end)
            for _ = 1, 3 do
                collect()
                collectgarbage()
                py.eval "0"
            end
            assert.equal("it", alive.name)
            assert.equal(alive, alive[1].x)
        end)
    end

    it("may bring the cycle to life again from Python", function()
        py.exec("Final.finalize = staticmethod(lambda self: kept.append(self)); kept = []", namespace)
        apart(function()
            cycle(Final()).name = "it"
        end)
        moonlet.collect()
        assert.equal(1, #namespace.kept)
        assert.equal(namespace.kept[0], namespace.kept[0].x[1])
        assert.equal("it", namespace.kept[0].x.name)
        namespace.kept = nil
        moonlet.collect()
    end)

    it("may move a part of it elsewhere", function()
        local kept = {}
        Final.finalize = function(thing)
            kept[#kept + 1] = thing.x.part
            thing.x.part = nil
        end
        local seen = weak()
        apart(function()
            local t = cycle(Final())
            t.part = { cycle(Thing()) }
            seen[t] = true
            seen[t.part] = true
        end)
        moonlet.collect()
        collectgarbage()
        assert.equal(kept[1], next(seen))
        assert.is_nil(next(seen, kept[1]))
        assert.equal(kept[1][1], kept[1][1][1].x)
    end)

    it("may do so through a table with weak values", function()
        local cache = setmetatable({}, { __mode = "v" })
        local kept
        Final.finalize = function()
            kept = cache[1]
        end
        apart(function()
            cache[1] = cycle(Final())
            cache[1].name = "it"
        end)
        moonlet.collect()
        assert.equal("it", kept.name)
        assert.equal(kept, kept[1].x)
    end)

    it("may do so by a switch to a greenlet", function()
        local kept
        local main = moonlet.current()
        local other = moonlet.greenlet(function()
            while true do
                local thing = main:switch()
                kept = thing.x
            end
        end)
        other:switch()
        Final.finalize = function(thing)
            main = moonlet.current()
            other:switch(thing)
        end
        apart(function()
            cycle(Final()).name = "it"
        end)
        moonlet.collect()
        assert.equal("it", kept.name)
        assert.equal(kept, kept[1].x)
        Final.finalize = nil
    end)

    it("may give a part of it to a greenlet", function()
        local kept
        namespace.other = moonlet.greenlet(function()
            while true do
                kept = support.pause()
            end
        end)
        namespace.other:switch()
        py.exec("Final.finalize = staticmethod(lambda self: other.switch(self.y))", namespace)
        apart(function()
            local thing = Final()
            thing.y = Thing()
            cycle(thing.y)
            cycle(thing)[2] = thing.y
        end)
        moonlet.collect()
        assert.equal(kept, kept.x[1])
        namespace.other = nil
    end)

    it("that uses Lua does not keep what is garbage", function()
        local finalized = 0
        Final.finalize = function(thing)
            finalized = finalized + #thing.x
        end
        local seen = weak()
        apart(function()
            for _ = 1, 10 do
                seen[cycle(Final())] = true
            end
        end)
        moonlet.collect()
        collectgarbage()
        assert.equal(10, finalized)
        assert.is_nil(next(seen))
    end)

    it("that uses Lua delays a collection of Python's to the next call from Lua", function()
        Final.finalize = function(thing)
            return #thing.x
        end
        local seen = weak()
        apart(function()
            seen[cycle(Final())] = true
        end)
        namespace.gc.collect()
        py.eval "0"
        collectgarbage()
        assert.is_nil(next(seen))
    end)

    it("may ask for a collection, which does nothing then", function()
        local found
        Final.finalize = function()
            found = { moonlet.collect(), namespace.moonlet.collect(), namespace.gc.collect() }
        end
        apart(function()
            cycle(Final())
        end)
        moonlet.collect()
        assert.same({ 0, 0, 0 }, found)
    end)

    it("may fail", function()
        local hook = py.import("sys").unraisablehook
        py.import("sys").unraisablehook = function() end
        Final.finalize = error
        local seen = weak()
        apart(function()
            seen[cycle(Final())] = true
        end)
        moonlet.collect()
        collectgarbage()
        py.import("sys").unraisablehook = hook
        assert.is_nil(next(seen))
    end)
end)

describe("a weak reference of Python", function()
    it("to a Lua value calls back when the value is garbage", function()
        local called = py.eval("call(lambda t, l: (l.append(weakref.ref(t, l.append)), l)[1], t, [])",
            py.builtins.dict(namespace, py.kw { t = cycle(Thing()) }))
        assert.is_nil(called[0]() and nil)
        moonlet.collect()
        assert.equal(2, #called)
        assert.is_nil(called[0]())
    end)

    it("to a thing in the cycle is dead when it calls back", function()
        local result
        local thing = Thing()
        namespace.ref = py.eval("lambda o, f: weakref.ref(o, f)", namespace)(thing, function(ref)
            result = ref() == nil
        end)
        cycle(thing)
        thing = nil -- luacheck: ignore
        moonlet.collect()
        assert.is_true(result)
    end)
end)

describe("a weak table of Lua", function()
    it("keeps what Python holds", function()
        local values = setmetatable({ {} }, { __mode = "v" })
        local keys = weak()
        local holder = Thing()
        holder.x = values[1]
        keys[holder.x] = "value"
        moonlet.collect()
        collectgarbage()
        assert.equal(holder.x, values[1])
        assert.equal("value", keys[holder.x])
    end)

    it("shows nothing that a collection of Python's has found to be garbage", function()
        local values = setmetatable({}, { __mode = "v" })
        apart(function()
            values[1] = cycle(Thing())
            values[2] = values[1][1]
        end)
        collectgarbage "stop"
        assert.is_table(values[1])
        collectgarbage "restart"
        namespace.gc.collect()
        assert.is_nil(values[1])
        assert.is_nil(values[2])
    end)
end)

describe("a finalizer of Lua", function()
    it("runs after those of Python, which have what they need", function()
        local order = {}
        Final.finalize = function(thing)
            order[#order + 1] = "Python " .. thing.x.name
        end
        apart(function()
            local t = cycle(Final())
            t.name = "t"
            setmetatable(t, {
                __gc = function(self)
                    order[#order + 1] = "Lua " .. self.name .. " " .. tostring(pcall(tostring, self[1]))
                end,
            })
        end)
        moonlet.collect()
        Final.finalize = nil
        assert.same({ "Python t", "Lua t false" }, order)
    end)

    it("may use Python objects that others hold", function()
        local list = py.eval "[]"
        apart(function()
            local t = cycle(Thing())
            t.list = list
            setmetatable(t, {
                __gc = function(self)
                    self.list:append "finalized"
                end,
            })
            setmetatable(cycle(Thing()), { __gc = getmetatable(t).__gc }).list = py.eval "[]"
        end)
        moonlet.collect()
        assert.equal(1, #list)
    end)

    it("may ask for a collection, which does nothing then", function()
        local found
        setmetatable({}, {
            __gc = function()
                found = { moonlet.collect(), namespace.moonlet.collect() }
                namespace.gc.collect()
            end,
        })
        collectgarbage()
        assert.same({ 0, 0 }, found)
    end)

    it("may call Python while results are converted", function()
        local function finalize()
            py.eval "None"
        end
        local things = py.eval("lambda n: tuple([Thing() for i in range(n)])", namespace)
        for _ = 1, 20 do
            for _ = 1, 20 do
                setmetatable({}, { __gc = finalize })
            end
            for i, thing in ipairs { things(50) } do
                assert.equal("Thing", thing.__class__.__name__, i)
            end
        end
    end)
end)

describe("a Lua value", function()
    it("is the same object while Python holds it", function()
        local same = py.eval "lambda a, b: a is b"
        local co, file = coroutine.create(print), io.tmpfile()
        for _, value in ipairs { {}, function() end, print, co, file } do
            assert.is_true(same(value, value))
        end
        assert.is_false(same({}, {}))
        local box = py.eval "[]"
        box:append {}
        assert.is_true(same(box[0], box[0]))
    end)

    it("is a new object when Python has forgotten it", function()
        local box = py.eval "{}"
        local t = {}
        box[t] = 1
        assert.equal(1, box[t])
        box:clear()
        moonlet.collect()
        box[t] = 2
        assert.equal(2, box[t])
        assert.is_nil(box[{}])
    end)

    it("can be told from others in thousands", function()
        local dict = py.builtins.dict()
        local all = {}
        for i = 1, 5000 do
            all[i] = { i }
            dict[all[i]] = i
        end
        for i = 1, 5000, 3 do
            dict:pop(all[i])
        end
        for i = 1, 5000 do
            assert.equal(i % 3 ~= 1 and i or nil, dict[all[i]])
        end
    end)

    it("cannot be made in Python", function()
        assert.matches(
            "^TypeError: cannot create",
            support.message(py.exec, "import moonlet\nclass T(moonlet.LuaObject): pass\nT()")
        )
    end)
end)

describe("a collection", function()
    it("returns what Python's collector has found", function()
        moonlet.collect()
        assert.equal(0, moonlet.collect())
        py.exec "x = []; x.append(x); del x"
        assert.equal(1, moonlet.collect())
        apart(function()
            cycle(Thing())
        end)
        assert.is_true(moonlet.collect() >= 1)
        assert.equal(0, moonlet.collect())
    end)

    it("happens by itself", function()
        local most = 0
        local things = Counted.count
        for i = 1, support.scaled(100000) do
            cycle(Counted())
            if i % 1000 == 0 then
                most = math.max(most, Counted.count)
            end
        end
        assert.is_true(most < support.scaled(60000), most .. " things")
        moonlet.collect()
        assert.equal(things, Counted.count)
    end)

    it("happens by itself when Python calls Lua", function()
        local most = 0
        namespace.repeat_(function()
            cycle(Counted())
            most = math.max(most, Counted.count)
        end, support.scaled(100000))
        assert.is_true(most < support.scaled(60000), most .. " things")
        moonlet.collect()
        assert.equal(0, Counted.count)
    end)

    it("happens by itself for greenlets", function()
        local most = 0
        for i = 1, support.scaled(50000) do
            local thing = Counted()
            thing.x = moonlet.greenlet(function(y)
                support.pause()
                return y
            end)
            thing.x:switch(thing)
            if i % 100 == 0 then
                most = math.max(most, Counted.count)
            end
        end
        assert.is_true(most < support.scaled(40000), most .. " greenlets")
        moonlet.collect()
        assert.equal(0, Counted.count)
    end)

    it("happens by itself for large Lua values", function()
        local most = 0
        for _ = 1, 400 do
            local t = cycle(Counted())
            t.large = ("x"):rep(1 << 20)
            most = math.max(most, Counted.count)
        end
        assert.is_true(most < 300, most .. " things")
        moonlet.collect()
        assert.equal(0, Counted.count)
    end)

    for language, stop in pairs {
        Python = { namespace.gc.disable, namespace.gc.enable },
        Lua = {
            function()
                collectgarbage "stop"
            end,
            function()
                collectgarbage "restart"
            end,
        },
    } do
        it("happens only when asked for while that of " .. language .. " is stopped", function()
            moonlet.collect()
            stop[1]()
            for _ = 1, 20000 do
                cycle(Counted())
            end
            local count = Counted.count
            moonlet.collect()
            local rest = Counted.count
            stop[2]()
            assert.equal(20000, count)
            assert.equal(0, rest)
        end)
    end

    it("in another thread leaves Lua alone", function()
        local thing = Thing()
        cycle(thing)
        py.exec("import threading", namespace)
        namespace.ref = py.eval("weakref.ref", namespace)(thing)
        thing = nil -- luacheck: ignore
        collectgarbage()
        namespace.run = py.eval([[lambda f: (t := threading.Thread(target=f), t.start(), t.join())]], namespace)
        namespace.run(namespace.moonlet.collect)
        assert.truthy(namespace.ref())
        moonlet.collect()
        assert.is_nil(namespace.ref())
    end)

    it("in the midst of other things harms nothing", function()
        local collect = namespace.gc.collect
        local parts = { "return ", "1", " + ", "x" }
        local i = 0
        local f = load(function()
            collect()
            i = i + 1
            return parts[i]
        end, "chunk", "t", { x = 2 })
        assert.equal(3, f())
        local t = { 3, 1, 2 }
        table.sort(t, function(a, b)
            moonlet.collect()
            return a < b
        end)
        assert.same({ 1, 2, 3 }, t)
        assert.equal("<a><b>", (("ab"):gsub(".", function(c)
            moonlet.collect()
            return "<" .. c .. ">"
        end)))
        local chunk = string.dump(function(x)
            local y = x
            return function()
                return y
            end
        end)
        i = 0
        f = load(function()
            collect()
            i = i + 1
            return i <= #chunk and chunk:sub(i, i) or nil
        end)
        assert.equal(5, f(5)())
    end)

    it("sees deep stacks", function()
        local function deep(n, x)
            if n == 0 then
                moonlet.collect()
                return x[1].x == x
            end
            return (deep(n - 1, x))
        end
        assert.is_true(deep(50000, cycle(Thing())))
    end)

    it("does not see what is held by a million crossings", function()
        local identity = py.eval "lambda x: x"
        moonlet.collect()
        local before = collectgarbage "count"
        for _ = 1, support.scaled(1000000) do
            identity {}
        end
        moonlet.collect()
        collectgarbage()
        assert.is_true(collectgarbage "count" < before + 1000)
    end)
end)

describe("a table with weak keys", function()
    it("holds a value for each of its keys", function()
        local private = weak()
        for held = 1, 10 do
            namespace.keys = py.eval "[]"
            local seen = setmetatable({}, { __mode = "v" })
            apart(function()
                local thing = Thing()
                local value = { thing }
                thing.x = value
                seen[1] = value
                for i = 1, 10 do
                    local key = { i }
                    private[key] = value
                    thing["x" .. i] = key
                    if i == held then
                        namespace.keys:append(key)
                    end
                end
            end)
            moonlet.collect()
            collectgarbage()
            local key = namespace.keys[0]
            assert.equal(seen[1], private[key])
            assert.equal(seen[1], seen[1][1].x)
            key = nil -- luacheck: ignore
            namespace.keys = nil
            moonlet.collect()
            collectgarbage()
            assert.is_nil(seen[1])
        end
    end)
end)
