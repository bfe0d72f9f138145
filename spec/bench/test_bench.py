"""What `./dev bench` makes of measurements, without measuring."""
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import curves  # noqa: E402
import instructions  # noqa: E402
import measure  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import run  # noqa: E402

PLOTS = os.environ.get("MOONLET_PLOTS")  # an interpreter with matplotlib


def row(name="create", bar=0.5, pairs=((1.0, 2.0), (4.0, 2.0), (30.0, 100.0)), **more):
    known = rows.Row("Topic", name, "what it does", "peer", ("a", "b"), ("c", "d"), bar=bar,
                     **more)
    return measure.result(known, [list(pair) for pair in pairs])


def curve(**more):
    return {"name": "curve_x", "title": "Title", "x_label": "frames", "y_label": "ns each",
            "log": "", "time": False,
            "series": [{"label": "moonlet", "ours": True, "x": [0.0, 10.0],
                        "y": [[40.0, 39.0, 41.0], [50.0, 48.0, 52.0]]},
                       {"label": "other", "ours": False, "x": [0.0, 10.0],
                        "y": [[400.0, 390.0, 410.0], [5000.0, 4800.0, 5200.0]]}], **more}


def results(**more):
    return {"ours": "moonlet 0", "peers": ["peer 1", "peer 2"], "compiler": "C 1",
            "machine": "M, 2 cores", "system": "S", "date": "2026-01-02", "load": [0.5, 1, 2],
            "missing": [], "command": "./dev bench", "rows": [row()], "curves": [curve()],
            "million": [{"label": "moonlet", "ours": True, "n": 1000,
                         "answer": [1.0, 2.0, 3.0, 5e6]}],
            "instructions": [{"name": "create", "what": "w", "beside": "b", "ours": 50.0,
                              "peer": 100.0}], **more}


def markdown(**more):
    return report.markdown(results(**more), (ROOT / "bench/template.md").read_text(), "## Notes")


class Measuring(unittest.TestCase):
    def test_the_spread_is_the_median_and_the_quartiles(self):
        self.assertEqual(measure.spread([5, 1, 2, 3, 4]), [3, 2, 4])
        self.assertEqual(measure.spread([7]), [7, 7, 7])

    def test_ratios_are_those_of_pairs(self):
        self.assertEqual(row()["ratio"][0], 0.5)
        self.assertEqual(row()["ours"][0], 4)
        self.assertEqual(row()["peer"][0], 2)

    def test_every_second_pair_begins_with_the_peer(self):
        calls = []
        asks = [lambda: calls.append("a") or "ours", lambda: calls.append("b") or "peer"]
        self.assertEqual(measure.in_turn(0, asks), ["ours", "peer"])
        self.assertEqual(measure.in_turn(1, asks), ["ours", "peer"])
        self.assertEqual("".join(calls), "abba")

    def test_a_worker_that_ends_is_reported_by_its_command(self):
        with measure.Worker(["true"], {}) as worker:
            with self.assertRaisesRegex(measure.Failed, "^true: failed at create 5$"):
                worker.measure("create", 5)

    def test_a_worker_answers_with_numbers(self):
        with measure.Worker(["sh", "-c", "while read a b; do echo $b 1.5; done"], {}) as worker:
            self.assertEqual(worker.ask("create", 5), [5, 1.5])
            self.assertEqual(worker.measure("create", 6), 6)

    def test_settings_of_users_are_not_in_force(self):
        os.environ.update(MOONLET_LANES="3", PYTHONPATH="/x", LUA_PATH="/y")
        try:
            environment = programs.environment({"MOONLET_LANES": "1"})
        finally:
            for name in ("MOONLET_LANES", "PYTHONPATH", "LUA_PATH"):
                del os.environ[name]
        self.assertEqual(environment["MOONLET_LANES"], "1")
        self.assertNotIn("PYTHONPATH", environment)
        self.assertNotIn("LUA_PATH", environment)

    def test_names_are_unique_and_known(self):
        names = [item.name for item in (*rows.ROWS, *curves.CURVES)]
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual(rows.COUNTED, set(names))
        known = programs.commands(Path("/b"), {"lupa": "l", "gevent": "g", "core": True})
        for item in rows.ROWS:
            self.assertLessEqual({item.ours[0], item.peer[0]}, known.keys())
        for item in curves.CURVES:
            self.assertLessEqual({series.program for series in item.series}, known.keys())


class Report(unittest.TestCase):
    def test_a_row_has_both_sides_the_ratio_and_the_bar(self):
        self.assertIn("## Topic\n", markdown())
        self.assertIn("| what it does<br>`create` | 4 ns (2.50–17) | peer | 2 ns (2–51) "
                      "| 0.500 (0.400–1.25) | 0.5 held |", markdown())

    def test_large_times_are_microseconds(self):
        text = markdown(rows=[row(pairs=[(20_000.0, 9_000.0)])])
        self.assertIn("| 20 µs (20–20) | peer | 9,000 ns (9,000–9,000) |", text)

    def test_bars_that_do_not_hold_are_named(self):
        self.assertIn("All 1 hold.", markdown())
        text = markdown(rows=[row(), row("slow", 0.1), row("free", None)])
        self.assertIn("1 of 2 hold; over theirs are `slow`.", text)
        self.assertIn("| 0.1 **over** |", text)

    def test_what_could_not_be_had_is_named(self):
        self.assertNotIn("could not be had", markdown())
        self.assertIn("could not be had: lupa, Boost.Context.",
                      markdown(missing=["lupa", "Boost.Context"]))

    def test_a_curve_is_told_by_its_ends(self):
        text = markdown()
        self.assertIn("![Title](performance/curve_x.svg)", text)
        self.assertIn("moonlet 40 ns each with 0 frames, 50 with 10; other 400 with 0, 5,000 with "
                      "10.", " ".join(text.split()))

    def test_drift_is_told_by_the_median_slope(self):
        series = {"label": "moonlet", "ours": True, "x": [0.0, 1.0, 2.0, 3.0],
                  "y": [[y] * 3 for y in (100.0, 110.0, 999.0, 130.0)]}
        text = " ".join(markdown(curves=[curve(time=True, series=[series])]).split())
        self.assertIn("Medians of 4 windows", text)
        self.assertIn("moonlet 120 ns each, drift +25.0%.", text)

    def test_a_million(self):
        self.assertIn("| moonlet | 1.00 s | 2.00 s | 3.00 s | 5 MB | 5,000 B |", markdown())
        failed = [{"label": "greenlet", "ours": False, "n": 10, "answer": None}]
        self.assertIn("| greenlet | failed |", markdown(million=failed))

    def test_instructions(self):
        self.assertIn("| w<br>`create` | 50 | b | 100 | 0.500 |", markdown())

    def test_everything_is_filled_in(self):
        text = markdown()
        self.assertNotIn("{{", text)
        self.assertIn("`./dev bench`", text)
        self.assertTrue(text.endswith("## Notes\n"))

    def test_what_was_not_measured_has_no_section(self):
        text = markdown(rows=[], curves=[], million=[], instructions=[])
        self.assertEqual([line for line in text.splitlines() if line.startswith("## ")],
                         ["## How it is measured", "## Notes"])

    @unittest.skipUnless(PLOTS, "needs matplotlib: ./dev test bench")
    def test_the_same_results_give_the_same_files(self):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            file = Path(one) / "first.json"
            file.write_text(json.dumps(results()))
            for directory in one, two:
                subprocess.run([PLOTS, ROOT / "bench/run.py", "--from", file,
                                "--report", directory], check=True, stdout=subprocess.DEVNULL)
                file = Path(one) / "performance/results.json"
            paths = [path.relative_to(two) for path in Path(two).rglob("*") if path.is_file()]
            self.assertEqual(len(paths), 3)
            for path in paths:
                self.assertEqual((Path(one) / path).read_bytes(), (Path(two) / path).read_bytes())
            self.assertIn(">moonlet<", (Path(one) / "performance/curve_x.svg").read_text())


class Instructions(unittest.TestCase):
    def test_a_profile_is_summed_by_library(self):
        lines = """--------
Ir
--------
1,000 (100.0%)  PROGRAM TOTALS

  600 (60.00%)  ???:ml_switch [/build/moonlet]
   50 ( 5.00%)  file.c:f'2 [/build/moonlet]
  350 (35.00%)  ???:0x00000000000e4b0 [/usr/lib/liblua5.4.so.0.0.0]
"""
        with unittest.mock.patch.object(programs, "output_of", return_value=lines):
            self.assertEqual(instructions.in_objects("profile"),
                             {"moonlet": 650, "liblua5.4": 350})

    def test_within_five_percent_they_are_the_same(self):
        lines, good = instructions.compare({"a": 1000, "b": 100}, {"a": 1049, "b": 96})
        self.assertTrue(good)
        self.assertEqual(lines[1].split(), ["a", "1,000", "1,049", "4.9%"])

    def test_more_is_slower(self):
        lines, good = instructions.compare({"a": 1000}, {"a": 1051})
        self.assertFalse(good)
        self.assertTrue(lines[1].endswith("5.1%  slower"))

    def test_less_is_to_be_recorded(self):
        lines, good = instructions.compare({"a": 1000}, {"a": 949})
        self.assertFalse(good)
        self.assertTrue(lines[1].endswith("-5.1%  faster than recorded"))

    def test_both_must_have_the_same_operations(self):
        lines, good = instructions.compare({"a": 1000}, {"b": 949})
        self.assertFalse(good)
        self.assertIn("not measured", lines[1])
        self.assertIn("not recorded", lines[2])

    def test_the_hottest_are_recorded(self):
        recorded = json.loads(instructions.RECORD.read_text())
        self.assertEqual(recorded["counts"].keys(), set(rows.HOTTEST))


class Arguments(unittest.TestCase):
    def error(self, *arguments):
        """What is said of wrong arguments, for which the exit status is 2."""
        told = io.StringIO()
        with redirect_stderr(told), self.assertRaises(SystemExit) as end:
            run.main(list(arguments))
        self.assertEqual(end.exception.code, 2)
        return told.getvalue().splitlines()[-1]

    def output(self, *arguments):
        told = io.StringIO()
        with redirect_stdout(told):
            self.assertEqual(run.main(list(arguments)), 0)
        return told.getvalue().split("\n")

    def test_nothing_of_that_name(self):
        self.assertEqual(self.error("create", "nonsense", "x"),
                         "bench: error: nothing is named nonsense or x; see --list")

    def test_options_that_need_others(self):
        for arguments, text in (
                (["--record"], "--record needs --instructions"),
                (["--instructions", "--record", "create"],
                 "--record takes neither WHAT nor --check"),
                (["--from", "x.json"], "--from needs --report"),
                (["--report", "x", "--instructions"],
                 "--report is for neither --extension nor --instructions")):
            self.assertEqual(self.error(*arguments), "bench: error: " + text)

    def test_no_build(self):
        self.assertIn("there is no /nowhere/moonlet: build it first",
                      self.error("--build", "/nowhere", "create"))

    def test_rows_whose_peers_are_missing(self):
        with tempfile.TemporaryDirectory() as build:
            (Path(build) / "moonlet").touch()
            self.assertEqual(
                self.error("--build", build, "bridge_call_i", "core_s"),
                "bench: error: left out, for want of Boost.Context and lupa: core_switch "
                "bridge_call_int")

    def test_results_that_cannot_be_written_are_found_out_first(self):
        with tempfile.TemporaryDirectory() as build:
            (Path(build) / "moonlet").touch()
            self.assertIn("cannot write /nowhere/x.json",
                          self.error("--build", build, "create_lua", "--json", "/nowhere/x.json"))

    def test_results_that_are_none(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            self.assertIn("cannot read", self.error("--from", file.name, "--report", "/tmp"))
            file.write("[]")
            file.flush()
            self.assertIn("no results", self.error("--from", file.name, "--report", "/tmp"))

    def test_the_list(self):
        lines = self.output("--list", "core_sw", "curve_fr", "mill")
        self.assertEqual([line.split(" ")[0] for line in lines],
                         ["core_switch", "curve_frames", "million", ""])

    def test_what_is_needed_of_others(self):
        self.assertEqual(self.output("--needs", "lua_"), ["", ""])
        self.assertEqual(self.output("--needs", "core_", "bridge_"), ["core lupa", ""])
        self.assertEqual(self.output("--needs", "--instructions", "--check"), ["", ""])


if __name__ == "__main__":
    unittest.main()
