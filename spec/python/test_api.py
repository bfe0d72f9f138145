"""What greenlet offers beside switching: attributes, contexts, tracing, names, the C API."""
import contextvars
import ctypes
import copy
import gc
import pickle
import sys
import threading
import unittest
import weakref

import greenlet as module
from greenlet import GreenletExit, error, getcurrent, greenlet


def in_thread(f):
    """What `f` returns, or the exception that it raises, in a new thread."""
    results = []

    def run():
        try:
            results.append(f())
        except BaseException as e:
            results.append(e)

    t = threading.Thread(target=run)
    t.start()
    t.join()
    return results[0]


def wait(*args):
    return getcurrent().parent.switch(*args)


class Attributes(unittest.TestCase):
    def test_frame_is_that_of_a_suspended_greenlet_alone(self):
        def f():
            inner.append(getcurrent().gr_frame)
            wait()

        inner = []
        g = greenlet(f)
        self.assertIsNone(g.gr_frame)
        g.switch()
        self.assertEqual(inner, [None])
        self.assertEqual(g.gr_frame.f_code.co_name, "wait")
        self.assertIs(g.gr_frame.f_back.f_code, f.__code__)
        self.assertIsNone(g.gr_frame.f_back.f_back)
        self.assertIs(g.gr_frame, g.gr_frame)
        self.assertIsNone(getcurrent().gr_frame)
        g.switch()
        self.assertIsNone(g.gr_frame)
        with self.assertRaises(AttributeError):
            g.gr_frame = None

    def test_a_greenlet_without_python_code_has_no_frame(self):
        g = greenlet(getcurrent().switch)
        g.switch()
        self.assertTrue(g)
        self.assertIsNone(g.gr_frame)
        g.switch()

    def test_the_frame_of_main(self):
        main = getcurrent()
        frame = greenlet(lambda: main.gr_frame).switch()
        self.assertIs(frame, sys._getframe())

    def test_stack_saved_is_the_size_of_a_suspended_stack(self):
        g = greenlet(wait)
        main = getcurrent()
        self.assertEqual(g._stack_saved, 0)
        self.assertEqual(main._stack_saved, 0)
        g.switch()
        self.assertGreater(g._stack_saved, 0)
        self.assertGreater(greenlet(lambda: main._stack_saved).switch(), 0)
        g.switch()
        self.assertEqual(g._stack_saved, 0)

    def test_of_a_thread_that_has_ended(self):
        def run():
            g = greenlet(wait)
            g.switch()
            return g

        g = in_thread(run)
        self.assertTrue(g.dead)
        self.assertFalse(g)
        self.assertIsNone(g.gr_frame)
        self.assertEqual(g._stack_saved, 0)
        self.assertRegex(repr(g), r"\(otid=0x\(nil\)\) \(thread exited\) dead>$")
        with self.assertRaisesRegex(error, "which happens to have exited"):
            g.switch()

    def test_cannot_be_pickled_or_copied(self):
        g = greenlet()
        for f in pickle.dumps, copy.copy, copy.deepcopy, greenlet.__getstate__:
            with self.assertRaisesRegex(TypeError, "^cannot serialize 'greenlet.greenlet' obj"):
                f(g)

    def test_has_a_dict_and_weak_references(self):
        g = greenlet()
        g.x = 1
        self.assertEqual(g.__dict__, {"x": 1})
        g.__dict__ = {"y": 2}
        self.assertEqual(g.y, 2)
        with self.assertRaisesRegex(TypeError, "__dict__ must be a dictionary"):
            g.__dict__ = 1
        with self.assertRaisesRegex(TypeError, "__dict__ may not be deleted"):
            del g.__dict__
        w = weakref.ref(g)
        del g
        self.assertIsNone(w())

    def test_layout_that_compiled_clients_rely_on(self):
        self.assertEqual(greenlet.__basicsize__, 40)
        self.assertEqual(greenlet.__weakrefoffset__, 16)
        self.assertEqual(greenlet.__dictoffset__, 24)

    def test_module_and_type_have_the_same_functions(self):
        for name in "getcurrent", "settrace", "gettrace", "error", "GreenletExit":
            self.assertIs(getattr(greenlet, name), getattr(module, name))
        self.assertTrue(issubclass(GreenletExit, BaseException))
        self.assertFalse(issubclass(GreenletExit, Exception))
        self.assertTrue(issubclass(error, Exception))
        self.assertRegex(module.__version__, r"^3\.5\.\d+$")
        for name in "GC", "TRACING", "CONTEXT_VARS":
            self.assertTrue(getattr(module, "GREENLET_USE_" + name))
        module.enable_optional_cleanup(False)
        self.assertIsNone(module.get_clocks_used_doing_optional_cleanup())
        module.enable_optional_cleanup(True)
        self.assertEqual(module.get_clocks_used_doing_optional_cleanup(), 0)
        self.assertGreater(module.CLOCKS_PER_SEC, 0)


variable = contextvars.ContextVar("variable", default=0)


class Contexts(unittest.TestCase):
    def test_a_new_greenlet_starts_in_an_empty_context(self):
        variable.set(1)
        self.assertEqual(greenlet(variable.get).switch(), 0)
        variable.set(0)

    def test_a_context_stays_with_its_greenlet(self):
        def f(value):
            while True:
                variable.set(value)
                value = wait(variable.get())

        a, b = greenlet(f), greenlet(f)
        self.assertEqual([a.switch(1), b.switch(2), a.switch(3), b.switch(4)], [1, 2, 3, 4])
        self.assertEqual(a.gr_context[variable], 3)
        self.assertEqual(variable.get(), 0)
        a.throw()
        self.assertEqual(a.gr_context[variable], 3)

    def test_a_context_can_be_given(self):
        context = contextvars.copy_context()
        context.run(variable.set, 7)
        g = greenlet(lambda: (variable.get(), wait(), variable.get())[::2])
        self.assertIsNone(g.gr_context)
        g.gr_context = context
        self.assertIs(g.gr_context, context)
        g.switch()
        other = context.copy()
        other.run(variable.set, 8)
        g.gr_context = other
        self.assertEqual(g.switch(), (7, 8))

    def test_the_context_of_the_current_greenlet(self):
        def f():
            me = getcurrent()
            before = me.gr_context
            variable.set(1)
            mine = me.gr_context
            me.gr_context = None
            after = variable.get()
            me.gr_context = mine
            return before, after, variable.get()

        self.assertEqual(greenlet(f).switch(), (None, 0, 1))

    def test_errors(self):
        g = greenlet()
        with self.assertRaisesRegex(
                TypeError, "^greenlet context must be a contextvars.Context or None$"):
            g.gr_context = 1
        with self.assertRaisesRegex(AttributeError, "^can't delete context attribute$"):
            del g.gr_context
        main = getcurrent()
        self.assertEqual(
            str(in_thread(lambda: main.gr_context)),
            "cannot get context of a greenlet that is running in a different thread")
        self.assertEqual(
            str(in_thread(lambda: setattr(main, "gr_context", None))),
            "cannot set context of a greenlet that is running in a different thread")


class Tracing(unittest.TestCase):
    def setUp(self):
        self.events = []
        self.names = {getcurrent(): "main"}
        self.addCleanup(module.settrace, None)

    def trace(self, event, args):
        origin, target = args
        self.assertIs(getcurrent(), target)
        self.events.append((event, *(self.names.get(g) for g in args)))

    def new(self, name, f):
        g = greenlet(f)
        self.names[g] = name
        return g

    def test_every_switch_and_throw_is_told_in_the_target(self):
        g = self.new("g", lambda: wait())
        h = self.new("h", lambda: g.switch())
        self.assertIsNone(module.settrace(self.trace))
        self.assertEqual(module.gettrace(), self.trace)
        g.switch()
        h.switch()
        with self.assertRaises(KeyError):
            h.throw(KeyError)
        getcurrent().switch()
        self.assertEqual(module.settrace(None), self.trace)
        self.assertIsNone(module.gettrace())
        self.new("i", lambda: None).switch()
        self.assertEqual(self.events, [
            ("switch", "main", "g"), ("switch", "g", "main"),
            ("switch", "main", "h"), ("switch", "h", "g"), ("switch", "g", "main"),
            ("throw", "main", "h"), ("throw", "h", "main"),
            ("switch", "main", "main")])

    def test_its_exception_ends_tracing_and_is_raised_in_the_target(self):
        def fail(event, args):
            raise KeyError(event)

        g = greenlet(lambda: wait())
        g.switch()
        module.settrace(fail)
        with self.assertRaises(KeyError):
            g.switch()
        self.assertTrue(g.dead)
        self.assertIsNone(module.gettrace())
        module.settrace(fail)
        g = greenlet(lambda: 1)
        with self.assertRaises(KeyError):
            g.switch()
        self.assertTrue(g.dead)

    def test_is_per_thread(self):
        module.settrace(self.trace)
        self.assertIsNone(in_thread(module.gettrace))
        in_thread(lambda: greenlet(lambda: None).switch())
        self.assertEqual(self.events, [])

    def test_is_released_when_its_thread_ends(self):
        class Tracer:
            def __call__(self, event, args):
                pass

        tracer = Tracer()
        w = weakref.ref(tracer)
        in_thread(lambda: module.settrace(tracer))  # noqa: F821
        del tracer
        gc.collect()
        self.assertIsNone(w())

    def test_profilers_do_not_see_the_tracer(self):
        seen = []
        sys.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name))
        try:
            module.settrace(self.trace)
            greenlet(lambda: None).switch()
            module.settrace(None)
        finally:
            sys.setprofile(None)
        self.assertNotIn("trace", seen)
        self.assertIn("<lambda>", seen)


class CApi(unittest.TestCase):
    """The slots of the capsule, called through ctypes."""

    @classmethod
    def setUpClass(cls):
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        table = get(module._C_API, b"greenlet._C_API")
        cls.slots = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p * 12)).contents

    def slot(self, number, result, *types):
        return ctypes.PYFUNCTYPE(result, *types)(self.slots[number])

    def test_data(self):
        self.assertEqual(list(self.slots)[:3], [id(greenlet), id(error), id(GreenletExit)])

    def test_functions(self):
        o, null = ctypes.py_object, ctypes.py_object()
        new = self.slot(3, o, o, o)
        current = self.slot(4, o)
        throw = self.slot(5, o, o, o, o, o)
        switch = self.slot(6, o, o, o, o)
        set_parent = self.slot(7, ctypes.c_int, o, o)
        is_main, is_started, is_active = (self.slot(n, ctypes.c_int, o) for n in (8, 9, 10))
        parent = self.slot(11, o, o)
        main = current()
        self.assertIs(main, getcurrent())
        g = new(lambda *args, **kwargs: (args, kwargs, wait()), null)
        self.assertIs(parent(g), main)
        self.assertEqual([f(g) for f in (is_main, is_started, is_active)], [0, 0, 0])
        self.assertEqual([f(main) for f in (is_main, is_started, is_active)], [1, 1, 1])
        self.assertEqual(switch(g, (1, 2), {"k": 3}), ())
        self.assertEqual([f(g) for f in (is_main, is_started, is_active)], [0, 1, 1])
        self.assertEqual(switch(g, (4,), {}), ((1, 2), {"k": 3}, 4))
        self.assertEqual([f(g) for f in (is_main, is_started, is_active)], [0, 1, 0])
        h = new(null, g)
        self.assertIs(parent(h), g)
        self.assertEqual(set_parent(h, main), 0)
        self.assertIs(parent(h), main)
        with self.assertRaisesRegex(ValueError, "cyclic parent chain"):
            set_parent(h, h)
        h.run = wait
        self.assertEqual(switch(h, null, null), ())
        with self.assertRaises(KeyError):
            throw(h, KeyError, null, null)
        self.assertIsInstance(throw(h, GreenletExit, null, None), GreenletExit)
        for f in is_main, is_started, is_active, parent:
            with self.assertRaises(TypeError):
                f(1)
        with self.assertRaises(TypeError):
            switch(1, (), null)
        with self.assertRaises(TypeError):
            throw(1, KeyError, null, null)


if __name__ == "__main__":
    unittest.main()
