"""Events, locks, conditions, semaphores, capacity limiters and futures."""

from types import GenericAlias

from moonlet import LuaTable, _raw

__all__ = ["CapacityLimiter", "Condition", "Event", "Future", "Lock", "Semaphore",
           "capacity_limiter", "condition", "event", "future", "lock", "semaphore"]

_now = _raw("hub", "now")
_event = _raw("sync", "event")
_event_set = _raw("sync", "Event.set")
_event_clear = _raw("sync", "Event.clear")
_event_is_set = _raw("sync", "Event.is_set")
_event_wait = _raw("sync", "Event.wait")
_event_on_set = _raw("sync", "Event.on_set")
_lock = _raw("sync", "lock")
_lock_acquire = _raw("sync", "Lock.acquire")
_lock_try_acquire = _raw("sync", "Lock.try_acquire")
_lock_release = _raw("sync", "Lock.release")
_lock_locked = _raw("sync", "Lock.locked")
_condition = _raw("sync", "condition")
_condition_acquire = _raw("sync", "Condition.acquire")
_condition_try_acquire = _raw("sync", "Condition.try_acquire")
_condition_release = _raw("sync", "Condition.release")
_condition_locked = _raw("sync", "Condition.locked")
_condition_wait = _raw("sync", "Condition.wait")
_condition_notify = _raw("sync", "Condition.notify")
_condition_notify_all = _raw("sync", "Condition.notify_all")
_semaphore = _raw("capacity", "semaphore")
_semaphore_acquire = _raw("capacity", "Semaphore.acquire")
_semaphore_try_acquire = _raw("capacity", "Semaphore.try_acquire")
_semaphore_release = _raw("capacity", "Semaphore.release")
_limiter = _raw("capacity", "capacity_limiter")
_limiter_acquire = _raw("capacity", "CapacityLimiter.acquire")
_limiter_try_acquire = _raw("capacity", "CapacityLimiter.try_acquire")
_limiter_release = _raw("capacity", "CapacityLimiter.release")
_set_total = _raw("capacity", "set_total")
_future = _raw("future", "future")
_future_set_result = _raw("future", "methods.set_result")
_future_set_error = _raw("future", "methods.set_error")
_future_cancel = _raw("future", "methods.cancel")
_future_get = _raw("future", "methods.get")
_future_wait = _raw("future", "methods.wait")
_future_link = _raw("future", "methods.link")
_future_on_get = _raw("future", "methods.on_get")
_future_result = _raw("future", "result")


class Event(LuaTable):
    """What is set once, or cleared again, and can be waited for."""

    __slots__ = ()

    def __new__(cls):
        return _event()

    def set(self):
        """All who wait go on. False: it was set before."""
        return _event_set(self)

    def clear(self):
        """It is not set any more."""
        _event_clear(self)

    def is_set(self):
        """Whether it is set."""
        return _event_is_set(self)

    def wait(self, timeout=None):
        """Waits until it is set. False: not within `timeout` seconds."""
        return _event_wait(self, timeout)

    def on_set(self):
        """For select: waits until it is set. The event itself does so, too."""
        return _event_on_set(self)


def _enter(self):
    self.acquire()
    return self


def _exit(self, type, value, traceback):
    self.release()
    return False


class Lock(LuaTable):
    """What one task at a time can hold."""

    __slots__ = ()
    __enter__ = _enter
    __exit__ = _exit

    def __new__(cls):
        return _lock()

    def acquire(self, timeout=None):
        """Waits until nobody holds it, then the current task does."""
        _lock_acquire(self, timeout)

    def try_acquire(self):
        """The same if nobody holds it; False if somebody does."""
        return _lock_try_acquire(self)

    def release(self):
        """The one who has waited longest has it now."""
        _lock_release(self)

    def locked(self):
        """Whether somebody holds it."""
        return _lock_locked(self)

    @property
    def owner(self):
        """The task that holds it, or None."""
        return self["owner"]


class Condition(LuaTable):
    """A lock whose holder can wait until he is notified."""

    __slots__ = ()
    __enter__ = _enter
    __exit__ = _exit

    def __new__(cls, lock=None):
        return _condition(lock)

    def acquire(self, timeout=None):
        """Acquires its lock."""
        _condition_acquire(self, timeout)

    def try_acquire(self):
        """The same if nobody holds it; False if somebody does."""
        return _condition_try_acquire(self)

    def release(self):
        """Releases its lock."""
        _condition_release(self)

    def locked(self):
        """Whether somebody holds its lock."""
        return _condition_locked(self)

    def wait(self, timeout=None):
        """Releases the lock, waits until it is notified, and takes the lock again."""
        return _condition_wait(self, timeout)

    def wait_for(self, predicate, timeout=None):
        """Waits until predicate() gives something that is true, and returns that."""
        deadline = None if timeout is None else _now() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else max(0, deadline - _now())
            if left == 0:
                break
            _condition_wait(self, left)
            result = predicate()
        return result

    def notify(self, n=1):
        """Wakes n of those who wait."""
        _condition_notify(self, n)

    def notify_all(self):
        """Wakes all who wait."""
        _condition_notify_all(self)

    @property
    def lock(self):
        """The lock."""
        return self["lock"]

    @property
    def owner(self):
        """The task that holds the lock, or None."""
        return self["owner"]


class Semaphore(LuaTable):
    """So many can acquire it."""

    __slots__ = ()
    __enter__ = _enter
    __exit__ = _exit

    def __new__(cls, value=1, max=None):
        return _semaphore(value, max)

    def acquire(self, timeout=None):
        """Waits until there is one, and takes it."""
        _semaphore_acquire(self, timeout)

    def try_acquire(self):
        """The same if there is one; False if there is none."""
        return _semaphore_try_acquire(self)

    def release(self, n=1):
        """There are n more."""
        _semaphore_release(self, n)

    @property
    def value(self):
        """How many can acquire it without waiting."""
        return self["value"]

    @property
    def max(self):
        """How many there are at most, or None."""
        return self["max"]


class CapacityLimiter(LuaTable):
    """So many tasks can have one of its tokens at a time."""

    __slots__ = ()
    __enter__ = _enter
    __exit__ = _exit

    def __new__(cls, total):
        return _limiter(total)

    def acquire(self, timeout=None):
        """Waits for a token."""
        _limiter_acquire(self, timeout)

    def try_acquire(self):
        """The same if one is free; False if none is."""
        return _limiter_try_acquire(self)

    def release(self):
        """Gives the token of the current task back."""
        _limiter_release(self)

    @property
    def total(self):
        """How many tokens there are."""
        return self["total"]

    @total.setter
    def total(self, value):
        _set_total(self, value)

    def __setattr__(self, name, value):
        if name != "total":
            raise AttributeError("cannot set {!r} of a CapacityLimiter".format(name))
        _set_total(self, value)

    @property
    def available(self):
        """How many are free."""
        return self["available"]

    @property
    def borrowed(self):
        """How many are not."""
        return self["borrowed"]


class Future(LuaTable):
    """A value that somebody will set, and others wait for."""

    __slots__ = ()
    __class_getitem__ = classmethod(GenericAlias)

    def __new__(cls):
        return _future()

    def set_result(self, value):
        """Who waits for it gets the value. False: it was cancelled."""
        return _future_set_result(self, value)

    def set_error(self, error):
        """Who waits for it gets the error. False: it was cancelled."""
        if isinstance(error, type):
            error = error()
        if not isinstance(error, BaseException):
            raise TypeError("an exception was expected, got " + type(error).__name__)
        return _future_set_error(self, error)

    def cancel(self, reason=None):
        """Nobody wants it any more. False: it is done."""
        return _future_cancel(self, reason)

    def get(self, timeout=None):
        """Waits for the value, and returns it, or raises the error."""
        return _future_get(self, timeout)

    def wait(self, timeout=None):
        """Waits until it is done. False: not within `timeout` seconds."""
        return _future_wait(self, timeout)

    def link(self, f):
        """Calls f(future), in the hub, when it is done."""
        _future_link(self, f)
        return self

    def on_get(self):
        """For select: waits for the value. The future itself does so, too."""
        return _future_on_get(self)

    @property
    def status(self):
        """"pending", "done", "failed" or "cancelled"."""
        return self["status"]

    @property
    def done(self):
        """Whether it has its value or error, or was cancelled."""
        return self["done"]

    @property
    def cancelled(self):
        """Whether it was cancelled."""
        return self["cancelled"]

    @property
    def result(self):
        """The value; None before."""
        return _future_result(self)

    @property
    def error(self):
        """The error, or None."""
        return self["error"]


event = Event
lock = Lock
condition = Condition
semaphore = Semaphore
capacity_limiter = CapacityLimiter
future = Future
