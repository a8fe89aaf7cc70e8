"""An installation under load: database, store, Redis, servers, workers, and what their processes take."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.services import loopback
from tests.services.postgresql import cluster, free_port

READY_S = 120.0
STOP_S = 60.0
SAMPLE_S = 5.0
PROGRAM = (sys.executable, "-m", "server")
SAFE: dict[str, str] = {}  # PostgreSQL's own defaults: each commit is flushed to the disk


@dataclass(frozen=True, slots=True)
class Shape:
    """What the installation is made of."""

    database: str = "postgresql"
    servers: int = 1
    workers: int = 1
    store: str = "local"
    redis: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)  # ISTHMUS_… beyond those that follow from it


@dataclass(slots=True)
class Installation:
    """One that runs; `roles` are its processes, each with the ones it starts."""

    folder: Path
    environment: dict[str, str]
    bases: tuple[str, ...] = ()
    roles: dict[str, list[psutil.Process]] = field(default_factory=dict)

    def command(self, *words: str) -> str:
        """What a command of `isthmus` prints."""
        done = subprocess.run([*PROGRAM, *words], env=self.environment, capture_output=True, check=True)
        return done.stdout.decode()

    def token(self) -> str:
        """A token that may do everything, and lasts."""
        return self.command("token", "--scope", "system/*.cruds", "--ttl", "86400").split()[-1]

    def log(self) -> str:
        """What its processes have logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@contextmanager
def installation(folder: Path, shape: Shape) -> Iterator[Installation]:
    """Start everything on empty ground; at the end everything is stopped."""
    with ExitStack() as stack:
        running = Installation(folder, _environment(folder, shape.settings))
        _start_services(running, shape, stack)
        ports = [free_port() for _ in range(shape.servers)]
        running.bases = tuple(f"http://127.0.0.1:{port}" for port in ports)
        for number, port in enumerate(ports):
            process = _start(
                running, f"server-{number}", ["serve", "--no-worker", "--port", str(port)], stack
            )
            await_ready(running.bases[number], process)
            running.roles.setdefault("server", []).append(process)
        for number in range(shape.workers):
            process = _start(running, f"worker-{number}", ["worker"], stack)
            running.roles.setdefault("worker", []).append(process)
        yield running


def _environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    ours = {"ISTHMUS_DATA": str(folder / "data"), "ISTHMUS_ALLOW_UNSANDBOXED": "true"}
    root = str(Path(__file__).parents[2])
    return {**kept, **ours, **settings, "PYTHONPATH": root}


def _start_services(running: Installation, shape: Shape, stack: ExitStack) -> None:
    if shape.database == "postgresql":
        postgresql = stack.enter_context(cluster(SAFE))
        postgresql.run_sql("CREATE DATABASE isthmus")
        running.environment["ISTHMUS_DATABASE_URL"] = postgresql.url("isthmus")
        postmaster = (postgresql.folder / "data/postmaster.pid").read_text().split()[0]
        running.roles["postgresql"] = [psutil.Process(int(postmaster))]
    if shape.redis:
        from tests.services.redis import redis_server

        running.environment["ISTHMUS_REDIS_URL"] = stack.enter_context(redis_server()).url
    if shape.store == "s3":
        from tests.services.s3 import s3_server

        server = stack.enter_context(s3_server())
        names = {
            "ENDPOINT": server.endpoint,
            "ACCESS_KEY": server.access_key,
            "SECRET_KEY": server.secret_key,
        }
        running.environment |= {f"ISTHMUS_OBJECTS_{name}": value for name, value in names.items()}
        running.environment |= {
            "ISTHMUS_OBJECTS_URL": f"s3://{server.bucket}/load",
            "ISTHMUS_OBJECTS_REGION": "us-east-1",
            "ISTHMUS_OBJECTS_ALLOW_HTTP": "true",
        }
        if server.process is not None:
            running.roles["s3"] = [psutil.Process(server.process.pid)]


def _start(running: Installation, name: str, words: Sequence[str], stack: ExitStack) -> psutil.Process:
    log = stack.enter_context((running.folder / f"{name}.log").open("wb"))
    process = psutil.Popen([*PROGRAM, *words], env=running.environment, stdout=log, stderr=log)
    stack.callback(_stop, process)
    return process


def _stop(process: psutil.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except psutil.TimeoutExpired:
        for child in process.children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def await_ready(base: str, process: psutil.Process) -> None:
    """Wait until a server answers that it is ready."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.is_running(), "the server has ended"
        try:
            if loopback.get(f"{base}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the processes of every role take at one moment."""

    at_s: float
    memory_mib: dict[str, float]  # resident, the process and those it started
    cpu_s: dict[str, float]  # so far, those that have ended included
    machine_busy_s: float  # of all processors, whoever used them


class Sampler:
    """Takes a sample every few seconds, in a thread of its own."""

    def __init__(self, roles: Mapping[str, Sequence[psutil.Process]]) -> None:
        self.samples: list[Sample] = []
        self._roles = roles
        self._begun = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._take()

    def _run(self) -> None:
        while not self._end.is_set():
            self._take()
            self._end.wait(SAMPLE_S)

    def _take(self) -> None:
        memory, cpu = {}, {}
        for role, processes in self._roles.items():
            of_role = [_figures(process) for process in processes]
            memory[role] = sum(mib for mib, _ in of_role)
            cpu[role] = sum(seconds for _, seconds in of_role)
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        self.samples.append(Sample(time.monotonic() - self._begun, memory, cpu, busy))


def _figures(process: psutil.Process) -> tuple[float, float]:
    """Resident MiB and CPU seconds of a process and of what it started."""
    mib = seconds = 0.0
    try:
        for each in (process, *process.children(recursive=True)):
            with each.oneshot():
                mib += each.memory_info().rss / (1 << 20)
                seconds += sum(each.cpu_times()[:4] if each is process else each.cpu_times()[:2])
    except psutil.NoSuchProcess:
        pass
    return mib, seconds
