"""What is measured: each row is an operation of ours beside the same of a peer's."""
from dataclasses import dataclass, field


@dataclass
class Row:
    topic: str
    name: str
    what: str
    beside: str  # what the peer's operation is
    ours: tuple  # a key of programs.commands, and the operation it is asked for
    peer: tuple
    n: int = 0
    bar: float = None  # what the ratio should not exceed
    unit: str = "ns"
    processes: int = 3
    rounds: int = 5
    environment: dict = field(default_factory=dict)


def python(topic, name, what, n=200_000, operation=None, peer=None, beside="greenlet", **more):
    operation = operation or name
    return Row(topic, name, what, beside, ("python", operation), peer or ("greenlet", operation),
               n, **more)


def lua(topic, name, what, peer, beside, n=200_000, operation=None, **more):
    return Row(topic, name, what, beside, ("lua", operation or name), ("lua", peer), n, **more)


def core(name, what, ours, peer, beside, n, **more):
    return Row(CORE, name, what, beside, ("core", ours), ("core", peer), n, **more)


def bridge(topic, name, what, bar=None, n=100_000):
    return Row(topic, f"bridge_{name}", what, "lupa", ("bridge", name), ("lupa", name), n, bar=bar)


def sched(name, what, beside="gevent", bar=None, n=100_000, operation=None, ours="sched",
          **more):
    operation = operation or name
    return Row("Scheduling", f"sched_{name}", what, beside, (ours, operation),
               (beside, operation), n, bar=bar, **{"rounds": 3, **more})


ONE_LANE = {"MOONLET_LANES": "1"}
MEMORY = {"unit": "B", "rounds": 1}
STARTUP = {"unit": "ms", "processes": 1, "rounds": 25}
PYTHON, LUA, CORE = "Python greenlets", "Lua greenlets", "The core alone"
LUA_USES, PYTHON_USES = "Python used from Lua", "Lua used from Python"
RESUME = "coroutine.resume"

ROWS = [
    lua(LUA, "lua_lua", "round trip", "coroutine_resume", RESUME, bar=1.0),
    lua(LUA, "lua_lua_hoisted", "round trip, method in a local", "coroutine_resume", RESUME),
    lua(LUA, "lua_lua_wrap", "round trip", "coroutine_wrap", "coroutine.wrap",
        operation="lua_lua"),
    lua(LUA, "lua_python", "round trip, from Lua to Python", "coroutine_resume", RESUME, bar=1.4),
    lua(LUA, "create_lua", "create, run, finish", "create_coroutine", "coroutine", 20_000),
    lua(LUA, "memory_lua", "suspended, one of 100,000", "memory_coroutine", "coroutine", 100_000,
        **MEMORY),
    python(PYTHON, "python_python", "round trip", bar=0.18),
    python(PYTHON, "python_python_arg", "round trip with an argument"),
    python(PYTHON, "python_generator", "round trip", operation="python_python",
           peer=("stock", "generator"), beside="generator.send"),
    python(PYTHON, "python_deep_c", "round trip, 50 calls from C deep", 10_000, bar=0.02),
    python(PYTHON, "python_deep_py", "round trip, 200 Python frames deep"),
    python(PYTHON, "create", "create, run, finish", 20_000, bar=0.04),
    python(PYTHON, "create_generator", "create, run, finish", 20_000, operation="create",
           peer=("stock", "create_generator"), beside="generator"),
    python(PYTHON, "ring", "hop in a ring of 10,000", bar=0.7),
    python(PYTHON, "collision", "hop in a ring of 100, one lane", 100_000, environment=ONE_LANE),
    python(PYTHON, "memory_python", "suspended, one of 100,000", 100_000, bar=0.4, **MEMORY),
    core("core_switch", "round trip", "switch", "boost", "jump_fcontext", 1_000_000, bar=1.5),
    core("core_arch", "round trip, ml_arch_switch", "arch", "boost", "jump_fcontext", 1_000_000),
    *(core(f"core_collision_{size // 1024}k", f"hop that moves {size // 1024} KB",
           f"collision_{size}", f"memcpy_{size}", "2 memcpy, hop", n, bar=1.5)
      for size, n in ((1024, 100_000), (16 * 1024, 20_000), (250 * 1024, 2_000))),
    Row("Start-up", "startup", "moonlet -e ''", "python3 -I -c ''", ("empty", ""),
        ("python3", ""), bar=1.2, **STARTUP),
    Row("Start-up", "startup_require", "moonlet -e 'require \"moonlet\"'", "python3 -I -c ''",
        ("require", ""), ("python3", ""), **STARTUP),
    bridge(LUA_USES, "call", "f()", 0.6),
    bridge(LUA_USES, "call_int", "f(i, i)", 0.6),
    bridge(LUA_USES, "call_str", 'f("abc", "def")'),
    bridge(LUA_USES, "call_kw", "f(py.kw { a = i })", 0.3),
    bridge(LUA_USES, "get", "o.x", 0.6),
    bridge(LUA_USES, "set", "o.x = i", 0.6),
    bridge(LUA_USES, "method", "o:m()", 0.12),
    bridge(LUA_USES, "method_int", "o:m(i, i)", 0.12),
    bridge(LUA_USES, "list", "list[i]", 0.6),
    bridge(LUA_USES, "dict", "dict[key]"),
    bridge(LUA_USES, "iter", "item of py.iter(list)", 0.5),
    bridge(LUA_USES, "object", "py.builtins.object(), and drop it"),
    bridge(LUA_USES, "raise", "pcall(f), which raises", n=20_000),
    bridge(PYTHON_USES, "py_call", "h(i, i)", 0.6),
    bridge(PYTHON_USES, "py_getitem", 't["x"]', 0.5),
    bridge(PYTHON_USES, "py_getattr", "t.x", 0.3),
    bridge(PYTHON_USES, "py_setitem", 't["x"] = i'),
    bridge(PYTHON_USES, "py_setattr", "t.x = i"),
    sched("spawn", "spawn and join of tasks, 100,000 at once", bar=0.5, operation="spawn_join"),
    sched("spawn_lua", "spawn and join of Lua tasks", bar=0.5, operation="spawn_join",
          ours="sched_lua"),
    sched("spawn_asyncio", "spawn and join of tasks", "asyncio", operation="spawn_join"),
    sched("sleep0", "sleep(0) in one of two tasks", operation="sleep0"),
    sched("sleep0_lua", "sleep(0) in one of two Lua tasks", operation="sleep0", ours="sched_lua"),
    sched("sleep0_asyncio", "sleep(0) in one of two tasks", "asyncio", operation="sleep0"),
    sched("pingpong", "there and back on channels", bar=0.5),
    sched("pingpong_lua", "there and back, Lua tasks", bar=0.5, operation="pingpong",
          ours="sched_lua"),
    sched("pingpong_asyncio", "there and back on channels; queues", "asyncio",
          operation="pingpong"),
    sched("timers", "task that sleeps, 100,000 at once", bar=0.5),
    sched("timers_lua", "Lua task that sleeps", bar=0.5, operation="timers", ours="sched_lua"),
    sched("timers_asyncio", "task that sleeps", "asyncio", operation="timers"),
    sched("echo", "10 echoes on one of 1,000 connections", bar=1.0, n=1000),
    sched("echo_lua", "10 echoes, Lua tasks", bar=1.0, n=1000, operation="echo", ours="sched_lua"),
    sched("echo_asyncio", "10 echoes; streams", "asyncio", n=1000, operation="echo"),
    sched("memory", "sleeping task, one of 100,000", **{**MEMORY, "processes": 2}),
    sched("memory_asyncio", "sleeping task", "asyncio", operation="memory",
          **{**MEMORY, "processes": 2}),
    Row("Scheduling", "sched_memory_bar", "sleeping task", "4,000 bytes",
        ("sched", "memory"), ("limits", "memory"), 100_000, bar=1.0, **{**MEMORY, "processes": 2}),
    Row("Scheduling", "sched_step", "p99 of step(4), 1,000 tasks", "its budget",
        ("sched", "step"), ("limits", "step"), 500, bar=1.125, unit="us"),
]

# Of the extension, in any interpreter.
EXTENSION = "Extension"
EXTENSION_ROWS = [
    python(EXTENSION, "python_python", "round trip", bar=0.25),
    python(EXTENSION, "python_python_arg", "round trip with an argument", bar=0.25),
    python(EXTENSION, "python_deep_c", "round trip, 50 calls from C deep", 10_000, bar=0.05),
    python(EXTENSION, "python_deep_py", "round trip, 200 Python frames deep", bar=0.15),
    python(EXTENSION, "create", "create, run, finish", 20_000, bar=0.08),
    python(EXTENSION, "ring", "hop in a ring of 10,000", bar=0.8),
    python(EXTENSION, "memory_python", "suspended, one of 100,000", 100_000, bar=0.5, **MEMORY),
    python(EXTENSION, "gevent_spawn", "spawn and join of a gevent.Greenlet", 20_000),
    python(EXTENSION, "gevent_pywsgi", "request to gevent's WSGI server", 5_000),
]

# Whose instructions are counted: the hottest, which spec/CMakeLists.txt has compared with what is
# recorded, and others that --instructions counts.
HOTTEST = ("python_python", "create", "collision", "lua_lua", "lua_python", "bridge_call_int")
COUNTED = {*HOTTEST, "lua_lua_hoisted", "create_lua",
           *(row.name for row in ROWS if row.name.startswith("bridge_"))}
