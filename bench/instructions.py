"""Counts instructions with valgrind: what a noisy machine does not change. Those of the hottest
operations are recorded in instructions.json, with which --check compares.
"""
import json
import re
import shutil
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import programs

RECORD = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.05
SKIPPED = 77  # the exit status that tells ctest so
AGAIN = "./dev bench --instructions --record"
# The whole environment: the size of one moves the stack. The hashes of strings, and which of its
# memcpy and others libc chooses, here those that every x86-64 has, are the same everywhere.
FIXED = {
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,"
                      "-AVX_Fast_Unaligned_Load,-SSSE3,-SSE4_1,-SSE4_2,-ERMS,-FSRM,-BMI1,-BMI2,"
                      "-LZCNT,-MOVBE,-RTM,-Fast_Unaligned_Copy,-Fast_Copy_Backward",
}


def total(command, environment, operation, n, file="/dev/null"):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={file}", *command],
        input=f"{operation} {n}\n", capture_output=True, text=True,
        env={**FIXED, **environment})
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not found:
        raise SystemExit(f"bench: valgrind failed at {operation}:\n{run.stderr}")
    return int(found[1])


def count(command, environment, operation, few=10_000, many=60_000):
    """Instructions per operation: the difference of two counts, so that start-up drops out. That
    varies by some 100,000, with the seed that Lua takes from the time, for one."""
    return (total(command, environment, operation, many) -
            total(command, environment, operation, few)) / (many - few)


def count_all(asked, commands):
    """For each (program, operation, environment), on as many processors as there are."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda a: count(commands[a[0]], a[2], a[1]), asked))


def in_objects(file):
    """The sums of a profile, by the program and libraries that they are in."""
    text = programs.output_of("callgrind_annotate", "--threshold=100", file)
    sums = {}
    for n, path in re.findall(r"^ *([\d,]+) \(.*\[(.*)\]$", text, re.MULTILINE):
        name = Path(path).name.partition(".so")[0]
        sums[name] = sums.get(name, 0) + int(n.replace(",", ""))
    return sums


def objects(row, commands, few=10_000, many=60_000):
    """Instructions of one of our operations, by where they are."""
    sums = []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "profile"
        for n in few, many:
            total(commands[row.ours[0]], row.environment, row.ours[1], n, file)
            sums.append(in_objects(file))
    each = {name: (n - sums[0].get(name, 0)) / (many - few) for name, n in sums[1].items()}
    return {name: n for name, n in each.items() if n >= 1}


def by_object(rows, commands):
    """Tells that of each row."""
    for row in rows:
        each = objects(row, commands)
        parts = sorted(each.items(), key=lambda part: -part[1])
        print(f"{row.name:20}{sum(each.values()):8,.0f}  "
              f"{'  '.join(f'{name} {n:,.0f}' for name, n in parts)}", flush=True)


def beside_peers(rows, commands):
    print(f"\n{'instructions':20}{'ours':>8}{'peer':>8}{'ratio':>8}")
    results = []
    for row in rows:
        ours, peer = count_all([(*side, row.environment) for side in (row.ours, row.peer)],
                               commands)
        print(f"{row.name:20}{ours:8,.0f}{peer:8,.0f}{ours / peer:8.2f}  "
              f"{row.what}; {row.beside}", flush=True)
        results.append({"name": row.name, "what": row.what, "beside": row.beside,
                        "ours": ours, "peer": peer})
    return results


def ours(rows, commands):
    """The median of three counts each: with another seed Lua's tables have other collisions."""
    asked = [(*row.ours, row.environment) for row in rows]
    counts = count_all(3 * asked, commands)
    return {row.name: round(statistics.median(counts[i::len(rows)]), 1)
            for i, row in enumerate(rows)}


def toolchain(build):
    """What the counts depend on, besides the sources. Of packages without Debian's revision."""
    return {"compiler": programs.compiler(build),
            "processor": programs.processor(),
            **{name: programs.package_version(name).split("-")[0]
               for name in ("libc6", "liblua5.4-0", "libpython3.11")}}


def record(rows, commands, build):
    counts = ours(rows, commands)
    RECORD.write_text(json.dumps({"built": toolchain(build), "counts": counts}, indent=4) + "\n")
    print(*(f"{name:20}{n:8,.0f}" for name, n in counts.items()), sep="\n")
    print(f"recorded in {RECORD}")


def compare(recorded, counts):
    """Lines that tell expected, measured and difference, and whether all are within TOLERANCE."""
    lines = [f"{'instructions':20}{'expected':>10}{'measured':>10}{'difference':>12}"]
    good = True
    for name in sorted({*recorded, *counts}):
        if name not in recorded or name not in counts:
            good = False
            lines.append(f"{name:20}{'not recorded' if name in counts else 'not measured':>20}")
            continue
        expected, measured = recorded[name], counts[name]
        difference = measured / expected - 1
        verdict = ""
        if abs(difference) > TOLERANCE:
            good = False
            verdict = "  slower" if difference > 0 else "  faster than recorded"
        lines.append(f"{name:20}{expected:10,.0f}{measured:10,.0f}{difference:12.1%}{verdict}")
    return lines, good


def check(rows, commands, build):
    """The exit status: 0, 1 if a count differs, SKIPPED where they cannot be compared."""
    if not shutil.which("valgrind"):
        print("skipped: no valgrind")
        return SKIPPED
    recorded = json.loads(RECORD.read_text())
    built = toolchain(build)
    different = [f"{name} {built[name]}, recorded with {value}"
                 for name, value in recorded["built"].items() if built.get(name) != value]
    if different:
        print("skipped:", *different, f"so record first, before the change: {AGAIN}", sep="\n  ")
        return SKIPPED
    lines, good = compare(recorded["counts"], ours(rows, commands))
    print(*lines, sep="\n")
    if not good:
        print(f"more than {TOLERANCE:.0%} off; if that is meant, record anew: {AGAIN}")
    return 0 if good else 1
