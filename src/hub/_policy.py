"""The default policy of asyncio makes loops that wait in the scheduler where a task runs them, and
each task has a current event loop of its own, as each thread has. A policy that a program sets is
as it was."""

from weakref import WeakKeyDictionary

from greenlet import getcurrent


def new_event_loop():
    from moonlet import _guest
    return _guest.EventLoop()


class State:
    """As the policy's _Local, for a greenlet."""

    def __init__(self, thread):
        self._loop = None
        self._set_called = thread._set_called


def make_local(Thread):
    class _Local:
        """The current event loop: of the greenlet if it has set one, else of the thread."""

        def __init__(self):
            self._thread = Thread()
            self._greenlets = WeakKeyDictionary()

        def _state(self, make):
            greenlet = getcurrent()
            if greenlet.parent is None:
                return self._thread
            state = self._greenlets.get(greenlet)
            if state is None and make:
                state = self._greenlets[greenlet] = State(self._thread)
            return state or self._thread

        @property
        def _loop(self):
            return self._state(False)._loop

        @_loop.setter
        def _loop(self, loop):
            self._state(True)._loop = loop

        @property
        def _set_called(self):
            return self._state(False)._set_called

        @_set_called.setter
        def _set_called(self, value):
            self._state(True)._set_called = value

    return _Local


def install(unix_events):
    from asyncio import events

    Policy = unix_events._UnixDefaultEventLoopPolicy
    Policy._loop_factory = staticmethod(new_event_loop)
    Thread = Policy._Local
    Policy._Local = make_local(Thread)
    policy = events._event_loop_policy
    if isinstance(policy, Policy) and type(policy._local) is Thread:
        local = Policy._Local()
        local._thread = policy._local
        policy._local = local
