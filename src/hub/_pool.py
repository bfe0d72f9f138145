"""Pools of tasks."""

from functools import partial

from moonlet import LuaTable, _raw

__all__ = ["Pool", "pool"]

_pool = _raw("pool", "pool")
_spawn = _raw("pool", "methods.spawn")
_try_spawn = _raw("pool", "methods.try_spawn")
_map = _raw("pool", "python_map")
_imap = _raw("pool", "python_imap")
_imap_unordered = _raw("pool", "python_imap_unordered")
_join = _raw("pool", "methods.join")
_cancel = _raw("pool", "methods.cancel")
_leave = _raw("pool", "leave")
_next = _raw("mapping", "next")
_close = _raw("mapping", "methods.close")


def _calls(f, items):
    """What calls f with each item."""
    if not callable(f):
        raise TypeError("a callable was expected, got " + type(f).__name__)
    items = iter(items)
    return (partial(f, item) for item in items)


def _results(stream):
    try:
        yield
        while (result := _next(stream)) is not stream:
            yield result
    finally:
        _close(stream)


def _started(stream):
    results = _results(stream)
    next(results)
    return results


class Pool(LuaTable):
    """So many tasks at a time."""

    __slots__ = ()

    def __new__(cls, size, ahead=None):
        return _pool(size, ahead)

    def spawn(self, f, /, *args, **kwargs):
        """Waits until there are fewer than `size` tasks, and spawns one that will call f with
        these arguments."""
        return _spawn(self, partial(f, **kwargs) if kwargs else f, *args)

    def try_spawn(self, f, /, *args, **kwargs):
        """The same if it need not wait; None if it would have to."""
        return _try_spawn(self, partial(f, **kwargs) if kwargs else f, *args)

    def map(self, f, items):
        """Calls f(item) for each item in tasks, and returns a list of what they have returned."""
        results, count = _map(self, _calls(f, items))
        return [results[i] for i in range(1, count + 1)]

    def imap(self, f, items):
        """Gives the results one by one, in the order of the items."""
        return _started(_imap(self, _calls(f, items)))

    def imap_unordered(self, f, items):
        """Gives the results one by one, in the order in which they are done."""
        return _started(_imap_unordered(self, _calls(f, items)))

    def join(self, timeout=None):
        """Waits until all tasks of the pool have ended."""
        _join(self, timeout)

    def cancel(self, reason=None):
        """Cancels all tasks that are in it."""
        _cancel(self, reason)

    def __enter__(self):
        return self

    def __exit__(self, type, value, traceback):
        _leave(self, value is not None)
        return False

    @property
    def size(self):
        """How many tasks it has at most."""
        return self["size"]

    @property
    def running(self):
        """How many tasks it has."""
        return self["running"]

    @property
    def free(self):
        """How many can be spawned without waiting."""
        return self["free"]


pool = Pool
