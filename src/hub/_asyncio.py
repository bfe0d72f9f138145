"""Awaiting in tasks, and tasks in asyncio. asyncio is imported when it is first needed."""

import sys

__all__ = ["as_asyncio", "await_", "new_event_loop"]


def await_(awaitable, /):
    """Waits until an awaitable of asyncio is done. Returns its value, or raises its exception."""
    from moonlet import _guest
    return _guest.await_(awaitable)


def as_asyncio(task, /, *args):
    """An asyncio future for the outcome of a task, or of a new one that calls task(*args)."""
    from moonlet import _guest
    return _guest.as_asyncio(task, *args)


def new_event_loop():
    """An event loop of asyncio that waits in the scheduler when a task runs it."""
    from moonlet import _guest
    return _guest.new_event_loop()


# ------------------------------------------------------------------ the loops that asyncio makes

POLICY = "asyncio.unix_events"  # the module that decides about it


def install(module):
    """Lets asyncio's default policy make loops that are guests here."""
    from moonlet import _policy
    _policy.install(module)


class Loader:
    """Loads the module as its own loader does, then installs."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        install(module)


class Finder:
    """Finds it once."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != POLICY:
            return None
        sys.meta_path.remove(cls)
        from importlib.util import find_spec
        spec = find_spec(name)
        if spec is not None:
            spec.loader = Loader(spec.loader)
        return spec


if hasattr(sys.modules.get(POLICY), "_UnixDefaultEventLoopPolicy"):
    install(sys.modules[POLICY])
else:
    sys.meta_path.insert(0, Finder)
