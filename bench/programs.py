"""The programs that measure, and what can be said of them."""
import os
import platform
import re
import subprocess
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
STOCK = "/usr/bin/python3"
PEERS = {"gevent": "gevent and greenlet", "lupa": "lupa", "core": "Boost.Context"}
PEER_OF = {"greenlet": "gevent", "gevent": "gevent", "lupa": "lupa", "core": "core"}  # by program


def commands(build, peers):
    """By key; `peers` are those of PEERS that can be had: an interpreter each, or True."""
    moonlet = str(build / "moonlet")
    script = f'require"moonlet".python.import"runpy".run_path("{BENCH}/workload.py")'
    known = {
        "python": [moonlet, "-e", script],
        "lua": [moonlet, f"{BENCH}/workload.lua"],
        "stock": [STOCK, f"{BENCH}/workload.py"],
        "empty": [moonlet, "-e", ""],
        "require": [moonlet, "-e", 'require "moonlet"'],
        "python3": [STOCK, "-I", "-c", ""],
        "bridge": [moonlet, f"{BENCH}/bridge.lua"],
        "sched": [moonlet, "-e", script.replace("workload", "sched"), "-", "moonlet"],
        "sched_lua": [moonlet, f"{BENCH}/sched.lua"],
        "asyncio": [STOCK, f"{BENCH}/sched.py", "asyncio"],
        "limits": [STOCK, f"{BENCH}/sched.py", "limits"],
    }
    if peers.get("gevent"):
        known["greenlet"] = [peers["gevent"], f"{BENCH}/workload.py"]
        known["gevent"] = [peers["gevent"], f"{BENCH}/sched.py", "gevent"]
    if peers.get("lupa"):
        known["lupa"] = [peers["lupa"], f"{BENCH}/bridge.py"]
    if peers.get("core"):
        known["core"] = [str(build / "bench/bench_core")]
    return known


def extension_commands(interpreter, ours, peer):
    """Both have the packages in `peer`, for gevent; ours has the extension before them."""
    script = [interpreter, f"{BENCH}/workload.py"]
    return {"python": ["env", f"PYTHONPATH={ours}:{peer}", *script],
            "greenlet": ["env", f"PYTHONPATH={peer}", *script]}


def environment(extra):
    """Of a program that measures: nobody's settings but `extra`."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("MOONLET", "PYTHON", "LUA", "GLIBC_TUNABLES", "LD_PRELOAD"))}
    return {**kept, **extra}


# -------------------------------------------------------------------------------- surroundings

def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=environment({})).stdout.strip()


OURS = """local m = require "moonlet"
print(("%s, %s, CPython %s"):format(m._VERSION, _VERSION,
    m.python.import "platform".python_version()))"""
GREENLET = """import gevent, greenlet, platform
print(f"greenlet {greenlet.__version__}, gevent {gevent.__version__}, "
      f"on CPython {platform.python_version()}")"""
LUPA = """import lupa.lua54, platform
lua = lupa.lua54.LuaRuntime()
print(f"lupa {lupa.__version__}, {lua.lua_implementation}, CPython {platform.python_version()}")"""
PLAIN = "import platform; print(f'asyncio, generators: CPython {platform.python_version()}')"


def package_version(name):
    run = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], capture_output=True,
                         text=True)
    return run.stdout.strip() if run.returncode == 0 else "of unknown version"


def processor():
    return platform.machine()


def compiler(build):
    """What has compiled this build, as CMake tells."""
    for file in build.glob("CMakeFiles/*/CMakeCCompiler.cmake"):
        text = file.read_text()
        return " ".join(re.search(rf'CMAKE_C_COMPILER_{part} "(.*)"', text)[1]
                        for part in ("ID", "VERSION"))
    return "unknown"


def surroundings(build, peers):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal: *(\d+)", Path("/proc/meminfo").read_text())
    report = {
        "ours": output_of(str(build / "moonlet"), "-e", OURS),
        "peers": [output_of(STOCK, "-c", PLAIN)],
        "compiler": compiler(build),
        "machine": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, "
                   f"{int(memory[1]) / 2**20:.0f} GiB",
        "system": platform.platform(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": list(os.getloadavg()),
    }
    if peers.get("gevent"):
        report["peers"].append(output_of(peers["gevent"], "-c", GREENLET))
    if peers.get("lupa"):
        report["peers"].append(output_of(peers["lupa"], "-c", LUPA))
    if peers.get("core"):
        report["peers"].append("Boost.Context " + package_version("libboost-context1.74-dev"))
    return report


def extension_surroundings(known):
    code = "import greenlet, platform;" \
        "print(f'{greenlet.__file__}: {greenlet.__version__}, Python {platform.python_version()}')"
    ours, peer = (output_of(*known[key][:-1], "-c", code) for key in ("python", "greenlet"))
    return {"ours": ours, "peers": [peer], "load": list(os.getloadavg())}
