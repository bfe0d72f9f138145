# The package for Python alone. The module `moonlet` of the program, with Lua, has stubs of its own:
# python/program/moonlet in the source tree.

__all__ = ["get_include", "install"]
__version__: str

def get_include() -> str: ...
def install() -> None: ...
