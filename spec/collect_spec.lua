-- Cycles that run through both heaps are collected, and nothing else is.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local pause = support.pause
local lfs = require "lfs"

local namespace = support.python [[
    import functools, gc, weakref
    import moonlet
    from greenlet import greenlet, getcurrent

    class Thing:
        x = None
        def method(self):
            return self
        def wait(self, *args, **kwargs):
            getcurrent().parent.switch()

    watched = []

    def watch(o):
        watched.append(weakref.ref(o))
        return o

    def living():
        return sum(r() is not None for r in watched)

    def forget():
        watched.clear()

    def closure(x):
        return lambda: x

    def generator(x):
        yield
        return x

    def started(x):
        g = generator(x)
        next(g)
        return g

    def subclass(x):
        return type("C", (), {"x": x})

    def error(x):
        try:
            raise ValueError(x)
        except ValueError as e:
            return e

    def keep(x, *args):
        getcurrent().parent.switch()
        return x

    def call(f, x, y=None):
        return f(x, y)

    # How a Python object can hold another one.
    holders = {
        "list": lambda x: [x],
        "dict": lambda x: {"x": x},
        "key of a dict": lambda x: {x: 1},
        "tuple": lambda x: (x,),
        "set": lambda x: {x},
        "closure": closure,
        "generator": started,
        "partial": lambda x: functools.partial(print, x),
        "class": subclass,
        "exception": error,
        "iterator": lambda x: iter([x]),
    }
]]
local Thing, watch, living = namespace.Thing, namespace.watch, namespace.living

--- How a Lua value can hold another one. Each gives a value that Python can refer to.
local private = setmetatable({}, { __mode = "k" })
local holders = {
    ["a table"] = function(x)
        return { x }
    end,
    ["a key"] = function(x)
        return { [x] = true }
    end,
    ["a table in a table"] = function(x)
        return { a = { b = { x } } }
    end,
    ["a metatable"] = function(x)
        return setmetatable({}, { __index = { x } })
    end,
    ["an upvalue"] = function(x)
        return function()
            return x
        end
    end,
    ["a shared upvalue"] = function(x)
        local function f()
            return x
        end
        return function()
            x = nil
            return f
        end
    end,
    ["a coroutine"] = function(x)
        local co = coroutine.create(function(y)
            coroutine.yield()
            return y
        end)
        coroutine.resume(co, x)
        return co
    end,
    ["a coroutine deep in calls"] = function(x)
        local function deep(n, y)
            if n == 0 then
                coroutine.yield()
            else
                deep(n - 1)
            end
            return y
        end
        local co = coroutine.create(deep)
        coroutine.resume(co, 100, x)
        return co
    end,
    ["variable arguments"] = function(x)
        local co = coroutine.create(function(...)
            coroutine.yield()
            return ...
        end)
        coroutine.resume(co, 1, 2, x)
        return co
    end,
    ["a temporary"] = function(x)
        local co = coroutine.create(function()
            return { x }, coroutine.yield()
        end)
        coroutine.resume(co)
        return co
    end,
    ["an argument of a C function"] = function(x)
        local co = coroutine.create(function()
            table.sort({ 2, 1 }, coroutine.yield)
            pcall(coroutine.yield, x)
        end)
        coroutine.resume(co)
        return co
    end,
    ["a coroutine that has not begun"] = function(x)
        return coroutine.create(function()
            return x
        end)
    end,
    ["a coroutine as a function"] = function(x)
        local f = coroutine.wrap(function(y)
            coroutine.yield()
            return y
        end)
        f(x)
        return f
    end,
    ["the metatable of a userdata"] = function(x)
        local file = io.tmpfile()
        debug.setmetatable(file, { __gc = getmetatable(file).__gc, __close = x })
        return file
    end,
    ["a user value"] = function(x)
        local _, directory = lfs.dir "."
        debug.setuservalue(directory, x, 1)
        return directory
    end,
    ["a table with weak keys"] = function(x)
        local key = {}
        private[key] = { x, key }
        return key
    end,
    ["a chain in a table with weak keys"] = function(x)
        local keys = {}
        for i = 1, 10 do
            keys[i] = {}
        end
        for i = 9, 1, -1 do
            private[keys[i]] = keys[i + 1]
        end
        private[keys[10]] = x
        return keys[1]
    end,
    ["a table of its own with weak keys"] = function(x)
        local key = {}
        return { setmetatable({ [key] = { x } }, { __mode = "k" }), key }
    end,
    ["a new greenlet"] = function(x)
        return moonlet.greenlet(function()
            return x
        end)
    end,
    ["a suspended greenlet"] = function(x)
        local g = moonlet.greenlet(function(y)
            pause()
            return y
        end)
        g:switch(x)
        return g
    end,
    ["a coroutine in a suspended greenlet"] = function(x)
        local g = moonlet.greenlet(function(y)
            coroutine.wrap(function()
                pause()
                return y
            end)()
        end)
        g:switch(x)
        return g
    end,
    ["a suspended Python greenlet"] = function(x)
        local g = moonlet.greenlet(namespace.keep)
        g:switch { x }
        return g
    end,
    ["a Python function that a suspended greenlet calls"] = function(x)
        local g = moonlet.greenlet(function(y)
            namespace.keep(y, { y })
        end)
        g:switch(x)
        return g
    end,
    ["a method that a suspended greenlet calls"] = function(x)
        local g = moonlet.greenlet(function(y)
            y:wait(1, 2, 3, { y }, 5, 6, 7, 8, 9, 10, 11, 12, y, py.kw { k = y })
        end)
        g:switch(x)
        return g
    end,
    ["a Lua function that a suspended greenlet calls"] = function(x)
        local g = moonlet.greenlet(namespace.call)
        g:switch(function()
            pause()
            return x
        end, x, { x })
        return g
    end,
    ["calls to and fro"] = function(x)
        local g = moonlet.greenlet(namespace.call)
        g:switch(function(y)
            namespace.call(function(z)
                pause()
                return x, z
            end, { y })
        end, x)
        return g
    end,
    ["a new Python greenlet"] = function(x)
        local t = { x }
        return moonlet.greenlet(py.eval("lambda t: lambda: t")(t))
    end,
}

local collectors = {
    ["moonlet.collect() of Lua"] = moonlet.collect,
    ["moonlet.collect() of Python"] = namespace.moonlet.collect,
    ["gc.collect()"] = function()
        namespace.gc.collect()
        collectgarbage()
        py.eval "0"
        namespace.gc.collect()
    end,
}

--- Runs f where nothing of it stays on the stack.
local function apart(f, ...)
    return coroutine.wrap(f)(...)
end

local function sorted(t)
    local keys = {}
    for key in pairs(t) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    local i = 0
    return function()
        i = i + 1
        return keys[i], t[keys[i]]
    end
end

local seen -- Lua values, weakly

before_each(function()
    moonlet.collect()
    namespace.forget()
    seen = setmetatable({}, { __mode = "k" })
end)

local function alive()
    collectgarbage()
    collectgarbage()
    local count = 0
    for _ in pairs(seen) do
        count = count + 1
    end
    return count + living()
end

--- A cycle of a thing and a value that holds it.
local function cycle(hold)
    local thing = watch(Thing())
    local value = hold(thing)
    if py.isinstance(value, namespace.greenlet) then
        watch(value)
    else
        seen[value] = true
    end
    thing.x = value
    return thing, value
end

describe("a cycle", function()
    for collector, collect in sorted(collectors) do
        for name, hold in sorted(holders) do
            it("through " .. name .. " is collected by " .. collector, function()
                apart(function()
                    cycle(hold)
                end)
                collectgarbage()
                assert.equal(2, alive())
                collect()
                assert.equal(0, alive())
            end)
        end
    end

    for name in py.iter(namespace.holders) do
        it("through what Python has is collected: " .. name, function()
            apart(function()
                local thing = watch(Thing())
                local value = { thing }
                seen[value] = true
                thing.x = namespace.holders[name](value)
            end)
            collectgarbage()
            assert.equal(2, alive())
            moonlet.collect()
            assert.equal(0, alive())
        end)
    end

    it("through a bound method is collected", function()
        apart(function()
            local thing = watch(Thing())
            local value = { py.attr(thing, "method") }
            seen[value] = true
            thing.x = value
        end)
        assert.equal(2, alive())
        moonlet.collect()
        assert.equal(0, alive())
    end)

    it("through objects that cannot be changed is collected", function()
        apart(function()
            local value = { watch(Thing()) }
            seen[value] = true
            value[2] = py.builtins.tuple(py.eval("lambda *x: [x, x]")(value))
        end)
        assert.equal(2, alive())
        moonlet.collect()
        assert.equal(0, alive())
    end)

    for _, size in ipairs { 1, 2, 3, 10000 } do
        it("of " .. size .. " objects in each language is collected", function()
            apart(function()
                local first = watch(Thing())
                local last = first
                for i = 1, size do
                    local value = { last }
                    seen[value] = true
                    last = i < size and watch(Thing()) or first
                    last.x = value
                end
            end)
            assert.equal(2 * size, alive())
            assert.is_true(moonlet.collect() >= size)
            assert.equal(0, alive())
        end)
    end

    it("is collected with what hangs on it", function()
        apart(function()
            local thing, value = cycle(holders["a table"])
            value.more = { watch(Thing()) }
            seen[value.more] = true
            thing.y = watch(Thing())
            thing.y.x = function() end
        end)
        assert.equal(5, alive())
        moonlet.collect()
        assert.equal(0, alive())
    end)

    it("between several Lua greenlets is collected", function()
        local closed = 0
        apart(function()
            local things, greenlets = {}, {}
            for i = 1, 3 do
                things[i] = watch(Thing())
                greenlets[i] = moonlet.greenlet(function(thing)
                    local _ <close> = setmetatable({}, {
                        __close = function()
                            closed = closed + 1
                        end,
                    })
                    pause()
                    return thing
                end)
            end
            for i = 1, 3 do
                things[i].x = greenlets[i % 3 + 1]
                greenlets[i]:switch(things[i])
            end
        end)
        assert.equal(3, alive())
        moonlet.collect()
        assert.equal(0, alive())
        assert.equal(3, closed)
    end)
end)

describe("what is held is not collected:", function()
    local roots = {
        ["a global"] = function(x, check)
            _G.held = x -- luacheck: ignore
            x = nil -- luacheck: ignore
            check()
            _G.held = nil -- luacheck: ignore
        end,
        ["a local"] = function(x, check)
            local held = x
            x = nil -- luacheck: ignore
            check()
            return held and nil
        end,
        ["a temporary"] = function(x, check)
            local function give()
                local y = x
                x = nil
                return y
            end
            return select("#", give(), check())
        end,
        ["an upvalue"] = function(x, check)
            local function f()
                return x
            end
            check()
            x = f and nil
        end,
        ["a variable argument"] = function(x, check)
            (function(...)
                check()
                return ...
            end)((function()
                local y = x
                x = nil
                return y
            end)())
        end,
        ["the registry"] = function(x, check)
            local registry = debug.getregistry()
            registry.held = x
            x = nil -- luacheck: ignore
            check()
            registry.held = nil
        end,
        ["the metatable of a type"] = function(x, check)
            debug.setmetatable(0, { x })
            x = nil -- luacheck: ignore
            check()
            debug.setmetatable(0, nil)
        end,
        ["a hook"] = function(x, check)
            debug.sethook(function()
                return x
            end, "", 1000000)
            check()
            debug.sethook()
        end,
        ["a coroutine that runs"] = function(x, check)
            coroutine.wrap(function()
                local held = x
                x = nil -- luacheck: ignore
                coroutine.wrap(check)()
                return held
            end)()
        end,
        ["a coroutine that waits"] = function(x, check)
            local co = holders["a coroutine"](x)
            x = nil -- luacheck: ignore
            check()
            return co and nil
        end,
        ["the stack of the running greenlet"] = function(x, check)
            moonlet.greenlet(function()
                local held = x
                x = nil -- luacheck: ignore
                check()
                return held
            end):switch()
        end,
        ["the stack of its parent"] = function(x, check)
            moonlet.greenlet(function()
                local held = x
                x = nil -- luacheck: ignore
                moonlet.greenlet(check):switch()
                return held
            end):switch()
        end,
        ["a suspended greenlet that is held"] = function(x, check)
            local g = holders["a suspended greenlet"](x)
            x = nil -- luacheck: ignore
            check()
            g:switch()
        end,
        ["a variable of Python"] = function(x, check)
            namespace.held = x
            x = nil -- luacheck: ignore
            check()
            namespace.held = nil
        end,
        ["a variable of a Python function"] = function(x, check)
            local call = py.eval "lambda x, f: f()"
            local function give()
                local y = x
                x = nil
                return y
            end
            call(give(), check)
        end,
        ["a table that is held"] = function(x, check)
            local holder = { { x } }
            x = nil -- luacheck: ignore
            check()
            return holder and nil
        end,
        ["a key that is held"] = function(x, check)
            local key = {}
            private[key] = x
            x = nil -- luacheck: ignore
            check()
            private[key] = nil
        end,
        ["an object that is held"] = function(x, check)
            local holder = Thing() -- luacheck: ignore
            holder.x = { x }
            x = nil -- luacheck: ignore
            check()
            holder.x = nil -- luacheck: ignore
        end,
        ["an object that a table holds"] = function(x, check)
            local holder = Thing()
            holder.x = Thing()
            holder.x.x = x
            local t = { holder } -- luacheck: ignore
            holder, x = nil, nil -- luacheck: ignore
            check()
            t[1].x.x = nil -- luacheck: ignore
        end,
    }
    for name, hold in sorted(roots) do
        for which, member in ipairs { "the Python object", "the Lua value" } do
            it(member .. " by " .. name, function()
                local checked = 0
                apart(function()
                    hold(select(which, cycle(holders["a table"])), function()
                        for _, collect in sorted(collectors) do
                            collect()
                            assert.equal(2, alive())
                        end
                        local value = next(seen)
                        assert.equal(value, value[1].x)
                        checked = checked + 1
                    end)
                end)
                assert.equal(1, checked)
                moonlet.collect()
                assert.equal(0, alive())
            end)
        end
    end

    it("each member of a cycle through everything", function()
        for name, hold in sorted(holders) do
            apart(function()
                local held = select(2, cycle(hold))
                moonlet.collect()
                assert.equal(2, alive(), name)
                return held
            end)
            moonlet.collect()
            assert.equal(0, alive(), name)
        end
    end)
end)
