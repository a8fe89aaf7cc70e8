"""A runner whose model is Python code of a bundle, in a child process of its own that is kept warm.

The child is shut in (`confine`), gets arrays by shared memory and answers in JSON; after any fault it is
killed with all it started, and the next run gets a fresh one. Nothing here blocks the event loop.
"""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ai_engine.runners.channel import ChildEnded, ChildProcess, ReplyTooLong, SharedMemory
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
    Reply,
    check_detections,
    check_labels,
    check_reasons,
    check_scores,
    check_values,
    fault_of,
    read_reply,
)
from ai_engine.runners.sandbox import probe_sandbox, refusal, start_message

log = structlog.get_logger(__name__)

ACCEPTED_DTYPES = ("int16", "float32")


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What one run may take."""

    memory_mb: int  # address space of each process of the model; its temporary files have as much again
    timeout_s: float  # wall clock of a run, with the start of the child when it is not warm
    threads: int = 1  # of numerical libraries


@dataclass(frozen=True, slots=True)
class RunnerPolicy:
    """What the operator decided for all models."""

    allow_unsandboxed: bool = False
    hidden_paths: Sequence[Path] = ()  # covered inside the sandbox, also where they lie in a shown folder


class ProcessRunner:
    """Runs `entry` ("module:function") of the bundle at `bundle_path`; the runner kind `python`.

    The function is `run(voxels, affine, parameters)`; `voxels` is read-only, `affine` and the axes are those
    of `Geometry`. It returns a mapping with `labels` (uint8 array or None), `values` (a list of
    `{"name", "value", "slice_index"?}`), `not_measured` (name: reason), `detections`, `scores` and
    `quality` (docs/models.md, section 4).
    """

    def __init__(
        self, bundle_path: Path, entry: str, limits: RunnerLimits, policy: RunnerPolicy = RunnerPolicy()
    ) -> None:
        self._bundle = bundle_path.resolve()
        self._entry = entry
        self._limits = limits
        self._policy = policy
        self._child: ChildProcess | None = None
        self._private: tempfile.TemporaryDirectory[str] | None = None
        self._turn = asyncio.Lock()

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """Run the model once; see `Runner.run`. Cancelling kills the child."""
        if work.voxels.dtype.name not in ACCEPTED_DTYPES or work.voxels.shape != work.geometry.shape:
            raise ValueError("voxels are int16 or float32 in the shape of their geometry")
        async with self._turn:
            delivered = False
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    output = await self._run_in_child(work)
                delivered = True
            except TimeoutError:
                raise ModelTimedOut(f"the model ran past {self._limits.timeout_s:g} s") from None
            except ReplyTooLong:
                raise ModelOutputInvalid("the model returned more than a reply can hold") from None
            except ChildEnded:
                raise await self._fault_of_death() from None
            finally:
                if not delivered:
                    await self.close()
        return output

    async def close(self) -> None:
        """End the child, if there is one; the runner can be used again."""
        child, self._child = self._child, None
        private, self._private = self._private, None
        if child is not None:
            child.kill()
            await asyncio.shield(child.close())
        if private is not None:
            await asyncio.to_thread(private.cleanup)

    async def _run_in_child(self, work: RunnerInput) -> RunnerOutput:
        child = self._child or await self._start()
        with contextlib.ExitStack() as stack:
            voxels = await asyncio.to_thread(SharedMemory.holding, work.voxels)
            stack.callback(voxels.close)
            room = SharedMemory(work.voxels.size)
            stack.callback(room.close)
            reply = read_reply(await child.ask(_request(work), (voxels.fd, room.fd)))
            if fault := fault_of(reply):
                raise fault
            return await _checked(reply, room, work.geometry.shape)

    async def _start(self) -> ChildProcess:
        """A child that has loaded the bundle."""
        sandbox = await self._decide_sandbox()
        self._private = tempfile.TemporaryDirectory(prefix="isthmus-runner-", ignore_cleanup_errors=True)
        self._child = child = ChildProcess.start(self._private.name, self._limits.threads)
        folders = {"bundle": str(self._bundle), "private": self._private.name}
        hidden = [str(path) for path in self._policy.hidden_paths]
        message = start_message(folders, self._entry, hidden, self._limits.memory_mb)
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


def _request(work: RunnerInput) -> dict[str, object]:
    return {
        "voxels": {"dtype": work.voxels.dtype.name, "shape": list(work.voxels.shape)},
        "affine": work.geometry.affine.tolist(),
        "parameters": dict(work.parameters),
    }


async def _checked(reply: Reply, room: SharedMemory, shape: tuple[int, int, int]) -> RunnerOutput:
    values = check_values(reply.values, shape[0])
    reasons = check_reasons(reply.not_measured)
    detections = check_detections(reply.detections, shape)
    scores = check_scores(reply.scores)
    quality = check_reasons(reply.quality)
    has_labels = check_labels(reply.labels, shape)
    labels = await asyncio.to_thread(room.copy_labels, shape) if has_labels else None
    return RunnerOutput(labels, values, reasons, detections, scores, quality)
