"""A PostgreSQL cluster of the tests' own: made in a temporary folder, on a free port, never as root."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg

START_S = 60.0
# A database that nobody needs after the test: nothing waits for the disk. Tests of durability say otherwise.
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
SMALL = {"max_connections": "200", "shared_buffers": "64MB", "listen_addresses": "127.0.0.1"}


@dataclass(slots=True)
class Cluster:
    """A running cluster; everybody on this machine may connect."""

    folder: Path
    port: int
    options: dict[str, str]

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    def run_sql(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside of a transaction; returns its rows."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            done = connection.execute(sql.encode())
            return done.fetchall() if done.description else []

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {**SMALL, **self.options, "port": str(self.port), "unix_socket_directories": ""}
        given = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._control("start", "-w", "-t", str(int(START_S)), "-l", str(self.folder / "log"), "-o", given)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; "immediate" is a crash, from which the next start recovers."""
        self._control("stop", "-w", "-m", mode)

    def _control(self, *words: str) -> None:
        run_as_postgres([str(binaries() / "pg_ctl"), "-s", "-D", str(self.folder / "data"), *words])


def binaries() -> Path:
    """The folder of the newest server programs on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    assert on_path, "PostgreSQL is not installed; tools/test-system-packages installs it"
    return Path(on_path).resolve().parent


def run_as_postgres(command: Sequence[str]) -> None:
    """Run a command, as the user postgres when we are root: the server refuses to be root."""
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **identity)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def cluster(options: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A new cluster, stopped and removed at the end; `options` None: careless of power cuts."""
    folder = Path(mkdtemp(prefix="isthmus-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    made = Cluster(folder, free_port(), CARELESS if options is None else options)
    try:
        words = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        run_as_postgres([str(binaries() / "initdb"), "-D", str(folder / "data"), *words])
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
