#!/usr/bin/python3.11
"""Runs the suites of greenlet and of what is built on it, on stock greenlet and on ours.

What passes on stock has to pass on ours. Packages and baselines are kept in build-compat."""

import argparse
import contextlib
import fnmatch
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from compare import Comparison
from database import cluster
from fetch import CACHE, DEBIAN_PYTHON, ROOT, Environment
from suites import suites
from unit import Side

HERE = Path(__file__).resolve().parent


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="everything, not only what CI runs")
    parser.add_argument("--ours", type=Path, default=ROOT / "build/lib/moonlet/python",
                        help="the directory of our package (default: %(default)s)")
    parser.add_argument("--suite", action="append", metavar="NAME",
                        help="only the suites whose names begin so; may be repeated")
    parser.add_argument("--only", metavar="PATTERN",
                        help="only the units whose names match or begin so")
    parser.add_argument("--python", type=Path, default=DEBIAN_PYTHON,
                        help="the interpreter (default: %(default)s)")
    parser.add_argument("--preload", action="store_true",
                        help="for a sanitizer build: preload AddressSanitizer's library")
    parser.add_argument("--patience", type=int, default=1, metavar="N",
                        help="N times the usual timeouts, for slow builds")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="processes at a time (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the units and stop")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of every process")
    return parser.parse_args()


def our_side(args):
    """Our package and the environment it needs."""
    directory = args.ours.resolve()
    if not list((directory / "greenlet").glob("_greenlet*.so")):
        sys.exit(f"compat: no greenlet in {directory}")
    env = {}
    if args.preload:
        # The latter too, since the former looks for it once only, when it is loaded.
        libraries = [subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True)
                     for name in ("libasan.so", "libstdc++.so.6")]
        env = {"LD_PRELOAD": " ".join(map(str.strip, libraries)),
               "ASAN_OPTIONS": "detect_stack_use_after_return=0:detect_leaks=0"}
    return Side("ours", directory, env, args.patience)


def selected(found, args):
    """The (suite, units) that are asked for."""
    chosen = []
    for suite in found:
        if args.suite and not suite.name.startswith(tuple(args.suite)):
            continue
        units = [unit for unit in suite.units if wanted(unit, args)]
        if units:
            chosen.append((suite, units))
    return chosen


def wanted(unit, args):
    if args.only:
        return fnmatch.fnmatch(unit.name, args.only) or unit.name.startswith(args.only)
    return unit.ci or args.all


def exceptions():
    """The (suite, test) that are expected to fail."""
    lines = (HERE / "exceptions.txt").read_text().splitlines()
    return {tuple(line.split()[:2]) for line in lines if line and not line.startswith("#")}


def stale(reports, chosen, names):
    """The exceptions that do not exist in the suites that ran completely."""
    complete = {suite.name for suite, units in chosen if units == suite.units}
    found = {(name, test) for name, report in reports.items()
             for verdict in vars(report).values() for _, test in verdict}
    return {name for name in names - found if name[0] in complete}


def count(report):
    """How many tests passed, now or in the end."""
    return len(report.passed) + len(report.clean) + len(report.flaky)


def show(name, report, directory):
    """Prints the suite's line, and below it what needs attention."""
    line = f"{name}: {count(report)} passed, {len(report.failed) + len(report.lost)} failed"
    if report.excepted:
        line += f", {len(report.excepted)} excepted"
    notes = ((report.clean, "without the leak of stock"), (report.flaky, "at a later attempt"),
             (report.unfit, "do not pass on stock"))
    line += "".join(f"; {len(tests)} {note}" for tests, note in notes if tests)
    print(line)
    for unit, test in report.failed:
        print(f"    FAILED {unit} {test}  see {directory}/logs/{name}/{unit}.ours*.log")
    for unit, number in Counter(unit for unit, _ in report.lost).items():
        print(f"    FAILED {unit} {number} tests that did not run")
    for unit, test in report.flaky:
        print(f"    flaky  {unit} {test}")


def test(args, database, scratch):
    """Runs what is asked for and prints the results; returns how many tests failed."""
    environment = Environment(args.python)
    chosen = selected(suites(environment, our_side(args), scratch, database), args)
    if not chosen:
        sys.exit("compat: nothing matches")
    if args.list:
        print("\n".join(f"{suite.name} {unit.name}" for suite, units in chosen for unit in units))
        return 0
    start = time.monotonic()

    def progress(line):
        if args.verbose:
            print(f"{time.monotonic() - start:6.1f} {line}", file=sys.stderr, flush=True)
    names = exceptions()
    reports = Comparison(environment, args.jobs, progress).compare(chosen, names)
    for name, report in reports.items():
        show(name, report, environment.directory.relative_to(ROOT))
    left = stale(reports, chosen, names)
    if left:
        print(f"exceptions: 0 passed, {len(left)} failed")
        for name in sorted(left):
            print(f"    FAILED {' '.join(name)}: there is no such test")
    failed = sum(len(report.failed + report.lost) for report in reports.values()) + len(left)
    passed = sum(map(count, reports.values()))
    print(f"{passed} passed, {failed} failed, in {time.monotonic() - start:.0f} s")
    return failed


def needs_database(args):
    return not args.list and (not args.suite or any(
        name.startswith(tuple(args.suite)) for name in ("sqlalchemy", "programs")))


def main():
    args = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    CACHE.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(cluster()) if needs_database(args) else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=CACHE)))
        return 1 if test(args, database, scratch) else 0


if __name__ == "__main__":
    sys.exit(main())
