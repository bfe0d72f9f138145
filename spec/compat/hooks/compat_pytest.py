"""A pytest plugin that records outcomes as sitecustomize.py does."""

from sitecustomize import record


def pytest_runtest_logstart(nodeid):
    record(start=nodeid)


def pytest_runtest_logreport(report):
    if report.failed:
        record(test=report.nodeid, outcome="fail")
    elif report.skipped:
        outcome = "pass" if hasattr(report, "wasxfail") else "skip"
        record(test=report.nodeid, outcome=outcome)
    elif report.when == "call":
        record(test=report.nodeid, outcome="pass")


def pytest_collectreport(report):
    if report.failed:
        record(test=f"{report.nodeid} (collection)", outcome="fail")
