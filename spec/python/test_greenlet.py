"""Greenlets themselves: what a switch passes, how they end, who gets that. Run anew in processes
with few lanes."""
import gc
import os
import subprocess
import sys
import unittest
import weakref

from greenlet import GreenletExit, error, getcurrent, greenlet


def pause(*args, **kwargs):
    return getcurrent().parent.switch(*args, **kwargs)


class Switch(unittest.TestCase):
    CASES = [
        ((), {}, ()),
        ((1,), {}, 1),
        (((),), {}, ()),
        ((None,), {}, None),
        ((1, 2), {}, (1, 2)),
        ((), {"a": 1}, {"a": 1}),
        ((1,), {"a": 2}, ((1,), {"a": 2})),
        ((1, 2), {"a": 3}, ((1, 2), {"a": 3})),
    ]

    def test_values_into_a_start(self):
        for args, kwargs, _ in self.CASES:
            g = greenlet(lambda *a, **k: (a, k))
            self.assertEqual(g.switch(*args, **kwargs), (args, kwargs))

    def test_values_into_a_suspended_one(self):
        for args, kwargs, expected in self.CASES:
            g = greenlet(pause)
            g.switch()
            self.assertEqual(g.switch(*args, **kwargs), expected)

    def test_values_out(self):
        for args, kwargs, expected in self.CASES:
            self.assertEqual(greenlet(pause).switch(*args, **kwargs), expected)

    def test_values_to_oneself_and_to_the_dead(self):
        dead = greenlet(lambda: None)
        dead.switch()
        for args, kwargs, expected in self.CASES:
            self.assertEqual(getcurrent().switch(*args, **kwargs), expected)
            self.assertEqual(dead.switch(*args, **kwargs), expected)

    def test_ping_pong(self):
        def body(n):
            while n < 10000:
                n = pause(n + 1)
            return "end"
        g = greenlet(body)
        n = 0
        while n != "end":
            n = g.switch(n)
        self.assertTrue(g.dead)

    def test_ring(self):
        log = []

        def body(i):
            for n in range(3):
                log.append((i, n))
                ring[(i + 1) % 5].switch((i + 1) % 5)
        main = getcurrent()
        ring = [greenlet(body) for _ in range(5)]
        ring[0].switch(0)
        self.assertIs(getcurrent(), main)
        self.assertEqual(log[:10], [(i, n) for n in range(2) for i in range(5)])

    def test_many_alive(self):
        def body(i):
            total = i
            while True:
                total += pause(total)
        all = [greenlet(body) for _ in range(2000)]
        self.assertEqual([g.switch(i) for i, g in enumerate(all)], list(range(2000)))
        for _ in range(3):
            for g in reversed(all):
                g.switch(1)
        self.assertEqual([g.switch(0) for g in all], [i + 3 for i in range(2000)])

    def test_different_depths(self):
        def dig(depth, n):
            local = [depth] * 10
            value = dig(depth - 1, n) if depth else pause(n)
            self.assertEqual(local, [depth] * 10)
            return value
        all = [greenlet(dig) for _ in range(60)]
        for i, g in enumerate(all):
            self.assertEqual(g.switch(i * 7 % 61, i), i)
        for i in range(60):
            self.assertEqual(all[i * 13 % 60].switch(i), i)


class Errors(unittest.TestCase):
    def test_an_error_goes_to_the_parent(self):
        def body():
            raise KeyError("k")
        g = greenlet(body)
        with self.assertRaises(KeyError) as caught:
            g.switch()
        self.assertEqual(caught.exception.args, ("k",))
        self.assertTrue(g.dead)

    def test_an_error_goes_to_a_parent_that_waits(self):
        log = []

        def outer():
            inner = greenlet(lambda: 1 / 0)
            try:
                inner.switch()
            except ZeroDivisionError:
                log.append("caught")
            return "fine"
        self.assertEqual(greenlet(outer).switch(), "fine")
        self.assertEqual(log, ["caught"])

    def test_throw(self):
        def body():
            try:
                pause()
            except KeyError as e:
                return e.args
        for arguments in (KeyError, "x"), (KeyError("x"),), (KeyError, KeyError("x")):
            g = greenlet(body)
            g.switch()
            self.assertEqual(g.throw(*arguments), ("x",))

    def test_throw_into_the_new_and_the_dead(self):
        g = greenlet(lambda: self.fail("ran"))
        self.assertRaises(KeyError, g.throw, KeyError)
        self.assertTrue(g.dead)
        self.assertRaises(KeyError, g.throw, KeyError)
        self.assertIsInstance(g.throw(), GreenletExit)

    def test_greenlet_exit_is_a_result(self):
        g = greenlet(pause)
        g.switch()
        self.assertIsInstance(g.throw(), GreenletExit)
        self.assertIsInstance(greenlet(sys.exc_info).switch(), tuple)

    def test_throw_keeps_the_traceback(self):
        def deep():
            raise ValueError("deep")
        try:
            deep()
        except ValueError as e:
            kept = e
        g = greenlet(pause)
        g.switch()
        with self.assertRaises(ValueError) as caught:
            g.throw(ValueError, kept, kept.__traceback__)
        self.assertIs(caught.exception, kept)

    def test_context_of_exceptions_stays_apart(self):
        def body():
            try:
                raise KeyError
            except KeyError:
                pause()
        g = greenlet(body)
        g.switch()
        try:
            raise ValueError
        except ValueError as e:
            self.assertIsNone(e.__context__)
            g.switch()
            self.assertIs(sys.exc_info()[1], e)

    def test_wrong_arguments(self):
        self.assertRaises(TypeError, greenlet(lambda: 1).switch, 1)
        self.assertRaises(AttributeError, greenlet().switch)
        self.assertRaises(TypeError, greenlet(lambda: 1).throw, 5)
        self.assertTrue(issubclass(error, Exception))
        self.assertTrue(issubclass(GreenletExit, BaseException))
        self.assertFalse(issubclass(GreenletExit, Exception))


class Parents(unittest.TestCase):
    def test_default_is_who_made_it(self):
        main = getcurrent()
        self.assertIs(greenlet().parent, main)
        self.assertIsNone(main.parent)
        g = greenlet(lambda: greenlet())
        self.assertIs(g.switch().parent, g)

    def test_result_goes_to_a_new_parent(self):
        log = []
        a = greenlet(lambda value: log.append(value) or "from a")
        b = greenlet(lambda: "from b", a)
        self.assertEqual(b.switch(), "from a")
        self.assertEqual(log, ["from b"])

    def test_cycles_are_refused(self):
        a = greenlet()
        b = greenlet(parent=a)
        with self.assertRaisesRegex(ValueError, "cyclic parent chain"):
            a.parent = b
        with self.assertRaises(AttributeError):
            getcurrent().parent = a

    def test_a_chain_of_dead_parents(self):
        def nest(n):
            inner = greenlet(nest if n else pause)
            return inner.switch(*((n - 1,) if n else ())), inner
        value, inner = greenlet(nest).switch(10)
        while isinstance(value, tuple) and value:
            value, inner = value
        inner.parent = getcurrent()
        inner.switch("end")
        self.assertTrue(inner.dead)


class State(unittest.TestCase):
    def test_life(self):
        seen = []
        g = greenlet(lambda: pause(seen.append((bool(g), g.dead))))
        self.assertEqual((bool(g), g.dead), (False, False))
        g.switch()
        self.assertEqual((bool(g), g.dead), (True, False))
        g.switch()
        self.assertEqual((bool(g), g.dead), (False, True))
        self.assertEqual(seen, [(True, False)])

    def test_run(self):
        g = greenlet()
        self.assertRaises(AttributeError, getattr, g, "run")
        g.run = pause
        self.assertIs(g.run, pause)
        g.switch()
        self.assertRaises(AttributeError, getattr, g, "run")
        self.assertRaises(AttributeError, setattr, g, "run", pause)
        g.switch()

    def test_run_of_a_subclass(self):
        class Sub(greenlet):
            def run(self, value):
                return self, value
        g = Sub()
        self.assertEqual(g.switch(3), (g, 3))

    def test_attributes_and_weak_references(self):
        g = greenlet(pause)
        g.value = [g]
        w = weakref.ref(g)
        del g
        gc.collect()
        self.assertIsNone(w())


class FewLanes(unittest.TestCase):
    """The same tests where greenlets must share stacks."""

    def check(self, lanes):
        if os.environ.get("MOONLET_LANES"):
            self.skipTest("is one of these")
        for name in "test_greenlet", "test_frames":
            result = subprocess.run(
                [sys.executable, os.path.join(os.path.dirname(__file__), name + ".py")],
                env={**os.environ, "MOONLET_LANES": lanes}, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=300)
            self.assertEqual(result.returncode, 0, result.stdout.decode())

    def test_one_lane(self):
        self.check("1")

    def test_three_lanes(self):
        self.check("3")


class Finish(unittest.TestCase):
    def test_code_that_runs_as_a_new_parent_is_looked_at(self):
        """On the stack of the greenlet that has finished, for which it counts as running."""
        class Parent(greenlet):
            def __getattribute__(self, name):
                if name == "run":
                    frames.append(sys._getframe(0).f_code.co_name)
                    frames.append(deep(300))
                    raise KeyError(name)
                return super().__getattribute__(name)

        def deep(n):
            return deep(n - 1) if n else sorted([2, 1], key=lambda v: v)

        for _ in range(100):
            frames = []
            child = greenlet(lambda: 1, Parent())
            with self.assertRaises(KeyError):
                child.switch()
            self.assertTrue(child.dead)
            self.assertEqual(frames, ["__getattribute__", [1, 2]])


if __name__ == "__main__":
    unittest.main()
