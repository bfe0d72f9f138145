"""The Python package moonlet: pip builds it, programs run on it.

    python3 spec/packaging/test_packaging.py [-v] [CLASS[.TEST]...]

Fills a virtual environment in a temporary directory with the wheel, with the greenlet that it
stands in for, and with tools, all but the wheel from the package index. Where that cannot be
reached, everything is skipped; with CI in the environment it fails.
"""

import base64
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import textwrap
import unittest
import zipapp
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = ["scikit-build-core", "cython", "mypy", "greenlet"]

temporary = python = site = dropin = wheel = None


def execute(*command, status=0, **options):
    """Run a command, whose status must be the given one; return the finished process."""
    options.setdefault("cwd", temporary)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment.update(options.pop("env", {}))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300,
                          env=environment, **options)
    if status is not None and done.returncode != status:
        raise AssertionError("{} ended with {}\n{}{}".format(
            " ".join(command), done.returncode, done.stdout, done.stderr))
    return done


def run(*args, **options):
    """What `python -m moonlet ARGS` prints."""
    return execute(python, "-m", "moonlet", *args, **options).stdout


def code(text, **options):
    """What statements print, run by the interpreter without `-m moonlet`."""
    return execute(python, "-c", textwrap.dedent(text), **options).stdout


def write(name, text):
    path = os.path.join(temporary, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(textwrap.dedent(text))
    return path


def pip(*args, **options):
    return execute(python, "-m", "pip", "--disable-pip-version-check", *args, **options)


def setUpModule():
    global temporary, python, site, dropin, wheel
    holder = tempfile.TemporaryDirectory(prefix="moonlet-")
    unittest.addModuleCleanup(holder.cleanup)
    temporary = os.path.realpath(holder.name)
    execute(sys.executable, "-m", "venv", os.path.join(temporary, "venv"))
    python = os.path.join(temporary, "venv", "bin", "python")
    site = code("import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    dropin = os.path.join(site, "moonlet", "drop-in")
    tools = pip("install", "-q", *TOOLS, status=None)
    if tools.returncode != 0:
        if "CI" in os.environ:
            raise AssertionError(tools.stderr)
        raise unittest.SkipTest("pip cannot install " + ", ".join(TOOLS))
    # As users do it, in an environment of its own.
    pip("wheel", "-q", "--no-deps", "-w", "dist", ROOT)
    wheel, = [os.path.join(temporary, "dist", name)
              for name in os.listdir(os.path.join(temporary, "dist"))]
    pip("install", "-q", "--no-deps", wheel)


def names_in(path):
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


class Wheel(unittest.TestCase):
    def test_content(self):
        with open(os.path.join(ROOT, "CMakeLists.txt")) as file:
            version = re.search(r"project\(moonlet VERSION (\S+)", file.read())[1]
        info = "moonlet-{}.dist-info/".format(version)
        extension = "_greenlet" + sysconfig.get_config_var("EXT_SUFFIX")
        package = ["__init__.py", "__init__.pyi", "_greenlet.pyi", "py.typed", "__init__.pxd",
                   "greenlet.h", extension]
        self.assertEqual(names_in(wheel), {
            *("moonlet/" + name for name in (
                "__init__.py", "__init__.pyi", "__main__.py", "lua.py", "py.typed")),
            *("moonlet/drop-in/greenlet/" + name for name in package),
            *(info + name for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")),
        })

    def test_record(self):
        with zipfile.ZipFile(wheel) as archive:
            record, = [n for n in archive.namelist() if n.endswith("/RECORD")]
            lines = [line.split(",") for line in archive.read(record).decode().splitlines()]
            self.assertEqual({name for name, _, _ in lines}, set(archive.namelist()))
            for name, digest, size in lines:
                if name != record:
                    data = archive.read(name)
                    actual = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
                    self.assertEqual(digest, "sha256=" + actual.decode().rstrip("="), name)
                    self.assertEqual(int(size), len(data), name)

    def test_metadata(self):
        with zipfile.ZipFile(wheel) as archive:
            name, = [n for n in archive.namelist() if n.endswith("/METADATA")]
            text = archive.read(name).decode().partition("\n\n")[0]
        self.assertRegex(text, "(?m)^License-Expression: MIT$")
        self.assertNotIn("Requires-Dist", text)
        version = re.search("(?m)^Version: (.*)$", text)[1]
        self.assertEqual(code("import moonlet; print(moonlet.__version__)").strip(), version)

    def test_source_distribution(self):
        name = execute(python, "-c", "import sys, scikit_build_core.build as b; "
                       "print(b.build_sdist(sys.argv[1]))", os.path.join(temporary, "sdist"),
                       cwd=ROOT).stdout.split()[-1]
        path = os.path.join(temporary, "sdist", name)
        with tarfile.open(path) as archive:
            packed = {name.partition("/")[2] for name in archive.getnames()}
        if os.path.exists(os.path.join(ROOT, ".git")):
            tracked = execute("git", "ls-files", cwd=ROOT).stdout.splitlines()
            present = {n for n in tracked if os.path.exists(os.path.join(ROOT, n))}
            self.assertEqual({n for n in present - packed if not n.startswith(".")}, set())
        pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "again", path)
        again, = os.listdir(os.path.join(temporary, "again"))
        self.assertEqual(again, os.path.basename(wheel))
        self.assertEqual(names_in(os.path.join(temporary, "again", again)), names_in(wheel))


class Install(unittest.TestCase):
    def test_greenlet_stays_what_it_was(self):
        file = code("import moonlet, greenlet; print(greenlet.__file__)").strip()
        self.assertEqual(os.path.dirname(file), os.path.join(site, "greenlet"))

    def test_install(self):
        file = code("""
            import moonlet
            moonlet.install()
            import greenlet, greenlet._greenlet
            from greenlet import greenlet as kind
            assert greenlet._greenlet.greenlet is kind
            assert kind(lambda: 7).switch() == 7
            print(greenlet.__file__)
        """).strip()
        self.assertEqual(file, os.path.join(dropin, "greenlet", "__init__.py"))

    def test_again(self):
        code("""
            import sys
            import moonlet
            moonlet.install()
            before = sys.meta_path[:], sys.path[:]
            moonlet.install()
            import greenlet
            moonlet.install()
            assert (sys.meta_path, sys.path) == before
        """)

    def test_too_late(self):
        printed = code("""
            import sys
            import greenlet
            import moonlet
            before = sys.meta_path[:], sys.path[:]
            try:
                moonlet.install()
            except ImportError as error:
                assert error.name == "greenlet" and error.path == greenlet.__file__
                print(error)
            assert (sys.meta_path, sys.path) == before
        """).strip()
        self.assertEqual(printed, "moonlet.install() must come before the first import of "
                         "greenlet, which has been imported from "
                         + os.path.join(site, "greenlet", "__init__.py"))

    def test_module_without_a_file(self):
        printed = code("""
            import sys, types
            import moonlet
            sys.modules["greenlet"] = types.ModuleType("greenlet")
            try:
                moonlet.install()
            except ImportError as error:
                print(error)
        """).strip()
        self.assertRegex(printed, "has been imported from an unknown place$")

    def test_comes_before_whatever_is_on_the_path(self):
        write("shadow/greenlet.py", "raise AssertionError('imported')")
        code("""
            import sys
            import moonlet
            moonlet.install()
            sys.path.insert(0, "shadow")
            import greenlet
        """)

    def test_source_tree_is_not_built(self):
        done = execute(python, "-c", "import moonlet; moonlet.install()", status=1,
                       env={"PYTHONPATH": os.path.join(ROOT, "python")})
        self.assertIn("ImportError: moonlet is not built: it has no greenlet in ['", done.stderr)

    def test_has_no_lua(self):
        for statement in "import moonlet.lua", "from moonlet import lua":
            done = execute(python, "-c", statement, status=1)
            self.assertEqual(done.stderr.splitlines()[-1], (
                "ImportError: moonlet.lua needs the program moonlet, or a program with Lua that "
                "has loaded moonlet; this is moonlet for Python alone"))

    def test_names(self):
        ours, stock = (set(execute(python, *how, "-c", """if True:
            import greenlet, greenlet._greenlet as extension
            for module in greenlet, extension, greenlet.greenlet:
                for name in dir(module):
                    print(module.__name__, name)
        """).stdout.splitlines()) for how in (["-m", "moonlet"], []))
        # Its headers and tests are no part of it, nor is a type that fails, for its tests.
        self.assertEqual({name for name in stock - ours if name.split()[1] not in (
            "platform", "tests", "UnswitchableGreenlet")}, set())

    def test_version(self):
        printed = run("-c", "import greenlet; print(greenlet.__version__)").strip()
        self.assertEqual(run("--version").strip(), "moonlet {} (greenlet {})".format(
            code("import moonlet; print(moonlet.__version__)").strip(), printed))
        self.assertRegex(printed, r"^3\.\d+\.\d+$")


class Processes(unittest.TestCase):
    PROGRAM = """
        import multiprocessing
        import sys

        def where():
            import greenlet
            return greenlet.__file__

        if __name__ == "__main__":
            for method in "spawn", "forkserver", "fork":
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(pool.apply(where))
    """

    def test_of_multiprocessing(self):
        path = write("processes.py", self.PROGRAM)
        expected = [os.path.join(dropin, "greenlet", "__init__.py")] * 3
        self.assertEqual(run(path).split(), expected)
        self.assertEqual(run("-m", "processes").split(), expected)

    def test_after_install(self):
        path = write("installs.py", "import moonlet\nmoonlet.install()\n"
                     + textwrap.dedent(self.PROGRAM))
        expected = [os.path.join(dropin, "greenlet", "__init__.py")] * 3
        self.assertEqual(execute(python, path).stdout.split(), expected)

    def test_others_are_as_ever(self):
        file = run("-c", "import subprocess, sys; print(subprocess.check_output("
                   "[sys.executable, '-c', 'import greenlet; print(greenlet.__file__)'], "
                   "text=True))").strip()
        self.assertEqual(os.path.dirname(file), os.path.join(site, "greenlet"))


class Program(unittest.TestCase):
    """`python -m moonlet` is python, but for greenlet."""

    SOURCE = """
        import sys

        def fail():
            raise LookupError("bottom")

        print(sys.argv, [path for path in sys.path if "drop-in" not in path])
        print(__name__, globals().get("__file__"), __package__, __doc__)
        print(__spec__ and __spec__.name, getattr(__loader__, "__name__", type(__loader__)))
        print(sys.modules["__main__"].__dict__ is globals(), type(__builtins__))
        print("moonlet" in globals(), sys.stdin.read())
        if sys.argv[1:]:
            try:
                fail()
            except LookupError:
                eval(sys.argv[1])
    """

    def same(self, *args, options=(), **keywords):
        """Compare with python itself what is printed and how it ends."""
        ends = []
        for how in [python], [python, "-m", "moonlet"]:
            how[1:1] = options
            done = execute(*how, *args, status=None, **keywords)
            ends.append((done.returncode, done.stdout, done.stderr))
        self.maxDiff = None
        self.assertEqual(*ends)
        return ends[0]

    @classmethod
    def setUpClass(cls):
        cls.script = write("program.py", cls.SOURCE)
        write("folder/__main__.py", cls.SOURCE)
        write("package/__init__.py", "")
        write("package/__main__.py", cls.SOURCE)
        write("package/module.py", cls.SOURCE)
        os.makedirs(os.path.join(temporary, "links"))
        os.symlink(cls.script, os.path.join(temporary, "links", "link"))
        zipapp.create_archive(os.path.join(temporary, "folder"),
                              os.path.join(temporary, "archive.pyz"))
        py_compile.compile(cls.script, os.path.join(temporary, "compiled.pyc"))
        cls.source = textwrap.dedent(cls.SOURCE)
        cls.ways = [("program.py",), ("./program.py",), (cls.script,), ("links/link",),
                    ("compiled.pyc",), ("--", "program.py"), ("folder",), ("./folder/",),
                    ("archive.pyz",), ("-m", "program"), ("-mprogram",), ("-m", "package"),
                    ("-m", "package.module"), ("-c", cls.source), ("-c" + cls.source,)]

    def test_every_way(self):
        for way in self.ways:
            with self.subTest(way=way):
                self.assertEqual(self.same(*way, input="read")[0], 0)
                status, _, printed = self.same(*way, "1 / 0", "-x", "--help", "-c")
                self.assertEqual(status, 1)
                self.assertNotIn("moonlet/__", printed)

    def test_standard_input(self):
        self.assertEqual(self.same("-", input=self.source)[0], 0)
        self.assertEqual(self.same("-", "1 / 0", input=self.source)[0], 1)
        self.same("-", "a", input="print('\xe9', input())\n")
        self.same("-", input="")

    def test_isolated(self):
        for way in self.ways[0], self.ways[6], self.ways[8], self.ways[13]:
            with self.subTest(way=way):
                self.assertEqual(self.same(*way, options=["-I"])[0], 0)

    def test_how_it_ends(self):
        for statement, status in {
            "sys.exit()": 0, "sys.exit(3)": 3, "sys.exit('message')": 1, "raise SystemExit(5)": 5,
            "raise KeyboardInterrupt": -2, "os._exit(4)": 4, "exec('x = ')": 1, "x = ": 1,
            "import atexit; atexit.register(print, 'bye'); 1 / 0": 1,
            "raise ValueError('first') from KeyError('cause')": 1,
            "sys.excepthook = lambda *a: print(a[0], a[1], a[2].tb_frame.f_code.co_name); x": 1,
            "threading.Timer(0.1, lambda: print(sys.modules['__main__'].sys)).start()": 0,
            "threading.Thread(target=lambda: 1 / 0, name='t').start()": 0,
            "warnings.warn('careful')": 0,
            "pickle.dumps(C()); print(C.__module__)": 0,
            "signal.raise_signal(signal.SIGTERM)": -15,
        }.items():
            with self.subTest(statement=statement):
                path = write("end.py", "import os, pickle, signal, sys, threading, warnings\n"
                             "class C: pass\n" + statement + "\n")
                self.assertEqual(self.same(path)[0], status)
                self.assertEqual(self.same("-m", "end", options=["-B"])[0], status)

    def test_interactive_afterwards(self):
        path = write("interactive.py", "x = 5\n1 / 0\n")
        printed = self.same(path, options=["-i"], input="import sys\nprint(x, __name__)\n"
                            "print(sys.last_traceback.tb_lineno)\n")[1]
        self.assertEqual(printed, "5 __main__\n2\n")

    def test_what_cannot_be_run(self):
        write("empty/other.py", "")
        for way, status in {("nowhere.py",): 2, ("-m", "nowhere"): 1, ("empty",): 1,
                            ("-m", "empty"): 1, ("/dev/null/x",): 2}.items():
            with self.subTest(way=way):
                self.assertEqual(self.same(*way)[0], status)

    def test_wrong_arguments(self):
        for args, message in {
            (): "what to run is missing",
            ("--",): "what to run is missing",
            ("-c",): "argument expected for the -c option",
            ("-m",): "argument expected for the -m option",
            ("-u", "program.py"): "unknown option -u; python's own go before -m moonlet",
            ("--nonsense",): "unknown option --nonsense; python's own go before -m moonlet",
        }.items():
            with self.subTest(args=args):
                done = execute(python, "-m", "moonlet", *args, status=2)
                first, second, *more = done.stderr.splitlines()
                self.assertEqual(first, "python -m moonlet: " + message)
                self.assertRegex(second, "^usage: python -m moonlet ")
                self.assertEqual((more, done.stdout), ([], ""))

    def test_help(self):
        self.assertEqual(run("--help"), run("-h"))
        self.assertRegex(run("--help"), "^usage: python -m moonlet ")

    def test_greenlet_is_there_already(self):
        path = write("early/sitecustomize.py", "import greenlet")
        done = execute(python, "-m", "moonlet", "-c", "", status=1,
                       env={"PYTHONPATH": os.path.dirname(path)})
        self.assertIn(os.path.join(site, "greenlet", "__init__.py"), done.stderr)
        self.assertNotIn("Traceback", done.stderr)


class Documents(unittest.TestCase):
    """The snippets that are marked `venv`, by the rules of spec/readme.lua."""

    def check(self, name):
        with open(os.path.join(ROOT, name)) as file:
            snippets = re.findall(r"(?ms)^```(\w+) venv\n(.*?)^```$", file.read())
        self.assertTrue(snippets)
        environment = {"PATH": os.path.dirname(python) + ":" + os.environ["PATH"]}
        place = tempfile.mkdtemp(dir=temporary)
        for language, text in snippets:
            wanted = " ".join(re.findall(r"(?m)(?<=\s)#> (.*)$", text)).split()
            with self.subTest(snippet=text):
                if language == "python":
                    printed = execute(python, "-c", text, cwd=place).stdout
                else:
                    text = text.replace("pip install .", "pip install -q --no-deps " + wheel)
                    printed = execute("sh", "-e", "-c", text, env=environment, cwd=place).stdout
                pattern = re.escape(" ".join(wanted)).replace(r"\.\.\.", ".*")
                self.assertRegex(" ".join(printed.split()), "^" + pattern + "$")

    def test_readme(self):
        self.check("README.md")

    def test_python(self):
        self.check("docs/python.md")


class Clients(unittest.TestCase):
    """Extensions compiled with our header run on our greenlet, and on the other."""

    @classmethod
    def setUpClass(cls):
        include = ["-I" + code("import moonlet; print(moonlet.get_include())").strip(),
                   "-I" + sysconfig.get_path("include")]
        cls.directory = os.path.join(temporary, "clients")
        os.makedirs(cls.directory)
        cls.names = []
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        source = os.path.join(HERE, "client.c")
        for name, compiler in {
            "c_client": ["gcc", "-std=c11", *strict],
            "clang_client": ["clang", "-std=c11", *strict],
            "cxx_client": ["g++", "-std=c++11", *strict, "-x", "c++"],
            "cython_client": ["gcc"],
            "cython_cxx_client": ["g++"],
        }.items():
            if name.startswith("cython"):
                pyx = os.path.join(cls.directory, name + ".pyx")
                shutil.copy(os.path.join(HERE, "cython_client.pyx"), pyx)
                cplus = ["--cplus"] if "cxx" in name else []
                source = os.path.join(cls.directory, name + (".cpp" if cplus else ".c"))
                execute(python, "-m", "cython", *include[:1], *cplus, pyx, "-o", source)
            execute(*compiler, "-O1", "-DCLIENT=" + name, *include, "-shared", "-fPIC", source,
                    "-o", os.path.join(cls.directory, name + ".so"))
            cls.names.append(name)

    def use(self, *how):
        done = execute(python, *how, os.path.join(HERE, "use_clients.py"), *self.names,
                       env={"PYTHONPATH": self.directory})
        self.assertRegex(done.stderr, r"Ran \d\d tests")
        return os.path.dirname(done.stdout.strip())

    def test_on_ours(self):
        self.assertEqual(self.use("-m", "moonlet"), os.path.join(dropin, "greenlet"))

    def test_on_the_other(self):
        self.assertEqual(self.use(), os.path.join(site, "greenlet"))


class Types(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # mypy takes no path within site-packages.
        cls.stubs = os.path.join(temporary, "typings")
        os.symlink(dropin, cls.stubs)

    def mypy(self, *args, status=0):
        return execute(python, "-m", "mypy", "--strict", *args, status=status,
                       env={"MYPYPATH": self.stubs}).stdout

    def test_program(self):
        path = os.path.join(HERE, "typed_program.py")
        self.mypy(path)
        self.assertEqual(execute(python, path).stdout.splitlines()[0],
                         "(False, False) GreenletExit fine 1")

    def test_mistakes(self):
        path = write("mistakes.py", """
            import moonlet
            from greenlet import getcurrent, greenlet, settrace
            moonlet.install(1)
            greenlet(5)
            greenlet(print, None).parent.switch()
            getcurrent().dead = True
            settrace(len)
        """)
        printed = self.mypy(path, status=1)
        lines = {int(n) for n in re.findall(r"mistakes.py:(\d+): error", printed)}
        self.assertEqual(lines, {4, 5, 6, 7, 8})

    def test_stubs(self):
        self.mypy(os.path.join(self.stubs, "greenlet", "__init__.pyi"),
                  os.path.join(self.stubs, "greenlet", "_greenlet.pyi"))

    def test_stubs_say_what_is_there(self):
        # The directory is no package, though stubtest takes it for one; lua cannot be imported.
        allow = write("allow.txt", "moonlet\\.drop-in.*\nmoonlet\\.lua\n")
        run("-m", "mypy.stubtest", "greenlet", "moonlet", "--allowlist", allow,
            env={"MYPYPATH": self.stubs})

    def test_stubs_hold_for_the_other(self):
        allow = write("allow.txt", "greenlet\\.(tests|platform|.*Unswitchable).*\n")
        execute(python, "-m", "mypy.stubtest", "greenlet", "--allowlist", allow,
                env={"MYPYPATH": self.stubs})


class ProgramTypes(unittest.TestCase):
    """The stubs of the program's module moonlet, which has Lua."""

    stubs = os.path.join(ROOT, "python", "program")
    path = stubs + ":" + os.path.join(ROOT, "python")  # for greenlet

    def mypy(self, *args, status=0):
        return execute(python, "-m", "mypy", "--strict", *args, status=status,
                       env={"MYPYPATH": self.path}).stdout

    def test_program(self):
        path = write("typed_lua.py", """
            import moonlet.lua.string
            from collections.abc import Generator, Mapping
            from greenlet import greenlet
            from moonlet import LuaError, LuaFunction, LuaSequence, LuaTable, lua
            from moonlet.lua import socket

            def count(fields: Mapping[object, object]) -> int:
                return len(fields)

            def first(values: Generator[int, int, str]) -> int:
                return next(values)

            table: LuaTable = lua.table({1: "one"}, two=2)
            table.name = table["x"] = table.pop("two") + 1
            count(table)
            function: LuaFunction = lua.load("return ...")
            first(lua.coroutine(function, 1))
            with lua.eval("io.tmpfile()") as file:
                file.write(moonlet.lua.string.rep("ab", 2), socket.bind("*", 0))
            items: list[int] = LuaSequence(table)[1:]
            try:
                greenlet(lua.execute).switch("error{}")
            except LuaError as error:
                print(error.value, items, moonlet.collect() + 1)
        """)
        self.mypy(path)

    def test_scheduler(self):
        path = write("typed_tasks.py", """
            import moonlet
            from collections.abc import Callable
            from concurrent.futures import Executor, Future
            from moonlet import Nursery, Task

            def double(n: int, *, plus: float = 0) -> float:
                return 2 * n + plus

            def serve(started: Callable[..., None], port: int) -> None:
                started(port)

            def told(text: str, error: BaseException, task: Task[object] | None) -> None: ...

            def work(executor: Executor, tasks: list[Task[str]]) -> bytes:
                task: Task[float] = moonlet.spawn(double, 2, plus=0.5)
                number: float = task.join(timeout=1) + moonlet.spawn_later(1, double, 2).join()
                task.link(lambda t: print(t.name)).priority = 2
                error: BaseException | None = task.error
                first: Task[str] | None = moonlet.wait_any(tasks, 1)
                with moonlet.move_on_after(1) as scope:
                    moonlet.sleep(number)
                if scope.caught and scope.deadline < moonlet.now() and error and first:
                    return first.join().encode()
                with moonlet.nursery() as n:
                    child(n)
                future: Future[int] = executor.submit(len, "x")
                with moonlet.virtual_clock() as clock, moonlet.fail_after(2), moonlet.shield():
                    clock.advance(moonlet.wait(future) + moonlet.wait(task))
                outside: Future[float] = moonlet.spawn_threadsafe(double, 1)
                moonlet.on_error(told)
                return moonlet.in_thread(bytes, [int(outside.result())])

            def child(n: Nursery) -> None:
                n.spawn(double, 1).daemon = True
                n.start(serve, 80)
                n.cancel("reason")
        """)
        self.mypy(path)

    def test_mistakes_with_tasks(self):
        path = write("task_mistakes.py", """
            import moonlet
            moonlet.spawn(len)
            moonlet.spawn(len, [], key=1)
            moonlet.current_task().status = "done"
            moonlet.move_on_after("1")
            moonlet.wait(3)
            moonlet.current_task().link(print, on="always")
            moonlet.in_thread(5)
            moonlet.every(1, len, 5)
        """)
        printed = self.mypy(path, status=1)
        lines = {int(n) for n in re.findall(r"task_mistakes.py:(\d+): error", printed)}
        self.assertEqual(lines, {3, 4, 5, 6, 7, 8, 9, 10})

    def test_mistakes(self):
        path = write("lua_mistakes.py", """
            from moonlet import LuaTable, collect, get_include, lua
            LuaTable(1)
            collect(1)
            lua.eval(1)
            lua.coroutine(print)
            lua.table(1, 2)
        """)
        printed = self.mypy(path, status=1)
        lines = {int(n) for n in re.findall(r"lua_mistakes.py:(\d+): error", printed)}
        self.assertEqual(lines, {2, 3, 4, 5, 6, 7})

    def test_stubs(self):
        self.mypy(os.path.join(self.stubs, "moonlet", "__init__.pyi"),
                  os.path.join(self.stubs, "moonlet", "lua", "__init__.pyi"))

    def test_stubs_say_what_is_there(self):
        program = os.path.join(ROOT, "build", "moonlet")
        if not os.path.exists(program):
            raise unittest.SkipTest("there is no " + program)
        # It is __getattribute__ that finds attributes.
        allow = write("allow_program.txt",
                      "moonlet\\.LuaObject\\.__getattr__\nmoonlet\\.__dir__\n")
        path = write("stubtest.lua", """
            local py = require "moonlet".python
            py.exec [[
            import sys
            from mypy import stubtest
            import moonlet.lua
            sys.exit(stubtest.main())
            ]]
        """)
        execute(program, "--python=" + python, path, "moonlet", "--allowlist", allow,
                env={"MYPYPATH": self.stubs})


class Gevent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if pip("install", "-q", "gevent", status=None).returncode != 0:
            raise unittest.SkipTest("pip cannot install gevent")

    def test_runs(self):
        path = write("with_gevent.py", """
            from gevent import monkey
            monkey.patch_all()
            import socket, threading, time
            import gevent, gevent.event, gevent.pool, gevent.queue, gevent.server
            import greenlet

            assert issubclass(gevent.Greenlet, greenlet.greenlet)
            assert gevent.Greenlet.__module__ == "gevent._gevent_cgreenlet"
            print(greenlet.__file__)

            def echo(client, address):
                while data := client.recv(100):
                    client.sendall(data.upper())

            server = gevent.server.StreamServer(("127.0.0.1", 0), echo)
            server.start()

            def ask(i):
                with socket.create_connection(server.address) as connection:
                    connection.sendall(b"word %d" % i)
                    return connection.recv(100)

            assert gevent.pool.Pool(10).map(ask, range(50)) == [b"WORD %d" % i for i in range(50)]
            server.stop()

            queue, event = gevent.queue.Queue(2), gevent.event.Event()
            threads = [threading.Thread(target=queue.put, args=(i,)) for i in range(10)]
            [t.start() for t in threads]
            assert sorted(queue.get() for _ in range(10)) == list(range(10))
            waiting = gevent.spawn(event.wait)
            time.sleep(0.01)
            waiting.kill()
            assert waiting.dead
            failing = gevent.spawn(lambda: {}["missing"])
            try:
                failing.get()
            except KeyError:
                pass
            with gevent.Timeout(0.01, False):
                gevent.sleep(10)
            assert gevent.get_hub().threadpool.apply(sum, ([1, 2],)) == 3
        """)
        file = run(path).strip()
        self.assertEqual(file, os.path.join(dropin, "greenlet", "__init__.py"))


if __name__ == "__main__":
    unittest.main()
