"""Cancel scopes and nurseries, as what `with` enters."""

from functools import partial as _partial

from moonlet import LuaTable, _raw

__all__ = [
    "CancelScope", "Nursery", "cancel_scope", "fail_after", "fail_at", "move_on_after",
    "move_on_at", "nursery", "shield",
]

_cancel = _raw("scope", "methods.cancel")
_check_callable = _raw("pyside", "check_callable")
_check_seconds = _raw("pyside", "check_seconds")
_check_time = _raw("pyside", "check_time")
_close = _raw("pyside", "close")
_close_nursery = _raw("pyside", "close_nursery")
_describe = _raw("pyside", "describe_scope")
_nursery_spawn = _raw("nursery", "methods.spawn")
_nursery_start = _raw("nursery", "methods.start")
_open = _raw("pyside", "open")
_open_nursery = _raw("nursery", "open")
_set = _raw("pyside", "set")


class CancelScope(LuaTable):
    """What `with` gives of moonlet.cancel_scope(), move_on_after() and the like."""

    __slots__ = ()

    def cancel(self, reason=None):
        """Cancels all that waits, or will wait, in the scope. False: it was before."""
        return _cancel(self, reason)

    @property
    def deadline(self):
        """When it is cancelled, in the time of moonlet.now(); math.inf: never."""
        return self["deadline"]

    @deadline.setter
    def deadline(self, value):
        _set(self, "deadline", value)

    @property
    def shield(self):
        """Whether a cancel from outside is kept out."""
        return self["shield"]

    @shield.setter
    def shield(self, value):
        _set(self, "shield", bool(value))

    @property
    def cancelled(self):
        """Whether it was cancelled."""
        return bool(self["cancelled"])

    @property
    def caught(self):
        """Whether it has ended with its cancel."""
        return bool(self["caught"])

    def __repr__(self):
        try:
            return "<moonlet.{} {}>".format(type(self).__name__, _describe(self))
        except RuntimeError:  # in another thread, or the Lua state is closed
            return object.__repr__(self)


class _Entered:
    # The scope is opened where `with` enters it, in the task that does.

    __slots__ = ("opened",)

    def __init__(self):
        self.opened = None

    def __enter__(self):
        if self.opened is not None:
            raise RuntimeError("this {} was entered before and not left yet".format(self.what))
        self.opened = self.open()
        return self.opened

    def __exit__(self, type, value, traceback):
        opened = self.opened
        if opened is None:
            raise RuntimeError("this {} was not entered".format(self.what))
        self.opened = None
        return self.close(opened, value)

    def __repr__(self):
        return "<moonlet.{}, to be entered with `with`>".format(self.what)


class _Scope(_Entered):
    __slots__ = ("seconds", "deadline", "shield", "what", "failure")

    def __init__(self, what, seconds=None, deadline=None, shield=False, failure=None):
        self.opened = None
        self.what = what
        self.seconds = seconds
        self.deadline = deadline
        self.shield = bool(shield)
        self.failure = failure

    def open(self):
        return _open(self.seconds, self.deadline, self.shield, self.what)

    def close(self, opened, value):
        absorbed, expired = _close(opened, value is not None, value)
        if absorbed and expired and self.failure:
            raise TimeoutError(self.failure) from value
        return absorbed


def cancel_scope(*, deadline=None, shield=False):
    """with cancel_scope() as scope: scope.cancel() ends the block at its next wait."""
    if deadline is not None:
        _check_time(deadline, "cancel_scope", "deadline")
    return _Scope("cancel_scope", None, deadline, shield)


def move_on_after(seconds, *, shield=False):
    """with move_on_after(seconds): the block ends after so long, at its next wait. The scope's
    `caught` tells whether it has."""
    _check_seconds(seconds, "move_on_after", 1)
    return _Scope("move_on_after", seconds, None, shield)


def move_on_at(time, *, shield=False):
    """The same at a time of moonlet.now()."""
    _check_time(time, "move_on_at", "time")
    return _Scope("move_on_at", None, time, shield)


def fail_after(seconds, *, shield=False):
    """with fail_after(seconds): raises TimeoutError if the block takes longer."""
    _check_seconds(seconds, "fail_after", 1)
    return _Scope("fail_after", seconds, None, shield,
                  "timed out after {:g} seconds".format(seconds))


def fail_at(time, *, shield=False):
    """The same at a time of moonlet.now()."""
    _check_time(time, "fail_at", "time")
    return _Scope("fail_at", None, time, shield, "timed out")


def shield():
    """with shield(): a cancel from outside does not end waits in the block."""
    return _Scope("shield", None, None, True)


class _Start:
    # Calls `func` with a `started` of Python, which keeps values as they are.

    __slots__ = ("func", "kwargs", "values")

    def __init__(self, func, kwargs):
        self.func = func
        self.kwargs = kwargs
        self.values = None

    def __call__(self, tell, /, *args):
        def started(*values):
            """Ends the wait of the nursery's start(), which returns the value."""
            if self.values is not None:
                raise RuntimeError("started() was called before")
            self.values = values
            tell()

        return self.func(started, *args, **self.kwargs)


class Nursery(CancelScope):
    """What `with nursery()` gives: where tasks are spawned that end before the block does."""

    __slots__ = ()

    def spawn(self, f, /, *args, **kwargs):
        """A task of the nursery that will call f(*args, **kwargs)."""
        if kwargs and callable(f):
            f = _partial(f, **kwargs)
        return _nursery_spawn(self, f, *args)

    def start(self, f, /, *args, **kwargs):
        """Spawns a task that calls f(started, *args, **kwargs), and waits until that calls
        started(value). Returns the value, or raises the task's error if it fails before."""
        _check_callable(f, "start", 1)
        start = _Start(f, kwargs)
        _nursery_start(self, start, *args)
        values = start.values
        return values[0] if len(values) == 1 else values or None


class _NurseryEntered(_Entered):
    __slots__ = ()
    what = "nursery"

    def open(self):
        return _open_nursery()

    def close(self, opened, value):
        try:
            return _close_nursery(opened, value is not None, value)
        except BaseExceptionGroup as group:
            group.__suppress_context__ = True  # it has that exception
            raise


def nursery():
    """with nursery() as n: n.spawn(f) spawns tasks; the block ends when they have. The first error
    cancels the others; all errors are raised as an ExceptionGroup."""
    return _NurseryEntered()
