-- Context managers: py.with, and what closes a to-be-closed Python object.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message, error_of = py.eval, support.message, support.error_of

local namespace = support.python [[
    import sys
    log = []

    class Manager:
        """Logs its name when it is entered and left, with the exception that leaves it."""
        def __init__(self, name, entered=None, suppress=False):
            self.name, self.entered, self.suppress = name, entered, suppress
        def __enter__(self):
            log.append("enter " + self.name)
            return self.entered
        def __exit__(self, type, exception, traceback):
            assert type is (exception and exception.__class__)
            assert sys.exc_info()[1] is exception
            assert traceback is (exception and exception.__traceback__)
            self.exception = exception
            log.append("exit " + self.name)
            return self.suppress

    class Failing:
        def __init__(self, enter=None, exit=None):
            self.enter, self.exit, self.left = enter, exit, 0
        def __enter__(self):
            if self.enter:
                raise self.enter
            return self
        def __exit__(self, *args):
            self.left += 1
            if self.exit:
                raise self.exit

    class Closable:
        def close(self):
            self.seen = sys.exc_info()[1]

    def call(f, *args):
        return f(*args)

    def caught(f):
        try:
            f()
        except BaseException as error:
            return [error]
]]
local Manager, Failing = namespace.Manager, namespace.Failing
local ValueError = py.builtins.ValueError

--- What the managers have logged meanwhile.
local function log()
    local text = {}
    for entry in py.iter(namespace.log) do
        text[#text + 1] = entry
    end
    namespace.log:clear()
    return table.concat(text, ", ")
end

--- Raises `value` where `manager` is to be closed; the error that arrives.
local function leave_with(manager, value)
    return error_of(function()
        local _ <close> = py.with(manager)
        error(value, 0)
    end)
end

describe("py.with", function()
    it("enters now, and leaves at the end of the block", function()
        do
            local _ <close> = py.with(Manager "a")
            assert.equal("enter a", log())
        end
        assert.equal("exit a", log())
    end)

    it("gives the object and what __enter__ gave", function()
        local manager = Manager("a", eval "[1]")
        do
            local m <close>, entered = py.with(manager)
            assert.is_true(rawequal(manager, m))
            assert.equal("[1]", tostring(entered))
        end
        assert.equal(2, select("#", py.with(Manager "b")))
        assert.is_nil((select(2, py.with(Manager "b"))))
        log()
    end)

    it("gives the items of a tuple as several values", function()
        do
            local _ <close>, x, y, z = py.with(Manager("a", eval "[(1, None, 'z')]"[0]))
            assert.same({ n = 3, 1, nil, "z" }, table.pack(x, y, z))
        end
        log()
    end)

    it("is left by return, break and goto, in reverse order", function()
        local function f()
            local _ <close> = py.with(Manager "a")
            local _ <close> = py.with(Manager "b")
            return "result"
        end
        assert.equal("result", f())
        assert.equal("enter a, enter b, exit b, exit a", log())
        for i = 1, 2 do
            local _ <close> = py.with(Manager "a")
            if i == 1 then
                break
            end
        end
        assert.equal("enter a, exit a", log())
    end)

    it("works with managers of the standard library", function()
        local path
        do
            local _ <close>, name = py.with(py.import("tempfile").TemporaryDirectory())
            path = name
            assert.is_true(py.import("os").path.isdir(path))
        end
        assert.is_false(py.import("os").path.isdir(path))
        local out = py.import("io").StringIO()
        do
            local _ <close> = py.with(py.import("contextlib").redirect_stdout(out))
            py.builtins.print "captured"
        end
        assert.equal("captured\n", out:getvalue())
        local lock = py.import("threading").Lock()
        do
            local _ <close> = py.with(lock)
            assert.is_true(lock:locked())
        end
        assert.is_false(lock:locked())
    end)

    it("runs generators made managers by contextlib", function()
        local manager = support.python [[
            import contextlib
            log = []
            @contextlib.contextmanager
            def manager():
                try:
                    yield "entered"
                except Exception as error:
                    log.append(repr(error))
                    raise
                finally:
                    log.append("finally")
        ]]
        do
            local _ <close>, entered = py.with(manager.manager())
            assert.equal("entered", entered)
        end
        assert.equal("['finally']", tostring(manager.log))
        manager.log:clear()
        local err = ValueError "bad"
        assert.equal(err, leave_with(manager.manager(), err))
        assert.equal("[\"ValueError('bad')\", 'finally']", tostring(manager.log))
    end)

    it("raises what __enter__ raises, and does not leave then", function()
        local err = ValueError "enter"
        local manager = Failing(py.kw { enter = err })
        assert.is_true(rawequal(err, error_of(py.with, manager)))
        assert.equal(0, manager.left)
    end)

    it("raises TypeError for what is no context manager, as CPython says it", function()
        local text = "TypeError: '%s' object does not support the context manager protocol"
        assert.equal(text:format "list", message(py.with, eval "[]"))
        assert.equal(text:format "int", message(py.with, 5))
        assert.equal(text:format "str", message(py.with, "text"))
        assert.equal(text:format "NoneType", message(py.with, nil))
        local half = support.python "class Half: __enter__ = lambda self: 0"
        assert.equal(
            text:format "Half" .. " (missed __exit__ method)",
            message(py.with, half.Half())
        )
        -- On the type, not on the object.
        local o = support.python("class C: pass").C()
        py.exec(
            "o.__enter__ = o.__exit__ = lambda *a: 0",
            py.builtins.dict(py.kw { o = o })
        )
        assert.equal(text:format "C", message(py.with, o))
    end)

    it("binds special methods as the interpreter does", function()
        local o = support.python([[
            class C:
                log = []
                @classmethod
                def __enter__(cls):
                    return cls.__name__
                @staticmethod
                def __exit__(*args):
                    C.log.append(len(args))
        ]]).C()
        do
            local _ <close>, name = py.with(o)
            assert.equal("C", name)
        end
        assert.equal("[3]", tostring(o.log))
    end)

    it("needs an argument", function()
        local function with()
            py.with()
        end
        assert.equal("bad argument #1 to 'with' (value expected)", message(with))
    end)
end)

describe("__exit__", function()
    it("gets three times None where there is no error", function()
        local manager = Manager "a"
        do
            local _ <close> = py.with(manager)
        end
        assert.is_nil(manager.exception)
        log()
    end)

    it("gets the Python exception that leaves the block", function()
        local manager, err = Manager "a", ValueError "text"
        assert.is_true(rawequal(err, leave_with(manager, err)))
        assert.is_true(rawequal(err, manager.exception))
        log()
    end)

    it("gets an instance where a class was raised", function()
        local manager = Manager "a"
        assert.equal(ValueError, leave_with(manager, ValueError))
        assert.equal("ValueError", tostring(manager.exception))
        log()
    end)

    it("gets a LuaError with the value of a Lua error", function()
        for _, value in ipairs { "text", {}, print, 5, false } do
            local manager = Manager "a"
            assert.equal(value, leave_with(manager, value))
            assert.equal("LuaError", manager.exception.__class__.__name__)
            assert.equal(value, manager.exception.value)
        end
        log()
    end)

    it("gets the same LuaError in every block, and who catches it, too", function()
        local a, b = Manager "a", Manager "b"
        local value = {}
        local errors = namespace.caught(function()
            local _ <close> = py.with(a)
            local _ <close> = py.with(b)
            error(value)
        end)
        assert.equal(value, a.exception.value)
        assert.is_true(rawequal(a.exception, b.exception))
        assert.is_true(rawequal(a.exception, errors[0]))
        log()
    end)

    it("sees the Lua frames in the traceback of an error that Python catches", function()
        local manager = Manager "a"
        namespace.caught(function()
            local _ <close> = py.with(manager)
            error "text"
        end)
        local tb = manager.exception.__traceback__
        local files = {}
        while tb do
            files[#files + 1] = tb.tb_frame.f_code.co_filename
            tb = tb.tb_next
        end
        assert.matches("with_spec.lua", table.concat(files, " "))
        log()
    end)

    it("cannot suppress an error: Lua's pcall does", function()
        local manager = Manager("a", nil, true)
        assert.equal("text", leave_with(manager, "text"))
        log()
    end)

    it("replaces the error by its own, with the first as its context", function()
        local first, second = ValueError "first", ValueError "second"
        local err = leave_with(Failing(py.kw { exit = second }), first)
        assert.is_true(rawequal(second, err))
        assert.is_true(rawequal(first, err.__context__))
        err = leave_with(Failing(py.kw { exit = ValueError "second" }), "Lua's")
        assert.equal("Lua's", err.__context__.value)
        assert.equal("Lua's", tostring(err.__context__.args[0]))
    end)

    it("raises its error at the end of the block if there was none", function()
        local own = ValueError "own"
        local err = error_of(function()
            local _ <close> = py.with(Failing(py.kw { exit = own }))
        end)
        assert.is_true(rawequal(own, err))
        assert.is_nil(err.__context__)
    end)

    it("gets the error of a block that is closed inside", function()
        local outer, second = Manager "outer", ValueError "second"
        local err = error_of(function()
            local _ <close> = py.with(outer)
            local _ <close> = py.with(Failing(py.kw { exit = second }))
            error "first"
        end)
        assert.is_true(rawequal(second, err))
        assert.is_true(rawequal(second, outer.exception))
        log()
    end)

    it("leaves the exception alone that its caller is handling", function()
        local seen = support.python([[
            import sys
            def check(f):
                try:
                    raise KeyError("outer")
                except KeyError as error:
                    f()
                    assert sys.exc_info()[1] is error
                assert sys.exc_info()[1] is None
                def generate():
                    f()
                    assert sys.exc_info()[1] is None
                    yield 1
                return list(generate())
        ]]).check(function()
            pcall(leave_with, Manager "a", "error")
            pcall(leave_with, Failing(py.kw { exit = ValueError() }), "error")
        end)
        assert.equal("[1]", tostring(seen))
        log()
    end)

    it("gets GreenletExit when a suspended greenlet is ended", function()
        local manager = Manager "a"
        local g = moonlet.greenlet(function()
            local _ <close> = py.with(manager)
            support.pause()
        end)
        g:switch()
        assert.equal("enter a", log())
        g:throw()
        assert.equal("exit a", log())
        assert.is_true(py.isinstance(manager.exception, moonlet.GreenletExit))
        assert.is_true(g.dead)
    end)

    it("gets GreenletExit when a greenlet is dropped", function()
        local manager = Manager "a"
        moonlet.greenlet(function()
            local _ <close> = py.with(manager)
            support.pause()
        end):switch()
        support.collect()
        assert.equal("enter a, exit a", log())
        assert.is_true(py.isinstance(manager.exception, moonlet.GreenletExit))
    end)

    it("can switch, between entering and leaving, and while it handles an error", function()
        local manager = support.python([[
            import sys
            from greenlet import getcurrent
            class C:
                def __enter__(self):
                    return getcurrent().parent.switch("entering")
                def __exit__(self, type, exception, traceback):
                    assert getcurrent().parent.switch("leaving") == "go on"
                    assert sys.exc_info()[1] is exception
                    self.exception = exception
        ]]).C()
        local err = ValueError "text"
        local g = moonlet.greenlet(function()
            local _ <close>, entered = py.with(manager)
            support.pause(entered)
            error(err)
        end)
        assert.equal("entering", g:switch())
        assert.equal("entered", g:switch "entered")
        assert.equal("leaving", g:switch())
        assert.is_nil(eval "__import__('sys').exc_info()[1]")
        assert.is_true(rawequal(err, error_of(g.switch, g, "go on")))
        assert.is_true(rawequal(err, manager.exception))
    end)

    it("is called when a coroutine is closed", function()
        local manager = Manager "a"
        local co = coroutine.create(function()
            local _ <close> = py.with(manager)
            coroutine.yield()
        end)
        coroutine.resume(co)
        assert.is_true(coroutine.close(co))
        assert.equal("enter a, exit a", log())
        assert.is_nil(manager.exception)
    end)
end)

describe("a to-be-closed Python object", function()
    it("that was not entered is left with the error, too", function()
        local manager, err = Manager "a", ValueError()
        error_of(function()
            local _ <close> = manager
            error(err)
        end)
        assert.equal("exit a", log())
        assert.is_true(rawequal(err, manager.exception))
    end)

    it("that only has close() is closed while the error is handled", function()
        local o, err = namespace.Closable(), ValueError()
        error_of(function()
            local _ <close> = o
            error(err)
        end)
        assert.is_true(rawequal(err, o.seen))
    end)

    it("keeps the traceback of a Lua error that Python catches", function()
        local errors = namespace.caught(function()
            local _ <close> = namespace.Closable()
            error "text"
        end)
        local format = py.import("traceback").format_exception
        local lines = {}
        for line in py.iter(format(errors[0])) do
            lines[#lines + 1] = line
        end
        assert.matches("with_spec.lua", table.concat(lines))
    end)
end)

describe("memory does not grow", function()
    it("with context managers", function()
        local pair = eval "[(1, 2)]"
        support.stays_small(20000, function()
            local _ <close> = py.with(Manager("a", pair[0]))
            namespace.log:clear()
        end)
    end)

    it("with errors that leave them", function()
        support.stays_small(10000, function()
            pcall(leave_with, Failing(), {})
            pcall(leave_with, Failing(), ValueError())
            pcall(leave_with, Failing(py.kw { exit = ValueError() }), {})
            pcall(py.with, Failing(py.kw { enter = ValueError() }))
        end)
    end)
end)
