"""What Python shows of the frames of greenlets: suspended in place, copied aside, ended, lost."""
import asyncio
import contextvars
import faulthandler
import functools
import gc
import io
import random
import sys
import tempfile
import threading
import traceback
import unittest

from greenlet import GreenletExit, getcurrent, greenlet


def chain(frame):
    """The names of the functions from `frame` outwards."""
    names = []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def pause(value=None):
    return getcurrent().parent.switch(value)


def evict(count=5):
    """Runs greenlets over the stacks of the suspended ones: with one lane all must make room."""
    def fill(depth):
        data = list(range(50))
        if depth:
            fill(depth - 1)
        else:
            pause()
        return data

    others = [greenlet(fill) for _ in range(count)]
    for g in others:
        g.switch(20)
    for g in others:
        g.switch()


class Chains(unittest.TestCase):
    """Bodies that suspend themselves in many ways, and the chain that is expected."""

    def plain(self):
        pause()
    plain.chain = ["pause", "plain"]

    def nested(self):
        def inner(n):
            return inner(n - 1) if n else pause()
        inner(3)
    nested.chain = ["pause"] + ["inner"] * 4 + ["nested"]

    def in_sorted(self):
        def key(n):
            pause()
            return -n
        self.assertEqual(sorted([1, 2], key=key), [2, 1])
    in_sorted.chain = ["pause", "key", "in_sorted"]

    def in_map_of_map(self):
        def outer(n):
            return list(map(inner, [n]))

        def inner(n):
            pause()
            return n
        self.assertEqual(list(map(outer, [7])), [[7]])
    in_map_of_map.chain = ["pause", "inner", "outer", "in_map_of_map"]

    def in_generator(self):
        def numbers():
            pause()
            yield 1
            pause()
        self.assertEqual(list(numbers()), [1])
    in_generator.chain = ["pause", "numbers", "in_generator"]

    def in_generator_in_for(self):
        def numbers():
            yield from inner()

        def inner():
            pause()
            yield 1
        for n in numbers():
            self.assertEqual(n, 1)
    in_generator_in_for.chain = ["pause", "inner", "numbers", "in_generator_in_for"]

    def in_coroutine(self):
        async def outer():
            return await inner()

        async def inner():
            pause()
            return 5
        try:
            outer().send(None)
        except StopIteration as e:
            self.assertEqual(e.value, 5)
    in_coroutine.chain = ["pause", "inner", "outer", "in_coroutine"]

    def in_init(self):
        class Made:
            def __init__(self):
                pause()
        for _ in range(20):  # specialized after a while (3.13)
            Made()
    in_init.chain = ["pause", "__init__", "in_init"]

    def in_property_and_operators(self):
        class Odd:
            @property
            def value(self):
                return self + 1

            def __add__(self, other):
                pause()
                return other

            def __getattr__(self, name):
                return self.value
        self.assertEqual(Odd().missing, 1)
    in_property_and_operators.chain = ["pause", "__add__", "value", "__getattr__",
                                       "in_property_and_operators"]

    def in_class_body(self):
        class Body:
            value = pause()
        self.assertEqual(Body.value, ())
    in_class_body.chain = ["pause", "Body", "in_class_body"]

    def in_exec(self):
        exec("pause()", {"pause": pause})
    in_exec.chain = ["pause", "<module>", "in_exec"]

    def in_partial(self):
        functools.partial(pause, 1)()
    in_partial.chain = ["pause", "in_partial"]

    def in_handler(self):
        try:
            raise KeyError
        except KeyError:
            pause()
            self.assertIsInstance(sys.exc_info()[1], KeyError)
    in_handler.chain = ["pause", "in_handler"]

    def in_destructor(self):
        class Dying:
            def __del__(self):
                pause()

        def scope():
            dying = Dying()
            return type(dying)
        scope()
    in_destructor.chain = ["pause", "__del__", "in_destructor"]

    def in_with(self):
        class Manager:
            def __enter__(self):
                pause()

            def __exit__(self, *args):
                pause()
        with Manager():
            pass
    in_with.chain = ["pause", "__enter__", "in_with"]

    def each(self):
        for name, function in vars(Chains).items():
            if hasattr(function, "chain"):
                with self.subTest(name):
                    yield greenlet(getattr(self, name)), function.chain

    def finish(self, g):
        for _ in range(100):
            if g.dead:
                return
            g.switch()
        self.fail("does not end")

    def test_in_place(self):
        for g, expected in self.each():
            g.switch()
            self.assertEqual(chain(g.gr_frame), expected)
            self.finish(g)

    def test_copied_aside(self):
        for g, expected in self.each():
            g.switch()
            evict()
            self.assertEqual(chain(g.gr_frame), expected)
            self.assertEqual(chain(g.gr_frame), expected)
            self.finish(g)

    def test_frame_is_got_before_it_is_copied_aside(self):
        for g, expected in self.each():
            g.switch()
            frame = g.gr_frame
            evict()
            self.assertEqual(chain(frame), expected)
            self.finish(g)

    def test_frame_outlives_the_greenlet(self):
        for g, expected in self.each():
            g.switch()
            frames = [g.gr_frame]
            while frames[-1].f_back:
                frames.append(frames[-1].f_back)
            evict()
            self.finish(g)
            del g
            evict()
            gc.collect()
            self.assertEqual([f.f_code.co_name for f in frames], expected)
            for f in frames:
                self.assertIsInstance(f.f_lineno, int)
                self.assertIsInstance(f.f_locals, dict if f.f_code.co_name == "Body" else object)
            chain(frames[0])

    def test_all_at_once(self):
        everything = list(self.each())
        for g, _ in everything:
            g.switch()
        for g, expected in everything:
            self.assertEqual(chain(g.gr_frame), expected)
        for g, _ in everything:
            self.finish(g)

    def test_killed_with_its_frame_held(self):
        self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = lambda unraisable: None  # in __del__
        for g, expected in self.each():
            g.switch()
            frame = g.gr_frame
            try:
                g.throw()
            except BaseException as e:
                self.assertIsInstance(e, (StopIteration, AssertionError))
            self.finish(g)
            self.assertEqual(frame.f_code.co_name, "pause")
            chain(frame)

    def test_none_unless_suspended(self):
        g = greenlet(lambda: pause(g.gr_frame))
        self.assertIsNone(g.gr_frame)
        self.assertIsNone(g.switch())
        self.assertIsNotNone(g.gr_frame)
        g.switch()
        self.assertIsNone(g.gr_frame)

    def test_bottom_has_no_caller(self):
        seen = []

        def body():
            seen.extend(chain(sys._getframe()))
        greenlet(body).switch()
        self.assertEqual(seen, ["body"])

    def test_locals_of_a_suspended_frame(self):
        def body(argument):
            cell = [argument]
            local = "here"
            pause()
            return cell, local, lambda: cell
        g = greenlet(body)
        g.switch(3)
        evict()
        frame = g.gr_frame.f_back
        self.assertEqual(frame.f_locals["argument"], 3)
        self.assertEqual(frame.f_locals["cell"], [3])
        self.assertEqual(frame.f_locals["local"], "here")
        self.assertEqual(g.switch()[:2], ([3], "here"))

    def test_main_while_another_runs(self):
        main = getcurrent()
        self.assertIsNone(main.gr_frame)
        g = greenlet(lambda: chain(main.gr_frame))
        self.assertEqual(g.switch(), chain(sys._getframe()))

    def test_print_stack(self):
        def body():
            sorted([1], key=lambda _: pause())
        g = greenlet(body)
        g.switch()
        evict()
        text = io.StringIO()
        traceback.print_stack(g.gr_frame, file=text)
        lines = [s.strip() for s in text.getvalue().splitlines() if "File" in s]
        self.assertEqual([s.rpartition(" in ")[2] for s in lines], ["body", "<lambda>", "pause"])
        g.switch()

    def test_frame_cannot_be_cleared_while_it_may_run(self):
        g = greenlet(pause)
        g.switch()
        frame = g.gr_frame
        self.assertRaises(RuntimeError, frame.clear)
        g.switch()
        frame.clear()


class Depths(unittest.TestCase):
    """Stacks that grow and shrink at random over the pieces of memory that they are made of."""

    def walk(self, seed):
        """A greenlet that pauses again and again, and the names of the functions it is in, from
        the outermost on. Some levels are reached through a generator or C, some frames large."""
        numbers = random.Random(seed)
        steps = iter(range(3000, -1, -1))
        names = []
        functions = {"sorted": through_sorted, "small": small, "generator": through_generator}
        for size in (100, 600, 3000):
            variables = ",".join(f"v{i}" for i in range(size))
            exec(f"def large(f, g):\n {variables}, = range({size})\n f(g)\n "
                 f"assert (v0, v{size - 1}) == (0, {size - 1})", functions)
            functions[f"large {size}"] = functions.pop("large")
        del functions["__builtins__"]
        functions = list(functions.values())

        def go(turn):
            names.append("go")
            aim = numbers.choice((2, 10, 20, 40, 90))
            while numbers.random() < 0.9 and next(steps, 0):
                if len(names) < aim:
                    function = functions[numbers.randrange(len(functions))
                                         if numbers.random() < 0.3 else 1]
                    more = {"through_sorted": ["through_sorted", "<lambda>"],
                            "through_generator": ["through_generator", "<genexpr>"]}
                    count = len(names)
                    names.extend(more.get(function.__name__, [function.__name__]))
                    function(go, turn)
                    del names[count:]
                if numbers.random() < 0.3:
                    names.append("pause")
                    pause()
                    names.pop()
            names.pop()

        def body():
            names.append("body")
            for turn in range(10):
                go(turn)
        return greenlet(body), names

    def test_at_random(self):
        walkers = [self.walk(seed) for seed in range(12)]
        held = []
        numbers = random.Random(1)
        while walkers:
            g, names = numbers.choice(walkers)
            g.switch()
            if not g:
                walkers.remove((g, names))
            for g, names in walkers if numbers.random() < 0.1 else ():
                if numbers.random() < 0.1:
                    held.append((g, names, g.gr_frame))
                if g and numbers.random() < 0.3:
                    self.assertEqual(chain(g.gr_frame), names[::-1])
            held = [one for one in held[-20:] if one[0]]
            for g, names, frame in held:
                self.assertIn(frame.f_code.co_name, ("pause", *names))
                chain(frame)
                frame.f_locals
            if numbers.random() < 0.002:
                gc.collect()

    def test_thread_ends(self):
        frames = []

        def body(depth):
            mark = depth
            if depth:
                body(depth - 1)
            pause()
            return mark

        def run():
            for depth in (1, 10, 50, 200) * 3:
                g = greenlet(body)
                g.switch(depth)
                frames.append(g if depth % 4 else g.gr_frame)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        for frame, depth in zip(frames, (1, 10, 50, 200) * 3):
            if depth % 4:
                self.assertTrue(frame.dead)
            else:
                self.assertEqual(chain(frame), ["pause"] + ["body"] * (depth + 1))
                self.assertEqual(frame.f_back.f_locals["mark"], 0)


def small(function, argument):
    function(argument)


def through_sorted(function, argument):
    sorted([1], key=lambda _: function(argument))


def through_generator(function, argument):
    for _ in (function(argument) for _ in (1,)):
        pass


class Observers(unittest.TestCase):
    """Who looks at frames from outside."""

    def body(self):
        sorted([1, 2], key=lambda n: (pause(), n)[1])

    def test_current_frames(self):
        me = threading.get_ident()
        names = []

        def body():
            names.append(chain(sys._current_frames()[me]))
            pause()
            names.append(chain(sys._current_frames()[me]))
        g = greenlet(body)
        g.switch()
        self.assertEqual(chain(sys._current_frames()[me])[0], "test_current_frames")
        evict()
        g.switch()
        self.assertEqual(names, [["body"], ["body"]])

    def test_current_frames_of_another_thread(self):
        ready, go = threading.Event(), threading.Event()

        def in_thread():
            g = greenlet(inside)
            g.switch()

        def inside():
            sorted([1], key=waits)

        def waits(_):
            ready.set()
            go.wait()
        t = threading.Thread(target=in_thread)
        t.start()
        ready.wait()
        names = chain(sys._current_frames()[t.ident])
        go.set()
        t.join()
        self.assertEqual(names[-3:], ["wait", "waits", "inside"][-3:])

    def dump(self):
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            return file.read()

    def test_faulthandler(self):
        text = []
        a, b = greenlet(self.body), greenlet(lambda: text.append(self.dump()))
        a.switch()
        text.append(self.dump())
        b.switch()
        for t in text:
            self.assertIn("in dump", t)
        self.assertNotIn("test_faulthandler", text[1])
        self.assertIn("test_faulthandler", text[0])

    def traced(self, set_trace, events):
        """The functions that a trace function sees called, by greenlet, while two take turns."""
        seen = []

        def tracer(frame, event, arg):
            if event in events:
                seen.append((event, frame.f_code.co_name))
            return tracer

        def one():
            step()
            pause()
            step()

        def step():
            pass
        a, b = greenlet(one), greenlet(one)
        a.switch()
        set_trace(tracer)
        try:
            b.switch()
            a.switch()
            b.switch()
        finally:
            set_trace(None)
        return seen

    def test_profile(self):
        seen = self.traced(sys.setprofile, ("call", "return"))
        self.assertEqual(seen, [
            ("call", "one"), ("call", "step"), ("return", "step"), ("call", "pause"),
            ("return", "pause"), ("call", "step"), ("return", "step"), ("return", "one"),
            ("return", "pause"), ("call", "step"), ("return", "step"), ("return", "one")])

    def test_trace(self):
        seen = self.traced(sys.settrace, ("call",))
        self.assertEqual(seen, [("call", name) for name in (
            "one", "step", "pause", "step", "step")])
        # Set inside, it is for the whole thread.
        names = []

        def tracer(frame, event, arg):
            names.append(frame.f_code.co_name)

        def named():
            pass
        greenlet(lambda: sys.settrace(tracer)).switch()
        try:
            named()
        finally:
            sys.settrace(None)
        self.assertIn("named", names)

    def test_switch_inside_a_trace_function(self):
        main = getcurrent()
        log = []

        def tracer(frame, event, arg):
            if frame.f_code.co_name == "traced":
                log.append(("tracer", event))
                log.append(main.switch("from tracer"))

        def traced():
            pass

        def body():
            sys.settrace(tracer)
            traced()
            sys.settrace(None)
            return "end"
        g = greenlet(body)
        self.assertEqual(g.switch(), "from tracer")
        log.append("in main")
        self.assertEqual(g.switch("back"), "end")
        self.assertEqual(log, [("tracer", "call"), "in main", "back"])
        self.assertIsNone(sys.gettrace())

    @unittest.skipUnless(hasattr(sys, "monitoring"), "new in 3.12")
    def test_monitoring(self):
        events = sys.monitoring.events
        names = []
        sys.monitoring.use_tool_id(3, "test")
        try:
            sys.monitoring.register_callback(
                3, events.PY_START, lambda code, offset: names.append(code.co_name))
            sys.monitoring.set_events(3, events.PY_START)
            a, b = greenlet(self.body), greenlet(self.body)
            for g in a, b, a, b, a, b:
                g.switch()
        finally:
            sys.monitoring.set_events(3, 0)
            sys.monitoring.free_tool_id(3)
        names = [n for n in names if n in ("body", "<lambda>", "pause")]
        self.assertEqual(names, ["body", "<lambda>", "pause"] * 2 + ["<lambda>", "pause"] * 2)


class Errors(unittest.TestCase):
    def test_traceback_outlives_the_greenlet(self):
        def body(n):
            local = [n]
            if n:
                sorted([1], key=lambda _: body(n - 1))
            else:
                pause()
                raise ValueError(local)
        g = greenlet(body)
        g.switch(3)
        evict()
        try:
            g.switch()
        except ValueError as e:
            error = e
        del g
        evict()
        gc.collect()
        names = [f.name for f in traceback.extract_tb(error.__traceback__)]
        self.assertEqual(names[1:], ["body", "<lambda>"] * 3 + ["body"])
        tb = error.__traceback__
        while tb.tb_next:
            tb = tb.tb_next
        self.assertEqual(tb.tb_frame.f_locals["local"], [0])

    def test_exceptions_are_each_greenlets_own(self):
        def body(kind):
            try:
                raise kind
            except kind:
                for _ in range(3):
                    pause(sys.exc_info()[0])

                    def numbers():
                        try:
                            raise OSError
                        except OSError:
                            yield pause(sys.exc_info()[0])
                    list(numbers())
                    self.assertIs(sys.exc_info()[0], kind)
        a, b = greenlet(body), greenlet(body)
        self.assertEqual([a.switch(KeyError), b.switch(ValueError)], [KeyError, ValueError])
        for _ in range(3):
            self.assertIsNone(sys.exc_info()[0])
            self.assertEqual([a.switch(), b.switch()], [OSError, OSError])
            a.switch(), b.switch()
        self.assertTrue(a.dead and b.dead)

    def test_recursion_limit_is_each_greenlets_own(self):
        limit = sys.getrecursionlimit()

        def dig(n):
            return dig(n - 1) + 1 if n else pause() or 0
        a, b, c = greenlet(dig), greenlet(dig), greenlet(dig)
        for g in a, b, c:
            g.switch(limit // 2)
        evict()
        for g in a, b, c:
            self.assertEqual(g.switch(), limit // 2)

    def test_recursion_error(self):
        def endless():
            return endless() + 1

        def body():
            for _ in range(3):
                try:
                    endless()
                except RecursionError:
                    pause("too deep")
            return "end"
        for _ in range(3):
            g = greenlet(body)
            for _ in range(3):
                self.assertEqual(g.switch(), "too deep")
                evict(2)
            self.assertEqual(g.switch(), "end")

        def fine(n):
            return fine(n - 1) + 1 if n else 0
        self.assertEqual(fine(500), 500)
        self.assertRaises(RecursionError, greenlet(endless).switch)
        self.assertEqual(greenlet(fine).switch(500), 500)

    def test_recursion_through_c(self):
        def through_c(n):
            return max([n], key=lambda _: through_c(n - 1)) if n else pause() or 0
        a, b = greenlet(through_c), greenlet(through_c)
        a.switch(100)
        b.switch(100)
        evict()
        self.assertEqual([a.switch(), b.switch()], [100, 100])

    def test_deep_nesting_of_greenlets(self):
        def nest(n):
            return greenlet(nest).switch(n - 1) + 1 if n else 0
        self.assertEqual(greenlet(nest).switch(200), 200)

    def test_deep_deallocation_in_a_greenlet(self):
        def body():
            nested = None
            for _ in range(100000):
                nested = (nested, None)
            pause()
            del nested
            return "done"
        g = greenlet(body)
        g.switch()
        self.assertEqual(g.switch(), "done")

    def test_switch_in_the_middle_of_a_deep_deallocation(self):
        main = getcurrent()
        log = []

        class Dying:
            def __del__(self):
                log.append("dies")
                main.switch()

        def body():
            nested = [Dying()]
            for _ in range(1000):
                nested = [nested]
            del nested
            log.append("deleted")
        g = greenlet(body)
        g.switch()
        more = None
        for _ in range(1000):
            more = [more]
        del more
        g.switch()
        self.assertEqual(log, ["dies", "deleted"])
        self.assertTrue(g.dead)


class Async(unittest.TestCase):
    def test_context_variables(self):
        var = contextvars.ContextVar("var", default="nobody")

        def body(name):
            self.assertEqual(var.get(), "nobody")
            var.set(name)
            for _ in range(3):
                self.assertEqual(var.get(), name)
                pause()
        var.set("main")
        all = [greenlet(body) for _ in range(4)]
        for i, g in enumerate(all):
            g.switch(i)
            self.assertEqual(var.get(), "main")
        evict()
        for _ in range(3):
            for g in all:
                g.switch()
                self.assertEqual(var.get(), "main")

        def in_context():
            var.set("inner")
            pause()
            return var.get()
        g = greenlet(lambda: contextvars.Context().run(in_context))
        g.switch()
        self.assertEqual(var.get(), "main")
        self.assertEqual(g.switch(), "inner")

    def test_asyncio_in_a_greenlet(self):
        async def numbers():
            for i in range(3):
                await asyncio.sleep(0)
                pause(i)
                yield i

        async def main():
            return [i async for i in numbers()]
        g = greenlet(lambda: asyncio.run(main()))
        self.assertEqual([g.switch() for _ in range(3)], [0, 1, 2])
        evict()
        self.assertEqual(g.switch(), [0, 1, 2])

    def test_generator_that_goes_from_greenlet_to_greenlet(self):
        def numbers():
            for i in range(6):
                yield (i, chain(sys._getframe())[1:])
        it = numbers()

        def one():
            while True:
                pause(next(it))

        def two():
            while True:
                pause(next(iter(it)))
        a, b = greenlet(one), greenlet(two)
        got = []
        for g in a, b, a, b, a, b:
            got.append(g.switch())
            evict(1)
        self.assertEqual(got, [(i, ["two" if i % 2 else "one"]) for i in range(6)])

    def test_generator_that_is_executing(self):
        def numbers():
            yield pause("suspended")
        it = numbers()
        g = greenlet(lambda: list(it))
        g.switch()
        with self.assertRaisesRegex(ValueError, "generator already executing"):
            next(it)
        self.assertEqual(it.gi_frame.f_back.f_code.co_name, "<lambda>")
        evict()
        self.assertEqual(it.gi_frame.f_back.f_code.co_name, "<lambda>")
        g.switch()

    def test_generator_closed_by_the_end_of_a_greenlet(self):
        log = []

        def numbers():
            try:
                yield 1
            except GeneratorExit:
                log.append("closed")
                raise

        def body():
            it = numbers()
            next(it)
            try:
                pause()
            except GreenletExit:
                log.append("exit")
                raise
        g = greenlet(body)
        g.switch()
        evict()
        del g
        self.assertEqual(log, ["exit", "closed"])


if __name__ == "__main__":
    unittest.main()
