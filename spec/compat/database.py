"""A PostgreSQL cluster of one's own, in a temporary directory, reached by its socket only."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Database:
    """A running cluster that has the database `test`."""

    socket: Path
    user: str

    @property
    def url(self):
        return f"postgresql+asyncpg://{self.user}@/test?host={self.socket}"


def binaries():
    """The directory of the newest server's programs, None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                   key=lambda path: float(path.parent.parent.name))
    return found[-1].parent if found else None


def account():
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("no unprivileged account")


@contextlib.contextmanager
def cluster():
    """Makes a cluster, yields it as a Database, stops and removes it."""
    programs, user = binaries(), account()
    if programs is None:
        raise RuntimeError("PostgreSQL's server is not installed")
    directory = Path(tempfile.mkdtemp(prefix="compat-db-"))
    switch = {"user": user} if os.geteuid() == 0 else {}

    def call(program, *args):
        subprocess.run([programs / program, *args], check=True, cwd=directory, **switch,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       env={**os.environ, "LC_ALL": "C.UTF-8"})
    try:
        shutil.chown(directory, user)
        data = directory / "data"
        call("initdb", "-D", data, "-A", "trust", "-U", user, "-E", "UTF8", "--no-sync")
        options = (f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off "
                   "-c max_connections=60 -c max_prepared_transactions=10")
        try:
            call("pg_ctl", "-D", data, "-w", "-l", directory / "log", "-o", options, "start")
            call("createdb", "-h", directory, "-U", user, "test")
            for schema in ("test_schema", "test_schema_2"):
                call("psql", "-q", "-h", directory, "-U", user, "-c", f"CREATE SCHEMA {schema}",
                     "test")
            yield Database(directory, user)
        finally:
            if (data / "postmaster.pid").exists():
                call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
