"""Runs a program with moonlet's greenlets in place of `greenlet`."""

import builtins
import importlib.machinery
import io
import linecache
import os
import pkgutil
import runpy
import sys
import types

import moonlet

USAGE = "usage: python -m moonlet [-h] [-V] PROGRAM.py | -m MODULE | -c CODE | - [ARG...]"
HELP = """
Runs a Python program as python itself does, with moonlet's greenlets in place of the package
greenlet. Options of the interpreter go before: python -X dev -m moonlet PROGRAM.py

  PROGRAM.py     the program; a directory or a zip file that has a __main__.py also is one
  -m MODULE      runs a module as a program
  -c CODE        runs these statements
  -              runs what is read from the standard input
  -h, --help     prints this
  -V, --version  prints the versions of moonlet and of the greenlet that it replaces"""


def fail(message, status=2):
    """End the process with a message."""
    print(message, file=sys.stderr)
    raise SystemExit(status)


def wrong(message):
    """End the process because of its arguments."""
    fail("python -m moonlet: {}\n{}".format(message, USAGE))


def print_version():
    import greenlet

    print("moonlet {} (greenlet {})".format(moonlet.__version__, greenlet.__version__))


def make_main(file=None, loader=importlib.machinery.BuiltinImporter):
    """Return the namespace of a new module `__main__`, as the interpreter would have it."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__builtins__ = builtins
    module.__loader__ = loader
    if file is not None:
        module.__file__ = file
        module.__cached__ = None
    return vars(module)


def set_first_path(path):
    """Replace what the interpreter has put into `sys.path` for `-m moonlet`, if anything."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = path


def read(file):
    """Return what a file has for `starter`: the source, or the code if it is compiled."""
    try:
        with io.open_code(file) as stream:
            source = stream.read()
    except OSError as error:
        fail("{}: can't open file {!r}: [Errno {}] {}".format(
            sys.executable, file, error.errno, error.strerror))
    return pkgutil.read_code(io.BytesIO(source)) or source


def starter(source, file, namespace):
    """Return what compiles and runs a program."""
    if isinstance(source, types.CodeType):
        return lambda: exec(source, namespace)
    return lambda: exec(compile(source, file, "exec", 0, True), namespace)


# Each of these prepares the program and returns what runs it.

def script(path):
    file = os.path.join(os.getcwd(), path)
    if pkgutil.get_importer(file) is not None:  # a directory or a zip file
        sys.path.insert(0, file)
        if not getattr(sys.flags, "safe_path", sys.flags.isolated):
            del sys.path[1]
        make_main()
        return lambda: runpy._run_module_as_main("__main__", alter_argv=False)
    source = read(file)
    set_first_path(os.path.dirname(os.path.realpath(path)))
    if isinstance(source, types.CodeType):
        loader = importlib.machinery.SourcelessFileLoader("__main__", file)
    else:
        loader = importlib.machinery.SourceFileLoader("__main__", file)
    return starter(source, file, make_main(file, loader))


def module(name):
    make_main()
    sys.argv[0] = "-m"
    # What python itself calls for -m.
    return lambda: runpy._run_module_as_main(name)


def command(code):
    set_first_path("")
    if sys.version_info >= (3, 13):  # tracebacks show these lines
        linecache.cache["<string>"] = len(code), None, code.splitlines(True), "<string>"
    return starter(code, "<string>", make_main())


def standard_input():
    set_first_path("")
    if sys.stdin.isatty():
        import code

        console = code.InteractiveConsole(make_main())
        return lambda: console.interact(exitmsg="")
    return starter(sys.stdin.buffer.read(), "<stdin>", make_main("<stdin>"))


def prepare(args):
    """Set `sys.argv` and return what runs the program, or end the process."""
    if args[:1] == ["--"]:
        args = args[1:]
    elif not args:
        wrong("what to run is missing")
    elif args[0] in ("-V", "--version"):
        print_version()
        raise SystemExit(0)
    elif args[0][:2] in ("-c", "-m"):
        option, value = args[0][:2], args[0][2:]
        rest = args[1:]
        if not value:
            if not rest:
                wrong("argument expected for the {} option".format(option))
            value, *rest = rest
        sys.argv = [option] + rest
        return command(value) if option == "-c" else module(value)
    elif args[0].startswith("-") and args[0] != "-":
        wrong("unknown option {}; python's own go before -m moonlet".format(args[0]))
    if not args:
        wrong("what to run is missing")
    sys.argv = list(args)
    return standard_input() if args[0] == "-" else script(args[0])


def run(program):
    """Call what runs a program. Its traceback, if one is printed, begins with its own frames."""
    try:
        program()
    except SystemExit:
        raise
    except BaseException as error:
        traceback = error.__traceback__.tb_next.tb_next  # without this frame and the lambda's
        hook = sys.excepthook

        def report(kind, value, _):
            sys.last_traceback = traceback
            hook(kind, value.with_traceback(traceback), traceback)

        # The interpreter does what else it does: exit codes, signals, -i.
        sys.excepthook = report
        raise


def main():
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(USAGE + "\n" + HELP)
        return
    try:
        moonlet.install()
    except ImportError as error:
        fail("python -m moonlet: {}".format(error), 1)
    run(prepare(sys.argv[1:]))


if __name__ == "__main__":
    main()
