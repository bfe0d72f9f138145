-- moonlet.open: what a host lets scripts do. It is said once in a Lua state, so in child processes.

local support = require "spec.support"

-- What code prints after moonlet.open has been called with these settings, Lua source.
local function limited(settings, code)
    local prelude = [[
        local moonlet = require "moonlet"
        local py = moonlet.python
        local builtins = py.builtins
        py.exec "class C:\n    x = 1\n    def m(self, *args): return len(args)\n\nc = C()"
        local c, dict, list = py.eval "c", py.eval "{'k': 1}", py.eval "[1, 2, 3]"
        py.exec "class Strange:\n    def __getitem__(self, key): return key"
        local strange, callable = py.eval "Strange()", py.eval "lambda *args: len(args)"
        local asked, same, count = {}, nil, nil
        local function try(f, ...)
            local result = table.pack(pcall(f, ...))
            for i = 1, result.n do result[i] = tostring(result[i]) end
            print(table.concat(result, " "))
        end
        moonlet.open(]]
    local output, status = support.child(prelude .. settings .. ")\n" .. code)
    assert.equal(0, status, output)
    return (output:gsub("\n$", ""))
end

-- A filter that allows everything and keeps what it was asked, as "access name".
local recorder = [[{
    filter = function(object, access, name)
        table.insert(asked, access .. (name == nil and "" or " " .. tostring(name)))
        return true
    end,
}]]

describe("moonlet.open", function()
    it("gives the module, and changes nothing without settings", function()
        local moonlet = require "moonlet"
        assert.equal(moonlet, moonlet.open())
        assert.equal(moonlet, moonlet.open {})
    end)

    it("takes settings once", function()
        assert.equal(
            "false SCRIPT:16: moonlet.open has been called with settings before",
            limited(
                "{ memory = 1 << 30 }",
                "try(function()\nmoonlet.open { filter = print }\nend)"
            )
        )
    end)

    it("refuses what is no setting", function()
        local moonlet = require "moonlet"
        local message = support.message
        assert.equal("moonlet.open has no setting 'memroy'", message(moonlet.open, { memroy = 1 }))
        assert.equal("moonlet.open has no setting '1'", message(moonlet.open, { "json" }))
        assert.equal(
            "bad value for 'memory' (positive number of bytes expected, got string)",
            message(moonlet.open, { memory = "much" })
        )
        assert.equal(
            "bad value for 'memory' (positive number of bytes expected, got number)",
            message(moonlet.open, { memory = 0 })
        )
        assert.equal(
            "bad value for 'modules' (list of names expected, got string)",
            message(moonlet.open, { modules = "json" })
        )
        assert.equal(
            "TypeError: names in 'modules' must be strings, not number",
            message(moonlet.open, { modules = { 1 } })
        )
        assert.equal(
            "TypeError: filter must be callable, not int",
            message(moonlet.open, { filter = 1 })
        )
        assert.equal(
            "bad value for 'eval' (boolean expected, got number)",
            message(moonlet.open, { eval = 1 })
        )
        assert.matches("^bad argument #1 to .+ %(table expected, got number%)$", message(moonlet.open, 1))
    end)
end)

describe("a filter", function()
    local function asked(code)
        return limited(recorder, code .. '\nprint(table.concat(asked, ", "))')
    end

    it("is asked for attributes, also those of builtins", function()
        assert.equal(
            "getattr x, setattr y, getattr len, getattr x",
            asked "local _ = c.x c.y = 2 _ = builtins.len py.attr(c, 'x')"
        )
    end)

    it("is asked for items", function()
        assert.equal(
            "getitem 0, setitem 0, getitem k, setitem k",
            asked "local _ = list[0] list[0] = 1 _ = dict.k dict.k = 1"
        )
    end)

    it("is asked for the attribute where an item is missing, and the reverse", function()
        assert.equal(
            "getitem keys, getattr keys, getattr name, getitem name",
            asked [[
                local _ = dict.keys
                local named = strange.name]]
        )
    end)

    it("is asked for calls, of methods too", function()
        assert.equal("getattr m, call, call", asked "c:m(1) callable()")
    end)

    it("is asked for imports and code", function()
        assert.equal(
            "import json, eval 1 + 1, exec pass",
            asked "py.import 'json' py.eval '1 + 1' py.exec 'pass'"
        )
    end)

    it("is asked for operators and iteration", function()
        assert.equal(
            "operator __len, operator __add, operator __add, operator __eq, operator __eq, "
                .. "operator __lt, operator __tostring, operator iter, operator next, "
                .. "operator __pairs, operator next",
            asked [[
                local _ = #list, list + list, list == dict, pcall(function() return list < 1 end)
                tostring(list)
                for _ in py.iter(list) do break end
                for _ in pairs(list) do break end]]
        )
    end)

    it("is asked for what functions of py do with objects", function()
        assert.equal(
            "getitem k, setitem k, delitem k, setattr y, delattr y, contains 1",
            asked [[
                py.item(dict, "k")
                py.setitem(dict, "k", 2)
                py.delitem(dict, "k")
                py.setattr(c, "y", 1)
                py.delattr(c, "y")
                py.contains(list, 1)]]
        )
        assert.equal(
            "operator list, operator set, operator table, operator table",
            asked "py.list { 1, { 2 } } py.list(list) py.set(list) moonlet.table(py.dict { k = py.list() })"
        )
        assert.equal(
            "operator buffer, operator memoryview",
            asked "pcall(py.buffer, list) pcall(py.memoryview, list) py.memoryview 'text'"
        )
        assert.equal(
            "operator with, operator __close",
            asked "pcall(py.with, list) pcall(function() local _ <close> = list end)"
        )
    end)

    it("is asked for greenlets that run a Python function", function()
        assert.equal("call", asked "moonlet.greenlet(callable)")
    end)

    it("is told the object", function()
        assert.equal(
            "true",
            limited(
                "{ filter = function(object) same = rawequal(object, c) return true end }",
                "local _ = c.x print(same)"
            )
        )
    end)

    it("forbids with false or nil", function()
        assert.equal(
            [[
false PermissionError: getattr of 'x' of a 'C' object is not permitted
false PermissionError: call of a 'type' object is not permitted
false PermissionError: import of 'os' is not permitted
false PermissionError: getitem of a 'list' object is not permitted
false PermissionError: setitem of a 'list' object is not permitted
false PermissionError: getattr of 'm' of a 'C' object is not permitted
false PermissionError: operator of '__len' of a 'list' object is not permitted
false PermissionError: exec of 'pass' is not permitted
false PermissionError: call of a 'function' object is not permitted
true 1]],
            limited("{ filter = function(_, _, name) return name == 'int' or name == 0.5 end }", [[
                try(function() return c.x end)
                try(function() return builtins.int() end)
                try(py.import, "os")
                try(function() return list[0] end)
                try(function() list[0] = 1 end)
                try(function() return c:m() end)
                try(function() return #list end)
                try(py.exec, "pass")
                try(moonlet.greenlet, callable)
                try(function() return 1 end)]])
        )
    end)

    it("forbids with an error of its own", function()
        assert.equal(
            "false no x here",
            limited(
                "{ filter = function() error('no x here', 0) end }",
                "try(function() return c.x end)"
            )
        )
    end)

    it("can be a Python function", function()
        assert.equal(
            "true 1\nfalse PermissionError: getattr of 'm' of a 'C' object is not permitted",
            limited(
                "{ filter = py.eval 'lambda o, access, name: name == \"x\"' }",
                "try(function() return c.x end) try(function() return c.m end)"
            )
        )
    end)

    it("is not asked for what it does itself, but for what others do meanwhile", function()
        assert.equal(
            "true 1\n2",
            limited([[{
                filter = function(object, _, name)
                    count = (count or 0) + 1
                    local _ = object.x
                    if count == 1 then
                        moonlet.greenlet(function() local _ = c.x end):switch()
                    end
                    return true
                end,
            }]], "try(function() return c.x end) print(count)")
        )
    end)
end)

describe("a list of modules", function()
    it("allows these and what is in them", function()
        assert.equal(
            [[
true <module 'json' from ...>
true <module 'json.decoder' from ...>
false PermissionError: import of 'os' is not permitted
false PermissionError: import of 'jsonx' is not permitted]],
            (
                limited("{ modules = { 'json' } }", [[
                try(py.import, "json")
                try(py.import, "json.decoder")
                try(py.import, "os")
                try(py.import, "jsonx")]]):gsub("from '[^']*'", "from ...")
            )
        )
    end)

    it("turns py.eval and py.exec off unless they are asked for", function()
        assert.equal(
            "false PermissionError: py.eval is turned off by moonlet.open\n"
                .. "false PermissionError: py.exec is turned off by moonlet.open",
            limited("{ modules = {} }", "try(py.eval, '1') try(py.exec, 'pass')")
        )
        assert.equal(
            "true 1",
            limited("{ modules = {}, eval = true }", "try(py.eval, '1')")
        )
        assert.equal(
            "false PermissionError: py.eval is turned off by moonlet.open",
            limited("{ eval = false }", "try(py.eval, '1')")
        )
    end)
end)

describe("a memory limit", function()
    it("is a clean error in Lua, after which there is memory again", function()
        assert.equal(
            "false not enough memory\ntrue 1000",
            limited("{ memory = 8 << 20 }", [[
                try(function()
                    local all = {}
                    while true do all[#all + 1] = ("x"):rep(1000) .. #all end
                end)
                try(function() return #("x"):rep(1000) end)]])
        )
    end)

    it("is a MemoryError in Python", function()
        assert.equal(
            "true MemoryError",
            limited("{ memory = 8 << 20 }", [[
                py.exec [=[
                    def attempt(f):
                        try:
                            f()
                        except MemoryError as e:
                            return type(e).__name__]=]
                try(py.eval "attempt", function() return ("x"):rep(1 << 24) end)]])
        )
    end)

    it("holds for one big block", function()
        assert.equal(
            "false not enough memory",
            limited("{ memory = 8 << 20 }", "try(string.rep, 'x', 1 << 30)")
        )
    end)
end)
