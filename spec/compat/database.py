"""A PostgreSQL cluster of one's own, in a temporary directory, reached by its socket only."""

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path


class Cluster:
    """The programs of a server, a directory for its data and socket, and the user who runs it."""

    def __init__(self, programs, directory, user):
        self.programs = programs
        self.directory = directory
        self.user = user
        self.switch = {"user": user} if os.geteuid() == 0 else {}
        self.numbers = itertools.count(1)

    def call(self, program, *args):
        """Runs a program of the server or its clients."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        env.update(LC_ALL="C.UTF-8", PGHOST=str(self.directory), PGUSER=self.user)
        subprocess.run([self.programs / program, *args], check=True, cwd=self.directory, env=env,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **self.switch)

    def start(self):
        data = self.directory / "data"
        self.call("initdb", "-D", data, "-A", "trust", "-U", self.user, "-E", "UTF8",
                  "--no-sync")
        options = (f"-c listen_addresses= -c unix_socket_directories={self.directory} "
                   "-c fsync=off -c max_connections=90 -c max_prepared_transactions=10")
        self.call("pg_ctl", "-D", data, "-w", "-l", self.directory / "log", "-o", options,
                  "start")

    def stop(self):
        data = self.directory / "data"
        if (data / "postmaster.pid").exists():
            self.call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")

    def fresh(self):
        """Makes a database with the schemas that SQLAlchemy's tests want; returns the variables
        by which clients find it."""
        name = f"test{next(self.numbers)}"
        self.call("createdb", name)
        self.call("psql", "-q", name, "-c", "CREATE SCHEMA test_schema", "-c",
                  "CREATE SCHEMA test_schema_2")
        return {"PGHOST": str(self.directory), "PGUSER": self.user, "PGDATABASE": name}


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
    """Makes and starts a Cluster, yields it, stops and removes it."""
    programs, user = binaries(), account()
    if programs is None:
        raise RuntimeError("PostgreSQL's server is not installed")
    directory = Path(tempfile.mkdtemp(prefix="compat-db-"))
    shutil.chown(directory, user)
    found = Cluster(programs, directory, user)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(directory)
