"""Waiting for file descriptors."""

from moonlet import WouldBlock, _raw

__all__ = ["notify_closing", "wait_readable", "wait_writable"]

_wait_readable = _raw("poll", "begin_readable", "end_half")
_wait_writable = _raw("poll", "begin_writable", "end_half")
_notify_closing = _raw("poll", "notify_closing")


def _descriptor(fd):
    fileno = getattr(fd, "fileno", None)
    return fd if fileno is None else fileno()


def wait_readable(fd, timeout=None):
    """Waits until a file descriptor, or an object with fileno(), can be read; False: timed out."""
    try:
        _wait_readable(fd if type(fd) is int else _descriptor(fd), timeout)
    except WouldBlock:
        return False
    return True


def wait_writable(fd, timeout=None):
    """Waits until a file descriptor, or an object with fileno(), can be written."""
    try:
        _wait_writable(fd if type(fd) is int else _descriptor(fd), timeout)
    except WouldBlock:
        return False
    return True


def notify_closing(fd):
    """To be called before a file descriptor is closed that tasks may wait for: they get Closed."""
    _notify_closing(_descriptor(fd))
