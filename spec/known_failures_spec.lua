-- What is known to go wrong in other bridges between Lua and Python, in one place. Most of it has
-- specs of its own elsewhere.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local error_of, message = support.error_of, support.message

local namespace = support.python [[
    import gc, weakref
    from greenlet import getcurrent
    import moonlet

    def call(f, *args, **kwargs):
        return f(*args, **kwargs)

    def catch(f, *args):
        try:
            f(*args)
        except Exception as e:
            return e

    def assign(proxy):
        proxy["a"] = 1

    def same(a, b):
        return a == b, hash(a) == hash(b), len({a, b}), a is b

    def keywords(*args, **kwargs):
        return repr((args, kwargs))

    class Thing:
        def method(self):
            return "called"

        def __getitem__(self, key):
            return "item"

    class Node:
        count = 0
        def __init__(self, table):
            Node.count += 1
            self.table = table
        def __del__(self):
            Node.count -= 1
]]
local call, catch = namespace.call, namespace.catch

describe("It does not happen that", function()
    it("a proxied coroutine that outlives its thread crashes", function()
        local held = py.builtins.list()
        -- The coroutine is made in a coroutine, in a greenlet: all of it is gone before it is used.
        moonlet.greenlet(function()
            coroutine.wrap(function()
                held:append(coroutine.create(function(x)
                    return coroutine.yield(x) + 1
                end))
            end)()
        end):switch()
        support.collect()
        local co = held[0]
        assert.equal("thread", type(co))
        assert.matches("^<moonlet.LuaThread ", py.builtins.repr(co))
        assert.is_true(py.builtins.hash(co) == py.builtins.hash(held[0]))
        assert.same({ true, 1 }, { coroutine.resume(co, 1) })
        assert.same({ true, 3 }, { coroutine.resume(co, 2) })
        assert.equal("dead", coroutine.status(co))
        held:clear()
        co = nil -- luacheck: ignore
        support.collect()
        assert.equal(0, #held)
    end)

    it("a coroutine of a Lua state that is closed crashes", function()
        assert.equal("<moonlet.LuaThread of a closed Lua state>\n", (support.child [[
            local py = require "moonlet".python
            py.exec "import atexit\nall = []\natexit.register(lambda: print(repr(all[0]), flush=True))"
            py.import "__main__".all:append(coroutine.create(print))
            os.exit(0, true)
        ]]))
    end)

    it("cycles through both languages are never collected", function()
        for _ = 1, 10 do
            local t = {}
            t.node = namespace.Node(t)
        end
        assert.is_true(namespace.Node.count > 0)
        moonlet.collect()
        assert.equal(0, namespace.Node.count)
    end)

    it("an object takes the identity of one that is gone", function()
        local first = py.builtins.list { 1 }
        local alive = {} -- some, so that the places of others are used again
        for i = 1, 2000 do
            local o = py.list { i }
            alive[i % 50] = o
            assert.equal(i, o[0])
            local t = { i }
            assert.is_true(rawequal(t, call(function(x)
                return x
            end, t)))
            if i % 200 == 0 then
                support.collect()
                assert.equal(i - 49, alive[(i + 1) % 50][0])
            end
        end
        assert.is_true(rawequal(first, call(function()
            return first
        end)))
        assert.is_false(rawequal(first, py.list { 1 }))
    end)

    it("Python code cannot pause its Lua caller", function()
        local pause = py.eval("lambda x: getcurrent().parent.switch(x)", namespace)
        local g = moonlet.greenlet(function()
            local sum = 0
            table.sort({ 3, 1, 2 }, function(a, b)
                sum = sum + pause(a)
                return a < b
            end)
            return "sum", sum
        end)
        local steps = 0
        local what, sum = g:switch()
        while not g.dead do
            steps = steps + 1
            what, sum = g:switch(1)
        end
        assert.equal("sum", what)
        assert.is_true(steps >= 2 and sum == steps)
    end)

    it("an error inside of a resumed coroutine arrives empty", function()
        local co = coroutine.wrap(function()
            coroutine.yield()
            error "what happened"
        end)
        co()
        assert.matches("known_failures_spec.lua:%d+: what happened", catch(co).value)
        co = coroutine.create(function()
            call(error, "deeper", 0)
        end)
        assert.same({ false, "deeper" }, { coroutine.resume(co) })
    end)

    it("an error table arrives as an empty message", function()
        local reason = { code = 1 }
        local e = catch(error, reason)
        assert.is_true(rawequal(reason, e.value))
        assert.not_equal("", py.builtins.str(e))
    end)

    it("the text of the traceback is glued into the message", function()
        local e = catch(error, "short", 0)
        assert.equal("short", py.builtins.str(e))
        assert.equal("short", error_of(call, error, "short", 0))
    end)

    it("Lua frames are missing in Python's tracebacks", function()
        local function culprit()
            error "here"
        end
        local e = catch(function()
            culprit()
        end)
        local names = py.eval([=[lambda e: " ".join(
            f.name for f in __import__("traceback").extract_tb(e.__traceback__))]=])(e)
        assert.matches("^catch .*culprit$", names)
    end)

    it("proxy['a'] = 1 aborts the process if __newindex raises", function()
        local proxy = setmetatable({}, {
            __newindex = function(_, key)
                error("no " .. key, 0)
            end,
        })
        assert.equal("no a", message(namespace.assign, proxy))
        assert.is_nil(rawget(proxy, "a"))
    end)

    it("operators, #, ==, pairs and <close> are errors for Python objects", function()
        local list = py.list { 1, 2 }
        assert.equal("[1, 2, 1, 2]", tostring(list + list))
        assert.equal(2, #list)
        assert.is_true(list == py.list { 1, 2 })
        local sum = 0
        for i, x in pairs(list) do
            sum = sum + i + x
        end
        assert.equal(4, sum)
        local stream = py.import("io").StringIO()
        do
            local _ <close> = stream
        end
        assert.is_true(stream.closed)
    end)

    it("keyword arguments are refused or ignored", function()
        assert.equal("((1,), {'a': 2})", namespace.keywords(1, py.kw { a = 2 }))
        assert.equal("((), {'a': 2})", call(namespace.keywords, py.kw { a = 2 }))
        assert.same({ 1, 2 }, {
            call(function(x, keywords)
                return x, keywords.a
            end, 1, py.kw { a = 2 }),
        })
    end)

    it("binary strings raise", function()
        local binary = "\xff\0\xfe"
        assert.equal(binary, call(function(s)
            return s
        end, binary))
        assert.equal("b'\\xff\\x00\\xfe'", py.builtins.repr(binary))
        assert.equal(binary, py.eval "b'\\xff\\x00\\xfe'")
    end)

    it("a bound method is taken for what has items", function()
        local thing = namespace.Thing()
        assert.equal("called", thing:method())
        assert.equal("called", thing.method())
        assert.equal("item", thing[1])
        assert.equal("method", thing.method.__name__)
        assert.matches("^TypeError: 'method' object is not subscriptable", message(function()
            return thing.method[1]
        end))
    end)

    it("a missing key is an error here and nil there", function()
        assert.is_nil(py.dict({ a = 1 }).b)
        assert.matches("^AttributeError", message(function()
            return namespace.Thing.missing
        end))
        assert.equal("None", py.builtins.repr(call(py.eval "lambda t: t['missing']", {})))
    end)

    it("2**70 becomes -1", function()
        assert.equal("1180591620717411303424", tostring(py.eval "2**70"))
        assert.is_true(py.eval "2**70" > 0)
        assert.equal(1 << 40, py.eval "2**70" >> 30)
    end)

    it("a table that is in two places becomes an empty one", function()
        local shared = { 1, 2 }
        local copy = py.list { shared, shared, { shared } }
        assert.equal("[[1, 2], [1, 2], [[1, 2]]]", tostring(copy))
        assert.is_true(rawequal(copy[0], copy[1]) and rawequal(copy[0], copy[2][0]))
        local seen = call(py.eval "lambda t: (t['a'][1], t['b'][1], t['a'] == t['b'])", {
            a = shared,
            b = shared,
        })
        assert.equal(1, seen)
    end)

    it("two proxies of one table differ", function()
        for _, value in ipairs { {}, print, io.stdout, coroutine.create(print) } do
            assert.same({ true, true, 1, true }, { namespace.same(value, value) })
        end
    end)

    it("a table is no Mapping and no Sequence, and binary data no buffer", function()
        local abc = py.import "collections.abc"
        assert.is_true(py.isinstance({}, abc.Mapping))
        local sequence = py.import("moonlet").LuaSequence { 1, 2, 3 }
        assert.is_true(py.isinstance(sequence, abc.Sequence))
        assert.equal("[2, 3]", tostring(sequence[py.slice(1, nil)]))
        assert.equal(255, py.memoryview("\xff")[0])
    end)

    it("C extensions of Python miss symbols of libpython", function()
        assert.equal(3, py.import("_ctypes").sizeof(py.import("ctypes").c_char * 3))
        assert.equal("abc", (py.import("_struct").unpack("3s", py.bytes "abc")))
    end)

    it("what is guarded as an attribute is reached as an item, by a call or a builtin", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            local secret = moonlet.python.eval "{'__secret': 1}"
            local thing = moonlet.python.import("types").SimpleNamespace(
                moonlet.python.kw { __secret = 1 })
            moonlet.open {
                filter = function(_, _, name)
                    return not (type(name) == "string" and name:find "^__secret")
                end,
            }
            local py = moonlet.python
            for _, f in ipairs {
                function() return secret["__secret"] end,
                function() return py.item(secret, "__secret") end,
                function() return thing.__secret end,
                function() return thing:__secret() end,
                function() return py.attr(thing, "__secret") end,
                function() thing.__secret = 2 end,
                function() py.delattr(thing, "__secret") end,
                function() return py.contains(secret, "__secret") end,
            } do
                local ok, e = pcall(f)
                print(ok, (tostring(e):gsub(":.*", "")))
            end
        ]]
        assert.equal(("false\tPermissionError\n"):rep(8), output)
    end)
end)
