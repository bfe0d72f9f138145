"""Python's import of the embedded submodules of `moonlet`. Run by files.c."""
# flake8: noqa: F821

from importlib.machinery import ModuleSpec


class Loader:
    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        name = module.__name__.rpartition(".")[2]
        module.__file__ = "<moonlet {}.py>".format(name)
        exec(compile(source(name), module.__file__, "exec"), module.__dict__)


def find_spec(name):
    return ModuleSpec(name, Loader)
