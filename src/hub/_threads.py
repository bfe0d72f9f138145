"""Other threads: blocking calls in a pool of threads, futures, and the way in for threads."""

import contextvars as _contextvars
import os as _os
import threading as _threading

from moonlet import Cancelled as _Cancelled, _idle_thread, _raw
from moonlet import call_soon_threadsafe as _call_soon

from moonlet._sync import Future as _Future
from moonlet._tasks import Task as _Task, spawn as _spawn

__all__ = ["in_thread", "set_thread_limit", "spawn_threadsafe", "wait"]

_check_function = _raw("threads", "check_function")
_run_job = _raw("threads", "run_job")
_set_limit = _raw("threads", "set_thread_limit")
_wait_done = _raw("threads", "wait_done")
_timed_out = _raw("threads", "timed_out")

# ---------------------------------------------------------------------------------- the pool

IDLE_SECONDS = 10  # after which a thread ends that has nothing to do

_idle = []  # workers; the one that was busy last is the next


def _post(function, number):
    try:
        _call_soon(function, number)
    except RuntimeError:
        pass  # the Lua state is closed: nobody waits


class Job:
    """A call that a thread makes, in a copy of the caller's contextvars."""

    __slots__ = ("call", "context", "value", "error", "name")

    def __init__(self, f, /, *args, **kwargs):
        self.call = f, args, kwargs
        self.name = getattr(f, "__qualname__", None) or type(f).__qualname__
        self.context = _contextvars.copy_context()
        self.value = self.error = None

    def run(self):
        f, args, kwargs = self.call
        context = self.context
        self.call = self.context = None
        try:
            self.value = context.run(f, *args, **kwargs)
        except BaseException as error:
            # Without this frame.
            self.error = error.with_traceback(error.__traceback__.tb_next)

    def result(self):
        error, value = self.error, self.value
        self.error = self.value = None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error, self

    def __str__(self):
        return self.name


class Worker:
    """A thread that does one job after the other. It is a daemon: a call that never returns does
    not keep the program from ending."""

    def __init__(self, *task):
        self.task = task
        self.wake = _threading.Lock()
        self.wake.acquire()
        _threading.Thread(target=self.run, name="moonlet.in_thread", daemon=True).start()

    def run(self):
        _idle_thread()
        while True:
            job, function, number = self.task
            self.task = None
            job.run()
            del job
            _idle.append(self)
            _post(function, number)
            del function
            if not self.wake.acquire(timeout=IDLE_SECONDS):
                try:
                    _idle.remove(self)
                    return
                except ValueError:  # it was just taken
                    self.wake.acquire()


def submit(job, function, number):
    """Lets a thread do the job, and then call function(number) in the hub."""
    try:
        worker = _idle.pop()
    except IndexError:
        Worker(job, function, number)
    else:
        worker.task = job, function, number
        worker.wake.release()


_os.register_at_fork(after_in_child=_idle.clear)


def in_thread(f, /, *args, **kwargs):
    """Calls f(*args, **kwargs), which may block, in another thread; only the current task waits.
    Returns its result, or raises its exception. A cancel ends the wait at once, but the thread
    goes on; inside `with moonlet.shield()` it waits for f."""
    _check_function(f)
    job = Job(f, *args, **kwargs)
    _run_job(job)
    return job.result()


def set_thread_limit(n, /):
    """How many calls in_thread() makes at a time: 40 at first. Returns the number before."""
    return _set_limit(n)


# ---------------------------------------------------------------------------------- futures

class Notice:
    """What a future calls when it is done, in any thread."""

    __slots__ = ("function", "number")

    def __init__(self, function, number):
        self.function = function
        self.number = number

    def __call__(self, future):
        _post(self.function, self.number)


def is_ready(future):
    """Whether result() does not block when the future is done. That of dask asks its cluster."""
    from concurrent.futures import Future

    return isinstance(future, Future) or hasattr(future, "get_loop")


def wait(future, timeout=None):
    """Waits until a future of any executor is done: one of concurrent.futures, or what has the
    same methods add_done_callback and result. Returns its result, or raises its exception;
    TimeoutError after so many seconds. A cancel tries to cancel the future. Tasks are joined, and
    moonlet.Future is waited for, too."""
    if isinstance(future, _Task):
        return future.join(timeout)
    if isinstance(future, _Future):
        return future.get(timeout)
    if not _wait_done(future, timeout):
        _timed_out(timeout)
    return future.result() if is_ready(future) else in_thread(future.result)


# ------------------------------------------------------------------------- the way in for threads

class _Errand:
    # A call that another thread wants a task to make, in a copy of that thread's contextvars.

    __slots__ = ("func", "arguments", "future", "context")

    def __init__(self, future, func, *arguments):
        self.future = future
        self.func = func
        self.arguments = arguments
        self.context = _contextvars.copy_context()

    def spawn(self):
        if not self.future.cancelled():
            task = self.context.run(_spawn, self)
            self.future.add_done_callback(lambda future: _cancel_if(future, task))

    def __call__(self):
        args, kwargs = self.arguments
        future = self.future
        self.arguments = None
        try:
            value = self.func(*args, **kwargs)
        except _Cancelled:
            _drop(future)
            raise
        except BaseException as error:
            _settle(future, future.set_exception, error)
            if not isinstance(error, Exception):
                raise
        else:
            _settle(future, future.set_result, value)
        finally:
            del future, self

    def __del__(self):
        # It was never called, as the Lua state was closed before: whoever waits shall learn of it.
        if self.arguments is not None:
            _drop(self.future)


def _settle(future, setter, value):
    # Whoever wants to cancel the future can do so until here.
    if future.set_running_or_notify_cancel():
        setter(value)


def _drop(future):
    if future.cancel():
        future.set_running_or_notify_cancel()


def _cancel_if(future, task):
    if future.cancelled():
        try:
            _call_soon(task.cancel, "its future was cancelled")
        except RuntimeError:
            pass


def spawn_threadsafe(f, /, *args, **kwargs):
    """For other threads: a task that calls f(*args, **kwargs) in the thread of the scheduler.
    Returns a concurrent.futures.Future of it: result() blocks the thread that asks, cancel()
    cancels the task."""
    if not callable(f):
        raise TypeError("spawn_threadsafe() argument 1 must be callable, not '{}'".format(
            type(f).__name__))
    from concurrent.futures import Future

    future = Future()
    _call_soon(_Errand(future, f, args, kwargs).spawn)
    return future
