-- Modules both ways: Lua's in Python's import, Python's in Lua's require.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message = support.message

--- Runs Python statements with these names.
local function run(code, names)
    local globals = py.builtins.dict(py.kw(names or {}))
    py.exec("import moonlet, sys, importlib; from moonlet import lua", globals)
    py.exec(code, globals)
end

--- The text of the error of Python statements with these names.
local function fails(code, names)
    return message(run, code, names)
end

--- A new directory with these files, which `path` (package.path or sys.path) shall find.
local function directory(files)
    local name = os.tmpname()
    os.remove(name)
    py.import("os").mkdir(name)
    for file, content in pairs(files) do
        local path = name .. "/" .. file
        py.import("os").makedirs(path:match "^(.*)/", py.kw { exist_ok = true })
        local handle = assert(io.open(path, "w"))
        handle:write(content)
        handle:close()
    end
    return name
end

describe("import moonlet.lua.NAME", function()
    local path = package.path
    local dir

    setup(function()
        dir = directory {
            ["lm_plain.lua"] = "loads_of_spec = (loads_of_spec or 0) + 1\n"
                .. "return { n = 1, get = function(x) return 'got', x end, [3] = 4, _hidden = 5,\n"
                .. "         ['no name'] = 6, update = 7 }",
            ["lm_function.lua"] = "return function(a, kw) return a, kw and kw.k end",
            ["lm_nothing.lua"] = "",
            ["lm_string.lua"] = "return 'text'",
            ["lm_bad.lua"] = "error 'while loading'",
            ["lm_bad_value.lua"] = "error { code = 5 }",
            ["lm_syntax.lua"] = "return {",
            ["lm_python.lua"] = "return require('moonlet').python.builtins.int 'x'",
            ["lm_package/init.lua"] = "return { name = ..., inner = 'a field' }",
            ["lm_package/inner.lua"] = "return { name = ... }",
            ["lm_directory/deep/inner.lua"] = "return { name = ... }",
            ["lm_again.lua"] = "again_of_spec = (again_of_spec or 0) + 1\n"
                .. "if fail_of_spec then error 'again' end return { n = again_of_spec }",
            ["lm_arguments.lua"] = "return { ... }",
        }
        package.path = dir .. "/?.lua;" .. dir .. "/?/init.lua;" .. path
    end)

    teardown(function()
        package.path = path
        py.import("shutil").rmtree(dir)
        for name in pairs(package.loaded) do
            if name:match "^lm_" then
                package.loaded[name] = nil
            end
        end
        loads_of_spec, again_of_spec = nil, nil -- luacheck: ignore
    end)

    it("gives Lua's module, loaded once", function()
        run [[
            import moonlet.lua.lm_plain
            from moonlet.lua import lm_plain
            from moonlet.lua import lm_plain as again
            assert moonlet.lua.lm_plain is lm_plain is again
            assert lm_plain is importlib.import_module("moonlet.lua.lm_plain")
            assert lm_plain.n == 1
            assert lua.globals().loads_of_spec == 1
        ]]
        assert.equal(1, require("lm_plain").n)
        assert.equal(1, loads_of_spec) -- luacheck: ignore
    end)

    it("has its fields as attributes, live", function()
        run([[
            from moonlet.lua import lm_plain
            from moonlet.lua.lm_plain import get, n
            assert get(2) == ("got", 2) and n == 1
            assert lm_plain.get(2) == ("got", 2)
            assert lm_plain.update == 7
            lm_plain.n = 2
            assert t.n == 2
            t.added = 3
            assert lm_plain.added == 3
            del lm_plain.added
            assert t.added is None and not hasattr(lm_plain, "added")
        ]], { t = require "lm_plain" })
        assert.equal(
            "AttributeError: module 'moonlet.lua.lm_plain' has no attribute 'none'",
            fails "import moonlet.lua.lm_plain as m; m.none"
        )
        assert.equal(
            "AttributeError: module 'moonlet.lua.lm_plain' has no attribute 'none'",
            fails "import moonlet.lua.lm_plain as m; del m.none"
        )
        assert.matches(
            "^ImportError: cannot import name 'none' from 'moonlet.lua.lm_plain'",
            fails "from moonlet.lua.lm_plain import none"
        )
        assert.matches(
            "^ModuleNotFoundError: Lua module 'lm_plain.none' not found:\n",
            fails "import moonlet.lua.lm_plain.none"
        )
    end)

    it("is a module", function()
        run([[
            import types, inspect
            from moonlet.lua import lm_plain as m
            assert isinstance(m, types.ModuleType)
            assert m.__name__ == m.__spec__.name == "moonlet.lua.lm_plain"
            assert m.__file__ == dir + "/lm_plain.lua"
            assert repr(m) == f"<module 'moonlet.lua.lm_plain' from '{m.__file__}'>"
            assert inspect.getsource(m).startswith("loads_of_spec = ")
            names = dir_of(m)
            assert {"n", "get", "_hidden", "__name__", "__lua__"} <= set(names)
            assert not {"no name", 3} & set(names)
        ]], { dir = dir, dir_of = py.builtins.dir })
    end)

    it("gives its names to `import *`", function()
        run [[
            names = {}
            exec("from moonlet.lua.lm_plain import *", names)
            del names["__builtins__"]
            assert set(names) == {"n", "get", "update"}, names
        ]]
    end)

    it("is Lua's value to Lua, and has it as __lua__", function()
        run([[
            from moonlet.lua import lm_plain, lm_string
            assert lm_plain.__lua__ == t
            assert same(lm_plain, t) and type_of(lm_plain) == "table"
            assert type_of(lm_string) == "string"
        ]], { t = require "lm_plain", same = rawequal, type_of = type })
    end)

    it("can be called if the value can", function()
        run [[
            from moonlet.lua import lm_function
            assert lm_function(1) == (1, None)
            assert lm_function(1, k=2) == (1, 2)
            assert repr(type(lm_function.__lua__)) == "<class 'moonlet.LuaFunction'>"
        ]]
        assert.matches(
            "^attempt to call a table value",
            fails "from moonlet.lua import lm_plain; lm_plain()"
        )
    end)

    it("may be a module of any value, or of none", function()
        run [[
            from moonlet.lua import lm_nothing, lm_string
            assert lm_nothing.__lua__ is True
            assert lm_string.__lua__ == "text"
            assert not hasattr(lm_string, "upper")
            from moonlet.lua import string
            assert string.rep("x", 3) == "xxx"
        ]]
        assert.equal(
            "AttributeError: cannot set 'x': the Lua module 'lm_string' is not a table",
            fails "from moonlet.lua import lm_string; lm_string.x = 1"
        )
    end)

    it("may be a userdata, or a Python object", function()
        package.preload.lm_userdata = function()
            return io.stdout
        end
        package.preload.lm_object = function()
            return py.import "json"
        end
        run [[
            from moonlet.lua import lm_userdata, lm_object
            assert lm_userdata.write == lm_userdata.__lua__.write
            import json
            assert lm_object.dumps is json.dumps
            assert lm_object.__lua__ is json
        ]]
        package.preload.lm_userdata, package.preload.lm_object = nil, nil
    end)

    it("leaves the functions of moonlet.lua what they are", function()
        run [[
            from moonlet.lua.table import concat
            from moonlet.lua.coroutine import wrap
            import moonlet.lua.table
            assert concat(lua.table("ab")) == "ab"
            assert moonlet.lua.coroutine(wrap).status == "suspended"
            from moonlet.lua import table
            assert table is lua.table is moonlet.lua.table
            moonlet.lua.added = 1
            assert lua.added == 1
            del lua.added
        ]]
    end)

    it("finds names with dots, as Lua does", function()
        run [[
            import moonlet.lua.lm_package.inner
            from moonlet.lua.lm_package import inner
            assert moonlet.lua.lm_package.name == "lm_package"
            assert moonlet.lua.lm_package.inner is inner
            assert inner.name == "lm_package.inner"
            assert lua.require("lm_package").inner == "a field"
        ]]
        assert.equal("a field", require("lm_package").inner)
        assert.equal("lm_package.inner", require("lm_package.inner").name)
    end)

    it("finds modules in what is only a directory, or a prefix of names", function()
        package.preload["lm_prefix.inner"] = function()
            return { n = 5 }
        end
        run [[
            import moonlet.lua.lm_directory.deep.inner
            assert moonlet.lua.lm_directory.deep.inner.name == "lm_directory.deep.inner"
            assert moonlet.lua.lm_directory.__lua__ is None
            assert not hasattr(moonlet.lua.lm_directory, "x")
            from moonlet.lua.lm_prefix import inner
            assert inner.n == 5
        ]]
        assert.matches(
            "^ModuleNotFoundError: Lua module 'lm_directory.none' not found:\n",
            fails "import moonlet.lua.lm_directory.none"
        )
        package.preload["lm_prefix.inner"] = nil
    end)

    it("passes what require passes", function()
        run([[
            from moonlet.lua import lm_arguments
            assert list(lm_arguments.__lua__.values()) == ["lm_arguments", file]
        ]], { file = dir .. "/lm_arguments.lua" })
    end)

    it("says where Lua has looked if there is no such module", function()
        for _, code in ipairs { "import moonlet.lua.lm_none", "from moonlet.lua import lm_none" } do
            local text = fails(code)
            assert.matches(
                "^ModuleNotFoundError: Lua module 'lm_none' not found:\n"
                    .. "\tno field package.preload%['lm_none'%]\n"
                    .. "\tno file '[^\n]*/lm_none.lua'\n",
                text
            )
            assert.is_nil(text:find("no Python module", 1, true))
        end
        run [[
            try:
                import moonlet.lua.lm_none
            except ModuleNotFoundError as e:
                assert e.name == "lm_none"
            assert "moonlet.lua.lm_none" not in sys.modules
            assert not hasattr(lua, "lm_none")
        ]]
    end)

    it("passes errors of loading on, and tries again next time", function()
        for _ = 1, 2 do
            assert.equal("while loading", fails "import moonlet.lua.lm_bad")
            assert.matches(
                "^error loading module 'lm_syntax' from file '.*lm_syntax.lua':\n.*near <eof>$",
                fails "import moonlet.lua.lm_syntax"
            )
            assert.equal(5, support.error_of(run, "import moonlet.lua.lm_bad_value").code)
            assert.matches("^ValueError: invalid literal", fails "import moonlet.lua.lm_python")
        end
        run [[
            import traceback
            try:
                import moonlet.lua.lm_bad
            except moonlet.LuaError as e:
                assert traceback.extract_tb(e.__traceback__)[-1].filename.endswith("/lm_bad.lua")
            assert "moonlet.lua.lm_bad" not in sys.modules
        ]]
    end)

    it("can be reloaded", function()
        run([[
            from moonlet.lua import lm_again
            value = lm_again.__lua__
            assert lm_again.n == 1
            assert importlib.reload(lm_again) is lm_again
            assert lm_again.n == 2 and lm_again.__lua__ != value
            lua.globals().fail_of_spec = True
            try:
                importlib.reload(lm_again)
            except moonlet.LuaError as e:
                assert "again" in e.value
            else:
                assert False
            lua.globals().fail_of_spec = None
            assert lm_again.n == 2
        ]])
        assert.equal(2, require("lm_again").n)
        package.preload.lm_gone = function()
            return {}
        end
        run "import moonlet.lua.lm_gone"
        package.preload.lm_gone, package.loaded.lm_gone = nil, nil
        assert.matches(
            "^ModuleNotFoundError: Lua module 'lm_gone' not found:",
            fails "importlib.reload(sys.modules['moonlet.lua.lm_gone'])"
        )
    end)

    it("works in greenlets and with switches while loading", function()
        package.preload.lm_switch = function()
            return { value = support.pause "loading" }
        end
        local g = moonlet.greenlet(function()
            run "from moonlet.lua import lm_switch; assert lm_switch.value == 'resumed'"
            return "done"
        end)
        assert.equal("loading", (g:switch()))
        assert.equal("done", (g:switch "resumed"))
        package.preload.lm_switch = nil
    end)

    it("is an error where no Lua state runs", function()
        run [[
            import threading
            outcome = []
            from moonlet.lua import lm_plain
            def body():
                for name in "lm_plain", "lm_never":
                    try:
                        importlib.import_module("moonlet.lua." + name).n
                    except RuntimeError as e:
                        outcome.append(str(e))
            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
            assert outcome == ["no Lua state runs in this thread"] * 2, outcome
        ]]
    end)

    it("leaves other imports alone", function()
        run [[
            import importlib.util
            assert importlib.util.find_spec("nothing_of_that_name") is None
            finder, = [f for f in sys.meta_path if getattr(f, "__name__", "") == "LuaFinder"]
            assert finder.find_spec("json") is None
            assert finder.find_spec("moonlet.lua", None, target=None) is None
            assert finder.find_spec("moonlet.lua.string").name == "moonlet.lua.string"
        ]]
    end)
end)

describe("require 'py:NAME'", function()
    local sys_path = py.import("sys").path
    local dir

    setup(function()
        dir = directory {
            ["pm_plain.py"] = "count = 5\n",
            ["pm_package/__init__.py"] = "",
            ["pm_package/inner.py"] = "name = __name__\n",
            ["pm_lacking.py"] = "import pm_nothing_such\n",
            ["pm_lacking_name.py"] = "from pm_plain import nothing_such\n",
            ["pm_lacking_package.py"] = "import pm_lacking_packages\n",
            ["pm_bad.py"] = "1 / 0\n",
            ["pm_syntax.py"] = "x = = 1\n",
        }
        sys_path:insert(0, dir)
    end)

    teardown(function()
        sys_path:remove(dir)
        py.import("shutil").rmtree(dir)
    end)

    it("gives Python's module", function()
        local json = require "py:json"
        assert.is_true(rawequal(py.import "json", json))
        assert.equal("[1]", json.dumps(py.eval "[1]"))
        assert.equal(5, require("py:pm_plain").count)
        assert.is_true(rawequal(json, package.loaded["py:json"]))
        local _, data = require "py:pm_package"
        assert.equal(":python:", data)
    end)

    it("of a dotted name gives the last one", function()
        assert.is_true(rawequal(py.import "os.path", require "py:os.path"))
        assert.equal("pm_package.inner", require("py:pm_package.inner").name)
    end)

    it("says among the others that there is none", function()
        for _, name in ipairs { "pm_none", "pm_package.none", "pm_none.none", "os.none", "" } do
            local text = message(require, "py:" .. name)
            assert.matches("^module 'py:" .. name .. "' not found:\n\tno field package.preload", text)
            assert.matches("\n\tno Python module '" .. name .. "'$", text)
        end
        assert.matches("no Python module 'a", message(require, "py:a\0b"))
        assert.is_nil(message(require, "pm_none"):find("Python", 1, true))
    end)

    it("passes the errors of importing on", function()
        for name, text in pairs {
            pm_lacking = "^ModuleNotFoundError: No module named 'pm_nothing_such'",
            pm_lacking_package = "^ModuleNotFoundError: No module named 'pm_lacking_packages'",
            pm_lacking_name = "^ImportError: cannot import name 'nothing_such'",
            pm_bad = "^ZeroDivisionError: division by zero",
            pm_syntax = "^SyntaxError: invalid syntax",
        } do
            local err = support.error_of(require, "py:" .. name)
            assert.is_true(py.isinstance(err, py.builtins.Exception))
            assert.matches(text, tostring(err))
            assert.is_nil(package.loaded["py:" .. name])
        end
    end)

    it("asks one searcher, after Lua's own", function()
        local count = #package.searchers
        package.loaded.moonlet = nil
        assert.equal(moonlet, require "moonlet")
        assert.equal(count, #package.searchers)
        assert.equal(5, count)
    end)

    it("obeys the limits of the host", function()
        local output = support.child [[
            require("moonlet").open { modules = { "math" } }
            print(require("py:math").pi > 3, pcall(require, "py:os"))
        ]]
        assert.equal("true\tfalse\tPermissionError: import of 'os' is not permitted\n", output)
    end)

    it("is not there where `package` is not", function()
        local output, status = support.child [[
            local moonlet_loader = package.preload.moonlet or package.searchers[3] "moonlet"
            local loaded = debug.getregistry()._LOADED
            local require = require
            loaded.package = nil
            print(require("moonlet")._VERSION ~= nil, moonlet_loader ~= nil)
        ]]
        assert.equal("true\ttrue\n", output)
        assert.equal(0, status)
    end)
end)
