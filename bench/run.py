"""Measures moonlet beside its peers: stock greenlet, coroutines, python3.

Every row alternates ours and the peer's, pair by pair, so that a machine that becomes slower does
so for both. The ratio is the median of the pairs' ratios; spreads are interquartile ranges.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).resolve().parent
STOCK = "/usr/bin/python3"
RUN_PYTHON = 'require"moonlet".python.import("runpy").run_path("%s")' % (BENCH / "workload.py")


@dataclass
class Row:
    name: str
    what: str
    ours: tuple  # (program, operation) of `programs`; for start-up a command alone
    peer: tuple
    n: int = 0
    bar: float = 0
    unit: str = "ns"
    processes: int = 3
    rounds: int = 5
    environment: dict = field(default_factory=dict)


def python(name, what, n, operation=None, **more):
    operation = operation or name
    return Row(name, what, ("python", operation), ("greenlet", operation), n, **more)


def lua(name, what, n, peer, operation=None, **more):
    return Row(name, what, ("lua", operation or name), ("lua", peer), n, **more)


EACH = {"unit": "B", "rounds": 1}
COMMAND = {"unit": "ms", "processes": 1, "rounds": 25}
ROWS = [
    lua("lua_lua", "round trip, beside coroutine.resume", 200_000, "coroutine_resume", bar=1.3),
    lua("lua_lua_wrap", "the same beside coroutine.wrap", 200_000, "coroutine_wrap", "lua_lua"),
    lua("lua_lua_hoisted", "with the method in a local, beside coroutine.resume", 200_000,
        "coroutine_resume"),
    lua("lua_python", "round trip Lua to Python, beside coroutine.resume", 200_000,
        "coroutine_resume"),
    lua("create_lua", "create, run, finish, beside a coroutine", 20_000, "create_coroutine"),
    python("python_python", "round trip, beside stock greenlet", 200_000, bar=0.35),
    python("python_python_arg", "with an argument", 200_000),
    python("python_deep_c", "50 calls from C deep", 10_000),
    python("python_deep_py", "200 Python frames deep", 200_000),
    python("create", "create, run, finish", 20_000, bar=0.1),
    python("ring", "one hop in a ring of 10,000", 200_000, "ring_10000"),
    python("collision", "one hop in a ring of 100 on one lane", 100_000, "ring_100",
           environment={"MOONLET_LANES": "1"}),
    python("memory_python", "suspended greenlet, of 100,000", 100_000, **EACH),
    lua("memory_lua", "suspended greenlet, beside a coroutine", 100_000, "memory_coroutine",
        **EACH),
    Row("startup", "moonlet -e '', beside python3 -I -c ''", ("empty",), ("python3",), **COMMAND),
    Row("startup_require", "with require 'moonlet'", ("require",), ("python3",), **COMMAND),
]
# What is counted: a name, a program and its operation, how often, the environment.
COUNTED = [
    ("python_python", "python", "python_python", 20_000, {}),
    ("  greenlet", "greenlet", "python_python", 20_000, {}),
    ("python_python_arg", "python", "python_python_arg", 20_000, {}),
    ("create", "python", "create", 20_000, {}),
    ("  greenlet", "greenlet", "create", 20_000, {}),
    ("collision", "python", "ring_100", 20_000, {"MOONLET_LANES": "1"}),
    ("  greenlet", "greenlet", "ring_100", 20_000, {}),
    ("lua_lua", "lua", "lua_lua", 20_000, {}),
    ("lua_lua_hoisted", "lua", "lua_lua_hoisted", 20_000, {}),
    ("  coroutine.resume", "lua", "coroutine_resume", 20_000, {}),
    ("  coroutine.wrap", "lua", "coroutine_wrap", 20_000, {}),
    ("lua_python", "lua", "lua_python", 20_000, {}),
    ("create_lua", "lua", "create_lua", 20_000, {}),
]


def programs(build):
    moonlet = str(build / "moonlet")
    return {
        "python": [moonlet, "-e", RUN_PYTHON],
        "lua": [moonlet, str(BENCH / "workload.lua")],
        "greenlet": [STOCK, str(BENCH / "workload.py")],
        "empty": [moonlet, "-e", ""],
        "require": [moonlet, "-e", 'require "moonlet"'],
        "python3": [STOCK, "-I", "-c", ""],
    }


class Worker:
    """A process that measures what it is asked."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, **environment})

    def measure(self, operation, n):
        self.process.stdin.write(f"{operation} {n}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {' '.join(self.process.args)}: failed at {operation}")
        return float(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def milliseconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


def samples(row, commands, quick):
    """Pairs of ours and the peer's."""
    pairs = []
    if row.unit == "ms":
        milliseconds(commands[row.ours[0]])
        for _ in range(5 if quick else row.rounds):
            pairs.append(tuple(milliseconds(commands[c[0]]) for c in (row.ours, row.peer)))
        return pairs
    for _ in range(1 if quick else row.processes):
        workers = {}
        for program, operation in (row.ours, row.peer):
            # Memory that one has freed, the next would use again: no process is shared then.
            key = operation if row.unit == "B" else program
            if key not in workers:
                workers[key] = Worker(commands[program], row.environment)
            if row.unit != "B":
                workers[key].measure(operation, row.n // 10)
        for _ in range(3 if quick and row.rounds > 3 else row.rounds):
            pairs.append(tuple(
                workers[operation if row.unit == "B" else program].measure(operation, row.n)
                for program, operation in (row.ours, row.peer)))
        for worker in workers.values():
            worker.close()
    return pairs


def summary(values):
    """Median and the quartiles around it."""
    if len(values) == 1:
        return values * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def text(values, digits=None):
    middle = values[0]
    if digits is None:
        digits = 0 if middle >= 100 else 1
    number = f"{middle:,.{digits}f}"
    return f"{number:>8} {values[1]:,.{digits}f}–{values[2]:,.{digits}f}"


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL).stdout.strip()


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {"system": platform.platform(), "processor": cpu[1] if cpu else platform.machine(),
            "cores": os.cpu_count(), "load": os.getloadavg()}


def versions(build):
    ours = 'local m = require"moonlet" print(m._VERSION .. ", " .. _VERSION .. ", Python " .. ' \
        'm.python.import("platform").python_version())'
    stock = "import greenlet, platform as p;" \
        "print('greenlet', greenlet.__version__ + ', Python', p.python_version())"
    return {"ours": output_of(str(build / "moonlet"), "-e", ours),
            "stock": output_of(STOCK, "-c", stock)}


def measure(rows, commands, quick):
    print(f"{'':19}{'ours':>8} {'quartiles':16}{'peer':>8} {'quartiles':18}"
          f"{'ratio':>8} {'quartiles':13}bar")
    results = []
    for row in rows:
        pairs = samples(row, commands, quick)
        ours, peer, ratio = (summary(v) for v in
                             ([a for a, _ in pairs], [b for _, b in pairs],
                              [a / b for a, b in pairs]))
        verdict = "ok" if ratio[0] <= row.bar else "over"
        bar = f"{row.bar} {verdict}" if row.bar else ""
        print(f"{row.name:19}{text(ours):25}{text(peer):27}{text(ratio, 3):22}"
              f"{bar:9} {row.unit:2} {row.what}", flush=True)
        results.append({"name": row.name, "what": row.what, "unit": row.unit,
                        "ours": ours[0], "peer": peer[0], "ratio": ratio[0],
                        "bar": row.bar or None, "samples": pairs})
    return results


def instructions(command, environment, operation, n):
    """Instructions per operation: the difference of two counts, so start-up drops out."""
    totals = []
    for count in (n, 2 * n):
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
            input=f"{operation} {count}\n", capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": "0", **environment})
        found = re.search(r"Collected : (\d+)", run.stderr)
        if run.returncode != 0 or not found:
            raise SystemExit(f"bench: valgrind failed at {operation}:\n{run.stderr}")
        totals.append(int(found[1]))
    return (totals[1] - totals[0]) / n


def count(commands, what):
    results = []
    chosen = False
    for name, program, operation, n, environment in COUNTED:
        if not name.startswith(" "):
            chosen = not what or name.startswith(tuple(what))
        if chosen:
            value = instructions(commands[program], environment, operation, n)
            print(f"{name:22}{value:10,.1f} instructions", flush=True)
            results.append({"name": name.strip(), "operation": operation, "program": program,
                            "instructions": value})
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help="rows, or how their names begin")
    parser.add_argument("--build", type=Path, default=BENCH.parent / "build", metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--check", action="store_true", help="fail when a bar is missed")
    parser.add_argument("--instructions", action="store_true",
                        help="count instructions with valgrind instead")
    parser.add_argument("--list", action="store_true", help="list the rows")
    options = parser.parse_args()
    rows = [r for r in ROWS if not options.what or r.name.startswith(tuple(options.what))]
    if options.list:
        for row in rows:
            print(f"{row.name:19}{row.what}")
        return 0
    if not rows:
        parser.error(f"no row begins with {' or '.join(options.what)}; see --list")
    build = options.build.resolve()
    report = {"machine": machine(), "versions": versions(build)}
    print(*report["versions"].values(), report["machine"]["processor"], "", sep="\n")
    if options.instructions:
        report["instructions"] = count(programs(build), options.what)
    else:
        report["rows"] = measure(rows, programs(build), options.quick)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    over = [r for r in report.get("rows", []) if r["bar"] and r["ratio"] > r["bar"]]
    return 1 if options.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
