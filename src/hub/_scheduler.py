"""The names of the scheduler in the module `moonlet`, from the files that define them."""

from moonlet._asyncio import *  # noqa: F401,F403
from moonlet._tasks import *  # noqa: F401,F403
from moonlet._care import *  # noqa: F401,F403
