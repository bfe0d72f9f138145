-- Lua's loops in Python: moonlet.lua.iterate.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message
local lua = py.import "moonlet.lua"

--- Runs Python statements with these names.
local function run(code, names)
    local globals = py.builtins.dict(py.kw(names or {}))
    py.exec("import moonlet; from moonlet import lua", globals)
    py.exec(code, globals)
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

--- A value that tells in `log` that it was closed, and with what error.
local function closable(log, err)
    return setmetatable({}, {
        __close = function(_, reason)
            table.insert(log, reason == nil and "closed" or reason)
            if err then
                error(err, 0)
            end
        end,
    })
end

describe("moonlet.lua.iterate", function()
    --- What a Python loop over iterate(...) gives.
    local function list(...)
        return py.builtins.repr(py.eval("lambda i, *a: list(i(*a))")(lua.iterate, ...))
    end

    it("does what `for` does with a function, a state and a control variable", function()
        assert.equal("[(1, 'a'), (2, 'b')]", list(ipairs { "a", "b" }))
        assert.equal("[('k', 1)]", list(pairs { k = 1 }))
        assert.equal("['ab', 'cd']", list(string.gmatch("ab cd", "%a+")))
        assert.equal("[('a', 'b'), ('c', 'd')]", list(string.gmatch("ab cd", "(%a)(%a)")))
        assert.equal("[1, 2, 3]", list(function(last, i)
            return i < last and i + 1 or nil
        end, 3, 0))
        assert.equal("[]", list(function() end))
        assert.equal("[False]", list(function(_, previous)
            if previous == nil then
                return false
            end
        end))
    end)

    it("takes them as one tuple, too, as Python gets them from a Lua function", function()
        local result = py.eval "lambda i, pairs, t: list(i(pairs(t)))"(lua.iterate, pairs, { k = 1 })
        assert.equal("[('k', 1)]", tostring(result))
    end)

    it("takes callables of every kind", function()
        assert.equal("[0, 1]", list(py.eval "lambda last, i: None if i == last else i + 1", 1, -1))
        assert.equal("[1]", list(setmetatable({}, {
            __call = function(_, _, i)
                return not i and 1 or nil
            end,
        })))
        assert.equal("attempt to call a number value", message(list, 1))
    end)

    it("closes the closing value at the end", function()
        local log = {}
        assert.equal("[1]", list(function(_, i)
            table.insert(log, "called")
            return not i and 1 or nil
        end, nil, nil, closable(log)))
        assert.same({ "called", "called", "closed" }, log)
    end)

    it("closes it with the error that ends the loop", function()
        local log = {}
        local function fail()
            error("text", 0)
        end
        assert.equal("text", message(list, fail, nil, nil, closable(log)))
        assert.same({ "text" }, log)
        assert.equal("in close", message(list, fail, nil, nil, closable({}, "in close")))
        assert.equal("in close", message(list, function() end, nil, nil, closable({}, "in close")))
    end)

    it("closes it when the loop is left: by close(), or when the iterator is dropped", function()
        local log = {}
        local function forever()
            return 1
        end
        run("i = iterate(f, None, None, c); next(i); i.close(); i.close(); assert list(i) == []", {
            iterate = lua.iterate, f = forever, c = closable(log),
        })
        assert.same({ "closed" }, log)
        run("for x in iterate(f, None, None, c): break", {
            iterate = lua.iterate, f = forever, c = closable(log),
        })
        support.collect()
        assert.same({ "closed", "closed" }, log)
    end)

    it("closes a Python object as Lua does", function()
        local file = py.import("io").StringIO()
        assert.equal("[]", list(function() end, nil, nil, file))
        assert.is_true(file.closed)
    end)

    it("takes nil and false as nothing to close, all else must have __close", function()
        assert.equal("[]", list(function() end, nil, nil, false))
        assert.equal(
            "the closing value of a loop (a table value) has no metamethod '__close'",
            message(list, print, nil, nil, {})
        )
    end)

    it("can be left by switches", function()
        local g = moonlet.greenlet(function()
            return list(function(_, i)
                return support.pause(i)
            end)
        end)
        assert.is_nil((g:switch()))
        assert.equal("a", (g:switch "a"))
        assert.equal("['a']", (g:switch(nil)))
    end)

    it("takes one to four arguments", function()
        assert.equal("TypeError: iterate expected at least 1 argument, got 0", fails "lua.iterate()")
        assert.equal(
            "TypeError: iterate expected at most 4 arguments, got 5",
            fails "lua.iterate(1, 2, 3, 4, 5)"
        )
    end)
end)

describe("a loop that was left", function()
    it("is not closed any more when its state is closed", function()
        local output, status = support.child [==[
            local py = require("moonlet").python
            local closing = setmetatable({}, { __close = function() print "closed" end })
            py.exec "from moonlet import lua"
            local main = py.import "__main__"
            main.i = main.lua.iterate(function() return 1 end, nil, nil, closing)
            py.exec "next(i)"
        ]==]
        assert.equal("", output)
        assert.equal(0, status)
    end)

    it("in another thread is closed in its own", function()
        local log = {}
        local box = py.builtins.list()
        box:append(lua.iterate(function() return 1 end, nil, nil, closable(log)))
        support.python([[
            import threading
            def drop(box):
                t = threading.Thread(target=box.clear)
                t.start()
                t.join()
        ]]).drop(box)
        support.collect()
        assert.same({ "closed" }, log)
    end)
end)
