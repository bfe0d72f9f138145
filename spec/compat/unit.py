"""One test process: what it is, how it is run, what came of it."""

import json
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

HOOKS = Path(__file__).resolve().parent / "hooks"
EXIT = "(exit)"  # the name of the test that a process ends well
WORST = {"pass": 0, "clean": 1, "skip": 2, "fail": 3}


@dataclass
class Unit:
    """A command of one suite. `name` is unique in its suite; `paths` follow greenlet's directory
    on PYTHONPATH; the environment gets `env` and, for each run, what `prepare` returns. Without
    `cwd` every run has an empty directory of its own."""

    name: str
    args: list
    paths: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    cwd: Path = None
    timeout: int = 120
    ci: bool = True
    prepare: callable = dict


@dataclass
class Side:
    """One greenlet: the directory that holds the package, and what its processes need."""

    name: str
    directory: Path
    env: dict = field(default_factory=dict)
    patience: int = 1


@dataclass
class Result:
    """Outcomes by test: `pass`, `skip`, `fail`, or `clean` if all that is wrong is that nothing
    leaked where stock greenlet does; the exit status, negative for a signal."""

    tests: dict
    status: int
    seconds: float = 0.0
    log: str = ""

    @property
    def crashed(self):
        """Whether it was ended by a signal that is a bug, not a timeout."""
        return -self.status in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE,
                                signal.SIGILL, signal.SIGTRAP)


running = set()  # the processes that have not been waited for
stopping = threading.Event()


class WrongGreenlet(Exception):
    """A test process imported a greenlet that is not its side's."""


FOREIGN = ("PYTHON", "GEVENT", "EVENTLET", "LD_", "PG", "COMPAT_", "MOONLET_", "VIRTUAL_ENV")


def environment(unit, side, results):
    """The whole environment of a test process."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(FOREIGN)}
    paths = [HOOKS, side.directory, *unit.paths]
    env.update(COMPAT_RESULTS=str(results), PYTHONFAULTHANDLER="1", PYTHONNOUSERSITE="1",
               PYTHONPATH=os.pathsep.join(map(str, paths)))
    env.update(unit.env)
    env.update(unit.prepare())
    env.update(side.env)
    return env


class Stopped(Exception):
    """No more is run."""


def stop():
    """Ends all that runs, and lets nothing more begin: `run` raises Stopped."""
    stopping.set()
    for process in list(running):
        kill(process)


def kill(process):
    """Ends a process that leads a session, and all that it left in it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return process.wait()


def run(python, unit, side, log):
    """Runs the unit on that side and returns its Result; the output goes to the file `log`."""
    if stopping.is_set():
        raise Stopped
    with tempfile.TemporaryDirectory(prefix="compat-") as scratch:
        results = Path(scratch) / "results"
        work = Path(scratch) / "work"
        work.mkdir()
        log.parent.mkdir(parents=True, exist_ok=True)
        start = os.times().elapsed
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [python, *unit.args], cwd=unit.cwd or work, stdin=subprocess.DEVNULL,
                env=environment(unit, side, results), stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True)
            running.add(process)
            try:
                process.wait(unit.timeout * side.patience)
            except subprocess.TimeoutExpired:
                output.write(b"\ncompat: timed out\n")
            finally:
                status = process.poll()
                kill(process)
                running.discard(process)
            if status is None:
                status = -signal.SIGKILL
        seconds = os.times().elapsed - start
        lines = results.read_text().splitlines() if results.exists() else []
    if stopping.is_set():
        raise Stopped
    check(lines, unit, side)
    return Result(outcomes(lines, status), status, round(seconds, 1), str(log))


def check(lines, unit, side):
    """Raises WrongGreenlet if the process imported another greenlet than its side's."""
    for line in lines:
        path = json.loads(line).get("greenlet", "")
        if path != "" and (path is None or Path(path).parent.parent != side.directory):
            raise WrongGreenlet(f"{unit.name} on {side.name}: imported {path}, not from "
                                f"{side.directory}")


def outcomes(lines, status):
    """The worst outcome of each test; one that began and did not end failed."""
    tests, started = {}, {}
    imported = False
    for line in map(json.loads, lines):
        imported = imported or "greenlet" in line
        if "start" in line:
            started[line["start"]] = True
        elif "test" in line:
            started.pop(line["test"], None)
            old = tests.get(line["test"], "pass")
            tests[line["test"]] = max(old, line["outcome"], key=WORST.get)
    for test in started:
        tests[test] = "fail"
    failed = not {"fail", "clean"}.isdisjoint(tests.values())
    good = status == 0 or (status == 1 and failed) or (status == 5 and tests)
    tests[EXIT] = "pass" if good and imported else "fail"
    return tests
