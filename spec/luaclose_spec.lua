-- Lua values in Python's `with`: those that Lua can close.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

--- Runs Python statements with these names.
local function run(code, names)
    py.exec(code, py.builtins.dict(py.kw(names)))
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

describe("`with` and a value that has __close", function()
    local closed
    local function closable(close)
        closed = {}
        return setmetatable({ x = 1 }, {
            __close = close or function(self, err)
                table.insert(closed, { self, err })
            end,
        })
    end

    it("gives the value, and closes it with nil", function()
        local t = closable()
        run("with t as u:\n assert u is t and u.x == 1", { t = t })
        assert.same({ { t } }, closed)
        assert.equal(t, closed[1][1])
    end)

    it("closes it with the Lua error value", function()
        local t, reason = closable(), {}
        local err = support.error_of(run, "with t: f(reason)", { t = t, f = error, reason = reason })
        assert.equal(reason, err)
        assert.equal(reason, closed[1][2])
    end)

    it("closes it with the Python exception", function()
        local t, exception = closable(), py.builtins.KeyError "k"
        local err = support.error_of(run, "with t: raise e", { t = t, e = exception })
        assert.is_true(rawequal(exception, err))
        assert.is_true(rawequal(exception, closed[1][2]))
    end)

    it("raises what __close raises, with the error before as its context", function()
        local t = closable(function() error("in close", 0) end)
        assert.equal("in close", fails("with t: pass", { t = t }))
        run([[
            import moonlet
            try:
                with t:
                    1 / 0
            except moonlet.LuaError as e:
                assert e.value == "in close"
                assert type(e.__context__) is ZeroDivisionError
        ]], { t = t })
        local same = closable(function(_, err) error(err, 0) end)
        assert.matches("^ZeroDivisionError", fails("with t: 1 / 0", { t = same }))
    end)

    it("does not suppress errors, whatever __close returns", function()
        local t = closable(function() return true end)
        assert.matches("^ZeroDivisionError", fails("with t: 1 / 0", { t = t }))
    end)

    it("closes userdata", function()
        local name = support.file "x"
        local file = io.open(name)
        run("with f: assert f.read(f, 'a') == 'x'", { f = file })
        assert.equal("closed file", io.type(file))
        os.remove(name)
    end)

    it("is an error for other values", function()
        for _, v in ipairs { {}, print, coroutine.create(print) } do
            assert.matches(
                "^TypeError: 'moonlet.Lua%a+' object does not support the context manager protocol$",
                fails("with v: pass", { v = v })
            )
        end
        assert.equal("metamethod 'close' (a nil value)", fails(
            "with t: clear(t)", { t = closable(), clear = function(t) setmetatable(t, nil) end }
        ))
        assert.equal(
            "TypeError: __exit__ expected at least 3 arguments, got 0",
            fails("t.__exit__()", { t = closable() })
        )
        assert.equal(
            "TypeError: __exit__ expected an exception or None, not int",
            fails("t.__exit__(1, 2, 3)", { t = closable() })
        )
    end)

    it("works across switches", function()
        local t = closable(function(_, err)
            support.pause("closing", err)
            table.insert(closed, err or "end")
        end)
        local g = moonlet.greenlet(function()
            run("with t: f()", { t = t, f = support.pause })
            return "done"
        end)
        assert.is_nil((g:switch()))
        assert.equal("closing", (g:switch()))
        assert.equal("done", g:switch())
        assert.same({ "end" }, closed)
    end)
end)
