-- Tables with a metatable that is known to the scheduler are of a class of their own in Python.

local moonlet = require "moonlet"
local support = require "spec.support"
local native = require "moonlet.native"

describe("a Python class for tables", function()
    local namespace = support.python [[
        import gc, sys
        from moonlet import LuaTable

        class Good(LuaTable):
            __slots__ = ()

            def double(self):
                return 2 * self["n"]

        class WithDict(LuaTable):
            pass

        class WithSlots(LuaTable):
            __slots__ = ("x",)

        def references():
            return sys.getrefcount(Good)

        def sees(f, n):
            for i in range(n):
                t = f(i)
                assert type(t) is Good and t.double() == 2 * i
    ]]

    it("must have no room for attributes", function()
        local expected = "bad argument #2 to '?' (subclass of LuaTable with empty __slots__ expected)"
        for _, name in ipairs { "WithDict", "WithSlots" } do
            assert.equal(expected, support.message(function()
                native.set_class({}, namespace[name])
            end):gsub("to '[%w_]+'", "to '?'"), name)
        end
        assert.matches("subclass of LuaTable", support.message(native.set_class, {}, moonlet.python.builtins.int))
    end)

    it("is the type of their proxies, which come and go among those of other types", function()
        local meta = {}
        native.set_class(meta, namespace.Good)
        local before = namespace.references()
        local others = {}
        for round = 1, 20 do
            namespace.sees(function(i)
                others[i % 50] = moonlet.python.builtins.id({}) -- a proxy of a plain table
                return setmetatable({ n = i }, meta)
            end, 100)
            others[round] = nil
        end
        support.collect()
        assert.is_true(next(others) ~= nil)
        assert.is_true(math.abs(namespace.references() - before) < 5)
    end)
end)
