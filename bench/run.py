"""Measures moonlet beside its peers: greenlet, coroutines, generators, asyncio, lupa, gevent, and
beside what no switch can do without.
"""
import argparse
import json
import sys
from pathlib import Path

import curves
import instructions
import measure
import million
import programs
import rows as known_rows

ROOT = programs.BENCH.parent
MILLION = "million"


def parser():
    p = argparse.ArgumentParser(prog="bench", description=" ".join(__doc__.split()))
    p.add_argument("what", nargs="*", metavar="WHAT",
                   help="rows, curves, or how their names begin; or million. Without any, all of "
                   "it, and docs/performance.md is written")
    p.add_argument("--build", type=Path, default=ROOT / "build", metavar="DIR")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    p.add_argument("--quick", action="store_true", help="fewer samples; writes no report")
    p.add_argument("--report", type=Path, metavar="DIR",
                   help="write performance.md and its plots there")
    p.add_argument("--from", type=Path, metavar="FILE", dest="results",
                   help="do not measure, but write the report of these results")
    p.add_argument("--check", action="store_true", help="fail when a bar is missed, or a count of "
                   "instructions is not as recorded")
    p.add_argument("--instructions", action="store_true",
                   help="count them with valgrind instead of measuring time")
    p.add_argument("--record", action="store_true", help="record those counts for --check")
    p.add_argument("--objects", action="store_true", help="count those of ours, by the libraries "
                   "that they are in")
    p.add_argument("--list", action="store_true", help="list what there is")
    p.add_argument("--needs", action="store_true", help=argparse.SUPPRESS)  # for dev
    p.add_argument("--extension", nargs=3, metavar=("PYTHON", "OURS", "PEER"),
                   help="measure the package greenlet in directory OURS beside the one in "
                   "PEER, both in the interpreter PYTHON")
    p.add_argument("--lupa", metavar="PYTHON", help="an interpreter that has lupa")
    p.add_argument("--gevent", metavar="PYTHON", help="an interpreter that has gevent and the "
                   "greenlet to be measured")
    return p


def choose(p, options):
    """The rows, curves, and whether the million, whose names begin as `options.what` says."""
    rows = known_rows.EXTENSION_ROWS if options.extension else known_rows.ROWS
    known = [row.name for row in rows]
    chosen_curves, with_million = [], False
    if options.instructions:
        rows = [row for row in rows if row.name in known_rows.COUNTED]
        known = [row.name for row in rows]
    elif not options.extension:
        chosen_curves, with_million = curves.CURVES, True
        known += [curve.name for curve in chosen_curves] + [MILLION]
    wrong = [what for what in options.what if not any(name.startswith(what) for name in known)]
    if wrong:
        p.error(f"nothing is named {' or '.join(wrong)}; see --list")
    prefixes = tuple(options.what) or ""
    return ([row for row in rows if row.name.startswith(prefixes)],
            [curve for curve in chosen_curves if curve.name.startswith(prefixes)],
            with_million and MILLION.startswith(prefixes))


def listed(rows, chosen_curves, with_million):
    for row in rows:
        yield f"{row.name:24}{row.what}; {row.beside}"
    for curve in chosen_curves:
        yield f"{curve.name:24}{curve.title}"
    if with_million:
        yield f"{MILLION:24}a million greenlets alive at once"


def needed(rows, chosen_curves, with_million):
    keys = [key for row in rows for key in (row.ours[0], row.peer[0])]
    keys += [series.program for curve in chosen_curves for series in curve.series]
    if with_million:
        keys += [program for _, program, _, _ in million.CONTENDERS]
    return sorted({programs.PEER_OF[key] for key in keys if key in programs.PEER_OF})


def needs(p, options, directory):
    """What else these options need."""
    report = ["plots"] if directory and not options.list else []
    if options.results:
        return report
    chosen = choose(p, options)
    alone = options.list or options.instructions and (options.check or options.record or
                                                      options.objects)
    return [] if alone else needed(*chosen) + report


def available(p, rows, chosen_curves, commands, missing):
    """Those whose programs there are; tells of the others."""
    have = [row for row in rows if row.ours[0] in commands and row.peer[0] in commands]
    plots = [curve for curve in chosen_curves
             if any(s.ours and s.program in commands for s in curve.series)]
    left_out = [item.name for item in (*rows, *chosen_curves)
                if item not in have and item not in plots]
    if left_out:
        told = f"left out, for want of {' and '.join(missing)}: {' '.join(left_out)}"
        if not have and not plots:
            p.error(told)
        print(told)
    return have, plots


def write_report(results, directory):
    import report
    for path in report.write(results, directory):
        print(f"wrote {path}")


def prepare(p, file, directory):
    """Finds out before anything is measured that the results cannot be written."""
    if file and (file.is_dir() or not file.resolve().parent.is_dir()):
        p.error(f"cannot write {file}")
    if directory:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            import plots  # noqa: F401
        except (OSError, ImportError) as error:
            p.error(f"cannot write a report: {error}")


def saved(p, file):
    """The results in that file."""
    try:
        results = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        p.error(f"cannot read {file}: {error}")
    if not isinstance(results, dict) or not {"ours", "command", "missing"} <= results.keys():
        p.error(f"{file} has no results of this program")
    return results


def measure_extension(options, rows):
    commands = programs.extension_commands(*options.extension)
    version = programs.output_of(options.extension[0], "-c",
                                 "import sys; print(sys.version_info[1])")
    if int(version) < 12:
        for row in rows:
            if row.name == "python_deep_py":  # greenlet's price rises with them from 3.12 on
                row.bar = None
    results = programs.extension_surroundings(commands)
    print(results["ours"], *results["peers"], sep="\n")
    results["rows"] = measure.measure(rows, commands, options.quick)
    return results


def measure_all(p, options, rows, chosen_curves, with_million):
    build = options.build.resolve()
    peers = {"lupa": options.lupa, "gevent": options.gevent,
             "core": (build / "bench/bench_core").exists()}
    commands = programs.commands(build, peers)
    missing = [programs.PEERS[key] for key in needed(rows, chosen_curves, with_million)
               if not peers[key]]
    rows, chosen_curves = available(p, rows, chosen_curves, commands, missing)
    results = programs.surroundings(build, peers)
    results["missing"] = missing
    results["command"] = " ".join(["./dev bench", *options.what,
                                   *(["--quick"] if options.quick else [])])
    print(results["ours"], *results["peers"], results["machine"], sep="\n")
    everything = not options.what and not options.instructions
    counted = [row for row in rows if row.name in known_rows.HOTTEST] if everything else []
    if options.instructions:
        counted = rows
    else:
        if rows:
            results["rows"] = measure.measure(rows, commands, options.quick)
        results["curves"] = curves.run_all(chosen_curves, commands, options.quick)
        results["million"] = million.run(commands, options.quick) if with_million else []
    results["instructions"] = instructions.beside_peers(counted, commands) if counted else []
    return results


def hottest(options, rows):
    build = options.build.resolve()
    rows = [row for row in rows if row.name in known_rows.HOTTEST]
    commands = programs.commands(build, {})
    if options.record:
        instructions.record(rows, commands, build)
        return 0
    return instructions.check(rows, commands, build)


def main(arguments=None):
    p = parser()
    options = p.parse_args(arguments)
    if options.record and not options.instructions:
        p.error("--record needs --instructions")
    if options.objects and (not options.instructions or options.check or options.record):
        p.error("--objects is for --instructions alone")
    if options.record and (options.what or options.check):
        p.error("--record takes neither WHAT nor --check")
    if options.results and not options.report:
        p.error("--from needs --report")
    if options.report and (options.extension or options.instructions):
        p.error("--report is for neither --extension nor --instructions")
    directory = options.report
    if not (directory or options.what or options.quick or options.extension or
            options.instructions):
        directory = ROOT / "docs"
    if options.needs:
        print(*needs(p, options, directory))
        return 0
    if options.results:
        results = saved(p, options.results)
        prepare(p, None, directory)
        write_report(results, directory)
        return 0
    chosen = choose(p, options)
    if options.list:
        print(*listed(*chosen), sep="\n")
        return 0
    if not (options.extension or (options.build / "moonlet").exists()):
        p.error(f"there is no {options.build}/moonlet: build it first")
    if options.instructions and (options.check or options.record):
        return hottest(options, chosen[0])
    if options.objects:
        commands = programs.commands(options.build.resolve(), {})
        instructions.by_object([row for row in chosen[0] if row.ours[0] in commands], commands)
        return 0
    prepare(p, options.json, directory)
    if options.extension:
        results = measure_extension(options, chosen[0])
    else:
        results = measure_all(p, options, *chosen)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if directory:
        write_report(results, directory)
    over = [r["name"] for r in results.get("rows", ()) if r["bar"] and r["ratio"][0] > r["bar"]]
    return 1 if options.check and over else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except measure.Failed as failed:
        sys.exit(f"bench: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
