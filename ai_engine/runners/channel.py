"""The parent's end of a runner's child: its process, its socket, and memory shared with it.

Everything that comes back is untrusted: lengths are bounded before they are believed, and shared memory is
sealed against shrinking and read with `pread`, so that the child cannot fault the parent.
"""

import asyncio
import contextlib
import fcntl
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = Any

HEADER = struct.Struct(">I")
MAX_REPLY_BYTES = 1 << 20  # ten thousand values with their names fit
ROOT = str(Path(__file__).resolve().parents[2])  # the folder that holds ai_engine
LIBRARIES = (str(Path(np.__file__).resolve().parents[1]),)  # where numpy and its like are installed
PROGRAM = (
    f"import sys; sys.path.append({ROOT!r}); from ai_engine.runners import child; "
    f"sys.path.remove({ROOT!r}); child.main()"
)


class ChildEnded(Exception):
    """The channel closed before a whole reply came."""


class ReplyTooLong(Exception):
    """The child announced a reply over `MAX_REPLY_BYTES`."""


def environment(threads: int, gpu: str = "") -> Mapping[str, str]:
    """All the environment a child gets: nothing of the worker's own. `gpu`: the number of its one GPU."""
    count = str(threads)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "LOGNAME": "model",  # torch asks for a name, and there is no /etc/passwd inside
        "CUDA_VISIBLE_DEVICES": gpu,
        "MALLOC_ARENA_MAX": "2",  # arenas count against the address space limit, 64 MiB each
    }


class ChildProcess:
    """One running child, alone in its session; used by one caller at a time."""

    def __init__(self, process: subprocess.Popen[bytes], own: socket.socket) -> None:
        self._process = process
        self._socket = own

    @classmethod
    def start(cls, private: str, threads: int, gpu: str = "") -> "ChildProcess":
        """Start the program with an empty environment, no open file but the channel, and its own session.

        It dies with the thread that calls this (Linux), so call from the thread of the event loop.
        """
        own, theirs = socket.socketpair()
        own.setblocking(False)
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own program, no argument from data
                [sys.executable, "-I", "-B", "-c", PROGRAM],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**environment(threads, gpu), "HOME": private, "TMPDIR": private},
                cwd="/",
                start_new_session=True,
            )
        return cls(process, own)

    @property
    def pid(self) -> int:
        """Process id as this process sees it."""
        return self._process.pid

    async def ask(self, message: Json, fds: tuple[int, ...] = ()) -> bytes:
        """Send one message with its descriptors and await the reply's bytes.

        Raises:
            ChildEnded: it died or closed.
            ReplyTooLong: nothing of the reply was read.
        """
        body = json.dumps(message).encode()
        loop = asyncio.get_running_loop()
        try:
            socket.send_fds(self._socket, [HEADER.pack(len(body))], list(fds))  # 4 bytes: never blocks
            await loop.sock_sendall(self._socket, body)
            (length,) = HEADER.unpack(await self._read(HEADER.size))
            if length > MAX_REPLY_BYTES:
                raise ReplyTooLong
            return await self._read(length)
        except (BrokenPipeError, ConnectionResetError):
            raise ChildEnded from None

    async def _read(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            piece = await loop.sock_recv(self._socket, size - len(data))
            if not piece:
                raise ChildEnded
            data += piece
        return bytes(data)

    async def ended_by(self) -> int:
        """The signal that ended it, 0 when none did; call after `ChildEnded`."""
        try:
            status = await asyncio.to_thread(self._process.wait, 1.0)
        except subprocess.TimeoutExpired:
            return 0  # it closed the channel and lives; `kill` follows
        if status < 0:
            return -status
        return status - 128 if status > 128 else 0  # what the waiting process of a sandbox says

    def kill(self) -> None:
        """End the whole group at once; in a sandbox every descendant dies with it."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._socket.close()

    async def close(self) -> None:
        """Kill and reap."""
        self.kill()
        await asyncio.to_thread(self._process.wait)


class SharedMemory:
    """Anonymous memory that a descriptor stands for; `close` it."""

    def __init__(self, size: int) -> None:
        self.size = size
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("isthmus", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.fd, size)
            fcntl.fcntl(
                self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            )
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
            os.ftruncate(self.fd, size)

    @classmethod
    def holding(cls, array: NDArray[np.generic]) -> "SharedMemory":
        """A copy of `array` in C order."""
        data = np.ascontiguousarray(array).data.cast("B")
        made = cls(data.nbytes)
        at = 0
        while at < data.nbytes:
            at += os.pwrite(made.fd, data[at:], at)
        return made

    def copy_labels(self, shape: tuple[int, ...], start: int = 0) -> NDArray[np.uint8]:
        """A private copy of what stands from `start` on, as uint8: what is written later changes nothing."""
        size = math.prod(shape)
        data = bytearray(size)
        room = memoryview(data)
        at = 0
        while at < size:
            taken = os.preadv(self.fd, [room[at:]], start + at)
            if not taken:
                raise ChildEnded
            at += taken
        return np.frombuffer(data, np.uint8).reshape(shape)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.fd)
