"""moonlet's greenlets in place of the package `greenlet`.

`python -m moonlet` runs a program with them; `install()` puts them in place from within one.
"""

import os
import sys
from importlib.machinery import PathFinder

__all__ = ["get_include", "install"]
__version__ = "0.1.0"


def get_include():
    """Return the directory to pass to a C compiler, to Cython and to type checkers.

    It has `greenlet/greenlet.h`, `greenlet/__init__.pxd` and the stubs of `greenlet`. Raise
    ImportError if moonlet is not built, as in its source tree.
    """
    for place in __path__:
        directory = os.path.join(place, "drop-in")
        if os.path.isfile(os.path.join(directory, "greenlet", "__init__.py")):
            return directory
    raise ImportError("moonlet is not built: it has no greenlet in {!r}".format(list(__path__)))


class _Finder:
    """Finds `greenlet` in our directory; its submodules are then found through its `__path__`."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [get_include()]) if name == "greenlet" else None


def install():
    """Have every `import greenlet` from now on find moonlet's.

    What is installed as greenlet stays as it is, and unused. Call this before anything imports
    greenlet; calling it again does nothing. Raise ImportError, which names the file, if another
    greenlet has been imported already.

    The processes that `multiprocessing` starts also use it, other ones do not: those that it
    spawns take over `sys.path`, and our directory is put there, too, behind the program's own.
    """
    directory = get_include()
    loaded = sys.modules.get("greenlet")
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        if not file or not os.path.samefile(os.path.dirname(file), directory + "/greenlet"):
            raise ImportError(
                "moonlet.install() must come before the first import of greenlet, which has been "
                "imported from {}".format(file or "an unknown place"),
                name="greenlet",
                path=file,
            )
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    if directory not in sys.path:
        sys.path.insert(1, directory)
