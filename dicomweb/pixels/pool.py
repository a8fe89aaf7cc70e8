"""A few long-lived child processes that decode and code pixels, and never this process.

They start when they are needed and go when they are not. One works at one task; whoever comes meanwhile waits
in line, and over `MAX_WAITING` is told to come back. A child that dies, hangs or eats memory costs the one
request that asked, and is replaced. No event loop in here: threads wait for the children, so a pool may be
made anywhere and used from any loop.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from dicomweb.pixels.channel import Channel, ChannelClosed
from dicomweb.pixels.faults import PixelsUnreadable
from server.kernel.faults import Busy

log = structlog.get_logger(__name__)

Json = Any
Result = tuple[dict[str, Json], bytes]

MAX_CHILDREN = 4  # and no more than processors
MAX_WAITING = 128  # tasks begun or in line
MAX_WAITING_BYTES = 256 << 20  # of their bodies
TASK_S = 60  # wall clock of one task; the largest mammogram takes 3 s
CHILD_MEMORY_BYTES = 2 << 30  # address space; JPEG 2000 works with four bytes a sample beside the result
IDLE_S = 300  # a child that nobody asks ends
ROOT = str(Path(__file__).resolve().parents[2])  # the folder that holds this package
PROGRAM = f"import sys; sys.path.insert(0, {ROOT!r}); from dicomweb.pixels import child; child.main()"
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
CANNOT_BE_DECODED = "The pixels cannot be decoded."


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much the children may take together, and each of them."""

    children: int = min(MAX_CHILDREN, os.cpu_count() or 1)
    waiting: int = MAX_WAITING
    waiting_bytes: int = MAX_WAITING_BYTES
    task_s: int = TASK_S
    memory_bytes: int = CHILD_MEMORY_BYTES
    idle_s: int = IDLE_S


class Child:
    """One process; used by one thread at a time."""

    def __init__(self, limits: PoolLimits) -> None:
        own, theirs = socket.socketpair()
        arguments = (limits.memory_bytes, limits.task_s, limits.idle_s)
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own program, no argument from data
                [sys.executable, "-I", "-B", "-c", PROGRAM, *map(str, arguments)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        self._process = process
        self._channel = Channel(own)
        self._task_s = limits.task_s
        self.end = weakref.finalize(self, _end, process, own)  # also when nobody closes the pool

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is gone: it leaves when nobody asks, or something ended it meanwhile."""
        return self._process.poll() is not None

    def ask(self, message: Mapping[str, Json], body: bytes) -> Result:
        """Send one task and wait for the reply.

        Raises:
            ChannelClosed: it died.
            TimeoutError: it takes too long.
        """
        self._channel.give_up_after(self._task_s)
        self._channel.send(message, body)
        return self._channel.receive()

    def left_before_it_read(self) -> bool:
        """After `ChannelClosed`: whether it was just leaving, so that the task was never begun."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return self._process.returncode == 0


def _end(process: subprocess.Popen[bytes], own: socket.socket) -> None:
    process.kill()
    process.wait()
    own.close()  # after: who reads from it in another thread has woken by now


class PixelPool:
    """Runs tasks of `dicomweb.pixels.tasks` in children."""

    def __init__(self, limits: PoolLimits = PoolLimits()) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.children, "pixels")
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._children: weakref.WeakSet[Child] = weakref.WeakSet()
        self._is_closed = False
        self._waiting = 0
        self._waiting_bytes = 0

    async def run(self, task: str, header: Mapping[str, Json], body: bytes) -> Result:
        """The result of a task. Who is cancelled leaves the line; what has begun is finished for nobody.

        Raises:
            PixelsUnreadable: the task refuses the data, or takes too much of anything.
            Busy: too many are waiting.
        """
        self._enter(len(body))
        try:
            future = self._threads.submit(self._run, {"task": task, "header": header}, body)
        except RuntimeError:
            self._leave(len(body))
            raise Busy("The server is shutting down.") from None
        future.add_done_callback(lambda _: self._leave(len(body)))
        return await _result_of(future)

    def close(self) -> None:
        """End the children. What is under way fails."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_closed = True
            self._idle.clear()
            children = list(self._children)
        for child in children:
            child.end()

    def _enter(self, size: int) -> None:
        with self._lock:
            over = self._waiting_bytes + size > self._limits.waiting_bytes and self._waiting > 0
            if over or self._waiting >= self._limits.waiting:
                raise Busy("Too many frames are waiting to be decoded; retry later.")
            self._waiting += 1
            self._waiting_bytes += size

    def _leave(self, size: int) -> None:
        with self._lock:
            self._waiting -= 1
            self._waiting_bytes -= size

    def _run(self, message: Mapping[str, Json], body: bytes) -> Result:
        child = self._take()
        try:
            try:
                reply, result = child.ask(message, body)
            except ChannelClosed:
                if not child.left_before_it_read():
                    raise
                child = self._start()
                reply, result = child.ask(message, body)
        except TimeoutError:
            child.end()
            raise PixelsUnreadable("The pixels take too long to decode.") from None
        except ChannelClosed:
            child.end()
            log.warning("pixels.child_died", task=message["task"])
            raise PixelsUnreadable(CANNOT_BE_DECODED) from None
        self._give_back(child, reply)
        return _judged(reply, message["task"]), result

    def _take(self) -> Child:
        """The child that was used last, or a new one."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._start()
            if not child.has_ended:
                return child
            child.end()

    def _start(self) -> Child:
        child = Child(self._limits)
        with self._lock:
            self._children.add(child)
        return child

    def _give_back(self, child: Child, reply: Mapping[str, Json]) -> None:
        with self._lock:
            is_usable = not self._is_closed and not reply.get("worn")  # out of memory once, it stays so
            if is_usable:
                self._idle.append(child)
        if not is_usable:
            child.end()


def _judged(reply: Mapping[str, Json], task: str) -> dict[str, Json]:
    """The header of a reply that says "done".

    Raises:
        PixelsUnreadable: it says something else.
    """
    header = reply.get("header")
    if reply.get("status") == "done" and isinstance(header, dict):
        return header
    if reply.get("status") == "refused":
        raise PixelsUnreadable(str(reply.get("why", CANNOT_BE_DECODED))[:200])
    log.error("pixels.task_failed", task=task, error=reply.get("error"), at=reply.get("at"))
    raise PixelsUnreadable(CANNOT_BE_DECODED)


async def _result_of(future: "Future[Result]") -> Result:
    return await asyncio.wrap_future(future)
