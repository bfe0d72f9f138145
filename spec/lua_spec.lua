-- moonlet.lua: Lua for Python code.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message
local lua = py.import "moonlet.lua"

--- Runs Python statements with these names, moonlet and lua.
local function run(code, names)
    local globals = py.builtins.dict(py.kw(names or {}))
    py.exec("import moonlet, sys; from moonlet import lua", globals)
    py.exec(code, globals)
    return globals
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

describe("the module moonlet.lua", function()
    it("can be imported in every way", function()
        run [[
            import moonlet.lua
            import moonlet.lua as first
            from moonlet import lua as second
            import importlib.util
            assert moonlet.lua is first is second is sys.modules["moonlet.lua"]
            assert importlib.util.find_spec("moonlet.lua").name == "moonlet.lua"
        ]]
    end)
end)

describe("eval", function()
    it("gives the value of an expression", function()
        run [[
            assert lua.eval("1 + 1") == 2
            assert lua.eval("nil") is None
            assert lua.eval("'a', nil, 2.0") == ("a", None, 2.0)
            assert lua.eval("\n  1\n  + 2 -- three\n") == 3
            assert lua.eval(b"'\xff'") == b"\xff"
            assert lua.eval("'\0é'") == "\0é"
            assert type(lua.eval("{}")) is moonlet.LuaTable
        ]]
    end)

    it("passes arguments", function()
        run "assert lua.eval('select(\"#\", ...), ...', 1, None, 'x') == (3, 1, None, 'x')"
    end)

    it("takes expressions only", function()
        assert.matches("unexpected symbol near 'local'$", fails "lua.eval('local x = 1')")
        assert.matches("<eof> expected near 'x'$", fails "lua.eval('1; x = 1')")
    end)

    it("wants code as text", function()
        assert.equal("TypeError: Lua code must be str or bytes, not int", fails "lua.eval(1)")
        assert.equal("TypeError: eval expected at least 1 argument, got 0", fails "lua.eval()")
        assert.matches("^TypeError: 'x' is an invalid keyword argument", fails "lua.eval('1', x=1)")
        assert.equal("TypeError: name must be a str or None, not int", fails "lua.eval('1', name=1)")
        assert.matches("^UnicodeEncodeError", fails "lua.eval('\\ud800')")
    end)
end)

describe("execute", function()
    it("runs a chunk and gives its results", function()
        run [[
            assert lua.execute("x_of_spec = 5") is None
            assert lua.execute("return x_of_spec, ...", 6) == (5, 6)
            assert lua.globals().x_of_spec == 5
            lua.execute("x_of_spec = nil")
        ]]
        assert.is_nil(_G.x_of_spec) -- luacheck: ignore
    end)

    it("runs in another environment", function()
        run([[
            assert lua.execute("x = y + 1 return x", env=t) == 3
            assert t.x == 3
            d = {"y": 2}
            assert lua.execute("x = y + 1 return x, print", env=d) == (3, None)
            assert d["x"] == 3
        ]], { t = { y = 2 } })
    end)

    it("has errors that say who called", function()
        assert.equal("<lua at <python at lua_spec.lua:N>:1>:2: text",
            (fails "lua.execute('local x\\nerror \"text\"')":gsub("lua:%d+>", "lua:N>")))
        run [[
            import traceback
            def f():
                lua.execute("\n\nlocal function inner() error('x') end\ninner()")
            try:
                f()
            except moonlet.LuaError as e:
                frames = [(f.name, f.lineno) for f in traceback.extract_tb(e.__traceback__)]
                assert frames[1:] == [("f", 3), ("<main chunk>", 4), ("inner", 3)], frames
                assert frames[2:] and "<lua at <python at lua_spec.lua:" in str(e)
        ]]
    end)

    it("or have the name that was given", function()
        assert.equal("settings.lua:1: text",
            tostring(support.error_of(run, "lua.execute('error \"text\"', name='settings.lua')")))
        assert.equal("settings:1: text", fails "lua.execute('error \"text\"', name='=settings')")
        assert.equal("<lua>:1: text", message(lua.execute, "error 'text'"))
    end)

    it("keeps the identity of errors", function()
        local reason = {}
        assert.equal(reason, support.error_of(run, "lua.execute('error(...)', r)", { r = reason }))
        assert.matches("^ZeroDivisionError", fails("lua.execute('f()', env={'f': lambda: 1 / 0})"))
    end)
end)

describe("a syntax error", function()
    it("is a LuaSyntaxError, a SyntaxError, with the place", function()
        run [[
            try:
                lua.execute("local x = 1\n  x = = 2\n", name="conf.lua")
            except moonlet.LuaSyntaxError as e:
                assert isinstance(e, moonlet.LuaError) and isinstance(e, SyntaxError)
                assert e.msg == "unexpected symbol near '='"
                assert (e.filename, e.lineno, e.text) == ("conf.lua", 2, "  x = = 2")
                assert e.value == "conf.lua:2: unexpected symbol near '='"
                assert str(e) == "unexpected symbol near '=' (conf.lua, line 2)"
            else:
                assert False
        ]]
    end)

    it("is shown with its line", function()
        run [[
            import traceback
            try:
                lua.load("x = = 2", name="conf.lua")
            except SyntaxError as e:
                lines = traceback.format_exception_only(e)
                assert lines == ['  File "conf.lua", line 1\n', "    x = = 2\n",
                                 "moonlet.LuaSyntaxError: unexpected symbol near '='\n"], lines
        ]]
    end)

    it("has a place also where names are long, or the line is missing", function()
        run [[
            for name in ("=" + "n" * 100, "d/" * 100 + "f.lua", "a:1: b"):
                try:
                    lua.load("\n?", name=name)
                except SyntaxError as e:
                    assert e.lineno == 2 and e.text == "?", (e.lineno, e.text)
            try:
                lua.load(b"x =\n\xff", name="f")
            except SyntaxError as e:
                assert e.lineno == 2 and e.text is None
        ]]
    end)

    it("is Lua's message in Lua", function()
        assert.equal("f:1: unexpected symbol near '?'",
            tostring(support.error_of(run, "lua.load('?', name='f')")))
    end)

    it("is that code is no text: compiled code is not taken", function()
        assert.equal("attempt to load a binary chunk (mode is 't')",
            fails("lua.load(code)", { code = string.dump(function() end) }))
    end)
end)

describe("load", function()
    it("gives a function", function()
        run([[
            f = lua.load("local a = ... return a * x", env=t)
            assert type(f) is moonlet.LuaFunction
            assert f(3) == 6
            t.x = 3
            assert f(3) == 9
        ]], { t = { x = 2 } })
        assert.equal("TypeError: load expected at most 1 argument, got 2", fails "lua.load('', 1)")
    end)
end)

describe("globals", function()
    it("are Lua's", function()
        assert.is_true(rawequal(_G, lua.globals()))
    end)
end)

describe("table", function()
    it("is new and empty", function()
        assert.same({}, lua.table())
    end)

    it("has the fields of a mapping", function()
        assert.same({ a = 1, "one" }, lua.table(py.eval "{'a': 1, 1: 'one'}"))
        local t = { a = {}, [2] = 2 }
        local copy = lua.table(t)
        assert.same(t, copy)
        assert.is_false(rawequal(t, copy))
        assert.equal(t.a, copy.a)
    end)

    it("has the items of any other iterable, from 1 on", function()
        assert.same({ 10, 20 }, lua.table(py.eval "[10, 20]"))
        assert.same({ "a", "b" }, lua.table(py.eval "(c for c in 'ab')"))
        assert.same({ 1, nil, 3 }, lua.table(py.eval "(1, None, 3)"))
        assert.same({ 1, 2 }, lua.table(py.import("moonlet").LuaSequence { 1, 2 }))
        assert.equal(100000, #lua.table(py.builtins.range(100000)))
    end)

    it("has keyword arguments as fields", function()
        run "t = lua.table([1], a=2, source=3); assert dict(t) == {1: 1, 'a': 2, 'source': 3}"
    end)

    it("has the errors of what it is made from", function()
        assert.equal("TypeError: 'int' object is not iterable", fails "lua.table(1)")
        assert.equal("TypeError: table expected at most 1 argument, got 2", fails "lua.table(1, 2)")
        assert.matches("^ZeroDivisionError", fails "lua.table(1 / 0 for _ in 'a')")
        assert.matches("index is nil$", fails "lua.table({None: 1})")
    end)
end)

describe("require", function()
    it("is Lua's", function()
        package.preload["spec.preloaded"] = function(name, data)
            return { name, data }
        end
        local t = lua.require "spec.preloaded"
        assert.same({ "spec.preloaded", ":preload:" }, t)
        assert.equal(t, require "spec.preloaded")
        package.preload["spec.preloaded"], package.loaded["spec.preloaded"] = nil, nil
    end)

    it("has Lua's errors", function()
        assert.matches("^module 'spec.nothing' not found:\n", fails "lua.require('spec.nothing')")
        assert.equal("TypeError: the name of a Lua module must be a str, not int", fails "lua.require(1)")
    end)
end)

describe("the Lua state that moonlet.lua works in", function()
    it("is that of the thread", function()
        run [[
            import threading
            outcome = []
            def body():
                for f in (lua.globals, lambda: lua.eval("1"), lua.table, lambda: lua.require("x"),
                          lambda: lua.iterate(print)):
                    try:
                        outcome.append(f())
                    except RuntimeError as e:
                        outcome.append(str(e))
            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
            assert outcome == ["no Lua state runs in this thread"] * 5, outcome
        ]]
    end)

    it("is that of greenlets of both languages, and coroutines", function()
        local g = moonlet.greenlet(py.eval(
            "lambda: __import__('greenlet').getcurrent().parent.switch(lua.eval('x')) or lua.eval('y')",
            run "lua.execute('x, y = 1, 2')"
        ))
        assert.equal(1, (g:switch()))
        assert.equal(2, (g:switch()))
        local outer = moonlet.greenlet(function()
            return run "from greenlet import greenlet; x = greenlet(lambda: lua.eval('x')).switch()".x
        end)
        assert.equal(1, outer:switch())
        assert.equal(2, coroutine.wrap(function()
            return run("z = lua.eval('y')").z
        end)())
        lua.execute "x, y = nil"
    end)

    it("is gone when it is closed", function()
        local output, status = support.child [==[
            local py = require("moonlet").python
            py.exec [[
                import atexit
                from moonlet import lua
                def at_exit():
                    try:
                        lua.eval("1")
                    except RuntimeError as e:
                        print(e)
                atexit.register(at_exit)
            ]]
        ]==]
        assert.equal("no Lua state runs in this thread\n", output)
        assert.equal(0, status)
    end)
end)
