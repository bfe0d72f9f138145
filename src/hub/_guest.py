"""asyncio on the scheduler: event loops that wait in the hub, awaiting in tasks, tasks that are
awaited. The other half is lua/moonlet/aio.lua."""

import asyncio
import concurrent.futures
import inspect
import selectors
import time
from asyncio import events, futures, runners
from contextvars import copy_context
from threading import get_ident

from greenlet import GreenletExit

import moonlet
from moonlet import Cancelled, TaskCancelled, _raw

_new_guest = _raw("aio", "guest")
_may_park = _raw("aio", "may_park")
_begin = _raw("aio", "begin")
_finish = _raw("aio", "finish")
_shield = _raw("aio", "shield")
_park = _raw("aio", "park")
_pass = _raw("aio", "pass")
_wake = _raw("aio", "wake")
_close = _raw("aio", "close")
_time = _raw("aio", "time")
_default_loop = _raw("aio", "default_loop")
_waiter = _raw("aio", "waiter")
_shielded_waiter = _raw("aio", "shielded_waiter")
_wait = _raw("aio", "wait")
_done = _raw("aio", "done")
_turn = _raw("aio", "turn")
_outcome = _raw("aio", "outcome")
_raise_in_main = _raw("aio", "raise_in_main")
_get_wake = _raw("aio", "get_wake")
_link = _raw("task", "methods.link")
_cancel = _raw("task", "methods.cancel")


# ------------------------------------------------------------------------------ the event loop

class Selector(selectors.EpollSelector):
    """Waits in the hub while its loop runs in a task; else as its base does."""

    def __init__(self):
        super().__init__()
        self.loop = None
        self.guest = None  # while the loop runs in a task
        self.parked = False

    def select(self, timeout=None):
        guest = self.guest
        if guest is None:
            return super().select(timeout)
        try:
            if timeout is None or timeout > 0:
                try:
                    self._set_parked()  # first: other threads may wake it from here on
                    found = super().select(0)
                    if not found:
                        _park(guest, timeout, self._is_quiet())
                finally:
                    self._unset_parked()
                if found:
                    _pass(guest)
            else:
                _pass(guest)
        except GreenletExit:
            self.guest = None  # the greenlet is being ended: it cannot wait here
            self.loop._detached = True
            raise
        except Cancelled as cancel:
            _shield(guest)
            if not self.loop._cancel_main(cancel):
                raise
        return super().select(0)

    def _is_quiet(self):
        # Only the loop's own pipe is watched, by which other threads, and signals, wake it.
        return len(self._fd_to_key) < 2 and not self.loop._signal_handlers

    def _set_parked(self):
        # What others of this thread give to the loop meanwhile must wake it.
        self.parked = True
        attributes = self.loop.__dict__
        attributes["call_soon"] = self.loop._call_soon_and_wake
        attributes["call_at"] = self.loop._call_at_and_wake

    def _unset_parked(self):
        self.parked = False
        self.loop.__dict__.pop("call_soon", None)
        self.loop.__dict__.pop("call_at", None)

    def register(self, fileobj, events, data=None):
        key = super().register(fileobj, events, data)
        if self.parked and get_ident() == self.loop._thread_id:
            _wake(self.guest)
        return key


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop that waits in the scheduler when a task runs it: others run meanwhile."""

    def __init__(self):
        self._guest = None  # see aio.lua
        self._home = None  # the thread of the Lua state that has it
        self._detached = False  # it will never wait in the hub again
        self._main = None  # what run_until_complete waits for
        self._cancel = None  # a cancel of the task: why that was cancelled
        self._awaited = set()  # the futures that tasks await
        selector = Selector()
        selector.loop = self
        super().__init__(selector)
        self._attach()

    def _attach(self):
        """Whether the running code can wait in the hub."""
        if self._detached:
            return False
        try:
            if not _may_park():
                return False
        except RuntimeError:  # no Lua state in this thread
            return False
        if self._guest is None:
            self._guest = _new_guest(self._selector.fileno())
            self._lua_wake = _get_wake()
            self._home = get_ident()
        return True

    def _is_at_home(self):
        """Whether the running code can call Lua for this loop."""
        return self._home == get_ident() and not self._detached

    def time(self):
        return _time() if self._is_at_home() else time.monotonic()

    def run_forever(self):
        self._check_closed()
        self._check_running()
        if not self._attach():
            return super().run_forever()
        guest = self._guest
        _begin(guest)
        self._selector.guest = guest
        try:
            super().run_forever()
        finally:
            self._selector.guest = None
            if not self._detached:
                _finish(guest)

    def run_until_complete(self, future):
        self._check_closed()
        self._check_running()
        if not self._attach():
            return super().run_until_complete(future)
        ours = not futures.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if ours:
            future._log_destroy_pending = False
        before = self._main, self._cancel
        self._main, self._cancel = future, None
        try:
            return super().run_until_complete(future)
        except asyncio.CancelledError:
            if self._cancel is None:
                raise
            raise self._cancel from None
        except BaseException:
            if ours and future.done() and not future.cancelled():
                future.exception()  # it is known
            raise
        finally:
            self._main, self._cancel = before

    def _cancel_main(self, cancel):
        """The task that runs the loop is cancelled. False: that is to end the loop."""
        if self._main is None or self._main.done():
            return False
        self._cancel = cancel
        self._main.cancel()
        return True

    def _call_soon_and_wake(self, callback, *args, context=None):
        _wake(self._guest)
        return asyncio.SelectorEventLoop.call_soon(self, callback, *args, context=context)

    def _call_at_and_wake(self, when, callback, *args, context=None):
        _wake(self._guest)
        return asyncio.SelectorEventLoop.call_at(self, when, callback, *args, context=context)

    def _write_to_self(self):
        selector = self._selector  # None: it is closed
        if selector is None or not selector.parked:
            super()._write_to_self()
        elif get_ident() == self._thread_id:
            _wake(self._guest)
        else:
            super()._write_to_self()
            moonlet.call_soon_threadsafe(self._lua_wake, self._guest)

    def close(self):
        if self._is_at_home() and not self.is_running() and not self.is_closed():
            _close(self._guest)
        super().close()


def new_event_loop():
    return EventLoop()


# ---------------------------------------------------------------------------- the default loop

def serve(loop):
    """The body of the task that runs the default loop."""
    try:
        while True:
            try:
                loop.run_forever()
                break
            except (KeyboardInterrupt, SystemExit) as error:
                if not any(_has_raised(f, error) for f in loop._awaited):
                    _raise_in_main(error)
    finally:
        try:
            runners._cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


def stop(loop):
    loop.call_soon_threadsafe(loop.stop)


def _has_raised(future, error):
    return future.done() and not future.cancelled() and future.exception() is error


# ------------------------------------------------------------------------------------ awaiting

def problem(value):
    """What is wrong with a value that is to be awaited, or None."""
    if futures.isfuture(value) or inspect.isawaitable(value):
        return None
    got = type(value).__name__ if value is not None else "None"
    text = "coroutine, future or other awaitable expected, got {}".format(got)
    if inspect.iscoroutinefunction(value):
        return text + ": call it"
    if isinstance(value, concurrent.futures.Future):
        return text + " of concurrent.futures: use wait"
    return text


async def _await(awaitable):
    return await awaitable


def await_(awaitable):
    wrong = problem(awaitable)
    if wrong:
        raise TypeError("bad argument to await_(): " + wrong)
    if isinstance(awaitable, moonlet.Task):
        return awaitable.join()
    if futures.isfuture(awaitable):
        loop = futures._get_loop(awaitable)
        _check(loop)
        if loop.is_running() and loop._thread_id != get_ident():
            raise RuntimeError("await_() cannot wait for a future of another thread's event loop")
        return _await_future(awaitable, loop)
    coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
    context = copy_context()
    try:
        loop = _default_loop()
        _check(loop)
        future = loop.create_task(coroutine, context=context)
    except BaseException:
        coroutine.close()  # nobody will ever await it
        raise
    try:
        return _await_future(future, loop)
    finally:
        _take_over(context)


def _check(loop):
    if events._get_running_loop() is loop:
        raise RuntimeError("await_() would wait for the event loop that has called it: use await "
                           "there")


def _await_future(future, loop):
    awaited = getattr(loop, "_awaited", set())
    awaited.add(future)
    try:
        if future.done():
            _turn()
        else:
            _wait_for(future, _waiter(future))
    except GreenletExit:
        future.cancel()
        raise
    except BaseException:
        if not future.done():
            future.cancel()
            _wait_for(future, _shielded_waiter(future))
        if not future.cancelled() and future.exception() is not None:
            raise future.exception()
        raise
    finally:
        awaited.discard(future)
    return future.result()


def _wait_for(future, waiter):
    def done(_):
        _done(waiter)

    future.add_done_callback(done)
    try:
        _wait(waiter)
    finally:
        future.remove_done_callback(done)


def _take_over(context):
    """What a coroutine has set is set in the task that awaits it."""
    for variable, value in context.items():
        if variable.get(None) is not value:
            variable.set(value)


# ------------------------------------------------------------------------------ tasks in asyncio

class TaskFuture(asyncio.Future):
    """The outcome of a task of the scheduler. To cancel it is to cancel that, as in asyncio."""

    def __init__(self, task, loop):
        super().__init__(loop=loop)
        self._task = task
        self._cancels = False

    def cancel(self, msg=None):
        if self.done():
            return False
        try:
            _cancel(self._task, *([] if msg is None else [msg]))
        except RuntimeError:  # nobody has spawned it
            return super().cancel(msg)
        self._cancels = True
        return True

    def _finish(self, task):
        if self.done() or self._loop.is_closed():
            return
        try:
            self.set_result(_outcome(task))
        except TaskCancelled as error:
            if self._cancels:
                super().cancel()
            else:
                self.set_exception(error)
        except StopIteration as error:
            wrapped = RuntimeError("a task raised StopIteration")
            wrapped.__cause__ = error
            self.set_exception(wrapped)
        except BaseException as error:
            self.set_exception(error)


def as_asyncio(task, *args):
    loop = asyncio.get_running_loop()
    is_task = isinstance(task, moonlet.Task)
    if not is_task and not callable(task):
        raise TypeError("bad argument to as_asyncio(): task or callable expected, got {}"
                        .format(type(task).__name__))
    if is_task and args:
        raise TypeError("as_asyncio() takes arguments for a callable only, not for a task")
    waits_in_hub = isinstance(loop, EventLoop) and loop._selector.guest
    if not waits_in_hub and not (is_task and task.ended):
        raise RuntimeError("tasks cannot run while this event loop waits: it is none of "
                           "moonlet's, or runs outside of tasks")
    if not is_task:
        task = moonlet.spawn(task, *args)
    future = TaskFuture(task, loop)
    _link(task, future._finish)
    return future
