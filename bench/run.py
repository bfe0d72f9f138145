"""Measures moonlet beside its peers: stock greenlet, coroutines, python3, lupa, gevent, asyncio.

Every row alternates ours and the peer's, pair by pair, so that a machine that becomes slower does
so for both. The ratio is the median of the pairs' ratios; what stands beside it are quartiles.
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


@dataclass
class Row:
    name: str
    what: str
    ours: tuple  # a key of `programs` and the operation it is asked for
    peer: tuple
    n: int = 0
    bar: float = None
    unit: str = "ns"
    processes: int = 3
    rounds: int = 5
    environment: dict = field(default_factory=dict)


def python(name, what, n, **more):
    return Row(name, what, ("python", name), ("greenlet", name), n, **more)


def lua(name, what, n, peer, operation=None, **more):
    return Row(name, what, ("lua", operation or name), ("lua", peer), n, **more)


def bridge(name, what, bar=None, n=100_000):
    return Row(f"bridge_{name}", what, ("bridge", name), ("lupa", name), n, bar=bar)


MEMORY = {"unit": "B", "rounds": 1}
STARTUP = {"unit": "ms", "processes": 1, "rounds": 25}
ROWS = [
    lua("lua_lua", "round trip; coroutine.resume", 200_000, "coroutine_resume", bar=1.3),
    lua("lua_lua_hoisted", "with the method in a local", 200_000, "coroutine_resume"),
    lua("lua_lua_wrap", "as lua_lua; coroutine.wrap", 200_000, "coroutine_wrap", "lua_lua"),
    lua("lua_python", "round trip; coroutine.resume", 200_000, "coroutine_resume"),
    lua("create_lua", "create, run, finish; coroutine", 20_000, "create_coroutine"),
    python("python_python", "round trip; greenlet", 200_000, bar=0.35),
    python("python_python_arg", "with an argument", 200_000),
    python("python_deep_c", "50 calls from C deep", 10_000),
    python("python_deep_py", "200 Python frames deep", 200_000),
    python("create", "create, run, finish; greenlet", 20_000, bar=0.1),
    python("ring", "hop in a ring of 10,000; greenlet", 200_000),
    python("collision", "hop in a ring of 100, one lane; greenlet", 100_000,
           environment={"MOONLET_LANES": "1"}),
    python("memory_python", "each of 100,000 suspended; greenlet", 100_000, **MEMORY),
    lua("memory_lua", "each of 100,000 suspended; coroutine", 100_000, "memory_coroutine",
        **MEMORY),
    Row("startup", "moonlet -e ''; python3 -I -c ''", ("empty", ""), ("python3", ""), **STARTUP),
    Row("startup_require", "with require 'moonlet'", ("require", ""), ("python3", ""), **STARTUP),
]
# Beside lupa. In the first ones Lua uses Python, in the last ones Python uses Lua.
BRIDGE_ROWS = [
    bridge("call", "f()", 0.6),
    bridge("call_int", "f(i, i)", 0.6),
    bridge("call_str", 'f("abc", "def")'),
    bridge("call_kw", "f(py.kw { a = i }); python.args", 0.3),
    bridge("get", "o.x", 0.6),
    bridge("set", "o.x = i", 0.6),
    bridge("method", "o:m()", 0.12),
    bridge("method_int", "o:m(i, i)", 0.12),
    bridge("list", "list[i]", 0.6),
    bridge("dict", "dict[key]"),
    bridge("iter", "item of py.iter(list)", 0.5),
    bridge("object", "py.builtins.object(), and drop it"),
    bridge("raise", "pcall(f), which raises", n=20_000),
    bridge("py_call", "from Python: h(i, i)", 0.6),
    bridge("py_getitem", 'from Python: t["x"]', 0.5),
    bridge("py_getattr", "from Python: t.x", 0.3),
    bridge("py_setitem", 'from Python: t["x"] = i'),
    bridge("py_setattr", "from Python: t.x = i"),
]


def sched(name, what, bar=None, n=100_000, operation=None, ours="sched", peer="gevent", **more):
    operation = operation or name
    return Row(f"sched_{name}", what, (ours, operation), (peer, operation), n, bar=bar, **more)


# Of the scheduler, beside gevent on stock greenlet and asyncio: tasks in Python, and in Lua.
SCHED_MEMORY = {**MEMORY, "processes": 2}
SCHED_ROWS = [
    sched("spawn", "spawn and join of 100,000 tasks; gevent", 0.5, operation="spawn_join"),
    sched("spawn_lua", "of Lua tasks", 0.5, operation="spawn_join", ours="sched_lua"),
    sched("spawn_asyncio", "beside asyncio", operation="spawn_join", peer="asyncio"),
    sched("pingpong", "there and back on channels; gevent", 0.5),
    sched("pingpong_lua", "of Lua tasks", 0.5, operation="pingpong", ours="sched_lua"),
    sched("pingpong_asyncio", "beside asyncio", operation="pingpong", peer="asyncio"),
    sched("timers", "100,000 tasks that sleep; gevent", 0.5),
    sched("timers_lua", "of Lua tasks", 0.5, operation="timers", ours="sched_lua"),
    sched("timers_asyncio", "beside asyncio", operation="timers", peer="asyncio"),
    sched("echo", "10 echoes on each of 1,000 connections", 1.0, 1000),
    sched("echo_lua", "of Lua tasks", 1.0, 1000, "echo", "sched_lua"),
    sched("echo_asyncio", "beside asyncio", None, 1000, "echo", peer="asyncio"),
    sched("memory", "each of 100,000 sleeping tasks", **SCHED_MEMORY),
    Row("sched_memory_bar", "the same; 4,000 bytes", ("sched", "memory"), ("sched", "limit"),
        100_000, bar=1.0, **SCHED_MEMORY),
    Row("sched_step", "p99 of step(4), 1,000 tasks; its budget", ("sched", "step"),
        ("sched", "budget"), 500, bar=1.125, unit="us"),
]
# Of the extension, in any interpreter, beside the newest greenlet.
EXTENSION_ROWS = [
    python("python_python", "round trip", 200_000, bar=0.25),
    python("python_python_arg", "with an argument", 200_000, bar=0.25),
    python("python_deep_c", "50 calls from C deep", 10_000, bar=0.05),
    python("python_deep_py", "200 Python frames deep", 200_000, bar=0.15),
    python("create", "create, run, finish", 20_000, bar=0.08),
    python("ring", "hop in a ring of 10,000", 200_000, bar=0.8),
    python("memory_python", "each of 100,000 suspended", 100_000, bar=0.5, **MEMORY),
    python("gevent_spawn", "spawn and join of a gevent.Greenlet", 20_000),
    python("gevent_pywsgi", "request to gevent's WSGI server", 5_000),
]
COUNTED = "python_python", "create", "collision", "lua_lua", "lua_lua_hoisted", "lua_python", \
    "create_lua", *(row.name for row in BRIDGE_ROWS)


def programs(build, lupa, gevent):
    moonlet = str(build / "moonlet")
    script = f'require"moonlet".python.import"runpy".run_path("{BENCH}/workload.py")'
    return {
        "python": [moonlet, "-e", script],
        "lua": [moonlet, f"{BENCH}/workload.lua"],
        "greenlet": [STOCK, f"{BENCH}/workload.py"],
        "empty": [moonlet, "-e", ""],
        "require": [moonlet, "-e", 'require "moonlet"'],
        "python3": [STOCK, "-I", "-c", ""],
        "bridge": [moonlet, f"{BENCH}/bridge.lua"],
        "lupa": [lupa, f"{BENCH}/bridge.py"],
        "sched": [moonlet, "-e", script.replace("workload", "sched"), "-", "moonlet"],
        "sched_lua": [moonlet, f"{BENCH}/sched.lua"],
        "gevent": [gevent, f"{BENCH}/sched.py", "gevent"],
        "asyncio": [STOCK, f"{BENCH}/sched.py", "asyncio"],
    }


def extension_programs(interpreter, ours, peer):
    """Both have the packages in `peer`, for gevent; ours has the extension before them."""
    script = [interpreter, f"{BENCH}/workload.py"]
    return {"python": ["env", f"PYTHONPATH={ours}:{peer}", *script],
            "greenlet": ["env", f"PYTHONPATH={peer}", *script]}


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
    rounds = min(row.rounds, 3) if quick else row.rounds
    sides = row.ours, row.peer
    if row.unit == "ms":
        milliseconds(commands[row.ours[0]])
        return [[milliseconds(commands[program]) for program, _ in sides] for _ in range(rounds)]
    pairs = []
    for _ in range(1 if quick else row.processes):
        # One process for both where that is the same program; but what it frees in the first
        # measurement of memory it would use again in the second.
        keys = sides if row.unit == "B" else [program for program, _ in sides]
        workers = {key: Worker(commands[program], row.environment)
                   for key, (program, _) in zip(keys, sides)}
        asked = [(workers[key], operation) for key, (_, operation) in zip(keys, sides)]
        if row.unit == "ns":
            for worker, operation in asked:
                worker.measure(operation, row.n // 10)
        for _ in range(rounds):
            pairs.append([worker.measure(operation, row.n) for worker, operation in asked])
        for worker in workers.values():
            worker.close()
    return pairs


def spread(values):
    """The median and the quartiles around it."""
    if len(values) == 1:
        return values * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def text(values, digits):
    middle, low, high = (f"{v:,.{digits}f}" for v in values)
    return f"{middle:>8} {low + '–' + high:14}"


def measure(rows, commands, quick):
    print(f"{'':23}{'ours':>8}{'':15}{'peer':>8}{'':15}{'ratio':>8}{'':15}bar")
    results = []
    for row in rows:
        pairs = samples(row, commands, quick)
        ours, peer = (spread(side) for side in zip(*pairs))
        ratio = spread([a / b for a, b in pairs])
        bar = "" if not row.bar else f"{row.bar} {'ok' if ratio[0] <= row.bar else 'over'}"
        print(f"{row.name:23}{text(ours, 1 if ours[0] < 100 else 0)}"
              f"{text(peer, 1 if peer[0] < 100 else 0)}{text(ratio, 3)}"
              f"{bar:10}{row.unit:3} {row.what}", flush=True)
        results.append({"name": row.name, "what": row.what, "unit": row.unit, "ours": ours[0],
                        "peer": peer[0], "ratio": ratio[0], "bar": row.bar, "samples": pairs})
    return results


def instructions(command, environment, operation, n=20_000):
    """Instructions per operation: the difference of two counts, so that start-up drops out."""
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


def count(rows, commands):
    print(f"{'instructions':23}{'ours':>8}{'peer':>8}{'ratio':>8}")
    results = []
    for row in rows:
        ours, peer = (instructions(commands[program], row.environment, operation)
                      for program, operation in (row.ours, row.peer))
        print(f"{row.name:23}{ours:8,.0f}{peer:8,.0f}{ours / peer:8.2f}  {row.what}", flush=True)
        results.append({"name": row.name, "what": row.what, "ours": ours, "peer": peer})
    return results


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL).stdout.strip()


LUPA = """
import lupa.lua54, platform
lua = lupa.lua54.LuaRuntime()
print(f"lupa {lupa.__version__}, {lua.lua_implementation}, Python {platform.python_version()}")
"""


GEVENT = """
import gevent, greenlet, platform
print(f"gevent {gevent.__version__} on greenlet {greenlet.__version__}, "
      f"Python {platform.python_version()}")
"""


def surroundings(build, lupa, gevent):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    ours = 'local m = require "moonlet" print(m._VERSION .. ", " .. _VERSION .. ", Python " .. ' \
        'm.python.import "platform".python_version())'
    stock = "import greenlet, platform;" \
        "print(f'greenlet {greenlet.__version__}, Python {platform.python_version()}')"
    peer = output_of(STOCK, "-c", stock)
    if lupa:
        peer += "; " + output_of(lupa, "-c", LUPA)
    if gevent:
        peer += "; " + output_of(gevent, "-c", GEVENT)
    return {"ours": output_of(str(build / "moonlet"), "-e", ours), "peer": peer,
            "machine": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
            "system": platform.platform(), "load": os.getloadavg()}


def extension_surroundings(commands):
    code = "import greenlet, platform, sys;" \
        "print(f'{greenlet.__file__}: {greenlet.__version__}, Python {platform.python_version()}')"
    ours, peer = (output_of(*commands[key][:-1], "-c", code) for key in ("python", "greenlet"))
    return {"ours": ours, "peer": peer, "load": os.getloadavg()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help="rows, or how their names begin")
    parser.add_argument("--build", type=Path, default=BENCH.parent / "build", metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--check", action="store_true", help="fail when a bar is missed")
    parser.add_argument("--instructions", action="store_true",
                        help="count them with valgrind instead of measuring time")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--extension", nargs=3, metavar=("PYTHON", "OURS", "PEER"),
                        help="measure the package greenlet in directory OURS beside the one in "
                        "PEER, both in the interpreter PYTHON")
    parser.add_argument("--lupa", metavar="PYTHON", help="an interpreter that has lupa, for the "
                        "rows of the bridge")
    parser.add_argument("--gevent", metavar="PYTHON", help="an interpreter that has gevent, for "
                        "the rows of the scheduler")
    options = parser.parse_args()
    known = EXTENSION_ROWS if options.extension else ROWS + BRIDGE_ROWS + SCHED_ROWS
    rows = [row for row in known if row.name.startswith(tuple(options.what) or "")]
    if options.instructions:
        rows = [row for row in rows if row.name in COUNTED]
    if not rows:
        parser.error(f"no such rows: {' '.join(options.what)}; see --list")
    if options.list:
        print(*(f"{row.name:23}{row.what}" for row in rows), sep="\n")
        return 0
    if not options.lupa:
        if options.what and any(row in BRIDGE_ROWS for row in rows):
            parser.error("the rows of the bridge need --lupa")
        rows = [row for row in rows if row not in BRIDGE_ROWS]
    if not options.gevent:
        if options.what and all(row in SCHED_ROWS for row in rows):
            parser.error("the rows of the scheduler need --gevent")
        rows = [row for row in rows if row not in SCHED_ROWS]
    build = options.build.resolve()
    if options.extension:
        commands = extension_programs(*options.extension)
        version = output_of(options.extension[0], "-c", "import sys; print(sys.version_info[1])")
        if int(version) < 12:
            for row in rows:
                if row.name == "python_deep_py":  # greenlet's price rises with them from 3.12 on
                    row.bar = None
        report = extension_surroundings(commands)
    else:
        commands = programs(build, options.lupa, options.gevent)
        report = surroundings(build, options.lupa, options.gevent)
    print(report["ours"], report["peer"], report.get("machine", ""), sep="\n")
    if options.instructions:
        report["instructions"] = count(rows, commands)
    else:
        report["rows"] = measure(rows, commands, options.quick)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    over = [r["name"] for r in report.get("rows", ()) if r["bar"] and r["ratio"] > r["bar"]]
    return 1 if options.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
