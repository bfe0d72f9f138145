"""Tasks, scopes, nurseries and time."""

from moonlet import LuaTable, _raw
from moonlet._asyncio import as_asyncio

__all__ = ["Task", "current_task", "run", "sleep", "spawn"]

_run = _raw("hub", "run")
_sleep = _raw("hub", "begin_sleep", "end_sleep")
_join = _raw("task", "methods.join")
_spawn = _raw("task", "spawn")
current_task = _raw("hub", "current_task")


class Task(LuaTable):
    """A greenlet with what the scheduler knows of it."""

    __slots__ = ()

    def join(self, timeout=None):
        """Waits until the task has ended. Returns what it has returned, or raises its error."""
        return _join(self, timeout)

    def __await__(self):
        """For asyncio: waits until the task has ended, and cancels it if that is cancelled."""
        return as_asyncio(self).__await__()


def run(main, /, *args):
    """Runs main(*args) as a task, and all tasks that are spawned, until all have ended."""
    return _run(main, *args)


def spawn(f, /, *args):
    """A new task that will call f(*args)."""
    return _spawn(f, *args)


def sleep(seconds=0):
    """Waits so long; 0 lets others run."""
    _sleep(seconds)
