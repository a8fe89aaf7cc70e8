"""A runner whose model runs in a child process of its own that is kept warm: code of a bundle, or a network.

The child is shut in (`confine`), gets arrays by shared memory and answers in JSON; after any fault it is
killed with all it started, and the next run gets a fresh one. Nothing here blocks the event loop.
"""

import asyncio
import contextlib
import math
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ai_engine.projection import ProjectionImage
from ai_engine.runners.channel import ChildEnded, ChildProcess, ReplyTooLong, SharedMemory
from ai_engine.runners.gpus import CPU, gpu_devices, gpu_of
from ai_engine.runners.label_maps import count_fractions
from ai_engine.runners.port import (
    ModelOutOfMemory,
    ModelOutputInvalid,
    ModelRaised,
    ModelTimedOut,
    RunnerFault,
    RunnerInput,
    RunnerOutput,
    SandboxUnavailable,
)
from ai_engine.runners.reply import (
    Result,
    check_detections,
    check_labels,
    check_reasons,
    check_scores,
    check_values,
    fault_of,
    read_reply,
)
from ai_engine.runners.sandbox import probe_sandbox, refusal, start_message
from ai_engine.runners.together import Together

log = structlog.get_logger(__name__)

ACCEPTED_DTYPES = ("int16", "float32")


@dataclass(frozen=True, slots=True)
class Program:
    """What the child runs: `entry`, "module:function" of the bundle, or a program of ours by name."""

    entry: str = ""
    name: str = ""  # `ai_engine.runners.<name>_program`
    options: Mapping[str, Any] = field(default_factory=dict)  # of a program of ours; JSON
    batch: int = 1  # volumes of one request, at most; above 1 `entry` takes lists

    def message(self) -> Mapping[str, Any]:
        """The program as the child is told of it."""
        told = {"entry": self.entry, "name": self.name, "options": dict(self.options)}
        return {**told, "takes_several": self.batch > 1}


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What one run may take."""

    memory_mb: int  # address space of each process of the model; its temporary files have as much again
    timeout_s: float  # wall clock of a run, with the start of the child when it is not warm
    threads: int = 1  # of numerical libraries
    device: str = CPU  # or "cuda:N"


@dataclass(frozen=True, slots=True)
class RunnerPolicy:
    """What the operator decided for all models."""

    allow_unsandboxed: bool = False
    hidden_paths: Sequence[Path] = ()  # covered inside the sandbox, also where they lie in a shown folder
    allow_pickled_weights: bool = False  # where a manifest asks for it
    inference_servers: Mapping[str, str] = field(default_factory=dict)  # base URL by the name manifests use


class ProcessRunner:
    """Runs a program on the bundle at `bundle_path`, in a child; the runner kinds `python` and `onnx`.

    A bundle's function is `run(voxels, affine, parameters)`; `voxels` is read-only, `affine` and the axes are
    those of `Geometry`. It returns a mapping with `labels` (uint8 array or None), `values` (a list of
    `{"name", "value", "slice_index"?}`), `not_measured` (name: reason), `detections`, `scores` and `quality`
    (docs/models.md, section 4); of radiographs it gets a list instead of
    `voxels`, and no affine. With a batch it takes lists of volumes and affines and returns a list.
    """

    def __init__(
        self, bundle_path: Path, program: Program, limits: RunnerLimits, policy: RunnerPolicy = RunnerPolicy()
    ) -> None:
        self._bundle = bundle_path.resolve()
        self._program = program
        self._limits = limits
        self._policy = policy
        self._child: ChildProcess | None = None
        self._private: tempfile.TemporaryDirectory[str] | None = None
        self._together = Together(program.batch, self._deliver)

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """Run the model once; see `Runner.run`. Cancelling the last run of a request kills the child."""
        if work.voxels.dtype.name not in ACCEPTED_DTYPES or work.voxels.shape != work.geometry.shape:
            raise ValueError("voxels are int16 or float32 in the shape of their geometry")
        return await self._together.run(work)

    async def _deliver(self, works: Sequence[RunnerInput]) -> Sequence[RunnerOutput]:
        timeout_s = self._limits.timeout_s * len(works)
        delivered = False
        try:
            async with asyncio.timeout(timeout_s):
                outputs = await self._run_in_child(works)
            delivered = True
        except TimeoutError:
            raise ModelTimedOut(f"the model ran past {timeout_s:g} s") from None
        except ReplyTooLong:
            raise ModelOutputInvalid("the model returned more than a reply can hold") from None
        except ChildEnded:
            raise await self._fault_of_death() from None
        finally:
            if not delivered:
                await self.close()
        return outputs

    async def close(self) -> None:
        """End the child, if there is one; the runner can be used again."""
        child, self._child = self._child, None
        private, self._private = self._private, None
        if child is not None:
            child.kill()
            await asyncio.shield(child.close())
        if private is not None:
            await asyncio.to_thread(private.cleanup)

    async def _run_in_child(self, works: Sequence[RunnerInput]) -> Sequence[RunnerOutput]:
        child = self._child or await self._start()
        with contextlib.ExitStack() as stack:
            voxels = [await _shared(work, stack) for work in works]
            rooms = [self._room(work, stack) for work in works]
            fds = tuple(memory.fd for pair in zip(voxels, rooms, strict=True) for memory in pair)
            reply = read_reply(await child.ask(self._request(works), fds))
            if fault := fault_of(reply):
                raise fault
            if len(reply.results) != len(works):
                raise ModelOutputInvalid("the model's reply cannot be read")
            return [
                await _checked(result, room, work.geometry.shape, self._fractions(work))
                for result, room, work in zip(reply.results, rooms, works, strict=True)
            ]

    def _room(self, work: RunnerInput, stack: contextlib.ExitStack) -> SharedMemory:
        """Memory for the labels, and behind them for the fractions."""
        room = SharedMemory(work.voxels.size * (1 + self._fractions(work)))
        stack.callback(room.close)
        return room

    def _fractions(self, work: RunnerInput) -> int:
        return count_fractions(work.voxels.shape, self._program.options.get("network") or {})

    def _request(self, works: Sequence[RunnerInput]) -> dict[str, object]:
        return {
            "volumes": [{**_about(work), "fractions": self._fractions(work)} for work in works],
            "parameters": dict(works[0].parameters),  # of the manifest: one model's are the same
        }

    async def _start(self) -> ChildProcess:
        """A child that has loaded the bundle."""
        sandbox = await self._decide_sandbox()
        self._private = tempfile.TemporaryDirectory(prefix="isthmus-runner-", ignore_cleanup_errors=True)
        gpu = gpu_of(self._limits.device)
        self._child = child = ChildProcess.start(self._private.name, self._limits.threads, gpu)
        folders = {"bundle": str(self._bundle), "private": self._private.name}
        hidden = [str(path) for path in self._policy.hidden_paths]
        devices = gpu_devices(gpu) if gpu else []
        message = start_message(folders, self._program.message(), hidden, self._limits.memory_mb, devices)
        reply = read_reply(await child.ask({**message, "sandbox": sandbox}))
        if reply.status == "unconfined":
            raise SandboxUnavailable(refusal(reply.step[:40], reply.errno))
        if fault := fault_of(reply):
            raise fault
        return child

    async def _decide_sandbox(self) -> bool:
        support = await asyncio.to_thread(probe_sandbox)
        if support.available:
            return True
        if not self._policy.allow_unsandboxed:
            raise SandboxUnavailable(f"no sandbox for models: {support.reason}; or set allow_unsandboxed")
        log.warning(
            "runner.unsandboxed", reason=support.reason, enforced="resource limits and wall clock only"
        )
        return False

    async def _fault_of_death(self) -> RunnerFault:
        """Why the child is gone. Killed, and not by us: the kernel ran out of memory for it."""
        ended_by = await self._child.ended_by() if self._child else 0
        if ended_by == signal.SIGKILL:
            return ModelOutOfMemory("the system killed the model, as it does when memory runs out")
        if ended_by in set(signal.Signals):
            return ModelRaised(f"the model died of {signal.Signals(ended_by).name}")
        return ModelRaised("the model ended its process")


async def _shared(work: RunnerInput, stack: contextlib.ExitStack) -> SharedMemory:
    copying = asyncio.ensure_future(asyncio.to_thread(SharedMemory.holding, work.voxels))
    try:
        voxels = await asyncio.shield(copying)
    except asyncio.CancelledError:
        copying.add_done_callback(_close_copy)  # the thread goes on, and nobody would have its copy
        raise
    stack.callback(voxels.close)
    return voxels


def _close_copy(copying: "asyncio.Future[SharedMemory]") -> None:
    if not copying.cancelled() and copying.exception() is None:
        copying.result().close()


def _about(work: RunnerInput) -> dict[str, object]:
    return {
        "dtype": work.voxels.dtype.name,
        "shape": list(work.voxels.shape),
        "affine": work.geometry.affine.tolist(),
        "images": [_described(image) for image in work.images],
    }


def _described(image: ProjectionImage) -> dict[str, object]:
    rows, columns = image.pixels.shape
    spacing = None if image.spacing_mm is None else list(image.spacing_mm)
    about = {"spacing_mm": spacing, "view": image.view, "laterality": image.laterality}
    return {"rows": rows, "columns": columns, **about}


async def _checked(
    result: Result, room: SharedMemory, shape: tuple[int, int, int], count: int
) -> RunnerOutput:
    values = check_values(result.values, shape[0])
    reasons = check_reasons(result.not_measured)
    detections = check_detections(result.detections, shape)
    scores = check_scores(result.scores)
    quality = check_reasons(result.quality)
    has_labels = check_labels(result.labels, shape)
    labels = await asyncio.to_thread(room.copy_labels, shape) if has_labels else None
    if not (count and result.fractions):
        return RunnerOutput(labels, values, reasons, detections, scores, quality)
    fractions = await asyncio.to_thread(room.copy_labels, (count, *shape), math.prod(shape))
    return RunnerOutput(labels, values, reasons, detections, scores, quality, fractions)
