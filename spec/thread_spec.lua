-- Lua values in another thread of Python than their own.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, in_thread = py.eval, support.in_thread

describe("in another thread than that of the Lua state", function()
    local uses = support.python [[
        def call(t, other): t()
        def method(t, other): t.f()
        def item(t, other): t["x"]
        def field(t, other): t.x
        def get(t, other): t.get("x")
        def set_item(t, other): t["x"] = 1
        def set_field(t, other): t.x = 1
        def del_item(t, other): del t["x"]
        def del_field(t, other): del t.x
        def contains(t, other): "x" in t
        def length(t, other): len(t)
        def keys(t, other): list(t.keys())
        def values(t, other): list(t.values())
        def items(t, other): list(t.items())
        def names(t, other): dir(t)
        def copy(t, other): __import__("copy").copy(t)
        def enter(t, other):
            with t: pass
        def iterate(t, other):
            for x in t: pass
        def text(t, other): str(t)
        def equal(t, other): t == other
        def unequal(t, other): t != other
        def less(t, other): t < other
        def add(t, other): t + 1
        def add_to(t, other): 1 + t
        def power(t, other): t ** 2
        def negate(t, other): -t
        def invert(t, other): ~t
    ]]
    local refusal = "RuntimeError: a Lua value can only be used in the thread that runs its Lua state"

    for name in pairs(uses) do
        if not name:match "^__" then
            it("every use of a table is an error: " .. name, function()
                local called = false
                local t = setmetatable({ x = 1, f = print }, {
                    __index = function()
                        called = true
                    end,
                })
                assert.equal(refusal, in_thread(uses[name], t, setmetatable({}, getmetatable(t))))
                assert.is_false(called)
            end)
        end
    end

    it("every kind of value refuses", function()
        local call, text = uses.call, uses.text
        assert.equal(refusal, in_thread(call, function() end, nil))
        assert.equal(refusal, in_thread(eval "next", coroutine.create(print)))
        assert.equal(refusal, in_thread(text, io.stdout, nil))
    end)

    it("a method of a table that Python has bound refuses", function()
        local bound = eval("lambda t: t.get")({ x = 1 })
        assert.equal(refusal, in_thread(bound, "x"))
    end)

    it("an iterator from the right one refuses", function()
        local iterator = eval("lambda t: iter(t)")({ x = 1 })
        assert.equal(refusal, in_thread(eval "next", iterator))
    end)

    it("a value has its hash and is equal to itself", function()
        local t = {}
        local look = eval "lambda t: (hash(t), t == t, t != t, {t: 'it'}[t])"
        local hash, equal, unequal, it = in_thread(look, t)
        assert.equal("true false it", ("%s %s %s"):format(equal, unequal, it))
        assert.equal(py.builtins.hash(t), hash)
    end)

    it("the value can be held, compared by identity and shown", function()
        local t = {}
        local show = eval "lambda t: (repr(t), type(t).__name__, t is t, bool(t), callable(t))"
        local text, name, same, truth, callable = in_thread(show, t)
        assert.equal(("<moonlet.LuaTable at %p>"):format(t), text)
        assert.equal("LuaTable true true true", ("%s %s %s %s"):format(name, same, truth, callable))
    end)

    it("weak references work", function()
        local refer = eval "lambda t: (t, __import__('weakref').ref(t))"
        local pair = in_thread(eval "lambda f, t: [f(t)]", refer, {})
        local alive = eval "lambda pair: pair[0][1]() is pair[0][0]"
        assert.is_true(in_thread(alive, pair))
        local gone = eval "lambda pair: [pair.pop()[1]][0]() is None"
        assert.is_true(in_thread(gone, pair))
    end)

    it("dropping is fine", function()
        local weak = setmetatable({ {} }, { __mode = "v" })
        local box = eval "[]"
        box:append(weak[1])
        in_thread(eval "lambda box: box.clear()", box)
        box = nil -- luacheck: ignore
        support.collect()
        support.collect()
        assert.is_nil(weak[1])
    end)

    it("an error of Lua can be looked at", function()
        local e = support.error_of(eval "lambda f: f()", function()
            error { code = 5 }
        end)
        local boxed = eval("lambda f: exec_(f)", support.python [[
            def exec_(f):
                try:
                    f()
                except Exception as e:
                    return [e]
        ]])(function()
            error { code = 5 }
        end)
        assert.equal(5, e.code)
        assert.equal("{code = 5}", in_thread(eval "lambda box: str(box[0])", boxed))
        assert.equal(refusal, in_thread(eval "lambda box: box[0].value['code']", boxed))
    end)

    it("a Lua greenlet cannot be switched to", function()
        local new, started = moonlet.greenlet(print), moonlet.greenlet(support.pause)
        started:switch()
        for _, g in ipairs { new, started } do
            assert.matches(
                "^error: Cannot switch to a different thread",
                in_thread(eval "lambda g: g.switch()", g)
            )
            assert.matches(
                "^error: Cannot switch to a different thread",
                in_thread(eval "lambda g: g.throw()", g)
            )
            assert.is_false(in_thread(eval "lambda g: g.dead", g))
        end
        started:switch()
        assert.is_true(in_thread(eval "lambda g: g.dead", started))
    end)

    it("a Lua function cannot be the body of a greenlet", function()
        local start = eval "lambda f: __import__('greenlet').greenlet(f).switch()"
        assert.equal(refusal, in_thread(start, print))
    end)

    it("a Lua greenlet that is dropped ends in its own thread", function()
        local ended
        local box = eval "[]"
        do
            local g = moonlet.greenlet(function()
                local _ <close> = setmetatable({}, {
                    __close = function()
                        ended = in_thread(eval "lambda: 'closed'")
                    end,
                })
                support.pause()
            end)
            g:switch()
            box:append(g)
        end
        support.collect()
        in_thread(eval "lambda box: box.clear()", box)
        moonlet.greenlet(print):throw()
        support.collect()
        moonlet.greenlet(print):throw()
        assert.equal("closed", ended)
    end)
end)
