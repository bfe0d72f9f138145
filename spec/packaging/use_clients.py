"""Uses the compiled clients: python use_clients.py NAME...; the modules are in sys.path."""

import importlib
import sys
import unittest

import greenlet


class Client:
    """What a compiled client of greenlet.h does is what greenlet does."""

    def test_names(self):
        expected = (greenlet.greenlet, greenlet.error, greenlet.GreenletExit)
        self.assertEqual(self.client.names(), expected)

    def test_layout(self):
        if hasattr(self.client, "layout"):
            header, type_ = self.client.layout()
            self.assertEqual(header, type_)
            self.assertEqual(header, (40, 16, 24))

    def test_check(self):
        class Subclass(greenlet.greenlet):
            pass

        self.assertTrue(self.client.check(greenlet.getcurrent()))
        self.assertTrue(self.client.check(Subclass()))
        self.assertFalse(self.client.check(object()))

    def test_current_and_main(self):
        main = greenlet.getcurrent()
        self.assertIs(self.client.getcurrent(), main)
        self.assertEqual(self.client.state(main), (1, 1, 1))
        self.assertIsNone(self.client.getparent(main))

    def test_life(self):
        c, main = self.client, greenlet.getcurrent()
        g = c.new(lambda *args, **kwargs: main.switch((args, kwargs)), None)
        self.assertIs(type(g), greenlet.greenlet)
        self.assertEqual(c.state(g), (0, 0, 0))
        self.assertEqual(c.switch(g, (1, 2), {"k": 3}), ((1, 2), {"k": 3}))
        self.assertEqual(c.state(g), (0, 1, 1))
        self.assertEqual(c.switch(g, ("result",)), "result")
        self.assertEqual(c.state(g), (0, 1, 0))
        self.assertTrue(g.dead)

    def test_switch_without_arguments(self):
        self.assertEqual(self.client.switch(self.client.new(lambda: 5, None)), 5)

    def test_run_is_set_later(self):
        g = self.client.new(None, None)
        self.assertEqual(self.client.state(g), (0, 0, 0))
        g.run = lambda: "late"
        self.assertEqual(g.switch(), "late")

    def test_parents(self):
        c, main = self.client, greenlet.getcurrent()
        parent = c.new(lambda value: ("parent got", value), None)
        child = c.new(lambda: "value", parent)
        self.assertIs(c.getparent(child), parent)
        self.assertIs(c.getparent(parent), main)
        self.assertEqual(c.switch(child), ("parent got", "value"))
        other = c.new(lambda: None, None)
        c.setparent(other, greenlet.greenlet(parent=main))
        self.assertIsNot(c.getparent(other), main)
        with self.assertRaisesRegex(ValueError, "cyclic parent chain"):
            c.setparent(other, other)

    def test_throw(self):
        c, main = self.client, greenlet.getcurrent()

        def catch():
            try:
                main.switch("ready")
            except KeyError as error:
                return error

        g = c.new(catch, None)
        self.assertEqual(c.switch(g), "ready")
        error = KeyError("thrown")
        self.assertIs(c.throw(g, error), error)
        ended = c.new(main.switch, None)
        c.switch(ended)
        self.assertIsInstance(c.throw(ended, greenlet.GreenletExit), greenlet.GreenletExit)
        self.assertTrue(ended.dead)

    def test_exceptions(self):
        def fail():
            raise LookupError("from within")

        with self.assertRaisesRegex(LookupError, "from within"):
            self.client.switch(self.client.new(fail, None))

    def test_not_a_greenlet(self):
        with self.assertRaises(TypeError):
            self.client.state(object())

    def test_references(self):
        count = sys.getrefcount(greenlet.getcurrent())
        g = self.client.new(lambda: None, None)
        for _ in range(100):
            self.client.getcurrent()
            self.client.getparent(g)
            self.client.switch(self.client.new(lambda: None, None), (), {})
        del g
        self.assertAlmostEqual(sys.getrefcount(greenlet.getcurrent()), count, delta=3)

    def test_subclass_in_c(self):
        if hasattr(self.client, "Counter"):
            g = self.client.Counter()
            for expected in range(1, 4):
                g.switch()
                self.assertEqual(g.count, expected)
            g.throw()
            self.assertTrue(g.dead)


def load_tests(loader, tests, pattern):
    suite = unittest.TestSuite()
    for name in NAMES:
        case = type(name, (Client, unittest.TestCase), {"client": importlib.import_module(name)})
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    NAMES = sys.argv[1:]
    print(greenlet.__file__)
    unittest.main(argv=sys.argv[:1])
