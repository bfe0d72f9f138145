"""Lua's modules as modules of Python: `import moonlet.lua.NAME`.

Run by source.c, with the helpers of luamodule.c in its namespace.
"""
# flake8: noqa: F821

import os
import sys
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, ModuleType

import moonlet
import moonlet.lua

PREFIX = "moonlet.lua."
VALUES = "__lua_values__"


def lua_name(module):
    """What Lua's require calls the module of that name."""
    return module[len(PREFIX):]


def is_special(name):
    """Whether Python alone knows the name."""
    return name[:2] == "__" == name[-2:]


class LuaModule(module_base()):
    """A module of Lua. Its attributes are the fields of the value that the module returned, in
    the Lua state that has called the code; `__lua__` is the value itself. To Lua it is that value.
    """

    @property
    def __lua__(self):
        values = self.__dict__.get(VALUES)
        if values is None:  # a directory of modules
            return None
        here = state()
        if here not in values:  # imported in another state
            values[here] = require(lua_name(self.__name__))[0]
        return values[here]

    def __setattr__(self, name, value):
        # Python itself makes submodules attributes; Lua shall not see them.
        submodule = sys.modules.get("{}.{}".format(self.__name__, name))
        if is_special(name) or isinstance(value, ModuleType) and submodule is value:
            super().__setattr__(name, value)
        else:
            set_field(self, name, value)

    def __delattr__(self, name):
        if name in self.__dict__:
            super().__delattr__(name)
        else:
            getattr(self, name)
            set_field(self, name, None)

    def __dir__(self):
        return sorted({*self.__dict__, "__lua__", *names(self.__lua__)} - {VALUES})

    def __call__(self, *args, **kwargs):
        return self.__lua__(*args, **kwargs)


def get_slowly(module, name):
    """The attribute of a LuaModule that its base has not found, or AttributeError."""
    value = module.__lua__
    if name == "__all__":
        return [key for key in names(value) if not key.startswith("_")]
    result = field(value, name)
    if result is None:
        raise AttributeError("module {!r} has no attribute {!r}".format(module.__name__, name),
                             name=name, obj=module)
    return result


set_module_type(LuaModule, VALUES, get_slowly)


class LuaPackage(ModuleType):
    """The module moonlet.lua. Its functions stay what they are when Lua's modules of the same names
    are imported, `table` and `coroutine`, which Python makes attributes of it."""

    def __setattr__(self, name, value):
        own = self.__dict__.get(name)
        if not (isinstance(value, LuaModule) and isinstance(own, BuiltinFunctionType)):
            super().__setattr__(name, value)


moonlet.lua.__class__ = LuaPackage


def field(value, name):
    """The field of a module's value, None if it has none."""
    if isinstance(value, moonlet.LuaTable):
        return value[name]
    scalar = value is None or isinstance(value, (bool, int, float, str, bytes))
    return None if scalar else getattr(value, name, None)


def set_field(module, name, value):
    """Assign to a field of a module's value."""
    owner = module.__lua__
    if isinstance(owner, moonlet.LuaTable):
        owner[name] = value
    elif isinstance(owner, moonlet.LuaUserdata):
        setattr(owner, name, value)
    else:
        raise AttributeError("cannot set {!r}: the Lua module {!r} is not a table".format(
            name, lua_name(module.__name__)), name=name, obj=module)


def names(value):
    """The names among the fields of a module's value."""
    if not isinstance(value, moonlet.LuaTable):
        return []
    return [key for key in value if isinstance(key, str) and key.isidentifier()]


class LuaLoader:
    """Loads modules of Lua by its require."""

    @staticmethod
    def create_module(spec):
        return LuaModule(spec.name)

    @staticmethod
    def exec_module(module):
        name, here = lua_name(module.__name__), state()
        values = module.__dict__.setdefault(VALUES, {})
        loaded = package()["loaded"]
        before = None
        if here in values:  # importlib.reload()
            before = loaded[name]
            loaded[name] = None
        try:
            values[here] = require(name)[0]
        except BaseException:
            if before is not None:
                loaded[name] = before
            raise


class LuaDirectory:
    """Loads what is no module of Lua, but has some below it."""

    @staticmethod
    def create_module(spec):
        return LuaModule(spec.name)

    @staticmethod
    def exec_module(module):
        pass


def has_modules_below(name):
    """Whether there is something that could be a part of modules called NAME.SOMETHING."""
    lua = package()
    for table in lua["loaded"], lua["preload"]:
        if any(isinstance(key, str) and key.startswith(name + ".") for key in table):
            return True
    templates = "{};{}".format(lua["path"], lua["cpath"]).split(";")
    return any(os.path.isdir(template.partition("?")[0] + name.replace(".", "/"))
               for template in templates if "?" in template)


def search(name):
    """Ask Lua's searchers. Return whether there is such a module, and its file or why not."""
    lua = package()
    if lua["loaded"][name]:
        return True, None
    reasons = []
    for searcher in moonlet.LuaSequence(lua["searchers"]):
        result = searcher(name)
        found, data = result if isinstance(result, tuple) else (result, None)
        if isinstance(found, moonlet.LuaFunction):
            return True, data
        if isinstance(found, str):
            reasons.append("\n\t" + found)
    return False, "".join(reasons)


def missing(module, places):
    """The exception for a module that there is not.

    importlib._bootstrap._handle_fromlist drops the one with the module's name: then `from
    moonlet.lua.a import b` fails as with any module a that has no b. But of `from moonlet.lua
    import b` users shall learn where Lua has looked: that one has Lua's name.
    """
    name = lua_name(module)
    parent = sys.modules.get(module.rpartition(".")[0])
    below_module = isinstance(parent, LuaModule) and VALUES in vars(parent)
    return ModuleNotFoundError("Lua module {!r} not found:{}".format(name, places),
                               name=module if below_module else name)


def find_spec(module):
    """The spec of a module below moonlet.lua, or ModuleNotFoundError."""
    name = lua_name(module)
    found, data = search(name)
    if not found and has_modules_below(name):
        return ModuleSpec(module, LuaDirectory, is_package=True)
    if not found:
        raise missing(module, data)
    spec = ModuleSpec(module, LuaLoader, origin=data, is_package=True)
    spec.has_location = isinstance(data, str) and os.path.isfile(data)
    return spec
