"""A real server on an empty data folder, and what its process costs: the ground of the benchmarks here.

Nothing here asserts a time. The figure that counts is the server's CPU time per operation, which busy
neighbours hardly move; PostgreSQL's own and requests per second are printed beside it.
"""

import argparse
import http.client
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file: the tests are no installed package

from tests.services.certificates import Authority
from tests.services.postgresql import Cluster, cluster

READY_S = 60
SCOPE = "system/*.cruds"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    token: str
    pid: int
    folder: Path  # of its data
    environment: Mapping[str, str]  # that it was started with
    postmaster: int | None = None  # PostgreSQL's first process; None: the server runs on SQLite
    trusted: ssl.SSLContext | None = None  # it serves TLS

    def cpu_s(self) -> float:
        """CPU seconds of the server's process so far, user and system."""
        return _cpu_s(self.pid)

    def database_cpu_s(self) -> float:
        """The same of all of PostgreSQL's processes, those that have ended included."""
        if self.postmaster is None:
            return 0.0
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        return _cpu_s(self.postmaster, ended=True) + sum(_cpu_s(int(child)) for child in children)

    def memory_mib(self) -> float:
        """Resident memory of the server's process, highest so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


class Client:
    """One connection that is kept."""

    def __init__(self, served: Served) -> None:
        if served.trusted is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        else:
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", served.port, timeout=60, context=served.trusted
            )
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._authorization = {"Authorization": f"Bearer {served.token}"}

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request; a status that is no success ends the run."""
        self._connection.request(method, path, body, {**self._authorization, **(headers or {})})
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {content[:300]!r}")
        return response, content


def parse_arguments(description: str | None, count: int) -> argparse.Namespace:
    """What every benchmark here may be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count, help="operations of a row")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return parser.parse_args()


@contextmanager
def serve(
    database: str,
    program: Sequence[str] = (sys.executable, "-m", "server"),
    authority: Authority | None = None,
) -> Iterator[Served]:
    """Start `isthmus serve` without a worker on a free port, on an empty folder that is removed again.

    PostgreSQL is a cluster of its own, which flushes each commit to disk. `authority`: TLS is served.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-benchmark-"))
        environment = dict(os.environ)
        postmaster = None
        if database == "postgresql":
            postgresql = stack.enter_context(durable_postgresql())
            environment["ISTHMUS_DATABASE_URL"] = postgresql.url("isthmus")
            postmaster = int((postgresql.folder / "data/postmaster.pid").read_text().split()[0])
        port = _free_port()
        log = stack.enter_context((Path(folder) / "log").open("wb"))
        command = [*program, "serve", "--data", folder, "--port", str(port), "--no-worker"]
        if authority is not None:
            pair = authority.issue(f"server-{port}")
            command += ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
        trusted = None if authority is None else authority.trusted()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        _await_ready(process, port, trusted)
        token = [sys.executable, "-m", "server", "token", "--scope", SCOPE, "--data", folder]
        issued = subprocess.run(token, check=True, capture_output=True, env=environment)
        bearer = issued.stdout.split()[-1].decode()
        yield Served(port, bearer, process.pid, Path(folder), environment, postmaster, trusted)


@contextmanager
def durable_postgresql() -> Iterator[Cluster]:
    """A cluster with an empty database "isthmus", as safe as an operator's."""
    with cluster({}) as postgresql:
        postgresql.run_sql("CREATE DATABASE isthmus")
        yield postgresql


def measure(
    served: Served,
    name: str,
    count: int,
    connections: int,
    operation: Callable[[Client, int], object],
    *,
    operations_each: int = 1,
) -> None:
    """Make `count` requests over some connections and print what each operation in them cost the server."""
    clients = [Client(served) for _ in range(connections)]
    for client in clients:
        operation(client, -1)  # caches and compiled statements

    def run(first: int) -> None:
        for number in range(first, count, connections):
            operation(clients[first], number)

    cpu, database, wall = served.cpu_s(), served.database_cpu_s(), time.perf_counter()
    threads = [threading.Thread(target=run, args=(first,)) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu, database = served.cpu_s() - cpu, served.database_cpu_s() - database
    wall, done = time.perf_counter() - wall, count * operations_each
    costs = f"{cpu / done * 1e6:>9.0f} µs {database / done * 1e6:>9.0f} µs"
    print(f"{name:<48} {connections:>3} {costs} {done / wall:>8.0f}/s", flush=True)


def heading() -> None:
    """The columns' names."""
    print(f"{'operation':<48} {'con':>3} {'CPU each':>12} {'PostgreSQL':>12} {'done':>10}")


def _cpu_s(pid: int, *, ended: bool = False) -> float:
    """CPU seconds of a process, user and system; `ended`: with those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11 : 15 if ended else 13])) / _TICKS


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await_ready(process: subprocess.Popen[bytes], port: int, trusted: ssl.SSLContext | None) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        kind = (
            http.client.HTTPConnection
            if trusted is None
            else partial(http.client.HTTPSConnection, context=trusted)
        )
        connection = kind("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise SystemExit("the server did not become ready")
