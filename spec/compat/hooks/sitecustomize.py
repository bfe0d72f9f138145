"""Records what a test process does, as lines of JSON in the file that COMPAT_RESULTS names.

`{"greenlet": PATH}` when the extension is imported, `{"start": ID}` and `{"outcome": ...}` for
every test. Each line is written at once, so that a process that dies leaves what it did. Only the
first process records: its children do not find the variable.
"""

import json
import os
import sys
from importlib.machinery import PathFinder

results = os.environ.pop("COMPAT_RESULTS", None)
_recorder = os.getpid()
_open, _write, _close, _getpid = os.open, os.write, os.close, os.getpid  # before any patching


def record(**what):
    """Appends one line; nothing in a forked child or when no results are asked for."""
    if results is None or _getpid() != _recorder:
        return
    file = _open(results, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    _write(file, (json.dumps(what) + "\n").encode())
    _close(file)


def _after(cls, name, report):
    """Makes a call of cls.name also call `report` with the same arguments, before it."""
    original = getattr(cls, name)

    def method(self, *args, **kwargs):
        report(*args, **kwargs)
        return original(self, *args, **kwargs)
    setattr(cls, name, method)


def _outcome(outcome):
    def report(test, *_):
        record(test=test.id(), outcome=outcome)
    return report


def _failure(test, error):
    # greenlet.tests knows where stock greenlet leaks and fails where it does not.
    clean = error[0].__name__ == "LeakCheckError" and str(error[1]).endswith("but it did not.")
    record(test=test.id(), outcome="clean" if clean else "fail")


def _subtest(test, _subtest, error):
    if error is not None:
        record(test=test.id(), outcome="fail")


def _watch_unittest(module):
    cls = module.TestResult
    _after(cls, "startTest", lambda test: record(start=test.id()))
    _after(cls, "addSubTest", _subtest)
    _after(cls, "addFailure", _failure)
    for name, outcome in (("addSuccess", "pass"), ("addExpectedFailure", "pass"),
                          ("addSkip", "skip"), ("addError", "fail"),
                          ("addUnexpectedSuccess", "fail")):
        _after(cls, name, _outcome(outcome))


class _Finder:
    """Looks on when greenlet's extension and unittest's results are imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "greenlet._greenlet":
            spec = PathFinder.find_spec(name, path, target)
            record(greenlet=spec.origin if spec else None)
        elif name == "unittest.result":
            spec = PathFinder.find_spec(name, path, target)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _watch_unittest(module)
            spec.loader.exec_module = exec_module
            return spec
        return None


if results is not None:
    sys.meta_path.insert(0, _Finder)
