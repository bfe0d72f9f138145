"""The names of the scheduler in the module `moonlet`, from the files that define them."""

from moonlet._asyncio import *  # noqa: F401,F403
from moonlet._data import *  # noqa: F401,F403
from moonlet._pool import *  # noqa: F401,F403
from moonlet._sync import *  # noqa: F401,F403
from moonlet._care import *  # noqa: F401,F403
from moonlet._frames import *  # noqa: F401,F403
from moonlet._supervisor import *  # noqa: F401,F403
from moonlet._tasks import *  # noqa: F401,F403


def __getattr__(name):
    if name == "frames":  # each Lua state has its own
        from moonlet import _frames
        return _frames.frames
    raise AttributeError(name)
