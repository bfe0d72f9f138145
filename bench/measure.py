"""Runs the programs and asks them. Every sample is a pair of ours and the peer's, taken in turn,
so that a machine that becomes slower does so for both; the ratio is the median of the pairs'.
"""
import statistics
import subprocess
import time
from contextlib import ExitStack, suppress

import programs


class Failed(Exception):
    """A program has ended without an answer."""


class Worker:
    """A process that measures what it is asked."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=programs.environment(environment))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(BrokenPipeError):  # it has ended before it read what was asked
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, operation, n):
        """The numbers of the answer."""
        try:
            self.process.stdin.write(f"{operation} {n}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{' '.join(self.process.args)}: failed at {operation} {n}")
        return [float(number) for number in line.split()]

    def measure(self, operation, n):
        return self.ask(operation, n)[0]


def milliseconds(command):
    environment = programs.environment({})
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)
    return (time.perf_counter() - start) * 1e3


def in_turn(i, functions):
    """Their results; every second time the last one is called first."""
    if i % 2:
        return [f() for f in reversed(functions)][::-1]
    return [f() for f in functions]


def samples(row, commands, quick):
    """Pairs of ours and the peer's."""
    rounds = min(row.rounds, 3) if quick else row.rounds
    sides = row.ours, row.peer
    if row.unit == "ms":
        runs = [lambda program=program: milliseconds(commands[program]) for program, _ in sides]
        runs[0]()
        return [in_turn(i, runs) for i in range(rounds)]
    pairs = []
    for _ in range(1 if quick else row.processes):
        # One process for both where that is the same program; but what it frees in the first
        # measurement of memory it would use again in the second.
        keys = sides if row.unit == "B" else [program for program, _ in sides]
        with ExitStack() as stack:
            workers = {key: stack.enter_context(Worker(commands[program], row.environment))
                       for key, (program, _) in dict(zip(keys, sides)).items()}
            asked = [(workers[key], operation) for key, (_, operation) in zip(keys, sides)]
            if row.unit == "ns":
                for worker, operation in asked:
                    worker.measure(operation, row.n // 10)
            runs = [lambda worker=worker, operation=operation: worker.measure(operation, row.n)
                    for worker, operation in asked]
            pairs += [in_turn(i, runs) for i in range(rounds)]
    return pairs


def spread(values):
    """The median and the quartiles around it."""
    if len(values) == 1:
        return [*values] * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [middle, low, high]


def result(row, pairs):
    ours, peer = (spread(side) for side in zip(*pairs))
    return {"topic": row.topic, "name": row.name, "what": row.what, "beside": row.beside,
            "unit": row.unit, "bar": row.bar, "ours": ours, "peer": peer,
            "ratio": spread([a / b for a, b in pairs]), "samples": pairs}


def text(values, digits):
    middle, low, high = (f"{v:,.{digits}f}" for v in values)
    return f"{middle:>8} {low + '–' + high:14}"


def line(r):
    bar = "" if not r["bar"] else f"{r['bar']} {'ok' if r['ratio'][0] <= r['bar'] else 'over'}"
    sides = (text(r[side], 1 if r[side][0] < 100 else 0) for side in ("ours", "peer"))
    return f"{r['name']:20}{''.join(sides)}{text(r['ratio'], 3)}{bar:11}{r['unit']:3} " \
        f"{r['what']}; {r['beside']}"


def measure(rows, commands, quick):
    print(f"{'':20}{'ours':>8}{'':15}{'peer':>8}{'':15}{'ratio':>8}{'':15}bar")
    results = []
    for row in rows:
        results.append(result(row, samples(row, commands, quick)))
        print(line(results[-1]), flush=True)
    return results
