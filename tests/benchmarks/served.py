"""A real server on an empty data folder, and what its process costs: the ground of the benchmarks here.

Nothing here asserts a time. The figure that counts is the server's CPU time per operation, which busy
neighbours hardly move; requests per second are printed beside it.
"""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_S = 60
SCOPE = "system/*.cruds"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    token: str
    pid: int

    def cpu_s(self) -> float:
        """CPU seconds of the server's process so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mib(self) -> float:
        """Resident memory of the server's process, highest so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


class Client:
    """One connection that is kept."""

    def __init__(self, served: Served) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
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


@contextmanager
def serve() -> Iterator[Served]:
    """Start `isthmus serve` without a worker on a free port, on an empty folder that is removed again."""
    program = Path(sys.executable).with_name("isthmus")
    with tempfile.TemporaryDirectory(prefix="isthmus-benchmark-") as folder:
        port = _free_port()
        log = (Path(folder) / "log").open("wb")
        command = [program, "serve", "--data", folder, "--port", str(port), "--no-worker"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_ready(process, port)
            issued = subprocess.run(
                [program, "token", "--scope", SCOPE, "--data", folder], check=True, capture_output=True
            )
            yield Served(port, issued.stdout.split()[-1].decode(), process.pid)
        finally:
            process.terminate()
            process.wait(30)
            log.close()


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

    cpu, wall = served.cpu_s(), time.perf_counter()
    threads = [threading.Thread(target=run, args=(first,)) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu, wall = served.cpu_s() - cpu, time.perf_counter() - wall
    done = count * operations_each
    print(f"{name:<48} {connections:>3} {cpu / done * 1e6:>9.0f} µs {done / wall:>8.0f}/s", flush=True)


def heading() -> None:
    """The columns' names."""
    print(f"{'operation':<48} {'con':>3} {'CPU each':>12} {'done':>10}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await_ready(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise SystemExit("the server did not become ready")
