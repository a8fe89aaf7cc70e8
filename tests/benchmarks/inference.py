"""What analysing a study costs: windows through a network by batch and threads, and each stage of the worker.

The study is 200 slices of 512 × 512 (a phantom's chest); the network is three layers of 3 × 3 × 3
convolutions with random weights, 14.5 GFLOP for a window of 96³. Nothing here asserts a time; CPU seconds are
of the worker and its models.

    python tests/benchmarks/inference.py [windows] [worker]
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from sqlalchemy import update

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file: the tests are no installed package

from ai_engine.bundle import SHIPPED_BUNDLES, load_bundle
from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom
from ai_engine.phantom.datasets import PhantomStudy, datasets_of
from ai_engine.runners.onnx_program import Onnx
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import ModelVersion
from dicomweb.worklist.workitem import Claim
from server.app import build_app, build_services
from server.kernel.rows import table_of
from server.migrations import upgrade
from server.settings import Settings
from server.workflows import analysis
from server.workflows.models import register_shipped
from server.workflows.worker import WorkerSettings
from tests.made_bundles import SEGMENTING, manifest_of, write_bundle
from tests.onnx_model import model, node, value_info

SLICES, MATRIX, ROI = 200, 512, 96
NETWORK = {
    "task": "segmentation",
    "intensity": {"low": -1000, "high": 1000},
    "spacing_mm": [1.5, 1.5, 2.0],
    "roi": [ROI] * 3,
    "activation": "softmax",
    "labels": [0, 1],
}
MIB = 1 << 20


def network(width: int = 16) -> bytes:
    """Three convolutions; random, but for a last layer that finds little."""
    random = np.random.default_rng(1)
    nodes, weights, before, at = [], {}, 1, "image"
    for layer, channels in enumerate((width, width, 2)):
        weights[f"w{layer}"] = random.normal(0, 0.05, (channels, before, 3, 3, 3)).astype(np.float32)
        weights[f"b{layer}"] = np.linspace(0.5, -0.5, channels).astype(np.float32)
        nodes.append(node("Conv", [at, f"w{layer}", f"b{layer}"], f"c{layer}", pads=(1,) * 6))
        nodes.append(node("Relu", [f"c{layer}"], f"r{layer}"))
        before, at = channels, f"r{layer}"
    shape: tuple[int | str, ...] = ("n", 1, "a", "b", "c")
    made: tuple[int | str, ...] = ("n", 2, "a", "b", "c")
    return model(nodes[:-1], weights, value_info("image", shape), value_info("c2", made))


def cpu_s() -> float:
    """CPU seconds of this process and of its children that live."""
    me = psutil.Process()
    return sum(times.user + times.system for times in (each.cpu_times() for each in (me, *me.children(True))))


@contextmanager
def costing(what: str) -> Iterator[None]:
    """Say what a part cost."""
    begun, cpu = time.perf_counter(), cpu_s()
    yield
    print(f"{what:<34} {cpu_s() - cpu:7.2f} s CPU {time.perf_counter() - begun:7.2f} s wall", flush=True)


def windows() -> None:
    """A network's windows by batch and threads, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = manifest_of({"kind": "onnx"}, network=NETWORK, **SEGMENTING)
        bundle = load_bundle(write_bundle(Path(folder), manifest, files={"models/model.onnx": network()}))
        from ai_engine.runners import kinds

        options = dict(kinds._network(bundle.manifest))
        for threads in (1, 2):
            for batch in (1, 2, 4, 8):
                at_once: Any = {**options["network"], "batch": batch}  # type: ignore[dict-item]
                given = {"weights": None, "threads": threads, "device": "cpu", "gpu_memory_mb": 0}
                runs = Onnx(folder, {"network": at_once, **given})
                data = np.random.default_rng(0).normal(size=(batch, 1, ROI, ROI, ROI)).astype(np.float32)
                runs._predict(data)
                begun, cpu = time.perf_counter(), cpu_s()
                for _ in range(16 // batch):
                    runs._predict(data)
                spent, wall = (cpu_s() - cpu) / 16, (time.perf_counter() - begun) / 16
                print(
                    f"threads {threads} batch {batch}: {spent:.3f} s CPU, {wall:.3f} s wall a window",
                    flush=True,
                )


async def worker() -> None:
    """A study through the worker with the shipped model, then with the network; twice each: cold, warm."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder) / "data", worker=False, auth=False, allow_unsandboxed=True)
        settings.data.mkdir()
        await upgrade(settings.database)
        services = build_services(settings)
        await register_shipped(services.database)
        at_work, models = analysis.build_worker(
            services, WorkerSettings("bench", 30), RunnerPolicy(allow_unsandboxed=True)
        )
        analysis.timed = timed  # type: ignore[assignment]
        transport = httpx.ASGITransport(build_app(settings, services))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            for which in ("ct-quantification", "network"):
                if which == "network":
                    await models.close()
                    await put_in_place(services, Path(folder) / "bundle")
                for turn in ("cold", "warm"):
                    uid = await stored(http, f"{which}-{turn}")
                    await http.post(f"/admin/api/studies/{uid}/settled")
                    with costing(f"{which}, {turn}: from claim to report"):
                        while await at_work.step():  # each shipped model that wants it
                            pass
                print(f"peak memory: worker {peak_mib(os.getpid())} MiB, models {models_mib()} MiB")
        await models.close()
        await services.objects.close()
        await services.database.close()


@contextmanager
def timed(claim: Claim, stage: Any) -> Iterator[None]:
    with costing(f"  {claim.model_name}: {stage.value}"):
        yield


async def put_in_place(services: Any, folder: Path) -> None:
    """The network as the version that is registered as the shipped model."""
    shipped = load_bundle(SHIPPED_BUNDLES / "ct_quantification").manifest
    runtime = {"kind": "onnx", "threads": 2, "memory_mb": 4096, "timeout_s": 600}
    manifest = manifest_of(runtime, network=NETWORK, **SEGMENTING)
    manifest |= {"name": shipped.name, "version": shipped.version}
    bundle = load_bundle(write_bundle(folder, manifest, files={"models/model.onnx": network()}))
    row = {"path": str(bundle.path), "digest": bundle.digest}
    change: Callable[[Any], Any] = lambda unit: unit.execute(  # noqa: E731
        update(table_of(ModelVersion)).where(table_of(ModelVersion).c.name == shipped.name).values(**row)
    )
    await services.database.transact(change)


@cache
def chest() -> Phantom:
    """Drawn once: every study shows the same patient."""
    return make_phantom(PhantomSpec(slices=SLICES, rows=MATRIX, columns=MATRIX), "2.25.1")


async def stored(http: httpx.AsyncClient, patient: str) -> str:
    """A study of its own, stored by STOW-RS."""
    from tests.e2e.conftest import STOW_HEADERS, multipart, part10

    study = PhantomStudy(salt=patient, patient_id=patient)
    datasets = list(datasets_of(chest(), study))
    for start in range(0, len(datasets), 50):
        body = multipart([part10(each) for each in datasets[start : start + 50]])
        answer = await http.post("/dicom-web/studies", content=body, headers=STOW_HEADERS)
        assert answer.status_code == 200
    return str(datasets[0].StudyInstanceUID)


def peak_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def models_mib() -> list[int]:
    return [peak_mib(child.pid) for child in psutil.Process().children(True)]


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["windows", "worker"]
    if "windows" in chosen:
        windows()
    if "worker" in chosen:
        asyncio.run(worker())
