"""The suites: which processes each has, and which greenlet stands on either side."""

from dataclasses import dataclass
from pathlib import Path

from fetch import compose
from unit import Side, Unit

HERE = Path(__file__).resolve().parent

# Modules of gevent.tests that are left out, by reason.
GEVENT_EXCLUDED = {
    "runs the standard library's own tests, which the interpreter's package has not":
        ["test___monkey_patching"],
    "needs name servers or other hosts":
        ["test__ares_timeout", "test__resolver_dnspython", "test__socket_dns",
         "test__socket_dns6", "test__getaddrinfo_import"],
    "needs the examples and documents of the source tree":
        ["test__doctests", "test__example_echoserver", "test__example_portforwarder",
         "test__example_udp_client", "test__example_udp_server", "test__example_webproxy",
         "test__example_wsgiserver", "test__example_wsgiserver_ssl", "test__examples"],
    "looks at modules' names, not at what they do":
        ["test__all__", "test__execmodules", "test___config", "test__ares_host_result"],
}

# Modules of gevent.tests that run on both loops also when not everything is asked for.
GEVENT_CI_BOTH = """
    test__GreenletExit test__event test__greenlet test__greenletset test__hub test__hub_join
    test__lock test__pool test__queue test__semaphore test__threadpool test__timeout
    """.split()

# And those that run on one loop.
GEVENT_CI = """
    test___monitor test__api test__api_timeout test__backdoor test__contextvars test__destroy
    test__exc_info test__greenio test__hub_join_timeout test__import_blocking_in_greenlet
    test__iwait test__joinall test__local test__loop_callback test__monkey
    test__monkey_hub_in_thread test__monkey_queue test__monkey_select test__order
    test__pywsgi test__real_greenlet test__select test__server test__signal test__sleep0
    test__socket_close test__socketpair test__socket_timeout test__subprocess_poll
    test__systemerror test__threading_2 test__threading_monkey_in_thread
    test__threading_patched_local test__util
    """.split()

# eventlet's test files that exercise greenlets.
EVENTLET_CI = """
    api_test dagpool_test db_pool_test debug_test event_test green_select_test
    greenpool_test greenthread_test hub_test pools_test queue_test semaphore_test test__event
    thread_test timeout_test timeout_with_statement_test timer_test tpool_test
    """.split()

# SQLAlchemy's test files that go through greenlets on an asyncio driver.
SQLALCHEMY_CI = ["test/base/test_concurrency.py", "test/ext/asyncio"]
SQLALCHEMY_ALL = ["test/engine/test_execute.py", "test/engine/test_transaction.py",
                  "test/dialect/test_suite.py", "test/orm/test_transaction.py",
                  "test/orm/test_session.py"]


@dataclass
class Suite:
    """Units and the two sides on which they run; without a stock side all must pass on ours."""

    name: str
    units: list
    ours: Side
    stock: Side = None


def stems(directory, pattern):
    """The names, without suffix, of the files that match."""
    return sorted(path.stem for path in Path(directory).glob(pattern))


def greenlet_suite(name, tests, ours, scratch):
    """greenlet.tests as they come with one stock greenlet: `tests` is the directory of that
    package; `scratch` is where our package is put together with them."""
    compose(ours.directory / "greenlet", tests / "greenlet/tests", scratch)
    units = [Unit(module, ["-m", "unittest", "-v", f"greenlet.tests.{module}"], timeout=300)
             for module in stems(tests / "greenlet/tests", "test_*.py")]
    return Suite(name, units, Side("ours", scratch, ours.env, ours.patience),
                 Side("stock", tests))


def gevent_suite(name, loop, package, paths, ours, stock, ci):
    """gevent.tests of the gevent in `package`, on that loop; `ci` names the modules for CI."""
    excluded = sum(GEVENT_EXCLUDED.values(), [])
    tests = package / "tests"
    env = {"GEVENT_LOOP": loop, "GEVENTTEST_USE_RESOURCES": "-network", "PYTHONDEVMODE": "1",
           "PYTHONWARNINGS": "default"}
    units = [Unit(module, ["-u", "-m", f"gevent.tests.{module}", "-v"], [*paths, tests], env,
                  ci=module in ci)
             for module in stems(tests, "test__*.py") if module not in excluded]
    return Suite(name, units, ours, stock)


def pytest_args(*files):
    return ["-m", "pytest", "-p", "compat_pytest", "-p", "no:cacheprovider", "-v", *files]


def eventlet_suite(sources, ours, stock):
    """The tests of eventlet's source distribution, a process per file."""
    cwd = sources / "eventlet"
    units = [Unit(name, pytest_args(f"tests/{name}.py"), [cwd], cwd=cwd, timeout=300,
                  ci=name in EVENTLET_CI)
             for name in stems(cwd / "tests", "*test*.py") if name != "conftest"]
    units += [Unit(f"asyncio/{unit.name}", unit.args, unit.paths, {"EVENTLET_HUB": "asyncio"},
                   cwd, unit.timeout, unit.name == "asyncio_test") for unit in units]
    return Suite("eventlet", units, ours, stock)


def sqlalchemy_suite(sources, ours, stock, database):
    """SQLAlchemy's tests on aiosqlite and, where there is a database, on asyncpg."""
    source = sources / "sqlalchemy"
    databases = [("aiosqlite", ["--db", "aiosqlite"], dict)]
    if database:
        databases.append(("asyncpg", ["--dburi", "postgresql+asyncpg://"], database.fresh))
    root = ["--rootdir", source, "-c", source / "pyproject.toml"]
    units = [Unit(f"{db}/{file.removesuffix('.py').replace('/', '-')}",
                  pytest_args(source / file, *root, *args), timeout=600,
                  ci=file in SQLALCHEMY_CI, prepare=prepare)
             for db, args, prepare in databases for file in SQLALCHEMY_CI + SQLALCHEMY_ALL]
    return Suite("sqlalchemy", units, ours, stock)


def programs_suite(ours, database):
    """The programs beside this file, each on ours alone."""
    prepare = database.fresh if database else dict
    units = [Unit(name, [str(HERE / f"{name}.py"), "-v"], prepare=prepare)
             for name in stems(HERE, "program_*.py")]
    return Suite("programs", units, ours)


def suites(environment, ours, scratch, database):
    """All suites. `scratch` is an empty directory, `database` a running Cluster or None."""
    stock = Side("stock", environment.stock)
    site = environment.site / "gevent"
    both = GEVENT_CI_BOTH + GEVENT_CI
    found = [
        greenlet_suite("greenlet", environment.stock, ours, scratch / "greenlet"),
        gevent_suite("gevent-libev", "libev-cext", site, [], ours, stock, both),
        gevent_suite("gevent-libuv", "libuv-cffi", site, [], ours, stock, GEVENT_CI_BOTH),
        eventlet_suite(environment.sources, ours, stock),
        sqlalchemy_suite(environment.sources, ours, stock, database),
        programs_suite(ours, database),
    ]
    if environment.debian:
        debian = Side("stock", environment.debian / "stock")
        package = environment.debian / "gevent"
        found[1:1] = [greenlet_suite("greenlet-debian", debian.directory, ours,
                                     scratch / "greenlet-debian")]
        found[4:4] = [gevent_suite("gevent-debian", "libev-cext", package / "gevent", [package],
                                   ours, debian, ["test__greenlet", "test__hub"])]
    return found
