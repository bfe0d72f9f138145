"""Runs suites on both sides and tells what passes on stock greenlet but not on ours."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import unit as process
from unit import EXIT, Result

RETRIES = 2


@dataclass
class Report:
    """What came of a suite: names of tests, `UNIT: TEST`, and where the log of each is."""

    passed: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    lost: list = field(default_factory=list)  # did not run, since the process had ended
    excepted: list = field(default_factory=list)
    clean: list = field(default_factory=list)  # passed, but for a leak that is missed
    flaky: list = field(default_factory=list)
    unfit: list = field(default_factory=list)  # does not pass on stock


class Comparison:
    """Runs units of suites; baselines on stock are kept in the environment's directory."""

    def __init__(self, environment, jobs, progress):
        self.environment = environment
        self.jobs = jobs
        self.progress = progress

    def baseline_file(self, suite, unit):
        """Where the outcomes on stock are kept: changes with all that may change them."""
        known = [suite.name, unit.name, unit.args, sorted(unit.env), unit.timeout,
                 self.environment.versions, str(self.environment.interpreter)]
        key = hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()[:16]
        return self.environment.directory / f"baseline/{suite.name}/{unit.name}-{key}.json"

    def run(self, suite, unit, side, attempt=""):
        """One run, with its log in its place."""
        log = (self.environment.directory / "logs" / suite.name
               / f"{unit.name}.{side.name}{attempt}.log")
        result = process.run(self.environment.python, unit, side, log)
        self.progress(f"{suite.name} {unit.name} on {side.name}{attempt}: {result.seconds} s, "
                      f"status {result.status}")
        return result

    def baseline(self, suite, unit):
        """The result on stock, from the last time if there was one; None without a stock."""
        if suite.stock is None:
            return None
        file = self.baseline_file(suite, unit)
        if file.exists():
            return Result(**json.loads(file.read_text()))
        result = self.run(suite, unit, suite.stock)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(result)))
        return result

    def compare(self, suites, exceptions):
        """A Report by the suite's name, for these (suite, units)."""
        pool = ThreadPoolExecutor(self.jobs)
        try:
            pairs = [(suite, unit) for suite, units in suites for unit in units]
            stock = [pool.submit(self.baseline, *pair) for pair in pairs]
            ours = [pool.submit(self.run, suite, unit, suite.ours) for suite, unit in pairs]
            judged = [pool.submit(self.judge, suite, unit, a.result(), b.result(), exceptions)
                      for (suite, unit), a, b in zip(pairs, stock, ours)]
            reports = {suite.name: Report() for suite, _ in suites}
            for (suite, unit), future in zip(pairs, judged):
                add(reports[suite.name], unit, future.result())
            return reports
        except BaseException:
            process.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def judge(self, suite, unit, stock, ours, exceptions):
        """A verdict, a field of Report, for each test of the unit, after retries."""
        if stock is None:
            stock = Result(dict.fromkeys(ours.tests, "pass"), 0)
        crash = crash_name(ours, stock)
        names = {test for name, test in exceptions if name == suite.name}
        bad = regressions(stock, ours) - names
        left, attempt = set(bad), 1
        while left and attempt <= RETRIES:
            again = self.run(suite, unit, suite.ours, f"-{attempt}")
            crash = crash or crash_name(again, stock)
            left &= regressions(stock, again)
            attempt += 1
        if left and suite.stock:
            left &= passing(self.run(suite, unit, suite.stock, "-again"))
        return verdicts(stock, ours, bad, left, names, crash)


def passing(result):
    return {test for test, outcome in result.tests.items() if outcome == "pass"}


def regressions(stock, ours):
    """The tests that pass on stock and not on ours."""
    return {test for test in passing(stock) if ours.tests.get(test) not in ("pass", "clean")}


def crash_name(ours, stock):
    """A name for a crash that stock does not have: no later luck forgives it."""
    return f"(signal {-ours.status})" if ours.crashed and not stock.crashed else None


def verdicts(stock, ours, bad, failing, exceptions, crash):
    """The verdict by test: `bad` failed at first, `failing` always. An exception that passes is
    a failure, too."""
    found = {}
    for test, outcome in stock.tests.items():
        if outcome != "pass":
            found[test] = "unfit"
        elif test not in ours.tests and test in failing | exceptions:
            found[test] = "lost"
        elif test in exceptions:
            found[test] = "excepted" if ours.tests[test] != "pass" else "failed"
        elif test in failing:
            found[test] = "failed"
        else:
            found[test] = ("flaky" if test in bad else
                           "clean" if ours.tests[test] == "clean" else "passed")
    if len(found) > 1 and found.get(EXIT) in ("passed", "unfit"):
        del found[EXIT]  # the tests have been counted
    if crash:
        found[crash] = "failed"
    return found


def add(report, unit, found):
    for test, verdict in found.items():
        getattr(report, verdict).append((unit.name, test))
