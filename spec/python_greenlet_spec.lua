-- The module `greenlet` as Python code sees it: the words and rules of the package of that name.

local support = require "spec.support"

-- Every case is a piece of Python whose `result` is compared with a text that repr() gives.
local prelude = [[
import gc, sys, threading, weakref
import greenlet as module
from greenlet import greenlet, getcurrent, GreenletExit, error
main = getcurrent()

def error_of(f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except BaseException as e:
        return type(e).__name__ + ": " + str(e)
    return "no error"

def in_thread(f):
    results = []
    t = threading.Thread(target=lambda: results.append(f()))
    t.start()
    t.join()
    return results[0]
]]

local function is(expected, code)
    local indent = code:match "^\n*([ ]*)"
    code = ("\n" .. code):gsub("\n" .. indent, "\n")
    local namespace = support.python(prelude)
    require("moonlet").python.exec(code, namespace)
    assert.equal(expected, require("moonlet").python.builtins.repr(namespace.result))
end

describe("the module", function()
    it("is in place without moonlet.install, which can be called all the same", function()
        is("(None, True)", [[
            import moonlet
            result = moonlet.install(), sys.modules["greenlet"] is module
        ]])
    end)
end)

describe("the module", function()
    it("has what greenlet and greenlet._greenlet have", function()
        is("['3.5.6', True, True, 0]", [[
            import greenlet._greenlet as inner
            from greenlet._greenlet import get_pending_cleanup_count
            result = [module.__version__, inner.greenlet is greenlet,
                      "greenlet._C_API" in repr(module._C_API), get_pending_cleanup_count()]
        ]])
    end)

    it("has the rest of the type", function()
        is("['f', None, True, None, 'switch']", [[
            def f():
                main.switch()
            g = greenlet(f)
            g.switch()
            result = [g.gr_frame.f_code.co_name, g.gr_context, g._stack_saved > 0, main.gr_frame]
            module.settrace(lambda event, args: result.append(event))
            g.switch()
            module.settrace(None)
            del result[5:]
        ]])
    end)
end)

describe("switch", function()
    it("gives what its arguments are: none, one, several, keywords, both", function()
        is("[(), 1, (1, 2), {'k': 3}, ((1,), {'k': 3}), ((1, 2), {'k': 3}), None, (5,)]", [[
            result = []
            def f():
                while True:
                    result.append(main.switch())
            g = greenlet(f)
            g.switch()
            g.switch()
            g.switch(1)
            g.switch(1, 2)
            g.switch(k=3)
            g.switch(1, k=3)
            g.switch(1, 2, k=3)
            g.switch(None)
            g.switch((5,))
        ]])
    end)

    it("calls run with its arguments the first time", function()
        is("((1, 2), {'k': 3})", [[
            result = greenlet(lambda *args, **kwargs: (args, kwargs)).switch(1, 2, k=3)
        ]])
    end)

    it("to oneself gives back the arguments", function()
        is("[(), 1, (1, 2), {'k': 3}]", [[
            result = [main.switch(), main.switch(1), main.switch(1, 2), main.switch(k=3)]
        ]])
    end)

    it("passes the same objects", function()
        is("True", [[
            o = object()
            result = greenlet(lambda x: x).switch(o) is o
        ]])
    end)

    it("to a dead greenlet goes to its nearest living ancestor", function()
        is("['at parent', 42]", [[
            result = []
            def run():
                result.append(main.switch())
            parent = greenlet(run)
            parent.switch()
            child = greenlet(lambda: None, parent)
            child.parent = main
            child.switch()
            child.parent = parent
            child.switch("at parent")
            result.append(child.switch(42))
        ]])
    end)

    it("starts an ancestor that is new", function()
        is("('started', 1)", [[
            parent = greenlet(lambda x: ("started", x))
            child = greenlet(lambda: None)
            child.switch()
            child.parent = parent
            result = child.switch(1)
        ]])
    end)
end)

describe("the end of a greenlet", function()
    it("gives the parent what run returns, as it is", function()
        is("[None, (), (1, 2)]", [[
            result = [greenlet(lambda v=v: v).switch() for v in (None, (), (1, 2))]
        ]])
    end)

    it("raises its exception in the parent", function()
        is("'ZeroDivisionError: division by zero'", [[
            result = error_of(greenlet(lambda: 1 / 0).switch)
        ]])
    end)

    it("keeps identity and traceback of the exception", function()
        is("(True, ['<module>', 'f', 'h'])", [[
            e = KeyError()
            def h(): raise e
            def f(): h()
            try:
                greenlet(f).switch()
            except KeyError as caught:
                same = caught is e
                names, t = [], caught.__traceback__
                while t:
                    names.append(t.tb_frame.f_code.co_name)
                    t = t.tb_next
            result = same, names
        ]])
    end)

    it("returns a GreenletExit instead of raising it", function()
        is("[GreenletExit('bye'), True]", [[
            def f():
                raise GreenletExit("bye")
            g = greenlet(f)
            result = [g.switch(), g.dead]
        ]])
    end)

    it("passes SystemExit and KeyboardInterrupt, too", function()
        is("['SystemExit: 3', 'KeyboardInterrupt: ']", [[
            def f(e): raise e
            exits = SystemExit(3), KeyboardInterrupt()
            result = [error_of(greenlet(f).switch, e) for e in exits]
        ]])
    end)
end)

describe("throw", function()
    it("raises where the greenlet is suspended", function()
        is("[\"KeyError('k')\", 'handled']", [[
            result = []
            def f():
                try:
                    main.switch()
                except KeyError as e:
                    result.append(repr(e))
                return "handled"
            g = greenlet(f)
            g.switch()
            result.append(g.throw(KeyError, "k"))
        ]])
    end)

    it("takes a class, a class and a value, or an instance", function()
        is("['ValueError()', \"ValueError('a')\", \"ValueError('a', 'b')\", 'True']", [[
            def f():
                try:
                    main.switch()
                except ValueError as e:
                    return e
            def thrown(*args):
                g = greenlet(f)
                g.switch()
                return g.throw(*args)
            e = ValueError()
            result = [repr(thrown(ValueError)), repr(thrown(ValueError, "a")),
                      repr(thrown(ValueError, ("a", "b"))), repr(thrown(e) is e)]
        ]])
    end)

    it("takes a traceback", function()
        is("True", [[
            try:
                1 / 0
            except ZeroDivisionError as e:
                tb = e.__traceback__
            g = greenlet(main.switch)
            g.switch()
            try:
                g.throw(ValueError, None, tb)
            except ValueError as e:
                t = e.__traceback__
                while t.tb_next:
                    t = t.tb_next
                result = t is tb
        ]])
    end)

    it("without arguments throws GreenletExit, which comes back", function()
        is("(GreenletExit(), True)", [[
            g = greenlet(main.switch)
            g.switch()
            result = g.throw(), g.dead
        ]])
    end)

    it("ends a new greenlet without running it", function()
        is("['KeyError: 1', True, GreenletExit(), True]", [[
            def f(): raise SystemError
            a, b = greenlet(f), greenlet(f)
            result = [error_of(a.throw, KeyError(1)), a.dead, b.throw(), b.dead]
        ]])
    end)

    it("into a dead greenlet raises in the parent, GreenletExit is returned", function()
        is("['KeyError: 1', GreenletExit(), GreenletExit('x')]", [[
            g = greenlet(lambda: None)
            g.switch()
            result = [error_of(g.throw, KeyError(1)), g.throw(), g.throw(GreenletExit, "x")]
        ]])
    end)

    it("refuses what cannot be raised", function()
        is("['TypeError: exceptions must be classes, or instances, not int', "
            .. "'TypeError: exceptions must be classes, or instances, not type', "
            .. "'TypeError: instance exception may not have a separate value', "
            .. "'TypeError: throw() third argument must be a traceback object']", [[
            g = greenlet(lambda: None)
            result = [error_of(g.throw, 1), error_of(g.throw, int),
                      error_of(g.throw, ValueError(), 1),
                      error_of(g.throw, ValueError, None, 1)]
        ]])
    end)
end)

describe("run", function()
    it("is what the constructor was given, until the start", function()
        is("[True, 'AttributeError: run']", [[
            f = lambda: main.switch()
            g = greenlet(f)
            result = [g.run is f]
            g.switch()
            result.append(error_of(lambda: g.run))
        ]])
    end)

    it("may be set and deleted before the start", function()
        is("['AttributeError: run', 'set', 'AttributeError: run', 'AttributeError: run']", [[
            g = greenlet()
            result = [error_of(g.switch)]
            g.run = lambda: "set"
            h = greenlet(lambda: 1)
            del h.run
            result += [g.switch(), error_of(lambda: h.run), error_of(h.switch)]
        ]])
    end)

    it("cannot be set later", function()
        local text = "run cannot be set after the start of the greenlet"
        is(("['AttributeError: %s', 'AttributeError: %s']"):format(text, text), [[
            started, ended = greenlet(main.switch), greenlet(lambda: 1)
            started.switch(), ended.switch()
            result = [error_of(setattr, g, "run", print) for g in (started, ended)]
        ]])
    end)

    it("is not for main greenlets", function()
        local text = "'AttributeError: Main greenlets do not have a run attribute.'"
        is(("[%s, %s]"):format(text, text), [[
            root = main
            while root.parent:
                root = root.parent
            result = [error_of(lambda: root.run), error_of(setattr, root, "run", print)]
        ]])
    end)

    it("may be a method of a subclass, or found by __getattribute__", function()
        is("['method 1', 'computed 2']", [[
            class Sub(greenlet):
                def run(self, x):
                    return "method %d" % x
            class Computed(greenlet):
                def __getattribute__(self, name):
                    if name == "run":
                        return lambda x: "computed %d" % x
                    return super().__getattribute__(name)
            result = [Sub().switch(1), Computed().switch(2)]
        ]])
    end)

    it("may start the greenlet while it is looked up", function()
        is("['inner', 'outer arguments']", [[
            result = []
            class Racing(greenlet):
                def __getattribute__(self, name):
                    if name == "run":
                        del Racing.__getattribute__
                        self.run = lambda x: main.switch(x)
                        result.append(self.switch("inner"))
                        return None
                    return super().__getattribute__(name)
            result.append(Racing().switch("outer arguments"))
        ]])
    end)
end)

describe("parent", function()
    it("is the greenlet that made it, or the one given", function()
        is("[True, True, True]", [[
            made = []
            g = greenlet(lambda: made.append(greenlet()))
            g.switch()
            h = greenlet(None, g)
            result = [g.parent is main, made[0].parent is g, h.parent is g]
        ]])
    end)

    it("may be None in the constructor only", function()
        is("[True, 'TypeError: GreenletChecker: Expected any type of greenlet, not NoneType']", [[
            g = greenlet(print, None)
            result = [g.parent is main, error_of(setattr, g, "parent", None)]
        ]])
    end)

    it("must be a greenlet", function()
        local text = "'TypeError: GreenletChecker: Expected any type of greenlet, not %s'"
        is("[" .. text:format "int" .. ", " .. text:format "object" .. "]", [[
            g = greenlet(print)
            result = [error_of(setattr, g, "parent", 1), error_of(greenlet, print, object())]
        ]])
    end)

    it("cannot be a descendant or itself", function()
        is("['ValueError: cyclic parent chain', 'ValueError: cyclic parent chain']", [[
            a = greenlet()
            b = greenlet(parent=a)
            result = [error_of(setattr, a, "parent", b), error_of(setattr, a, "parent", a)]
        ]])
    end)

    it("cannot be deleted, nor set for a main greenlet", function()
        is("[\"AttributeError: can't delete attribute\", "
            .. "'AttributeError: cannot set the parent of a main greenlet']", [[
            root = main
            while root.parent:
                root = root.parent
            result = [error_of(delattr, greenlet(), "parent"),
                      error_of(setattr, root, "parent", greenlet())]
        ]])
    end)

    it("of a started greenlet cannot be of another thread", function()
        is("'ValueError: parent cannot be on a different thread'", [[
            foreign = in_thread(getcurrent)
            g = greenlet(main.switch)
            g.switch()
            event, ready = threading.Event(), threading.Event()
            there = []
            def other():
                there.append(getcurrent())
                ready.set()
                event.wait()
            t = threading.Thread(target=other)
            t.start()
            ready.wait()
            result = error_of(setattr, g, "parent", there[0])
            event.set()
            t.join()
        ]])
    end)
end)

describe("dead and the truth value", function()
    it("tell new, active and finished greenlets apart", function()
        is("[(False, False), (False, True), (True, False), (False, True)]", [[
            g = greenlet(main.switch)
            state = lambda: (g.dead, bool(g))
            result = [state()]
            g.switch()
            result.append(state())
            g.switch()
            result += [state(), (main.dead, bool(main))]
        ]])
    end)

    it("cannot be set", function()
        is("True", [[
            result = error_of(setattr, greenlet(), "dead", True).startswith("AttributeError")
        ]])
    end)
end)

describe("the module", function()
    it("has the type's companions, which the type has too", function()
        is("[True, True, True, True, True]", [[
            result = [greenlet.getcurrent() is main, greenlet.error is error,
                      greenlet.GreenletExit is GreenletExit,
                      GreenletExit.__mro__[1] is BaseException, error.__mro__[1] is Exception]
        ]])
    end)

    it("makes greenlets that may be subclassed, weakly referenced and have attributes", function()
        is("(True, 1, None)", [[
            class Sub(greenlet):
                pass
            g = Sub(print)
            r = weakref.ref(g)
            g.attribute = 1
            seen = r() is g, g.attribute
            del g
            gc.collect()
            result = (*seen, r())
        ]])
    end)

    it("has representations that tell the state", function()
        is("[' pending', ' suspended active started', ' dead', ' current active started']", [[
            def state(g):
                return repr(g).rpartition(")")[2].rstrip(">")
            g = greenlet(lambda: main.switch(state(g)))
            result = [state(g)]
            current = g.switch()
            result.append(state(g))
            g.switch()
            result += [state(g), current]
        ]])
    end)
end)

describe("what is left of upstream's corners", function()
    it("an abstract subclass cannot be made", function()
        is("(True, True)", [[
            import abc
            class Abstract(greenlet, metaclass=abc.ABCMeta):
                @abc.abstractmethod
                def run(self): pass
            class Good(Abstract):
                def run(self): return 1
            try:
                Abstract()
                failed = False
            except TypeError:
                failed = True
            result = failed, Good().switch() == 1
        ]])
    end)

    it("run=None is a run attribute", function()
        is("(None, \"'NoneType' object is not callable\")", [[
            g = greenlet(run=None)
            run = g.run
            try:
                g.switch()
            except TypeError as e:
                result = run, str(e)
        ]])
    end)

    it("a run that was passed but is not used is dropped inside the greenlet", function()
        is("(True, 'used')", [[
            seen = []
            class Passed:
                def __del__(self):
                    seen.append(getcurrent() is g)
            class Other(greenlet):
                def __getattribute__(self, name):
                    return (lambda: "used") if name == "run" else object.__getattribute__(self, name)
            g = Other(Passed())
            result = g.switch()
            result = seen[0], result
        ]])
    end)

    it("getcurrent ends what other threads have dropped", function()
        is("['GreenletExit']", [[
            import threading
            result = []
            held = []
            def f():
                try:
                    main.switch()
                except BaseException as e:
                    result.append(type(e).__name__)
            held.append(greenlet(f))
            held[0].switch()
            t = threading.Thread(target=held.clear)
            t.start()
            t.join()
            getcurrent()
        ]])
    end)
end)

describe("a greenlet that is dropped while suspended", function()
    it("gets GreenletExit at once", function()
        is("['GreenletExit', 'finally', 'after']", [[
            result = []
            def f():
                try:
                    main.switch()
                except BaseException as e:
                    result.append(type(e).__name__)
                    raise
                finally:
                    result.append("finally")
            g = greenlet(f)
            g.switch()
            del g
            result.append("after")
        ]])
    end)

    it("may save itself", function()
        is("(True, 'again')", [[
            saved = []
            def f():
                try:
                    main.switch()
                except GreenletExit:
                    saved.append(getcurrent())
                    main.switch()
                return "again"
            g = greenlet(f)
            g.switch()
            del g
            result = bool(saved[0]), saved[0].switch()
        ]])
    end)

    it("reports another exception as one that cannot be raised", function()
        is("\"KeyError('lost')\"", [[
            def f():
                try:
                    main.switch()
                finally:
                    raise KeyError("lost")
            seen = []
            sys.unraisablehook, old = lambda u: seen.append(repr(u.exc_value)), sys.unraisablehook
            g = greenlet(f)
            g.switch()
            del g
            sys.unraisablehook = old
            result = seen[0]
        ]])
    end)

    it("is ended although a cycle holds it, once it has finished", function()
        is("None", [[
            class Box: pass
            box = Box()
            box.g = greenlet(lambda b: None)
            box.g.switch(box)
            box.g.box = box
            r = weakref.ref(box)
            del box
            gc.collect()
            result = r()
        ]])
    end)
end)

describe("in other threads", function()
    it("greenlets work on their own", function()
        is("(1, [0, 1, 2])", [[
            def f():
                me = getcurrent()
                def count():
                    for i in range(3):
                        me.switch(i)
                g = greenlet(count)
                return (1, [g.switch() for i in range(3)])
            result = in_thread(f)
        ]])
    end)

    it("cannot be switched to", function()
        is("[True, "
            .. "'error: cannot switch to a different thread (which happens to have exited)']", [[
            event, ready, there = threading.Event(), threading.Event(), []
            def f():
                g = greenlet(getcurrent().switch)
                g.switch()
                there.append(g)
                ready.set()
                event.wait()
            t = threading.Thread(target=f)
            t.start()
            ready.wait()
            text = error_of(there[0].switch)
            event.set()
            t.join()
            result = [text.startswith("error: Cannot switch to a different thread\n\tCurrent:  "
                                      "<greenlet.greenlet object at 0x")
                      and "\n\tExpected: <greenlet.greenlet object at 0x" in text,
                      error_of(there[0].switch)]
        ]])
    end)

    it("are dead when their thread has ended", function()
        is("(True, False)", [[
            def f():
                g = greenlet(getcurrent().switch)
                g.switch()
                return g
            g = in_thread(f)
            result = g.dead, bool(g)
        ]])
    end)

    it("may be dropped, and are then ended by their own thread", function()
        is("['GreenletExit', True]", [[
            result = []
            event, ready, there = threading.Event(), threading.Event(), []
            def f():
                def body():
                    try:
                        getcurrent().parent.switch()
                    except GreenletExit:
                        result.append("GreenletExit")
                        result.append(threading.get_ident() == t.ident)
                there.append(greenlet(body))
                there[0].switch()
                ready.set()
                event.wait()
                greenlet(lambda: None).switch()
            t = threading.Thread(target=f)
            t.start()
            ready.wait()
            del there[0]
            event.set()
            t.join()
        ]])
    end)
end)
