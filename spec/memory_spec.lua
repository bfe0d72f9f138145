-- What nobody refers to any more is released, in both languages.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local pause, collect = support.pause, support.collect

local namespace = support.python [[
    import gc, weakref
    from greenlet import greenlet, getcurrent

    class Thing:
        count = 0
        def __init__(self, x=None):
            Thing.count += 1
            self.x = x
        def __del__(self):
            Thing.count -= 1

    def fail():
        raise ValueError(Thing())

    def keep(thing):
        getcurrent().parent.switch()
        return thing

    def call(f, *args):
        return f(*args)
]]
local Thing = namespace.Thing

describe("a Python object in Lua", function()
    it("is released when Lua has collected it", function()
        assert.is_nil(Thing().x)
        assert.equal(1, Thing.count)
        collect()
        assert.equal(0, Thing.count)
    end)

    it("lives as long as Lua holds it", function()
        local held = { Thing() }
        collect()
        assert.equal(1, Thing.count)
        assert.is_nil(held[1].x)
        held[1] = nil
        collect()
        assert.equal(0, Thing.count)
    end)

    it("has a new identity after it has been collected", function()
        for i = 1, 1000 do
            local o = py.builtins.object()
            assert.equal("object", o.__class__.__name__)
            if i % 100 == 0 then
                collectgarbage()
            end
        end
    end)

    it("is released by errors, too", function()
        for _ = 1, 10 do
            pcall(namespace.fail)
            pcall(moonlet.greenlet(namespace.fail).switch, moonlet.greenlet(namespace.fail))
        end
        py.eval "1"
        collect()
        assert.equal(0, Thing.count)
    end)
end)

describe("a Lua value in Python", function()
    it("is released when Python has collected it", function()
        local weak = setmetatable({ {} }, { __mode = "v" })
        local holder = Thing(weak[1])
        collect()
        assert.is_table(weak[1])
        holder.x = nil
        collect()
        assert.is_nil(weak[1])
    end)

    it("is released after calls", function()
        local weak = setmetatable({}, { __mode = "v" })
        for i = 1, 100 do
            weak[i] = {}
            namespace.call(function(...)
                return ...
            end, weak[i], 1, nil)
        end
        collect()
        assert.is_nil(next(weak))
    end)
end)

describe("a Lua error", function()
    it("is released while Python catches one after the other", function()
        local alive = support.python([[
            import weakref
            def alive(f):
                errors = weakref.WeakSet()
                for i in range(2000):
                    try:
                        f()
                    except Exception as e:
                        errors.add(e)
                return len(errors)
        ]]).alive(function()
            error {}
        end)
        assert.is_true(alive < 1000, alive)
    end)
end)

describe("a greenlet", function()
    it("that has finished releases what it used", function()
        local g = moonlet.greenlet(namespace.keep)
        g:switch(Thing())
        assert.equal(1, Thing.count)
        g:switch()
        collect()
        assert.equal(0, Thing.count)
        assert.is_true(g.dead)
    end)

    it("that is dropped suspended does, too", function()
        local g = moonlet.greenlet(namespace.keep)
        g:switch(Thing())
        g = moonlet.greenlet(function(thing)
            pause()
            return thing
        end)
        g:switch(Thing())
        g = nil -- luacheck: ignore
        collect()
        collect()
        assert.equal(0, Thing.count)
    end)

    it("that is dropped new does, too", function()
        local weak = setmetatable({}, { __mode = "k" })
        do
            local function f() end
            weak[f] = true
            weak[moonlet.greenlet(f)] = true
        end
        collect()
        collect()
        assert.is_nil(next(weak))
    end)

    it("that has an error thrown in releases it", function()
        local g = moonlet.greenlet(pause)
        g:switch()
        pcall(g.throw, g, py.builtins.ValueError(Thing()))
        g = nil -- luacheck: ignore
        py.eval "1"
        collect()
        assert.equal(0, Thing.count)
    end)

    it("is released with the values of a switch that failed", function()
        local main = moonlet.current()
        local g = moonlet.greenlet(function() end)
        g:switch()
        pcall(g.throw, g, Thing())
        pcall(main.switch, 1, Thing())
        py.eval "1"
        collect()
        assert.equal(0, Thing.count)
    end)
end)

describe("memory does not grow", function()
    local function steady(what, ...)
        local arguments = table.pack(...)
        it(what, function()
            support.stays_small(table.unpack(arguments))
        end)
    end

    local identity = py.eval "lambda *x: x"
    local python_body = py.eval("lambda x: getcurrent().parent.switch(x)", namespace)

    steady("with calls of Python", 50000, function()
        identity(1, "a", 1.5, {}, print)
    end)
    steady("with keyword arguments", 30000, function()
        py.builtins.dict(py.kw { a = 1, b = {} })
    end)
    steady("with calls of Lua", 30000, function()
        namespace.call(function(...)
            return ...
        end, 1, {}, "x")
    end)
    steady("with errors of Lua in Python", 20000, function()
        pcall(namespace.call, error, {})
    end)
    steady("with errors of Python in Lua", 20000, function()
        pcall(namespace.fail)
    end)
    steady("with Lua greenlets", 30000, function()
        local g = moonlet.greenlet(pause)
        g:switch({})
        g:switch({})
    end)
    steady("with Python greenlets", 30000, function()
        local g = moonlet.greenlet(python_body)
        g:switch({})
        g:switch(py.builtins.object())
    end)
    steady("with greenlets that errors end", 20000, function()
        local g = moonlet.greenlet(pause)
        g:switch()
        pcall(g.throw, g, py.builtins.ValueError())
        pcall(moonlet.greenlet(error).switch, moonlet.greenlet(error))
    end)
    steady("with greenlets that are dropped suspended", 20000, function()
        moonlet.greenlet(pause):switch()
        moonlet.greenlet(python_body):switch(1)
    end)
    steady("with greenlets that are dropped new", 20000, function()
        moonlet.greenlet(pause)
        moonlet.greenlet(python_body)
    end)
    -- What the stack of a greenlet refers to is lost with its thread, but not the stack.
    steady("with greenlets in threads that end", 200, support.python([[
        import threading
        from greenlet import greenlet, getcurrent
        def f():
            for i in range(10):
                greenlet(getcurrent().switch).switch()
            global kept
            kept = greenlet(getcurrent().switch)
            kept.switch()
        def run():
            t = threading.Thread(target=f)
            t.start()
            t.join()
    ]]).run, 512)
end)

describe("greenlets that are dropped as fast as they end", function()
    it("do not pile up", function()
        local function nothing() end
        support.collect()
        local before = collectgarbage "count"
        local most = 0
        for i = 1, support.scaled(100000) do
            moonlet.greenlet(nothing):switch()
            if i % 1000 == 0 then
                most = math.max(most, collectgarbage "count")
            end
        end
        assert.is_true(most < before + 2000, most)
    end)
end)

describe("proxies that are dropped as fast as they are made", function()
    it("do not pile up", function()
        local make = py.builtins.object
        support.collect()
        local before = collectgarbage "count"
        local most = 0
        for i = 1, support.scaled(500000) do
            make()
            if i % 1000 == 0 then
                most = math.max(most, collectgarbage "count")
            end
        end
        assert.is_true(most < before + 8000, most)
    end)

    it("survive finalizers that call Python meanwhile", function()
        local make, length = py.eval "lambda: [object()]", py.builtins.len
        local finalizer = {
            __gc = function()
                length "x"
            end,
        }
        for _ = 1, support.scaled(100000) do
            setmetatable({}, finalizer)
            assert(#make() == 1)
        end
    end)

    it("wait for a collector that was stopped", function()
        local made = setmetatable({}, { __mode = "k" })
        collectgarbage "stop"
        for _ = 1, 1000 do
            made[py.builtins.object()] = true
        end
        local count = 0
        for _ in pairs(made) do
            count = count + 1
        end
        collectgarbage "restart"
        assert.equal(1000, count)
    end)
end)
