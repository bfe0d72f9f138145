"""A typed program on greenlet, for mypy --strict; it also runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import Context
from types import FrameType
from typing import Any, Literal

import moonlet

moonlet.install()

import greenlet as package  # noqa: E402
from greenlet import GreenletExit, error, getcurrent, gettrace, greenlet, settrace  # noqa: E402


class Walker(greenlet):
    """Visits numbers, one per switch."""

    def __init__(self, limit: int) -> None:
        super().__init__(self.walk, getcurrent())
        self.limit = limit

    def walk(self) -> None:
        for number in range(self.limit):
            assert self.parent is not None
            self.parent.switch(number)

    def __iter__(self) -> Iterator[int]:
        while True:
            number: int | None = self.switch()
            if number is None:
                return
            yield number


def trace(event: Literal["switch", "throw"], greenlets: tuple[greenlet, greenlet]) -> None:
    origin, target = greenlets
    events.append((event, origin is target))


def describe(g: greenlet) -> tuple[bool, bool, FrameType | None, Context | None]:
    return g.dead, bool(g), g.gr_frame, g.gr_context


def attempt(function: Callable[[], object]) -> str:
    try:
        function()
    except error as problem:
        return str(problem)
    return "fine"


events: list[tuple[str, bool]] = []
assert list(Walker(3)) == [0, 1, 2]

previous: Callable[..., object] | None = settrace(trace)
assert previous is None and gettrace() is not None
ended: Any = greenlet(lambda: None).throw(GreenletExit("early"))
settrace(None)

g = greenlet(parent=getcurrent())
g.run = lambda: 1
g.gr_context = Context()
del g.run
print(describe(g)[:2], type(ended).__name__, attempt(lambda: None), package.GREENLET_USE_GC)
print(moonlet.__version__, bool(moonlet.get_include()))
