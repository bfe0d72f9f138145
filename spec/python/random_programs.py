"""Random programs that use greenlets, to compare two implementations.

    random_programs.py FIRST COUNT     run the programs with these seeds, and print what they do
    random_programs.py --show SEED     print the program

A program has a few functions that greenlets run, made of random statements: switches with all
kinds of arguments, from the middle of sorted(), map(), generators and `with`; exceptions thrown in
and raised; greenlets made, dropped and given new parents. What it prints does not depend on
addresses, so two right implementations print the same.
"""
import random
import sys

PRELUDE = '''
import contextvars, gc, sys
gc.disable()  # when it runs by itself depends on what else has been allocated
from greenlet import greenlet, getcurrent, gettrace, settrace, GreenletExit, error

class Over(BaseException):
    pass

class Named(greenlet):
    name = "?"

class Left(Exception):
    pass

main = getcurrent()
pool = {}
steps = 0
born = 0

def name(g):
    return "main" if g is main else "none" if g is None else g.name

def show(value):
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(map(show, value)) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(k + ": " + show(v) for k, v in value.items()) + "}"
    if isinstance(value, greenlet):
        return name(value)
    return repr(value)

def started(args, kwargs):
    """A new parent that gets a GreenletExit is started by greenlet 2.0 as if it were a tuple."""
    say("starts", show([a for a in args if not isinstance(a, GreenletExit)]), show(kwargs))
    tick()

def say(*what):
    print(name(getcurrent()) + ":", *what)

def tick():
    global steps
    steps += 1
    if steps > LIMIT:
        raise Over

def spawn(key, run, parent=None):
    global born
    born += 1
    g = Named(run) if parent is None else Named(run, parent)
    g.name = "g%d" % born
    say("makes", g.name, "of", run.__name__)
    old = pool.get(key)
    pool[key] = g
    say("drops", name(old))
    del old

def get(key):
    return pool.get(key, main)

def switch(key, *args, **kwargs):
    tick()
    g = get(key)
    say("switch to", name(g), show(args), show(kwargs))
    target = g.switch
    del g
    result = target(*args, **kwargs)
    say("got", show(result))
    return result

def throw(key, *args):
    tick()
    say("throw to", name(get(key)), show(args))
    result = get(key).throw(*args)
    say("got", show(result))
    return result

def number(value):
    return value if isinstance(value, int) else len(repr(value))

def state(key):
    g = get(key)
    say(name(g), "dead" if g.dead else "alive", bool(g), name(g.parent), hasattr(g, "run"))

variable = contextvars.ContextVar("variable", default="unset")

def context(key, value):
    g = get(key)
    theirs = g.gr_context
    say("variable", variable.get(), name(g), theirs is not None and theirs.get(variable))
    variable.set(value)

def give_context(key, value):
    c = contextvars.copy_context()
    c.run(variable.set, value)
    get(key).gr_context = c
    say("gives a context to", name(get(key)))

def frames(key):
    g = get(key)
    frame = g.gr_frame
    names = []
    while frame:
        if frame.f_code.co_filename.startswith("<program"):
            names.append(frame.f_code.co_name + ":" + str(frame.f_lineno))
        frame = frame.f_back
    say("frames", name(g), *names)

def traced(event, args):
    say("trace", event, *map(name, args))

def failing(event, args):
    raise Left("trace")

def trace(f):
    old = settrace(f)
    say("traced by", old and old.__name__, "and now", f and f.__name__, gettrace() is f)

def rerun(key, run):
    g = get(key)
    try:
        if run:
            g.run = run
        else:
            del g.run
        say(name(g), "runs", run and run.__name__)
    except AttributeError as e:
        say(name(g), "cannot run", e)

def adopt(key, parent):
    try:
        get(key).parent = get(parent)
        say(name(get(key)), "has parent", name(get(parent)))
    except (ValueError, AttributeError) as e:
        say(type(e).__name__, e)

def items(key, count):
    for i in range(count):
        yield switch(key, i)

class Manager:
    def __init__(self, key):
        self.key = key
    def __enter__(self):
        return switch(self.key, "enter")
    def __exit__(self, kind, value, traceback):
        say("exit", kind and kind.__name__)
        switch(self.key, "exit")
        return kind is Left

def deep(depth, key):
    if depth:
        return deep(depth - 1, key)
    return switch(key, "deep")

def unraisable(u):
    say("unraisable", repr(u.exc_value))

class Stderr:
    def write(self, text):
        if "did not kill" in text:
            say("stderr:", text.split("<")[0])
    def flush(self):
        pass

sys.setrecursionlimit(10000)
sys.unraisablehook = unraisable
sys.stderr = Stderr()
'''

END = '''
settrace(None)
try:
    body0()
except Over:
    say("over")
except BaseException as e:
    say("ends with", repr(e), show(e.__context__ and type(e.__context__).__name__))
steps = LIMIT - 40
settrace(None)
for key in list(pool):
    try:
        say("last drop", key, name(pool[key]))
        del pool[key]
    except BaseException as e:
        say("error in drop", repr(e))
say("end", len(pool))
say = lambda *what: None
gc.collect()  # may end greenlets that greenlet does not find
'''


class Writer:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.bodies = self.random.randint(2, 4)
        self.keys = self.random.randint(2, 5)
        self.lines = []

    def key(self):
        return self.random.randint(0, self.keys)

    def value(self):
        return self.random.choice(
            ["1", "'text'", "None", "()", "(1, 2)", "[]", "2.5", "getcurrent()"])

    def arguments(self):
        args = [self.value() for _ in range(self.random.choice([0, 1, 1, 1, 2, 3]))]
        if self.random.random() < 0.15:
            args.append("k=" + self.value())
        return "".join(", " + a for a in args)

    def exception(self):
        return self.random.choice(
            ["", ", GreenletExit", ", GreenletExit('bye')", ", ValueError", ", ValueError('v')",
             ", KeyError, 'k'", ", Left", ", Left()"])

    def parent(self):
        return self.random.choice(["", "", f", get({self.key()})"])

    def body(self):
        return f"body{self.random.randrange(1, self.bodies + 1)}"

    def statement(self, indent, depth):
        emit = lambda text: self.lines.append("    " * indent + text)  # noqa: E731
        kinds = ["switch"] * 6 + ["spawn"] * 5 + [
            "throw", "drop", "drop", "state", "adopt", "sorted", "map", "generator", "deep",
            "self", "raise", "return", "context",
            "variable", "gr_context", "frames", "settrace", "run"]
        if depth < 3:
            kinds += ["try", "try", "finally", "with", "loop", "handler", "handler"]
        kind = self.random.choice(kinds)
        if kind == "drop":
            emit(f"pool.pop({self.key()}, None)")
        elif kind == "switch":
            emit(f"switch({self.key()}{self.arguments()})")
        elif kind == "spawn":
            emit(f"spawn({self.key()}, {self.body()}{self.parent()})")
        elif kind == "throw":
            emit(f"throw({self.key()}{self.exception()})")
        elif kind == "state":
            emit(f"state({self.key()})")
        elif kind == "adopt":
            emit(f"adopt({self.key()}, {self.key()})")
        elif kind == "sorted":
            emit(f"say(sorted([3, 1, 2], key=lambda v: number(switch({self.key()}, v))))")
        elif kind == "map":
            emit(f"say(show(tuple(map(lambda v: switch({self.key()}, v), 'ab'))))")
        elif kind == "generator":
            emit(f"say(show(tuple(items({self.key()}, 2))))")
        elif kind == "deep":
            emit(f"deep({self.random.randint(1, 60)}, {self.key()})")
        elif kind == "self":
            emit(f"say(show(getcurrent().switch({self.arguments()[2:]})))")
        elif kind == "raise":
            emit(self.random.choice(["raise ValueError('raised')", "raise Left",
                                     "raise GreenletExit('raised')", "1 / 0"]))
        elif kind == "return":
            emit(f"return {self.value()}")
        elif kind == "context":
            emit("say(repr(sys.exc_info()[1]))")
        elif kind == "variable":
            emit(f"context({self.key()}, {self.random.randrange(9)})")
        elif kind == "gr_context":
            emit(f"give_context({self.key()}, {self.random.randrange(9)})")
        elif kind == "frames":
            emit(f"frames({self.key()})")
        elif kind == "settrace":
            emit(f"trace({self.random.choice(['traced', 'traced', 'failing', 'None', 'None'])})")
        elif kind == "run":
            emit(f"rerun({self.key()}, {self.random.choice(['body1', 'None'])})")
        elif kind == "try":
            emit("try:")
            self.block(indent + 1, depth + 1)
            emit(self.random.choice(["except Exception as e:", "except ValueError as e:",
                                     "except (Exception, GreenletExit) as e:"]))
            emit("    say('caught', repr(e), repr(e.__context__))")
            if self.random.random() < 0.4:
                self.block(indent + 1, depth + 1)
        elif kind == "handler":
            emit("try:")
            emit("    raise KeyError('handled')")
            emit("except KeyError as e:")
            self.block(indent + 1, depth + 1)
            emit("    say(repr(sys.exc_info()[1]))")
        elif kind == "finally":
            emit("try:")
            self.block(indent + 1, depth + 1)
            emit("finally:")
            emit("    say('finally', repr(sys.exc_info()[1]))")
            if self.random.random() < 0.5:
                emit(self.random.choice([f"    switch({self.key()}, 'finally')",
                                         "    raise KeyError('in finally')"]))
        elif kind == "with":
            emit(f"with Manager({self.key()}) as m:")
            emit("    say(show(m))")
            self.block(indent + 1, depth + 1)
        elif kind == "loop":
            emit("for i in range(3):")
            emit("    tick()")
            self.block(indent + 1, depth + 1)

    def block(self, indent, depth):
        for _ in range(self.random.randint(1, 5 if depth else 9)):
            self.statement(indent, depth)

    def program(self):
        for i in range(self.bodies + 1):
            parameters = "*args, **kwargs" if i else ""
            self.lines.append(f"def body{i}({parameters}):")
            if i:
                self.lines.append("    started(args, kwargs)")
            self.block(1, 0)
            if i == 0:
                for _ in range(12):
                    self.statement(1, 0)
        return f"LIMIT = 300\n{PRELUDE}\n" + "\n".join(self.lines) + "\n" + END


def main():
    if sys.argv[1] == "--show":
        print(Writer(int(sys.argv[2])).program())
        return
    first, count = map(int, sys.argv[1:])
    stderr = sys.stderr
    for seed in range(first, first + count):
        print("seed", seed)
        code = compile(Writer(seed).program(), f"<program {seed}>", "exec")
        exec(code, {"__name__": "program"})
        sys.stderr = stderr


main()
