"""Looking at tasks: the tree, dumps, traces, the watchdog."""

import sys

from moonlet import LuaTable, _raw

__all__ = ["Trace", "dump", "set_trace", "set_watchdog", "stats", "tasks", "trace_to"]

_dump = _raw("inspect", "dump")
_set_trace = _raw("trace", "set_trace")
_set_watchdog = _raw("trace", "set_watchdog")
_stats = _raw("inspect", "stats")
_tasks = _raw("inspect", "tasks")
_trace_close = _raw("trace", "methods.close")
_trace_to = _raw("trace", "trace_to")


class Trace(LuaTable):
    """A file that what tasks do is written to."""

    __slots__ = ()

    def close(self):
        """Completes the file."""
        _trace_close(self)

    def __enter__(self):
        return self

    def __exit__(self, type, value, traceback):
        _trace_close(self)
        return False


def tasks():
    """What there is, as a list of trees of tables: name, status, used, waits, since, children."""
    return _tasks()


def dump(file=None):
    """Writes all tasks as a tree, with their stacks, to a file: by default sys.stderr."""
    _dump(sys.stderr if file is None else file)


def stats():
    """A dict of numbers: tasks, spawned, ready, timers, waits."""
    return dict(_stats())


def set_trace(f, /):
    """From now on calls f(event, ...) for what tasks do; None: no more. Returns the one before."""
    return _set_trace(f)


def trace_to(path, /):
    """From now on writes what tasks do to a new file, in the Chrome trace event format."""
    return _trace_to(path)


def set_watchdog(seconds, /):
    """Reports tasks that run longer than that without waiting; None: no more."""
    return _set_watchdog(seconds)
