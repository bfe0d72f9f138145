"""What is measured as it grows: ours and the peers' in one plot each."""
from contextlib import ExitStack
from dataclasses import dataclass, field

import measure


@dataclass
class Series:
    label: str
    program: str  # a key of programs.commands
    operation: str  # `{x}` stands for a point
    ours: bool = True
    environment: dict = field(default_factory=dict)


@dataclass
class Curve:
    name: str
    title: str
    x_label: str
    y_label: str
    xs: list
    series: list
    n: callable  # how many operations at a point
    processes: int = 3
    rounds: int = 3
    fresh: bool = False  # a process for each sample, since what it leaves has influence
    place: str = None  # the operation that tells where a point is on the x axis
    scale: float = 1.0  # of that axis
    log: str = ""  # the axes that are logarithmic
    time: bool = False  # the x axis is time: nothing should change


def lanes(number):
    return {"MOONLET_LANES": str(number)}


NUMBERS = [10, 100, 1_000, 10_000, 100_000, 1_000_000]
WINDOW = 20_000  # tasks or greenlets
CURVES = [
    Curve("curve_c_stack", "Round trip by C stack", "KB of C stack", "ns per round trip",
          [0, 1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50],
          [Series("moonlet", "python", "python_deep_c_{x}"),
           Series("greenlet", "greenlet", "python_deep_c_{x}", ours=False)],
          lambda x: 5_000, place="stack_c_{x}", scale=1024),
    Curve("curve_frames", "Round trip by Python frames", "Python frames", "ns per round trip",
          [0, 1, 10, 50, 100, 200, 300, 400, 500],
          [Series("moonlet", "python", "python_deep_py_{x}"),
           Series("greenlet", "greenlet", "python_deep_py_{x}", ours=False)],
          lambda x: 50_000),
    Curve("curve_collision", "Hop that moves stacks, in C", "KB on each stack", "ns per hop",
          [256, 1024, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 250 << 10],
          [Series("moonlet", "core", "collision_{x}"),
           Series("2 memcpy and a hop", "core", "memcpy_{x}", ours=False)],
          lambda x: max(1_000, 20_000_000 // (x + 200)), scale=1024, log="xy"),
    Curve("curve_number", "Hop by number of Python greenlets", "greenlets alive", "ns per hop",
          NUMBERS,
          [Series("moonlet, 1 lane", "python", "ring_{x}", environment=lanes(1)),
           Series("moonlet, 64 lanes", "python", "ring_{x}", environment=lanes(64)),
           Series("moonlet, 256 lanes", "python", "ring_{x}"),
           Series("greenlet", "greenlet", "ring_{x}", ours=False)],
          lambda x: 100_000, processes=1, fresh=True, log="xy"),
    Curve("curve_number_lua", "Round trip by number of Lua greenlets", "greenlets alive",
          "ns per round trip", NUMBERS,
          [Series("moonlet", "lua", "round_{x}"),
           Series("coroutine", "lua", "round_coroutine_{x}", ours=False)],
          lambda x: 100_000, processes=1, fresh=True, log="xy"),
    Curve("curve_memory", "Memory by number", "suspended greenlets", "bytes each",
          NUMBERS[1:],
          [Series("moonlet, Python", "python", "memory_python_{x}"),
           Series("moonlet, Lua", "lua", "memory_lua_{x}"),
           Series("greenlet", "greenlet", "memory_python_{x}", ours=False),
           Series("coroutine", "lua", "memory_coroutine_{x}", ours=False)],
          lambda x: x, processes=1, rounds=1, fresh=True, log="xy"),
    Curve("curve_create", "Create, run and finish over time", "millions of greenlets",
          "ns each", list(range(0, 100 * WINDOW, WINDOW)),
          [Series("moonlet", "python", "create"),
           Series("greenlet", "greenlet", "create", ours=False)],
          lambda x: WINDOW, processes=1, rounds=1, scale=1e6, log="y", time=True),
    Curve("curve_spawn", "Spawn and join over time", "millions of tasks", "ns each",
          list(range(0, 100 * WINDOW, WINDOW)),
          [Series("moonlet", "sched", "spawn_join"),
           Series("gevent", "gevent", "spawn_join", ours=False)],
          lambda x: WINDOW, processes=1, rounds=1, scale=1e6, log="y", time=True),
]


def points(curve, quick):
    if not quick:
        return curve.xs
    if len(curve.xs) >= 100:
        return curve.xs[:10]
    return [x for x in curve.xs if x <= 10_000][::2]


def sample(commands, series, curve, x, worker=None):
    """What one operation takes, asked of `worker` or of a process of its own."""
    operation = series.operation.format(x=x)
    if worker:
        return worker.measure(operation, curve.n(x))
    with measure.Worker(commands[series.program], series.environment) as own:
        return own.measure(operation, curve.n(x))


def run(curve, commands, quick):
    """The curve's series that can be had, each with its points: x, and the spread of y."""
    known = [series for series in curve.series if series.program in commands]
    xs = points(curve, quick)
    places = {s.label: {} for s in known}
    values = {s.label: {x: [] for x in xs} for s in known}
    for _ in range(1 if quick else curve.processes):
        with ExitStack() as stack:
            workers = {} if curve.fresh else {
                s.label: stack.enter_context(measure.Worker(commands[s.program], s.environment))
                for s in known}
            for x in xs:
                for s in known:
                    at = x
                    if curve.place:
                        at = workers[s.label].measure(curve.place.format(x=x), 1)
                    places[s.label][x] = at / curve.scale
                asks = [lambda s=s: sample(commands, s, curve, x, workers.get(s.label))
                        for s in known]
                if curve.rounds > 1 and not curve.fresh:
                    for ask in asks:
                        ask()
                for i in range(1 if quick else curve.rounds):
                    for s, value in zip(known, measure.in_turn(i, asks)):
                        values[s.label][x].append(value)
    return {"name": curve.name, "title": curve.title, "x_label": curve.x_label,
            "y_label": curve.y_label, "log": curve.log, "time": curve.time,
            "series": [{"label": s.label, "ours": s.ours,
                        "x": [places[s.label][x] for x in xs],
                        "y": [measure.spread(values[s.label][x]) for x in xs]} for s in known]}


def show(result):
    print(f"\n{result['name']}: {result['title']}; {result['y_label']}")
    series = result["series"]
    print(f"{result['x_label']:>28} " + "".join(f"{s['label']:>22}" for s in series))
    count = len(series[0]["x"])
    for i in range(0, count, max(1, count // 20)):
        print(f"{series[0]['x'][i]:28,.2f} " +
              "".join(f"{s['y'][i][0]:22,.1f}" for s in series), flush=True)


def run_all(chosen, commands, quick):
    results = []
    for curve in chosen:
        results.append(run(curve, commands, quick))
        show(results[-1])
    return results
