"""Garbage: cycles through greenlets of every state are collected, suspended ones when ended."""
import gc
import sys
import threading
import unittest
import weakref

from greenlet import GreenletExit, getcurrent, greenlet


class Thing:
    pass


class Garbage(unittest.TestCase):
    def setUp(self):
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.ended = []

    def wait(self):
        """Until it is killed."""
        try:
            getcurrent().parent.switch()
        except GreenletExit:
            self.ended.append(getcurrent())
            raise
        self.fail("switched to")

    def collected(self, reference, expected=True):
        self.assertIsNotNone(reference())
        gc.collect()
        self.assertEqual(reference() is None, expected)

    def test_not_started(self):
        g = greenlet()
        g.self = [g]
        g.run = lambda: g  # noqa: F821
        w = weakref.ref(g)
        del g
        self.collected(w)

    def test_finished(self):
        g = greenlet(lambda: None)
        g.switch()
        g.self = [g]
        w = weakref.ref(g)
        del g
        self.collected(w)

    def test_suspended_with_itself_as_an_attribute(self):
        g = greenlet(self.wait)
        g.list = [g]
        g.switch()
        w = weakref.ref(g)
        del g
        self.collected(w)
        self.assertEqual(len(self.ended), 1)
        self.assertTrue(self.ended[0].dead)

    def suspended(self, body, expected=True, type=greenlet):
        thing = Thing()
        g = type(body)
        g.switch(thing, g)
        w = weakref.ref(thing)
        del thing, g
        self.collected(w, expected)
        self.assertEqual(len(self.ended), int(expected))

    def test_suspended_with_itself_in_a_local(self):
        def body(thing, me):
            self.wait()

        self.suspended(body)

    def test_suspended_with_itself_in_an_outer_frame(self):
        def body(thing, me):
            inner()

        def inner():
            self.wait()

        self.suspended(body)

    def test_suspended_with_itself_passed_on(self):
        """In 3.10 the outer frame has the arguments, too, among temporaries that nobody counts."""
        def body(thing, me):
            inner(thing, [me])

        def inner(thing, list):
            self.wait()

        self.suspended(body, sys.version_info >= (3, 11))

    def test_suspended_with_itself_in_a_cell(self):
        def body(thing, me):
            def inner():
                return thing, me
            self.wait()
            inner()

        self.suspended(body)

    def test_suspended_below_a_call_from_c(self):
        def body(thing, me):
            sorted([1], key=lambda _: self.wait())

        self.suspended(body)

    def test_suspended_of_a_subclass(self):
        class Sub(greenlet):
            pass

        def body(thing, me):
            me.thing = thing
            self.wait()

        self.suspended(body, type=Sub)

    def test_an_exception_being_handled(self):
        def body(thing, me):
            try:
                raise KeyError(thing, me)
            except KeyError:
                del thing, me
                self.wait()

        self.suspended(body)

    def test_temporaries_of_the_innermost_frame(self):
        """Only the call of switch still refers to the other greenlet."""
        def body(other, thing):
            try:
                other.pop().switch(thing)
            except GreenletExit:
                self.ended.append(1)
                raise

        main = getcurrent()
        a = greenlet(body)
        b = greenlet(lambda thing: main.switch())
        b.a = a
        w = weakref.ref(b)
        a.switch([b], Thing())
        del a, b
        self.collected(w)
        self.assertEqual(len(self.ended), 1)

    def test_a_chain_of_many(self):
        def body(other, thing):
            self.wait()

        first = last = greenlet(body)
        for _ in range(10000):
            g = greenlet(body)
            g.switch(last, None)
            last = g
        first.switch(last, None)
        w = weakref.ref(first)
        del first, last, g
        self.collected(w)
        self.assertEqual(len(self.ended), 10001)

    def test_collections_at_any_moment(self):
        """Also on stacks that are copied aside when another greenlet ends."""
        def body():
            me = getcurrent()
            lists = [[me] for _ in range(20)]
            self.wait()
            del lists

        gc.enable()
        for _ in range(3000):
            greenlet(body).switch()
        gc.collect()
        self.assertEqual(len(self.ended), 3000)

    def test_a_subclass_that_has_del_is_kept(self):
        class Sub(greenlet):
            def __del__(self):
                pass

        def body(thing, me):
            self.wait()

        g = Sub(body)
        g.switch(Thing(), g)
        w = weakref.ref(g)
        del g
        self.collected(w, False)
        w().throw()
        self.ended.clear()
        gc.collect()
        self.assertIsNone(w())

    def test_everything_is_whole_while_it_ends(self):
        log = []

        class Noisy:
            name = "noisy"

            def __del__(self):
                log.append("deleted")

        def body(noisy, me):
            attributes = {"noisy": noisy, "me": me}
            del noisy, me
            try:
                self.wait()
            finally:
                log.append(attributes["noisy"].name)
                log.append(attributes["me"] is getcurrent())

        g = greenlet(body)
        g.switch(Noisy(), g)
        del g
        gc.collect()
        # As ever, __del__ of what is in the cycle may be called first.
        self.assertEqual(log.count("deleted"), 1)
        log.remove("deleted")
        self.assertEqual(log, ["noisy", True])

    def test_one_that_is_referred_to_stays(self):
        def body(thing, me):
            self.wait()

        thing = Thing()
        g = greenlet(body)
        g.switch(thing, g)
        w = weakref.ref(thing)
        holder = [g.gr_frame]
        del thing, g
        self.collected(w, False)
        self.assertEqual(self.ended, [])
        holder.clear()
        self.collected(w)

    def test_one_that_comes_back_to_life(self):
        saved = []

        def body(thing, me):
            try:
                self.wait()
            except GreenletExit:
                saved.append(thing)
                thing.back = getcurrent().parent.switch("still here")
                return "done"

        thing = Thing()
        g = greenlet(body)
        g.switch(thing, g)
        del thing, g
        gc.collect()
        self.assertEqual(len(saved), 1)
        if saved:
            self.assertIsInstance(saved[0], Thing)

    def test_one_of_another_thread_is_ended_by_its_owner(self):
        ready, go = threading.Event(), threading.Event()
        where = []

        def body(thing, me):
            try:
                self.wait()
            finally:
                where.append(threading.get_ident())

        def owner():
            g = greenlet(body)
            g.switch(Thing(), g)
            del g
            ready.set()
            go.wait()
            getcurrent()

        t = threading.Thread(target=owner)
        t.start()
        ready.wait()
        gc.collect()
        self.assertEqual(where, [])
        go.set()
        ident = t.ident
        t.join()
        self.assertEqual(where, [ident])

    def test_of_a_thread_that_has_ended(self):
        def body(thing, me):
            self.wait()

        def owner():
            thing = Thing()
            g = greenlet(body)
            g.switch(thing, g)
            things.append(weakref.ref(thing))
            greenlets.append(weakref.ref(g))

        things, greenlets = [], []
        t = threading.Thread(target=owner)
        t.start()
        t.join()
        gc.collect()
        self.assertEqual(self.ended, [])
        self.assertIsNone(greenlets[0]())
        self.assertIsNone(things[0]())

    def test_the_running_and_the_main_greenlet_are_no_garbage(self):
        def body(me):
            del me
            gc.collect()
            gc.collect()
            return 5

        self.assertEqual(greenlet(lambda: body(getcurrent())).switch(), 5)
        self.assertIs(getcurrent(), getcurrent())


if __name__ == "__main__":
    unittest.main()
