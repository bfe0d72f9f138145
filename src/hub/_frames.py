"""Frame clocks."""

from moonlet import LuaTable, _raw

__all__ = ["FrameClock", "frame_clock", "next_frame", "wait_frames"]

_default = _raw("frames", "default")
_make = _raw("frames", "make")
_frame = _raw("frames", "next_frame")
_next_frame = _raw("frames", "methods.next_frame")
_pause = _raw("frames", "methods.pause")
_resume = _raw("frames", "methods.resume")
_sleep = _raw("frames", "methods.sleep")
_tick = _raw("frames", "methods.tick")
_wait_frames = _raw("frames", "methods.wait_frames")


def _property(name, doc, settable=False):
    get = _raw("frames", "get." + name)
    set = _raw("frames", "set." + name) if settable else None

    def getter(self):
        return get(self)

    def setter(self, value):
        set(self, value)

    return property(getter, setter if settable else None, doc=doc)


class FrameClock(LuaTable):
    """Time that passes in frames: at a rate of its own, by tick(), or as `frames` does."""

    __slots__ = ()

    def __new__(cls, *, fps=None, time_scale=None, max_dt=None, manual=False):
        return _make(fps, time_scale, max_dt, bool(manual))

    dt = _property("dt", "How long the last frame was in the clock's time.")
    fps = _property("fps", "How many frames a second there are, where no host drives it.")
    frame = _property("frame", "How many frames have begun.")
    max_dt = _property("max_dt", "What a frame of a host counts at most, in seconds.", True)
    paused = _property("paused", "Whether it stands still.", True)
    time = _property("time", "How many seconds of its time have passed, as of the last frame.")
    time_scale = _property("time_scale", "How fast its time passes.", True)

    def next_frame(self):
        """Waits until the next frame begins. Returns how long that was in the clock's time."""
        return _next_frame(self)

    def wait_frames(self, n):
        """Waits until n frames have begun. Returns how long that was in the clock's time."""
        return _wait_frames(self, n)

    def sleep(self, seconds):
        """Waits until so much of the clock's time has passed."""
        _sleep(self, seconds)

    def pause(self):
        """No frame begins until resume()."""
        _pause(self)

    def resume(self):
        """Frames begin again."""
        _resume(self)

    def tick(self, seconds=None):
        """One frame, for who drives it."""
        _tick(self, seconds)


frame_clock = FrameClock


def next_frame():
    """Waits until the next frame of `frames` begins. Returns how long the last one was."""
    return _frame()


def wait_frames(n):
    """Waits until n frames of `frames` have begun. Returns how long that was."""
    return _wait_frames(_default(), n)


def __getattr__(name):
    if name == "frames":  # each Lua state has its own
        return _default()
    raise AttributeError(name)
