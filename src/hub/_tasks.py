"""Tasks, time, and the scheduler itself."""

from functools import partial as _partial
from types import GenericAlias

from moonlet import LuaTable, _raw
from moonlet._asyncio import as_asyncio

__all__ = [
    "Task", "VirtualClock", "at", "checkpoint", "current_task", "defer", "every", "now",
    "on_error", "pollfd", "run", "sleep", "spawn", "spawn_later", "step", "virtual_clock",
    "wait_all", "wait_any",
]

_at = _raw("time", "at")
_cancel = _raw("task", "methods.cancel")
_checkpoint = _raw("scope", "checkpoint")
_current_task = _raw("hub", "current_task")
_defer = _raw("task", "defer")
_describe = _raw("pyside", "describe")
_error = _raw("pyside", "task_error")
_every = _raw("time", "every")
_join = _raw("task", "methods.join")
_link = _raw("task", "methods.link")
_now = _raw("hub", "now")
_on_error = _raw("hub", "on_error")
_pollfd = _raw("hub", "pollfd")
_result = _raw("task", "properties.result")
_run = _raw("hub", "run")
_set = _raw("pyside", "set")
_sleep = _raw("hub", "begin_sleep", "end_sleep")
_spawn = _raw("task", "spawn")
_spawn_later = _raw("task", "spawn_later")
_step = _raw("hub", "step")
_tell = _raw("pyside", "tell")
_virtual_clock = _raw("time", "virtual_clock")
_wait = _raw("task", "methods.wait")
_wait_all = _raw("task", "wait_all")
_wait_any = _raw("task", "wait_any")


def _call(f, kwargs):
    # What cannot be called is left to Lua, which says so.
    return _partial(f, **kwargs) if callable(f) else f


class Task(LuaTable):
    """A greenlet with what the scheduler knows of it. moonlet.spawn() makes them."""

    __slots__ = ()
    __class_getitem__ = classmethod(GenericAlias)

    def join(self, timeout=None):
        """Waits until the task has ended. Returns what it has returned, or raises its error;
        TaskCancelled if it was cancelled; TimeoutError after so many seconds."""
        return _join(self, timeout)

    def __await__(self):
        """For asyncio: waits until the task has ended, and cancels it if that is cancelled."""
        return as_asyncio(self).__await__()

    def wait(self, timeout=None):
        """Waits until the task has ended, however. False: not within so many seconds."""
        return _wait(self, timeout)

    def cancel(self, reason=None):
        """Raises Cancelled where the task waits, and wherever it will wait. False: it was
        cancelled before, or has ended."""
        return _cancel(self, reason)

    def link(self, f, on="any"):
        """Calls f(task), which cannot wait, when the task has ended; on="success" or "failure":
        if it has ended so. Returns the task."""
        return _link(self, f, on)

    def link_success(self, f):
        """The same as link(f, "success")."""
        return _link(self, f, "success")

    def link_failure(self, f):
        """The same as link(f, "failure")."""
        return _link(self, f, "failure")

    @property
    def name(self):
        """What it is called in messages: by default its number and what it runs."""
        return self["name"]

    @name.setter
    def name(self, value):
        if not isinstance(value, str):
            raise TypeError("bad value for 'name' (str expected, got {})".format(
                type(value).__name__))
        _set(self, "name", value)

    @property
    def status(self):
        """"new", "ready", "running", "waiting", "done", "failed" or "cancelled"."""
        return self["status"]

    @property
    def result(self):
        """What it has returned; None before, and if it has failed."""
        return _result(self)

    @property
    def error(self):
        """The exception it has ended with; None if it has not."""
        return _error(self)

    @property
    def ended(self):
        """Whether it has ended."""
        return self["ended"]

    @property
    def cancelled(self):
        """Whether it was cancelled."""
        return bool(self["cancelled"])

    @property
    def priority(self):
        """Of those that are ready for a round, those of higher priority run first."""
        return self["priority"]

    @priority.setter
    def priority(self, value):
        _set(self, "priority", value)

    @property
    def daemon(self):
        """Whether moonlet.run() cancels it when all others have ended."""
        return self["daemon"]

    @daemon.setter
    def daemon(self, value):
        _set(self, "daemon", bool(value))

    @property
    def locals(self):
        """A Lua table of the task's own."""
        return self["locals"]

    def __repr__(self):
        try:
            return "<moonlet.Task {!r} {}>".format(*_describe(self))
        except RuntimeError:  # in another thread, or the Lua state is closed
            return object.__repr__(self)


def run(main, /, *args, **kwargs):
    """Runs main(*args, **kwargs) as a task, and all tasks that are spawned, until all have ended.
    Returns what main has returned, or raises its error."""
    if kwargs:
        main = _call(main, kwargs)
    return _run(main, *args)


def step(budget_ms=None):
    """For hosts that have a loop of their own: runs what is ready until so many milliseconds have
    passed, without waiting. Returns whether anything is left, and in how many milliseconds the
    next timer is due (None: there is none)."""
    return _step(budget_ms)


def pollfd():
    """A file descriptor that can be read when step() has something to do because of I/O, or of
    another thread."""
    return _pollfd()


def current_task():
    """The task that calls."""
    return _current_task()


def spawn(f, /, *args, **kwargs):
    """A new task that will call f(*args, **kwargs) when the current one waits."""
    if kwargs:
        f = _call(f, kwargs)
    return _spawn(f, *args)


def spawn_later(seconds, f, /, *args, **kwargs):
    """The same, but it starts so much later."""
    if kwargs:
        f = _call(f, kwargs)
    return _spawn_later(seconds, f, *args)


def at(time, f, /, *args, **kwargs):
    """A task that calls f(*args, **kwargs) at a time of moonlet.now()."""
    if kwargs:
        f = _call(f, kwargs)
    return _at(time, f, *args)


def every(seconds, f, /, *args, **kwargs):
    """A task that calls f(*args, **kwargs) again and again, the first time after so many seconds,
    until f returns False."""
    if kwargs:
        f = _call(f, kwargs)
    return _every(seconds, f, *args)


def defer(f, /, *args, **kwargs):
    """Calls f(*args, **kwargs), which cannot wait, in the hub: soon, but not now."""
    if kwargs:
        f = _call(f, kwargs)
    _defer(f, *args)


def sleep(seconds=0):
    """Waits so long; 0 lets others run."""
    _sleep(seconds)


def checkpoint():
    """Lets others run; raises a cancel."""
    _checkpoint()


def now():
    """The scheduler's time in seconds, from an arbitrary start. It never goes back."""
    return _now()


class _Handler:
    # Python's handlers get exceptions, also of errors that are none in Lua.
    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, text, error, task):
        _tell(self.function, text, error, task)


def on_error(handler, /):
    """From now on calls handler(text, exception, task) with errors that nobody else can be told
    of, of tasks that nobody joins, or of callbacks; None: they are written to stderr again.
    Returns the handler that there was."""
    before = _on_error(_Handler(handler) if callable(handler) else handler)
    return before.function if isinstance(before, _Handler) else before


def _tasks_of(tasks, name):
    if isinstance(tasks, LuaTable):
        return tasks
    from moonlet.lua import table

    listed = table()
    for i, task in enumerate(tasks):
        if not isinstance(task, Task):
            raise TypeError("bad argument #1 to '{}' (a task expected at {}, got {})".format(
                name, i, type(task).__name__))
        listed[i + 1] = task
    return listed


def wait_all(tasks, timeout=None):
    """Waits until all tasks have ended, however. False: not within so many seconds."""
    return _wait_all(_tasks_of(tasks, "wait_all"), timeout)


def wait_any(tasks, timeout=None):
    """Waits until one of the tasks has ended, and returns it. None: not within so many seconds."""
    return _wait_any(_tasks_of(tasks, "wait_any"), timeout)


class VirtualClock(LuaTable):
    """For tests: until it is closed, time does not pass by itself; when every task waits, it is at
    once the time of the next timer. `with` closes it."""

    __slots__ = ()

    def __new__(cls):
        return _virtual_clock()

    def advance(self, seconds):
        """Lets so much time pass; what is due in between runs at its time."""
        _advance(self, seconds)

    def now(self):
        """The time."""
        return _clock_now(self)

    def close(self):
        """Back to the real clock."""
        _close_clock(self)

    def __repr__(self):
        try:
            return "<moonlet.VirtualClock {:g} s>".format(_clock_now(self))
        except RuntimeError:  # in another thread, or the Lua state is closed
            return object.__repr__(self)


_advance = _raw("time", "methods.advance")
_clock_now = _raw("time", "methods.now")
_close_clock = _raw("time", "methods.close")

virtual_clock = VirtualClock
