"""The end of greenlets: dropped, in threads, with their threads, with the interpreter."""
import gc
import os
import subprocess
import sys
import threading
import traceback
import unittest
import weakref

from greenlet import GreenletExit, getcurrent, greenlet


def pause(value=None):
    return getcurrent().parent.switch(value)


def in_thread(function):
    """Runs it in a thread of its own; what it returns."""
    results = []
    t = threading.Thread(target=lambda: results.append(function()))
    t.start()
    t.join()
    return results[0]


def resident():
    """What is in memory, in KiB."""
    with open("/proc/self/status") as file:
        return int(next(s for s in file if s.startswith("VmRSS:")).split()[1])


class Thing:
    pass


class Drop(unittest.TestCase):
    def waits(self, log):
        try:
            pause()
        except GreenletExit:
            log.append("exit")
            raise
        finally:
            log.append("finally")

    def test_dropped(self):
        log = []
        g = greenlet(self.waits)
        g.switch(log)
        del g
        self.assertEqual(log, ["exit", "finally"])

    def test_dropped_in_every_order(self):
        for step in 1, 3, 7:
            log = []
            all = {i: greenlet(self.waits) for i in range(10)}
            for g in all.values():
                g.switch(log)
            del g
            for i in range(10):
                del all[i * step % 10]
            self.assertEqual(log, ["exit", "finally"] * 10)

    def test_dropped_by_another_greenlet(self):
        log = []
        held = [greenlet(self.waits)]
        held[0].switch(log)
        greenlet(held.clear).switch()
        self.assertEqual(log, ["exit", "finally"])

    def test_what_it_refers_to_goes_with_it(self):
        def body(thing):
            local = thing
            sorted([1], key=lambda _: pause(), reverse=bool(local))
        thing = Thing()
        w = weakref.ref(thing)
        g = greenlet(body)
        g.switch(thing)
        del thing
        self.assertIsNotNone(w())
        del g
        self.assertIsNone(w())

    def test_one_that_refuses(self):
        def body():
            try:
                pause()
            except GreenletExit:
                pause("not yet")
            return "now"
        g = greenlet(body)
        g.switch()
        self.assertEqual(g.throw(), "not yet")
        self.assertEqual(g.switch(), "now")


class Threads(unittest.TestCase):
    def test_each_thread_has_its_own(self):
        mains = [in_thread(getcurrent) for _ in range(3)]
        self.assertEqual(len({id(m) for m in mains + [getcurrent()]}), 4)

    def test_at_once(self):
        def work():
            def body(n):
                for i in range(100):
                    n += pause(n)
                return n
            all = [greenlet(body) for _ in range(20)]
            for i, g in enumerate(all):
                g.switch(i)
            for _ in range(100):
                last = [g.switch(1) for g in all]
            results.append(last)
        results = []
        threads = [threading.Thread(target=work) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [[i + 100 for i in range(20)]] * 6)

    def test_dropped_by_another_thread(self):
        log = []
        held = []
        made, dropped = threading.Event(), threading.Event()

        def body():
            try:
                pause()
            finally:
                log.append(threading.get_ident())

        def owner():
            held.append(greenlet(body))
            held[0].switch()
            made.set()
            dropped.wait()
            getcurrent()
            return threading.get_ident()

        def drop():
            made.wait()
            held.clear()
            gc.collect()
            dropped.set()
        t = threading.Thread(target=drop)
        t.start()
        ident = in_thread(owner)
        t.join()
        self.assertEqual(log, [ident])

    def test_dropped_to_and_fro(self):
        """Threads that drop each other's suspended greenlets all the time."""
        shared = [None] * 10
        counts = [0, 0]

        def body(which):
            try:
                pause()
            finally:
                counts[which] += 1

        def work(which):
            for i in range(1500):
                g = greenlet(body)
                g.switch(which)
                shared[i * 7 % 10] = g
                del g
            getcurrent()
        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        shared.clear()
        gc.collect()
        self.assertLessEqual(sum(counts), 3000)
        self.assertGreater(sum(counts), 1000)

    def test_a_thread_ends_with_suspended_greenlets(self):
        def body(thing):
            local = [thing]
            list(map(lambda _: pause(), local))

        def work():
            thing = Thing()
            g = greenlet(body)
            g.switch(thing)
            kept.append(g)
            return weakref.ref(thing)
        kept = []
        w = in_thread(work)
        self.assertIsNotNone(w())
        self.assertTrue(kept[0].dead)
        kept.clear()
        gc.collect()

    def test_frames_of_lost_greenlets(self):
        """Its thread has ended, the frame is still held: it can be looked at, with its callers."""
        def body(thing):
            local = thing
            inner(local)

        def inner(value):
            return [pause() for _ in [value]]

        def work():
            g = greenlet(body)
            g.switch(Thing())
            other = greenlet(body)
            other.switch(Thing())
            frames.append(g.gr_frame)
            kept.append(g)
        frames, kept = [], []
        in_thread(work)
        for _ in range(2):
            text = "".join(traceback.format_stack(frames[0]))
            self.assertIn("in inner", text)
            self.assertIn("in body", text)
            kept.clear()
            gc.collect()
        frame = frames.pop()
        w = None
        while frame:
            if frame.f_code.co_name == "body":
                w = weakref.ref(frame.f_locals["local"])
                self.assertIsNone(frame.f_back)
            last = frame
            frame = frame.f_back
        self.assertIsNotNone(w())
        last.clear()

    def test_generators_of_lost_greenlets(self):
        def numbers():
            yield pause()

        def work():
            it = numbers()
            g = greenlet(lambda: list(it))
            g.switch()
            kept.append(g)
            return it
        kept = []
        it = in_thread(work)
        names = []
        frame = it.gi_frame
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        self.assertEqual(names, ["numbers", "<lambda>"])
        kept.clear()
        gc.collect()
        in_thread(work)
        self.assertRaises(ValueError, next, it)
        frame = it.gi_frame
        while frame:
            frame = frame.f_back

    def test_lost_greenlets_release_what_they_refer_to(self):
        def body(thing):
            try:
                raise KeyError
            except KeyError:
                inner(thing)

        def inner(thing):
            nested = [thing]
            pause()
            del nested

        def work():
            thing = Thing()
            g = greenlet(body)
            g.switch(thing)
            return weakref.ref(thing)
        self.assertIsNone(in_thread(work)())

    def test_many_threads_that_end_so(self):
        def work():
            for _ in range(5):
                g = greenlet(lambda: sorted([1], key=lambda _: pause()))
                g.switch()
                kept.append(g)
        kept = []
        for _ in range(20):
            in_thread(work)
        before = resident()
        for _ in range(100):
            in_thread(work)
            kept.clear()
        self.assertLess(resident() - before, 6000)


class Exit(unittest.TestCase):
    """How the interpreter ends, in a process of its own."""

    BEGIN = (
        "import sys, threading, atexit, gc\n"
        "from greenlet import *\n"
        "def pause(v=None): return getcurrent().parent.switch(v)\n"
        "def body(*things):\n"
        "    try: sorted([1], key=lambda _: pause())\n"
        "    finally: print('finally')\n")

    def check(self, code, output="end\n", status=0, lanes=("256", "1")):
        for n in lanes:
            result = subprocess.run(
                [sys.executable, "-X", "faulthandler", "-c", self.BEGIN + code],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                env={**os.environ, "MOONLET_LANES": n})
            self.assertEqual((result.stdout.decode(), result.returncode), (output, status))

    def test_with_a_suspended_greenlet(self):
        self.check("g = greenlet(body); g.switch(); print('end')\n", "end\n")

    def test_with_many(self):
        self.check("all = [greenlet(body) for _ in range(300)]\n"
                   "for g in all: g.switch()\n"
                   "sys.keep = all\n"
                   "print('end')\n")

    def test_with_a_cycle(self):
        self.check("g = greenlet(body); g.me = g; g.switch(g); sys.g = g; print('end')\n")

    def test_with_a_frame(self):
        self.check("g = greenlet(body); g.switch(); sys.frame = g.gr_frame; sys.g = g\n"
                   "print('end')\n")

    def test_with_one_in_a_thread_that_has_ended(self):
        self.check("def work():\n"
                   "    global g\n"
                   "    g = greenlet(body)\n"
                   "    g.switch(g)\n"
                   "t = threading.Thread(target=work); t.start(); t.join()\n"
                   "print('end')\n")

    def test_with_a_daemon_thread_in_a_greenlet(self):
        self.check("def work():\n"
                   "    global g\n"
                   "    g = greenlet(body); g.switch()\n"
                   "    greenlet(lambda: (ready.set(), threading.Event().wait())).switch()\n"
                   "ready = threading.Event()\n"
                   "threading.Thread(target=work, daemon=True).start()\n"
                   "ready.wait()\n"
                   "print('end')\n")

    def test_out_of_a_greenlet(self):
        self.check("greenlet(lambda: (print('end'), sys.exit(3))).switch()\n", status=3)

    def test_while_one_waits_for_another(self):
        self.check("def outer():\n"
                   "    greenlet(body).switch()\n"
                   "    g = greenlet(lambda: sys.exit(print('end')))\n"
                   "    g.parent = main\n"
                   "    g.switch()\n"
                   "main = getcurrent()\n"
                   "g = greenlet(outer); g.switch()\n", "finally\nend\n")

    def test_switch_in_atexit(self):
        self.check("g = greenlet(body); g.switch()\n"
                   "atexit.register(lambda: (g.switch(0), print('end')))\n", "finally\nend\n")

    def test_switch_in_a_destructor_at_the_end(self):
        self.check("class Dying:\n"
                   "    def __del__(self, greenlet=greenlet, print=print):\n"
                   "        greenlet(lambda: print('end')).switch()\n"
                   "dying = Dying()\n")

    def test_fork(self):
        self.check("import os\n"
                   "g = greenlet(body); g.switch()\n"
                   "pid = os.fork()\n"
                   "if pid: os.waitpid(pid, 0)\n"
                   "g.switch(0)\n"
                   "sys.stdout.flush()\n"
                   "if pid == 0: os._exit(0)\n"
                   "print('end')\n", "finally\nfinally\nend\n")


class Flat(unittest.TestCase):
    """Nothing grows."""

    def lives(self, count):
        def body(n):
            local = [n]
            pause()
            return local
        for i in range(count):
            g = greenlet(body)
            g.switch(i)
            if i % 3:
                g.switch()

    def test_100000_lives(self):
        self.lives(20000)
        gc.collect()
        before, objects = resident(), len(gc.get_objects())
        self.lives(100000)
        gc.collect()
        self.assertLess(abs(len(gc.get_objects()) - objects), 100)
        self.assertLess(resident() - before, 3000)

    def test_references(self):
        def body(thing):
            try:
                raise ValueError(thing)
            except ValueError:
                list(map(lambda v: pause(v), [thing]))

        def live(thing):
            a, b, c = greenlet(body), greenlet(body), greenlet(body)
            for g in a, b, c:
                g.switch(thing)
            a.switch()
            try:
                b.throw(KeyError, thing)
            except KeyError:
                pass
        thing = Thing()
        live(thing)
        before = sys.getrefcount(thing)
        for _ in range(200):
            live(thing)
        gc.collect()
        self.assertEqual(sys.getrefcount(thing), before)

    def test_deep_lives(self):
        def dig(n):
            return dig(n - 1) if n else pause()

        def lives(count):
            for _ in range(count):
                g = greenlet(dig)
                g.switch(300)
                g.switch()
                g = greenlet(dig)
                g.switch(300)
        lives(50)
        before = resident()
        lives(500)
        self.assertLess(resident() - before, 2000)


if __name__ == "__main__":
    unittest.main()
