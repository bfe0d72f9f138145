-- Greenlets as Lua sees them.

local moonlet = require "moonlet"
local support = require "spec.support"
local spawn, pause, message = moonlet.greenlet, support.pause, support.message

local function values(...)
    return { n = select("#", ...), ... }
end

describe("switch", function()
    it("starts a greenlet with the arguments of its function", function()
        local g = spawn(function(...)
            return values(...)
        end)
        assert.same({ n = 3, 1, nil, "x" }, g:switch(1, nil, "x"))
    end)

    it("returns what is switched back", function()
        local g = spawn(function()
            pause(1, nil, 3, nil)
        end)
        assert.same({ n = 4, 1, nil, 3, nil }, values(g:switch()))
    end)

    it("resumes where the greenlet left off, with new values", function()
        local g = spawn(function(a)
            local b = pause(a + 1)
            local c, d = pause(b + 1)
            return c + d
        end)
        assert.equal(2, g:switch(1))
        assert.equal(11, g:switch(10))
        assert.equal(3, g:switch(1, 2))
        assert.is_true(g.dead)
    end)

    it("passes no values where none are given", function()
        local got
        local g = spawn(function(...)
            got = { values(...), values(pause()) }
        end)
        assert.same({ n = 0 }, values(g:switch()))
        assert.same({ n = 0 }, values(g:switch()))
        assert.same({ { n = 0 }, { n = 0 } }, got)
    end)

    it("passes many values", function()
        local many = {}
        for i = 1, 10000 do
            many[i] = i
        end
        local g = spawn(function(...)
            return select("#", ...), pause(...)
        end)
        assert.same(many, { g:switch(table.unpack(many)) })
        local count, first = g:switch(table.unpack(many))
        assert.equal(10000, count)
        assert.equal(1, first)
    end)

    it("fails where the stack has no room for the values", function()
        local native = require "moonlet.native"
        local many = {}
        for i = 1, 900000 do
            many[i] = i
        end
        local function send()
            moonlet.current().parent:switch(table.unpack(many))
        end
        local function deep(level, f, ...)
            if level == 0 then
                return f(...)
            end
            return (deep(level - 1, f, ...))
        end
        local text = "stack overflow (too many values passed to a greenlet)"
        local depth = 40000
        local g = spawn(send)
        assert.equal(text, message(deep, depth, g.switch, g))
        local ended, ok, origin, err
        deep(depth, function(to)
            ended, ok, origin, err = native.resume(to)
        end, spawn(send))
        assert.same({ false, false, "userdata", text }, { ended, ok, type(origin), err })
    end)

    it("to oneself returns the arguments", function()
        assert.same({ n = 2, "a", "b" }, values(moonlet.current():switch("a", "b")))
        local g = spawn(function()
            return moonlet.current():switch("self")
        end)
        assert.equal("self", g:switch())
    end)

    it("goes to any greenlet, not only to a parent or child", function()
        local log = {}
        local a, b
        a = spawn(function()
            log[#log + 1] = "a"
            local x = b:switch "from a"
            log[#log + 1] = x
            return "a ends"
        end)
        b = spawn(function(x)
            log[#log + 1] = x
            return a:switch "from b"
        end)
        assert.equal("a ends", a:switch())
        assert.same({ "a", "from a", "from b" }, log)
        assert.is_true(a.dead)
        assert.is_false(b.dead)
    end)

    it("passes any Lua value by identity", function()
        local t, f, co = {}, print, coroutine.create(print)
        local g = spawn(function(...)
            return ...
        end)
        local a, b, c, d = g:switch(t, f, co, io.stdout)
        assert.is_true(rawequal(a, t) and b == f and c == co and d == io.stdout)
    end)
end)

describe("the end of a greenlet", function()
    it("passes its results to the parent", function()
        local g = spawn(function()
            return 1, nil, 3
        end)
        assert.same({ n = 3, 1, nil, 3 }, values(g:switch()))
        assert.is_true(g.dead)
    end)

    it("passes an error to the parent", function()
        local g = spawn(function()
            error({ code = 7 })
        end)
        assert.same({ code = 7 }, support.error_of(g.switch, g))
        assert.is_true(g.dead)
    end)

    it("passes an error to a grandparent if the parent is dead", function()
        local parent = spawn(function() end)
        local g = spawn(function()
            error("up", 0)
        end, parent)
        parent:switch()
        assert.equal("up", message(g.switch, g))
    end)

    it("goes to the parent, whoever switched last", function()
        local log = {}
        local parent = spawn(function(child)
            local x = child:switch()
            log[#log + 1] = x
            return "parent done"
        end)
        local child = spawn(function()
            moonlet.current().parent.parent:switch "out"
            return "to parent"
        end, parent)
        assert.equal("out", parent:switch(child))
        assert.equal("parent done", child:switch())
        assert.same({ "to parent" }, log)
    end)

    it("starts a parent that is new, with the results as arguments", function()
        local parent = spawn(function(...)
            return "parent got", ...
        end)
        local g = spawn(function()
            return 1, 2
        end, parent)
        assert.same({ n = 3, "parent got", 1, 2 }, values(g:switch()))
        assert.is_true(parent.dead)
    end)

    it("makes switches to it go to its nearest living ancestor", function()
        local g = spawn(function() end)
        g:switch()
        assert.same({ n = 2, "x", nil }, values(g:switch("x", nil)))

        local middle = spawn(function()
            return pause "ready"
        end)
        assert.equal("ready", middle:switch())
        local leaf = spawn(function() end, middle)
        leaf.parent = moonlet.current()
        leaf:switch()
        leaf.parent = middle
        assert.equal("forwarded", leaf:switch "forwarded")
        assert.is_true(middle.dead)
    end)
end)

describe("throw", function()
    it("raises the value where the greenlet is suspended", function()
        local g = spawn(function()
            local ok, err = pcall(pause)
            return ok, err
        end)
        g:switch()
        assert.same({ n = 2, false, "ouch" }, values(g:throw "ouch"))
    end)

    it("keeps the identity of the value", function()
        local value = {}
        local g = spawn(function()
            pause()
        end)
        g:switch()
        assert.equal(value, support.error_of(g.throw, g, value))
    end)

    it("without a value throws GreenletExit, which the parent gets as a result", function()
        local g = spawn(function()
            pause()
        end)
        g:switch()
        local exit = g:throw()
        assert.is_true(g.dead)
        assert.equal("greenlet.GreenletExit", tostring(exit))
        assert.is_true(moonlet.python.isinstance(exit, moonlet.GreenletExit))
    end)

    it("of GreenletExit can be caught and even survived", function()
        local g = spawn(function()
            local ok, err = pcall(pause)
            return pause(ok, tostring(err))
        end)
        g:switch()
        assert.same({ n = 2, false, "greenlet.GreenletExit" }, values(g:throw()))
        assert.is_false(g.dead)
        assert.equal("end", g:switch "end")
    end)

    it("runs the to-be-closed variables on its way", function()
        local closed
        local g = spawn(function()
            local _ <close> = setmetatable({}, {
                __close = function(_, err)
                    closed = tostring(err)
                end,
            })
            pause()
        end)
        g:switch()
        g:throw()
        assert.equal("greenlet.GreenletExit", closed)
    end)

    it("ends a new greenlet before it starts", function()
        local started = false
        local g = spawn(function()
            started = true
        end)
        assert.equal("early", message(g.throw, g, "early"))
        assert.is_true(g.dead)
        assert.is_false(started)
    end)

    it("into a dead greenlet raises at its ancestor", function()
        local g = spawn(function() end)
        g:switch()
        assert.equal("late", message(g.throw, g, "late"))
    end)

    it("of GreenletExit into a dead greenlet returns it", function()
        local g = spawn(function() end)
        g:switch()
        assert.equal("greenlet.GreenletExit", tostring(g:throw()))
    end)

    it("to oneself is an error like any other", function()
        local me = moonlet.current()
        assert.equal("self", message(me.throw, me, "self"))
    end)

    it("takes Python's exceptions, as class or instance", function()
        local builtins = moonlet.python.builtins
        local function fresh()
            local g = spawn(function()
                pause()
            end)
            g:switch()
            return g
        end
        local g = fresh()
        assert.equal("KeyError", message(g.throw, g, builtins.KeyError))
        local e = builtins.ValueError "mine"
        g = fresh()
        assert.equal(e, support.error_of(g.throw, g, e))
    end)
end)

describe("parent", function()
    it("is the greenlet that made it", function()
        local inner
        local outer = spawn(function()
            inner = spawn(function() end)
        end)
        outer:switch()
        assert.equal(outer, inner.parent)
        assert.equal(moonlet.current(), outer.parent)
    end)

    it("is the second argument if given", function()
        local a = spawn(function() end)
        assert.equal(a, spawn(function() end, a).parent)
    end)

    it("of the main greenlet is nil", function()
        local g = moonlet.current()
        while g.parent do
            g = g.parent
        end
        assert.is_nil(g.parent)
        assert.matches("^greenlet: 0x%x+ %(main, ", tostring(g))
    end)

    it("can be set", function()
        local log = {}
        local other = spawn(function(x)
            log[#log + 1] = x
            return "other ends"
        end)
        local g = spawn(function()
            return "result"
        end)
        g.parent = other
        assert.equal(other, g.parent)
        assert.equal("other ends", g:switch())
        assert.same({ "result" }, log)
    end)

    it("cannot be a descendant", function()
        local a = spawn(function() end)
        local b = spawn(function() end, a)
        local function set(g, parent)
            g.parent = parent
        end
        assert.equal("cyclic parent chain", message(set, a, b))
        assert.equal("cyclic parent chain", message(set, a, a))
        assert.equal(moonlet.current(), a.parent)
    end)

    it("cannot be anything but a greenlet", function()
        local g = spawn(function() end)
        local function set(value)
            g.parent = value
        end
        local text = "bad value for 'parent' (greenlet expected, got %s)"
        assert.equal(text:format "number", message(set, 1))
        assert.equal(text:format "nil", message(set, nil))
        assert.equal(text:format "table", message(set, {}))
        assert.equal(moonlet.current(), g.parent)
    end)

    it("of the main greenlet cannot be set", function()
        local g = spawn(function() end)
        local main = moonlet.current()
        while main.parent do
            main = main.parent
        end
        local function set()
            main.parent = g
        end
        assert.equal("cannot set the parent of a main greenlet", message(set))
    end)
end)

describe("dead", function()
    it("is false until the greenlet has ended", function()
        local g = spawn(function()
            pause()
        end)
        assert.is_false(g.dead)
        g:switch()
        assert.is_false(g.dead)
        g:switch()
        assert.is_true(g.dead)
    end)

    it("cannot be set, nor can the methods", function()
        local g = spawn(function() end)
        for _, name in ipairs { "dead", "switch", "throw" } do
            local function set()
                g[name] = 1
            end
            assert.equal("cannot set '" .. name .. "' of a greenlet", message(set))
        end
    end)
end)

describe("a greenlet as a value", function()
    it("is the same each time it is seen", function()
        local seen
        local g = spawn(function()
            seen = moonlet.current()
        end)
        g:switch()
        assert.is_true(rawequal(g, seen))
        assert.is_true(rawequal(moonlet.current(), moonlet.current()))
    end)

    it("tells its state as text", function()
        local g = spawn(function()
            pause(tostring(moonlet.current()))
        end)
        assert.matches("^greenlet: 0x%x+ %(new%)$", tostring(g))
        assert.matches("^greenlet: 0x%x+ %(running%)$", (g:switch()))
        assert.matches("^greenlet: 0x%x+ %(suspended%)$", tostring(g))
        g:throw()
        assert.matches("^greenlet: 0x%x+ %(dead%)$", tostring(g))
    end)

    it("may have attributes of the user's", function()
        local g = spawn(function() end)
        g.name = "worker"
        assert.equal("worker", g.name)
    end)

    it("is made of a function or another callable", function()
        local callable = setmetatable({}, {
            __call = function(_, x)
                return x
            end,
        })
        assert.equal("called", spawn(callable):switch "called")
        assert.equal(3, spawn(moonlet.python.builtins.len):switch "abc")
    end)
end)

describe("a switch between the languages", function()
    local long = ("x"):rep(100)
    local cases = {
        { "()" },
        { "None", nil },
        { "True", true },
        { "7", 7 },
        { "0.5", 0.5 },
        { "'a'", "a" },
        { "'" .. long .. "'", long },
        { "(1, None)", 1, nil },
        { "(None, 'b')", nil, "b" },
        { "(1, '" .. long .. "')", 1, long },
    }
    local py = moonlet.python
    local ns = support.python [[
        def echo(*args):
            parent = __import__("greenlet").getcurrent().parent
            while True:
                args = parent.switch(repr(args))
    ]]

    local function sent(case)
        return table.unpack(case, 2, case.n)
    end

    for _, case in ipairs(cases) do
        case.n = case[1]:find ", " and 3 or case[1] == "()" and 1 or 2
        it("brings Python " .. case[1], function()
            local g = spawn(ns.echo)
            assert.equal(case.n == 2 and "(" .. case[1] .. ",)" or case[1], (g:switch(sent(case))))
            for _ = 1, 3 do assert.equal(case[1], (g:switch(sent(case)))) end
        end)

        it("brings Lua " .. case[1], function()
            local main = moonlet.current()
            local switch = py.eval "lambda g, *args: g.switch(*args)"
            local g = spawn(function(...)
                local got = values(...)
                while true do got = values(main:switch(got)) end
            end)
            for _ = 1, 3 do
                assert.same({ n = case.n - 1, sent(case) }, switch(g, sent(case)))
            end
        end)
    end

    it("brings Lua keyword arguments alone", function()
        local g = spawn(function()
            return pause().k
        end)
        g:switch()
        assert.equal(1, py.eval "lambda g: g.switch(k=1)"(g))
    end)
end)

describe("a greenlet that is dropped while suspended", function()
    local function dropped(f)
        local g = spawn(f)
        g:switch()
        g = nil -- luacheck: ignore
        support.collect()
        spawn(function() end):switch()
    end

    it("is ended by GreenletExit", function()
        local log = {}
        dropped(function()
            local ok, err = pcall(pause)
            log[1] = ok
            log[2] = tostring(err)
        end)
        assert.same({
            false,
            "greenlet.GreenletExit: Killing the greenlet because all references have vanished.",
        }, log)
    end)

    it("closes its to-be-closed variables", function()
        local closed = false
        dropped(function()
            local _ <close> = setmetatable({}, {
                __close = function()
                    closed = true
                end,
            })
            pause()
        end)
        assert.is_true(closed)
    end)

    it("may switch once more on its way out", function()
        local log = {}
        dropped(function()
            pcall(pause)
            log[1] = spawn(function()
                return "still works"
            end):switch()
        end)
        assert.same({ "still works" }, log)
    end)
end)

describe("bad input:", function()
    local function not_callable(value)
        return message(moonlet.greenlet, value)
    end
    local argument = "bad argument #1 to '%s' (%s expected, got %s)"

    it("a greenlet of what cannot be called", function()
        local text = argument:format("moonlet.greenlet", "function or Python callable", "%s")
        assert.equal(text:format "nil", not_callable(nil))
        assert.equal(text:format "number", not_callable(1))
        assert.equal(text:format "table", not_callable {})
        assert.equal(text:format "Python object", not_callable(moonlet.python.builtins.object()))
    end)

    it("a parent that is no greenlet", function()
        assert.equal(
            "bad argument #2 to 'moonlet.greenlet' (greenlet expected, got string)",
            message(moonlet.greenlet, print, "parent")
        )
    end)

    it("a switch to what is no greenlet", function()
        local switch = moonlet.current().switch
        local function to(...)
            switch(...)
        end
        assert.equal(argument:format("switch", "greenlet", "no value"), message(to))
        assert.equal(argument:format("switch", "greenlet", "number"), message(to, 1))
        assert.equal(argument:format("switch", "greenlet", "FILE*"), message(to, io.stdout))
        local function method(file)
            file:switch()
        end
        local text = message(method, io.stdout)
        assert.matches("attempt to call a nil value %(method 'switch'%)", text)
    end)

    it("an attribute that greenlets do not have", function()
        local g = spawn(function() end)
        local function get()
            return g.nothing
        end
        assert.equal(
            "AttributeError: 'greenlet.greenlet' object has no attribute 'nothing'",
            message(get)
        )
    end)

    it("a switch inside a finalizer", function()
        local text
        do
            local g = spawn(function() end)
            setmetatable({}, {
                __gc = function()
                    text = message(g.switch, g)
                end,
            })
        end
        support.collect()
        assert.equal("cannot switch to another greenlet inside a finalizer (__gc)", text)
    end)
end)
