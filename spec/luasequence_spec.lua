-- Lua tables as sequences of Python: moonlet.LuaSequence.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

--- Evaluates a Python expression with these names; as text.
local function value(expression, names)
    return py.builtins.repr(py.eval(expression, py.builtins.dict(py.kw(names or {}))))
end

--- Runs Python statements with these names.
local function run(code, names)
    py.exec(code, py.builtins.dict(py.kw(names)))
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

--- A table that has its fields in another one: reading and writing them are functions.
local function proxy(fields)
    return setmetatable({}, {
        __index = fields,
        __newindex = fields,
        __pairs = function()
            return next, fields
        end,
        __len = function()
            return #fields
        end,
    })
end

describe("a LuaSequence", function()
    local LuaSequence = py.import("moonlet").LuaSequence

    --- The table after these statements on a sequence of it.
    local function after(code, t)
        run(code, { s = LuaSequence(t) })
        return t
    end

    it("is a MutableSequence over 1 to #t, from 0", function()
        local s = LuaSequence { 10, 20, 30, x = 1 }
        assert.equal("(3, 10, 30, 30)", value("len(s), s[0], s[2], s[-1]", { s = s }))
        assert.equal("True", value(
            "isinstance(s, __import__('collections.abc').abc.MutableSequence)", { s = s }
        ))
        assert.equal("[10, 20, 30] [30, 20, 10]", value("f'{list(s)} {list(reversed(s))}'", { s = s })
            :match "^'(.*)'$")
        assert.equal("(True, False, 1, 1)", value("20 in s, 1 in s, s.index(20), s.count(30)", { s = s }))
        assert.equal("LuaSequence([10, 20, 30])", value("s", { s = s }))
    end)

    it("knows its table", function()
        local t = {}
        assert.equal(t, LuaSequence(t).table)
    end)

    it("has slices", function()
        local s = LuaSequence { 10, 20, 30, 40 }
        assert.equal(
            "([20, 30], [40, 30, 20, 10], [10, 30], [])",
            value("s[1:3], s[::-1], s[::2], s[5:]", { s = s })
        )
    end)

    it("assigns to items and slices", function()
        assert.same({ 1, 2, "c" }, after("s[0] = 1; s[-1] = 'c'", { 0, 2, 3 }))
        assert.same({ 1, 7, 8, 9, 4 }, after("s[1:3] = (7, 8, 9)", { 1, 2, 3, 4 }))
        assert.same({ 1, 7, 4 }, after("s[1:3] = [7]", { 1, 2, 3, 4 }))
        assert.same({ 7, 2, 8, 4 }, after("s[::2] = [7, 8]", { 1, 2, 3, 4 }))
        assert.same({ 1, 9, 2 }, after("s[1:0] = [9]", { 1, 2 }))
        assert.same({ 2, 1 }, after("s[:] = s[::-1]", { 1, 2 }))
    end)

    it("removes items and slices", function()
        assert.same({ 2 }, after("del s[0], s[-1]", { 1, 2, 3 }))
        assert.same({ 1, 4 }, after("del s[1:3]", { 1, 2, 3, 4 }))
        assert.same({ 2, 4 }, after("del s[::2]", { 1, 2, 3, 4, 5 }))
        assert.same({ x = 1 }, after("s.clear()", { 1, 2, x = 1 }))
        assert.same({ 1, 3 }, after("s.remove(2)", { 1, 2, 3 }))
        assert.same({ 2 }, after("assert (s.pop(), s.pop(0)) == (3, 1)", { 1, 2, 3 }))
    end)

    it("grows", function()
        assert.same({ 1, 2, 3 }, after("s.append(2); s += [3]", { 1 }))
        assert.same({ 1, 2, 1, 2 }, after("s.extend(s)", { 1, 2 }))
        assert.same({ 0, 1, 1.5, 2, 3 }, after(
            "s.insert(0, 0); s.insert(-1, 1.5); s.insert(99, 3)", { 1, 2 }
        ))
    end)

    it("is reversed", function()
        assert.same({ 3, 2, 1 }, after("s.reverse()", { 1, 2, 3 }))
    end)

    it("is iterated live", function()
        assert.same({ 1, 2, 3, 4 }, after("for x in s:\n if x < 4: s.append(x + 1)", { 1 }))
    end)

    it("obeys metamethods", function()
        local fields = { 1, 2, 3 }
        local t = proxy(fields)
        run("s.insert(1, 9); s.append(4); del s[0]", { s = LuaSequence(t) })
        assert.same({ 9, 2, 3, 4 }, fields)
        assert.is_nil(next(t))
    end)

    it("has a list's errors", function()
        local names = { s = LuaSequence { 1 }, LuaSequence = LuaSequence }
        for _, code in ipairs { "s[1]", "s[-2]", "s[1] = 0", "del s[1]" } do
            assert.equal("IndexError: LuaSequence index out of range", fails(code, names))
        end
        assert.matches("^TypeError: 'str' object cannot be interpreted", fails("s['x']", names))
        assert.equal(
            "ValueError: attempt to assign sequence of size 2 to extended slice of size 1",
            fails("s[::2] = [1, 2]", names)
        )
        assert.matches("^ValueError", fails("s.remove(5)", names))
        assert.matches("^IndexError", fails("LuaSequence(t).pop()", { LuaSequence = LuaSequence, t = {} }))
    end)

    it("cannot hold None", function()
        local t = { 1 }
        for _, code in ipairs {
            "s[0] = None", "s[:] = [None]", "s[::1] = [None]", "s.append(None)", "s.insert(0, None)",
            "s.extend([2, None])",
        } do
            assert.equal(
                "TypeError: a LuaSequence cannot hold None, which is nil in Lua",
                fails(code, { s = LuaSequence(t) })
            )
            assert.same({ 1 }, t)
        end
    end)

    it("is of tables only", function()
        assert.equal(
            "TypeError: expected a moonlet.LuaTable, not moonlet.LuaFunction",
            message(LuaSequence, print)
        )
    end)

    it("passes errors of metamethods on", function()
        local t = setmetatable({}, {
            __len = function() return 1 end,
            __index = function() error("index", 0) end,
            __newindex = function() error("newindex", 0) end,
        })
        local names = { s = LuaSequence(t) }
        assert.equal("index", fails("s[0]", names))
        assert.equal("newindex", fails("s[0] = 1", names))
        assert.equal("newindex", fails("del s[0]", names))
        assert.equal("index", fails("s.insert(0, 1)", names))
        assert.equal("newindex", fails("s.append(1)", names))
    end)
end)
