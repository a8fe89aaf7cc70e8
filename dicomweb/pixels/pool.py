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
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from dicomweb.pixels.channel import Channel, ChannelClosed
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.metrics import TASKS, TURNED_AWAY, at_work, lost
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


@dataclass(frozen=True, slots=True)
class Unread:
    """The body of a task, that lies in a store."""

    size: int
    read: Callable[[], Awaitable[bytes]]


def _begin(channel: socket.socket, limits: PoolLimits) -> subprocess.Popen[bytes]:
    """A process whose standard input is its end of the channel."""
    arguments = (limits.memory_bytes, limits.task_s, limits.idle_s)
    return subprocess.Popen(  # noqa: S603 - our own program, no argument from data
        [sys.executable, "-I", "-B", "-c", PROGRAM, *map(str, arguments)],
        stdin=channel.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


class Child:
    """One process; used by one thread at a time."""

    def __init__(self, limits: PoolLimits) -> None:
        own, theirs = socket.socketpair()
        try:
            process = _begin(theirs, limits)
        except OSError:
            own.close()
            raise
        finally:
            theirs.close()
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

    async def run(self, task: str, header: Mapping[str, Json], body: bytes | Unread) -> Result:
        """The result of a task. Who is cancelled leaves the line; what has begun is finished for nobody.

        A body that is not read yet is read once it has its place in the line: what waits is bounded.

        Raises:
            PixelsUnreadable: the task refuses the data, or takes too much of anything.
            Busy: too many are waiting.
        """
        size = len(body) if isinstance(body, bytes) else body.size
        self._enter(size)
        try:
            whole = body if isinstance(body, bytes) else await body.read()
            future = self._submit({"task": task, "header": header}, whole)
        except BaseException:
            self._leave(size)
            raise
        future.add_done_callback(lambda _: self._leave(size))
        return await _result_of(future)

    def _submit(self, message: Mapping[str, Json], body: bytes) -> "Future[Result]":
        try:
            return self._threads.submit(self._run, message, body)
        except RuntimeError:
            raise Busy("The server is shutting down.") from None

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
                TURNED_AWAY.inc()
                raise Busy("Too many frames are waiting to be decoded; retry later.")
            self._waiting += 1
            self._waiting_bytes += size
        TASKS.inc()

    def _leave(self, size: int) -> None:
        with self._lock:
            self._waiting -= 1
            self._waiting_bytes -= size
        TASKS.dec()

    def _run(self, message: Mapping[str, Json], body: bytes) -> Result:
        with at_work(message["task"]) as work:
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
                self._lose(child, "too-long")
                raise PixelsUnreadable("The pixels take too long to decode.") from None
            except ChannelClosed:
                self._lose(child, "died")
                log.warning("pixels.child_died", task=message["task"])
                raise PixelsUnreadable(CANNOT_BE_DECODED) from None
            self._give_back(child, reply)
            work.outcome = "refused" if reply.get("status") == "refused" else work.outcome
            header = _judged(reply, message["task"])
            work.outcome = "done"
            return header, result

    def _lose(self, child: Child, why: str) -> None:
        child.end()
        with self._lock:
            is_loss = not self._is_closed
        if is_loss:
            lost(why)

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
        try:
            child = Child(self._limits)
        except OSError as error:  # no memory, no process, no descriptor left
            lost("not-started")
            log.warning("pixels.child_not_started", errno=error.errno)
            raise Busy("No process that decodes can be started; retry later.") from None
        with self._lock:
            self._children.add(child)
        return child

    def _give_back(self, child: Child, reply: Mapping[str, Json]) -> None:
        with self._lock:
            is_worn = bool(reply.get("worn"))  # out of memory once, it stays so
            is_usable = not self._is_closed and not is_worn
            if is_usable:
                self._idle.append(child)
        if is_worn:
            self._lose(child, "memory")
        elif not is_usable:
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
