"""Supervisors: tasks that start others again when they end."""

from moonlet import _raw

__all__ = ["supervise", "supervisor"]

_add = _raw("supervisor", "add")
_options = _raw("supervisor", "options")
_supervise = _raw("supervisor", "supervise")
_supervisor = _raw("supervisor", "supervisor")

_KEYS = {"start", "args", "name", "restart", "shutdown"}


def _make(children, strategy, intensity, period, backoff, max_backoff, name):
    options = _options(strategy, intensity, period, backoff, max_backoff, name)
    for child in children:
        if callable(child):
            child = {"start": child}
        elif not hasattr(child, "keys"):
            raise TypeError("a child is a callable or a dict, not " + type(child).__name__)
        for key in child.keys() - _KEYS:
            raise ValueError("unknown option {!r} of a child".format(key))
        _add(options, child.get("start"), child.get("name"), child.get("restart"),
             child.get("shutdown"), *child.get("args", ()))
    return options


def supervise(children, *, strategy="one_for_one", intensity=3, period=5, backoff=0,
              max_backoff=30, name=None):
    """Runs a supervisor in the task that calls, until all children have ended for good."""
    _supervise(_make(children, strategy, intensity, period, backoff, max_backoff, name))


def supervisor(children, *, strategy="one_for_one", intensity=3, period=5, backoff=0,
               max_backoff=30, name=None):
    """A task that runs children, each a callable or a dict with "start", "args", "name", "restart"
    ("permanent", "transient" or "temporary") and "shutdown", and starts them again."""
    return _supervisor(_make(children, strategy, intensity, period, backoff, max_backoff, name))
