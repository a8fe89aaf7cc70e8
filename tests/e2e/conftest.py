"""The whole system: in one process for what is decided in it, as real processes for what kills them."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI
from pydicom import Dataset, FileDataset
from sqlalchemy import update

from ai_engine.bundle import SHIPPED_BUNDLES, load_bundle
from ai_engine.phantom.chest import Phantom, PhantomSpec, geometry_of, make_phantom
from ai_engine.phantom.datasets import PhantomStudy, slice_dataset
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import ModelVersion
from server.administration import issue
from server.app import build_app, build_services
from server.auth.tokens import issue_token
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.settings import Settings
from server.workflows.analysis import build_worker
from server.workflows.loaded_models import LoadedModels
from server.workflows.models import register_shipped
from server.workflows.worker import Worker, WorkerSettings
from tests.services import loopback
from tests.services.databases import DatabasePool
from tests.services.jobs import QUIET_S, run_record_jobs
from tests.services.postgresql import Cluster, cluster

READY_S = 60.0
BOUNDARY = "e2e-boundary"


def part10(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def multipart(files: Sequence[bytes]) -> bytes:
    head = b"--" + BOUNDARY.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + file + b"\r\n" for file in files) + b"--" + BOUNDARY.encode() + b"--\r\n"


STOW_HEADERS = {
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
    "Accept": "application/dicom+json",
}


@dataclass
class ServerProcess:
    """`isthmus serve` as a process of its own, with its worker beside it."""

    data: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    clients: list[httpx.Client] = field(default_factory=list)
    authorization: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"

    @property
    def base(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command("serve"), "--port", str(self.port), *options],
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until(self._ready, READY_S)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "server", *words, "--data", str(self.data)]

    def run(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), env=self._environment(), capture_output=True, check=True)
        return done.stdout.decode()

    def token(self, scope: str = "system/*.cruds", patient: str | None = None) -> str:
        """As `isthmus token` issues it, without starting another Python for it."""
        settings = Settings(data=self.data, database_url=self.environment.get("ISTHMUS_DATABASE_URL"))
        with ThreadPoolExecutor(1) as thread:  # a test may have a loop of its own
            return thread.submit(asyncio.run, issue(settings, scope, patient, 3600)).result()

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        client = loopback.client(self.base, headers=headers, timeout=60)
        self.clients.append(client)
        return client

    def close(self) -> None:
        """Whatever is left of it ends, with the connections to it."""
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and everything it started, as a power cut would end them."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for child in children:
            child.kill()
        self.process.wait()
        psutil.wait_procs(children)

    def worker(self) -> psutil.Process:
        """The worker process, once it is there."""
        assert self.process is not None
        server = psutil.Process(self.process.pid)
        found: list[psutil.Process] = []

        def look() -> bool:
            found[:] = [child for child in server.children() if "worker" in child.cmdline()]
            return bool(found)

        self.wait_until(look, READY_S)
        return found[0]

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def wait_until(self, condition: Callable[[], Any], seconds: float) -> Any:
        deadline, pause_s = time.monotonic() + seconds, 0.02
        while not (value := condition()):
            assert time.monotonic() < deadline, (self.data / "server.log").read_text()[-4000:]
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)
        return value

    def log(self) -> str:
        return (self.data / "server.log").read_text()

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-4000:]
        try:
            return loopback.get(f"{self.base}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        return {**kept, "ISTHMUS_QUIET_TIME_S": "1", "ISTHMUS_ALLOW_UNSANDBOXED": "true", **self.environment}


@pytest.fixture(scope="session")
def durable_postgresql() -> Iterator[Cluster]:
    """A cluster that keeps its promises when the power goes; one for the tests of this process."""
    with cluster({}) as running:
        yield running


@pytest.fixture(scope="session")
def durable_databases(durable_postgresql: Cluster) -> DatabasePool:
    """The databases of that cluster."""
    pool = DatabasePool(durable_postgresql)
    pool.prepare()
    return pool


@pytest.fixture
def server_database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment that names the server's database: SQLite, or what `on_both_databases` says."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield {}
        return
    pool: DatabasePool = request.getfixturevalue("durable_databases")
    name = pool.take(has_schema=True)
    yield {"ISTHMUS_DATABASE_URL": pool.cluster.url(name)}
    pool.cluster.run_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def make_server(sqlite_template: Path) -> Callable[..., ServerProcess]:
    """Makes servers, not started yet, on databases with the newest schema: an empty one takes a second."""

    def make(folder: Path, environment: Mapping[str, str] | None = None) -> ServerProcess:
        server = ServerProcess(folder, dict(environment or {}))
        if "ISTHMUS_DATABASE_URL" not in server.environment:
            shutil.copy(sqlite_template, folder / "isthmus.db")
        return server

    return make


@pytest.fixture
def server_process(
    tmp_path: Path, server_database: dict[str, str], make_server: Callable[..., ServerProcess]
) -> Iterator[ServerProcess]:
    """A server that is not started yet; whatever is left of it is killed at the end."""
    server = make_server(tmp_path, server_database)
    yield server
    server.close()


@pytest.fixture(scope="module")
def module_server(
    tmp_path_factory: pytest.TempPathFactory, make_server: Callable[..., ServerProcess]
) -> Iterator[ServerProcess]:
    """One started server for a module of tests that do not disturb each other."""
    server = make_server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def lone_server(
    tmp_path_factory: pytest.TempPathFactory, make_server: Callable[..., ServerProcess]
) -> Iterator[ServerProcess]:
    """The same without a worker beside it."""
    server = make_server(tmp_path_factory.mktemp("server"))
    server.start("--no-worker")
    yield server
    server.close()


CHEST = PhantomSpec(seed=7, slices=60, rows=192, columns=192)  # 5 mm by 2 mm: just fine enough for our model


@cache
def drawn_chest() -> Phantom:
    return make_phantom(CHEST, "2.25.1")


class Chest(Sequence[FileDataset]):
    """The first slices of a chest CT, in a study of its own; each is made when it is asked for.

    A sender that shall be quick asks for all of them before it begins, by `list`.
    """

    def __init__(self, patient_id: str = "DEMO-1", slices: int = CHEST.slices) -> None:
        self._study = PhantomStudy(seed=CHEST.seed, salt=os.urandom(8).hex(), patient_id=patient_id)
        self._geometry = geometry_of(CHEST, self._study.uid("frame-of-reference"))
        self._slices: list[FileDataset | None] = [None] * slices

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        made = self._slices[at]
        if made is None:
            at = range(len(self))[at]
            made = slice_dataset(drawn_chest().voxels[at], self._geometry, at, self._study)
            self._slices[at] = made
        return made


@pytest.fixture
def chest() -> Sequence[FileDataset]:
    """A study of its own for each test."""
    return Chest()


@pytest.fixture(scope="session")
def new_chest() -> Callable[..., Sequence[FileDataset]]:
    """More studies, of patients that the test names."""
    return Chest


@dataclass(frozen=True, slots=True)
class Kit:
    """What the tests of this folder do over and over."""

    part10: Callable[[Dataset], bytes] = part10
    multipart: Callable[[Sequence[bytes]], bytes] = multipart
    stow_headers: Mapping[str, str] = field(default_factory=lambda: STOW_HEADERS)

    def store(self, http: httpx.Client, datasets: Sequence[Dataset]) -> httpx.Response:
        """STOW-RS these instances in one request."""
        body = multipart([part10(dataset) for dataset in datasets])
        return http.post("/dicom-web/studies", content=body, headers=STOW_HEADERS)

    def workitems(self, http: httpx.Client, study_instance_uid: str) -> list[dict[str, Any]]:
        """The workitems of a study by UPS-RS, oldest first."""
        answer = http.get("/dicom-web/workitems", params={"StudyInstanceUID": study_instance_uid})
        return list(answer.json()) if answer.status_code == 200 else []

    def states(self, http: httpx.Client, study_instance_uid: str) -> list[str]:
        """Procedure Step State of each."""
        found = self.workitems(http, study_instance_uid)
        return [workitem["00741000"]["Value"][0] for workitem in found]

    def instances(self, http: httpx.Client, study_instance_uid: str, modality: str) -> list[str]:
        """SOP Instance UIDs of one modality that QIDO-RS lists in a study."""
        path = f"/dicom-web/studies/{study_instance_uid}/instances"
        answer = http.get(path, params={"Modality": modality})
        return [each["00080018"]["Value"][0] for each in (answer.json() if answer.content else [])]


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@dataclass
class System:
    """The whole server and one worker in this process; nothing runs by itself."""

    app: FastAPI
    services: Services
    http: httpx.AsyncClient
    worker: Worker
    models: LoadedModels
    folder: Path

    async def register(self, script: str, results: Mapping[str, Any] | None = None, **runtime: Any) -> None:
        """Put a bundle with this model code in place of the shipped one, which asks for these objects."""
        folder = self.folder / "bundle"
        shutil.copytree(SHIPPED_BUNDLES / "ct_quantification", folder)
        shutil.rmtree(folder / "scripts")
        (folder / "scripts").mkdir()
        (folder / "scripts/__init__.py").write_text("")
        (folder / "scripts/quantify.py").write_text(script)
        manifest = json.loads((folder / "isthmus.json").read_text())
        manifest["runtime"] |= {"entry": "scripts.quantify:run", **runtime}
        manifest["results"] = results or {}
        (folder / "isthmus.json").write_text(json.dumps(manifest))
        bundle = load_bundle(folder)

        async def work(unit: UnitOfWork) -> None:
            await unit.execute(
                update(table_of(ModelVersion)).values(path=str(bundle.path), digest=bundle.digest)
            )

        await self.services.database.transact(work)

    async def schedule(self, kit: Any, datasets: Sequence[FileDataset]) -> dict[str, Any]:
        """Store a study and settle it; returns the workitem."""
        body = kit.multipart([kit.part10(dataset) for dataset in datasets])
        stored = await self.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
        assert stored.status_code == 200, stored.text
        uid = str(datasets[0].StudyInstanceUID)
        settled = await self.http.post(f"/admin/api/studies/{uid}/settled")
        assert [each["outcome"] for each in settled.json()] == ["scheduled"], settled.text
        return await self.workitem(uid)

    async def analyse(self, kit: Any, datasets: Sequence[FileDataset]) -> dict[str, Any]:
        """The same, and let the worker try once."""
        await self.schedule(kit, datasets)
        assert await self.worker.step() == 1
        return await self.workitem(str(datasets[0].StudyInstanceUID))

    async def token(self, scope: str) -> str:
        """Of a caller of its own."""
        return await issue_token(self.services.database, scope=scope)

    async def run_jobs(self, quiet_time_s: float = QUIET_S) -> int:
        """What the servers do beside the requests; returns how many jobs were run."""
        return await run_record_jobs(self.services, quiet_time_s)

    async def workitem(self, study_instance_uid: str) -> dict[str, Any]:
        answer = await self.http.get("/dicom-web/workitems", params={"StudyInstanceUID": study_instance_uid})
        (found,) = answer.json()
        return dict(found)


@pytest.fixture
async def system(tmp_path: Path, database_url: str) -> AsyncIterator[System]:
    settings = Settings(
        data=tmp_path / "data", database_url=database_url, worker=False, allow_unsandboxed=True
    )
    settings.data.mkdir()
    services = build_services(settings)
    await register_shipped(services.database)
    app = build_app(settings, services)
    token = await issue_token(services.database, scope="system/*.cruds")
    worker, models = build_worker(
        services, WorkerSettings("test-worker", 30), RunnerPolicy(allow_unsandboxed=True)
    )
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        yield System(app, services, http, worker, models, tmp_path)
    await models.close()
    await services.objects.close()
    await services.database.close()


@pytest.fixture(scope="session")
def server_kit() -> Callable[[Path, dict[str, str]], ServerProcess]:
    """Servers for tests that want several; they close them."""
    return ServerProcess
