-- Where errors come from: tracebacks with the frames of both languages, messages, contexts.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

describe("moonlet.traceback", function()
    local namespace = support.python [[
        def call(f, *args):
            return f(*args)
        def sort(f):
            return sorted([1], key=f)
    ]]

    -- Without positions and what is outside of the test.
    local function shape(text)
        text = text:gsub("\n\t[^\n]*busted.*", ""):gsub("%[C%]", "C"):gsub("<python at [^>]*>", "")
        return (text:gsub("[^\n\t ]*:%d+: in ", "in "):gsub("<[^>]*>", "<>"))
    end

    it("lists the frames of both languages in their order", function()
        local function inner()
            return (moonlet.traceback "here")
        end
        local function outer()
            local result = namespace.sort(function()
                return (namespace.call(inner))
            end)
            return result
        end
        local text
        namespace.call(function()
            text = inner()
        end)
        assert.matches("^here\nstack traceback:\n\t[^\n]*: in upvalue 'inner'\n", text)
        text = nil
        inner = function()
            text = moonlet.traceback()
            return 1
        end
        outer()
        assert.equal(table.concat({
            "",
            "stack traceback:",
            "in function <>",
            "in Python function 'call'",
            "C: in field 'call'",
            "in function <>",
            "in Python function 'sort'",
            "C: in field 'sort'",
            "in local 'outer'",
        }, "\n\t"):gsub("^\n\t", "\n"), (shape(text):match "(.-'outer')"))
    end)

    it("continues from a coroutine", function()
        local text
        namespace.call(function()
            coroutine.wrap(function()
                text = moonlet.traceback()
            end)()
        end)
        assert.matches(
            "in function <>\n\tC: in %?\n\tin function <>\n\tin Python function 'call'\n\tC: in",
            shape(text)
        )
    end)

    it("ends at a greenlet's base", function()
        local g = moonlet.greenlet(function()
            return (namespace.call(function()
                return (moonlet.traceback())
            end))
        end)
        assert.equal(
            "\nstack traceback:\n\tin function <>\n\tin Python function 'call'\n\tC: in field 'call'"
                .. "\n\tin function <>",
            shape(g:switch())
        )
    end)

    it("as a message handler shows the traceback of an exception, too", function()
        local _, text = xpcall(function()
            namespace.call(py.builtins.int, "x")
        end, moonlet.traceback)
        assert.matches("^Traceback %(most recent call last%):\n", text)
        assert.matches("\nValueError: [^\n]*'x'\nstack traceback:\n\t%[C%]: in field 'call'\n", text)
    end)

    it("shows what a Lua error has passed on the way", function()
        local _, text = xpcall(function()
            namespace.call(function()
                error "deep"
            end)
        end, moonlet.traceback)
        assert.matches("^Traceback .-, in call\n.-LuaError: [^\n]*: deep\nstack traceback:\n", text)
    end)

    it("leaves other error values alone", function()
        local value = {}
        assert.equal(value, moonlet.traceback(value))
    end)

    it("takes a coroutine and a level as debug.traceback does", function()
        local co = coroutine.create(function()
            coroutine.yield()
        end)
        coroutine.resume(co)
        assert.equal(debug.traceback(co, "m"), moonlet.traceback(co, "m"))
        assert.equal(debug.traceback(co, "m", 1), moonlet.traceback(co, "m", 1))
        assert.matches("^m\nstack traceback:\n\t%[C%]: in", moonlet.traceback("m", 0))
    end)

    it("shortens what is very long", function()
        local function down(n)
            return n == 0 and moonlet.traceback() or (down(n - 1))
        end
        local text = down(100)
        assert.matches("\n\t%.%.%.\t%(skipping %d+ levels%)\n", text)
        assert.is_true(#text < 4000)
    end)

    it("is right when the calls between the languages are nested deep", function()
        local text
        local function down(n)
            if n == 0 then
                text = moonlet.traceback()
            else
                namespace.call(down, n - 1)
            end
        end
        down(150)
        local _, python = text:gsub("in Python function 'call'", "")
        local _, lua = text:gsub("in function <[^>]*>", "")
        assert.equal(150, python)
        assert.is_true(lua >= 150)
    end)
end)

describe("a Lua error in Python", function()
    local namespace = support.python [[
        from moonlet import LuaError
        def message(f):
            try:
                f()
            except LuaError as error:
                return str(error)
        def context(f):
            try:
                try:
                    1 / 0
                except ZeroDivisionError:
                    f()
            except BaseException as error:
                return error.__context__
        def cause(f):
            try:
                f()
            except LuaError as error:
                raise ValueError("outer") from error
    ]]

    local function message_of(value)
        return namespace.message(function()
            error(value)
        end)
    end

    it("has a message that can be read", function()
        assert.equal("{}", message_of {})
        assert.equal('{code = "no"}', message_of { code = "no" })
        assert.equal("{1.5, table, [10] = function}", message_of { 1.5, {}, [10] = print })
        assert.equal("{1, 2, 3, 4, 5, 6, 7, 8, ...}", message_of { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
        assert.matches("^Name: 0x", message_of(setmetatable({}, { __name = "Name" })))
        assert.equal("nil", message_of(nil))
        assert.equal("false", message_of(false))
    end)

    it("has the context in which it was raised", function()
        local context = namespace.context(function()
            error "x"
        end)
        assert.is_true(py.isinstance(context, py.builtins.ZeroDivisionError))
        local exception = py.builtins.KeyError "k"
        assert.is_true(py.isinstance(namespace.context(function()
            error(exception)
        end), py.builtins.ZeroDivisionError))
    end)

    it("stays the cause of what was raised from it", function()
        local value = {}
        local err = support.error_of(namespace.cause, function()
            error(value)
        end)
        assert.equal("ValueError: outer", tostring(err))
        assert.equal(value, err.__cause__.value)
    end)
end)
