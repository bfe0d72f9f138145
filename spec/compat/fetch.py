"""What the suites need, fetched once into a directory per CPython: other projects' packages in a
virtual environment that has no greenlet of its own, stock greenlets, and sources with tests."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build-compat"
DEBIAN = Path("/usr/lib/python3/dist-packages")
DEBIAN_PYTHON = Path("/usr/bin/python3.11")

PACKAGES = ["greenlet", "gevent", "eventlet", "sqlalchemy", "aiosqlite", "asyncpg", "pytest",
            "cffi", "coverage", "dnspython", "objgraph", "psutil", "pyopenssl", "requests"]
SOURCES = ["eventlet", "sqlalchemy"]  # whose tests are only in the source distribution


class Environment:
    """The fetched packages for one interpreter.

    python   the virtual environment's interpreter; it finds no greenlet by itself
    site     its packages
    stock    the directory with the newest stock greenlet
    debian   the directory with Debian's greenlet and gevent, None for another CPython
    sources  the directory with the unpacked source distributions
    versions what is installed, by name
    """

    def __init__(self, interpreter):
        tag = subprocess.check_output(
            [interpreter, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"],
            text=True).strip()
        self.interpreter = interpreter
        self.directory = CACHE / tag
        self.python = self.directory / "venv/bin/python"
        self.stock = self.directory / "stock"
        self.sources = self.directory / "sources"
        self.debian = None
        fetched = self.directory / "fetched.json"
        wanted = {"packages": PACKAGES, "sources": SOURCES, "interpreter": str(interpreter)}
        if not fetched.exists() or json.loads(fetched.read_text())["wanted"] != wanted:
            fetched.unlink(missing_ok=True)
            versions = self.fetch()
            fetched.write_text(json.dumps({"wanted": wanted, "versions": versions}))
        self.versions = json.loads(fetched.read_text())["versions"]
        self.site = next(self.directory.glob("venv/lib/python3*/site-packages"))
        if Path(interpreter).samefile(DEBIAN_PYTHON) and (DEBIAN / "gevent").exists():
            self.fetch_debian()

    def fetch(self):
        """Fills the directory afresh; returns the versions of what is installed."""
        print(f"compat: fetching packages into {self.directory}", file=sys.stderr)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.stock.mkdir(parents=True)
        self.sources.mkdir()
        subprocess.run([self.interpreter, "-m", "venv", self.directory / "venv"], check=True)
        self.pip("install", "-q", "--no-compile", *PACKAGES)
        listed = json.loads(self.pip("list", "--format", "json"))
        versions = {item["name"].lower(): item["version"] for item in listed}
        site = next(self.directory.glob("venv/lib/python3*/site-packages"))
        shutil.move(site / "greenlet", self.stock / "greenlet")
        for name in SOURCES:
            self.fetch_source(name, versions[name])
        return versions

    def pip(self, *args):
        """Runs pip; returns what it printed."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run([self.python, "-m", "pip", *args], env=env, check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def fetch_source(self, name, version):
        """Unpacks the source distribution of that version as sources/NAME."""
        self.pip("download", "-q", "--no-deps", "--no-binary", name, "-d", self.sources,
                 f"{name}=={version}")
        archive = next(self.sources.glob(f"{name}-*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(self.sources)
        (self.sources / archive.name[:-len(".tar.gz")]).rename(self.sources / name)

    def fetch_debian(self):
        """Copies Debian's greenlet and gevent, and gives gevent the tests of that release."""
        versions = {name: debian_version(f"python3-{name}") for name in ("greenlet", "gevent")}
        self.versions.update({f"debian {name}": v for name, v in versions.items()})
        self.debian = self.directory / "debian-{greenlet}-{gevent}".format(**versions)
        if self.debian.exists():
            return
        part = self.directory / "debian.part"
        shutil.rmtree(part, ignore_errors=True)
        for name in versions:
            shutil.copytree(DEBIAN / name, part / "stock" / name)
        (part / "gevent").mkdir()
        (part / "stock/gevent").rename(part / "gevent/gevent")
        upstream = versions["gevent"].partition("-")[0]
        self.pip("download", "-q", "--no-deps", "-d", part, f"gevent=={upstream}")
        with zipfile.ZipFile(next(part.glob("gevent-*.whl"))) as wheel:
            wheel.extractall(part / "gevent", [
                name for name in wheel.namelist()
                if name.startswith(("gevent/tests/", "gevent/testing/"))])
        part.rename(self.debian)


def debian_version(package):
    """The installed version of a Debian package."""
    return subprocess.check_output(["dpkg-query", "-W", "-f", "${Version}", package], text=True)


def compose(package, tests, directory):
    """Makes directory/greenlet of the files of one package and the tests of another, as links.

    The directory must not have one yet."""
    target = Path(directory) / "greenlet"
    target.mkdir(parents=True)
    for file in package.iterdir():
        if file.name not in ("tests", "__pycache__"):
            (target / file.name).symlink_to(file.resolve())
    (target / "tests").symlink_to(tests.resolve())
