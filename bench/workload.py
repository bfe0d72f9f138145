"""What the Python rows measure. The same file runs under moonlet and under stock python3.

Reads lines `NAME N` from stdin and answers each with what one of N operations took: nanoseconds of
processor time, for memory bytes.
"""
import functools
import sys
import time

from greenlet import getcurrent, greenlet


def per_operation(start, n):
    return (time.process_time_ns() - start) / n


def answer(parent):
    switch = parent.switch
    while True:
        switch()


def echo(parent):
    switch = parent.switch
    value = None
    while True:
        value = switch(value)


def through_c(depth, parent):
    """Every level is a call of C that calls Python back."""
    if not depth:
        answer(parent)
    sorted((depth,), key=lambda depth: through_c(depth - 1, parent))


def through_python(depth, parent):
    if not depth:
        answer(parent)
    through_python(depth - 1, parent)


def round_trips(n, run):
    g = greenlet(run)
    g.switch(getcurrent())
    switch = g.switch
    start = time.process_time_ns()
    for _ in range(n):
        switch()
    result = per_operation(start, n)
    g.throw()
    return result


def python_python(n):
    return round_trips(n, answer)


def python_python_arg(n):
    g = greenlet(echo)
    g.switch(getcurrent())
    switch = g.switch
    start = time.process_time_ns()
    for _ in range(n):
        switch(n)
    result = per_operation(start, n)
    g.throw()
    return result


def python_deep_c(n):
    return round_trips(n, functools.partial(through_c, 50))


def python_deep_py(n):
    return round_trips(n, functools.partial(through_python, 200))


def nothing():
    pass


def create(n):
    start = time.process_time_ns()
    for _ in range(n):
        greenlet(nothing).switch()
    return per_operation(start, n)


def hop(switch, creator):
    creator.switch()
    while True:
        switch()


def ring(size, n):
    """One operation is one hop to the next greenlet of the ring."""
    after = getcurrent()
    greenlets = []
    for _ in range(size):
        g = greenlet(hop)
        g.switch(after.switch, getcurrent())
        greenlets.append(g)
        after = g
    switch = after.switch
    laps = max(1, n // size)
    start = time.process_time_ns()
    for _ in range(laps):
        switch()
    result = per_operation(start, laps * size)
    for g in greenlets:
        g.throw()
    return result


def ring_100(n):
    return ring(100, n)


def ring_10000(n):
    return ring(10000, n)


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def memory_python(n):
    main = getcurrent()
    before = resident()
    greenlets = [greenlet(answer) for _ in range(n)]
    for g in greenlets:
        g.switch(main)
    return (resident() - before) / n


for line in sys.stdin:
    name, n = line.split()
    print(globals()[name](int(n)), flush=True)
