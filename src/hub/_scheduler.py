"""The names of the scheduler in the module `moonlet`, from the files that define them."""

from moonlet._asyncio import *  # noqa: F401,F403
from moonlet._care import *  # noqa: F401,F403
from moonlet._data import *  # noqa: F401,F403
from moonlet._frames import *  # noqa: F401,F403
from moonlet._poll import *  # noqa: F401,F403
from moonlet._pool import *  # noqa: F401,F403
from moonlet._scopes import *  # noqa: F401,F403
from moonlet._supervisor import *  # noqa: F401,F403
from moonlet._sync import *  # noqa: F401,F403
from moonlet._tasks import *  # noqa: F401,F403
from moonlet._threads import *  # noqa: F401,F403

__all__ = [name for name in dir() if not name.startswith("_")]

# Where they are found.
for _value in [globals()[name] for name in __all__]:
    if getattr(_value, "__module__", "").startswith("moonlet._"):
        _value.__module__ = "moonlet"

__all__.append("frames")


def __getattr__(name):
    if name == "frames":  # each Lua state has its own
        from moonlet import _frames
        return _frames.frames
    raise AttributeError(name)
