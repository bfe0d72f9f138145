"""What the rows of the bridge use and measure in Python: moonlet's bridge.lua imports it, and as a
script it is the program that runs bridge.lua on lupa.
"""
import sys
from itertools import repeat
from pathlib import Path
from time import process_time_ns


class Class:
    def __init__(self):
        self.x = 1000

    def m(self):
        pass

    def m2(self, a, b):
        pass


def nothing():
    pass


def two(a, b):
    pass


def keyword(a):
    pass


def raises():
    raise ValueError("no")


instance = Class()
numbers = list(range(1000, 2000))
dictionary = {f"key{i}": 1000 + i for i in range(8)}


def py_call(n, h):
    start = process_time_ns()
    for i in range(n):
        h(i, i)
    return (process_time_ns() - start) / n


def py_getitem(n, t):
    start = process_time_ns()
    for _ in repeat(None, n):
        t["x"]
    return (process_time_ns() - start) / n


def py_getattr(n, t):
    start = process_time_ns()
    for _ in repeat(None, n):
        t.x
    return (process_time_ns() - start) / n


def py_setitem(n, t):
    start = process_time_ns()
    for i in range(n):
        t["x"] = i
    return (process_time_ns() - start) / n


def py_setattr(n, t):
    start = process_time_ns()
    for i in range(n):
        t.x = i
    return (process_time_ns() - start) / n


if __name__ == "__main__":
    from lupa.lua54 import LuaRuntime
    source = Path(__file__).with_name("bridge.lua").read_text()
    lua = LuaRuntime(register_eval=True)
    lua.execute(source, lua.globals().python, sys.modules[__name__])
