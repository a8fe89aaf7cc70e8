"""Several server processes on one listening socket, kept alive by a parent that serves nothing itself.

uvicorn has such a parent too; it starts a process that cannot start again and again without a pause, and
cannot tell one that has begun to serve from one that has not.
"""

import asyncio
import os
import socket
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

START_S = 60.0  # until a process serves
SILENT_S = 60.0  # without a beat while it serves: its event loop hangs
END_S = 30.0  # to close everything, after the time that requests have
STEADY_S = 60.0  # a process that served this long did not die of its start
RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0)  # after deaths in a row; the last one repeats
FAILED_STARTS = 3  # in a row of one place, and no place ever served: then the parent gives up

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a supervisor runs."""

    command: Sequence[str]  # the descriptors of the listener and the lifeline are appended
    listener: socket.socket
    settings: bytes  # one line, sent to each process
    servers: int
    stop_s: float  # that a process may take to leave, before it closes everything


@dataclass(frozen=True, slots=True)
class _Server:
    process: Process
    lifeline: socket.socket  # the supervisor's end


class Supervisor:
    """Starts the processes, starts those anew that die, and ends with them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._servers: set[_Server] = set()
        self._stop = asyncio.Event()
        self._has_served = False  # any place, ever: what it began with can be served
        self.has_failed = False  # the processes could not be started
        self.is_forced = False  # asked to stop twice

    async def run(self) -> None:
        """Until every process has ended, by request or because none can be started."""
        places = [asyncio.create_task(self._keep(number)) for number in range(self._plan.servers)]
        await self._stop.wait()
        _, late = await asyncio.wait(places, timeout=self._plan.stop_s + END_S)
        if late:
            log.error("killing server processes that do not end", count=len(self._servers))
            for server in self._servers:
                _signal(server.process, kill=True)
        await asyncio.gather(*places)

    def ask_to_stop(self) -> None:
        """Let the processes leave; asked a second time, let them end at once."""
        self.is_forced = self._stop.is_set()
        self._stop.set()
        self._plan.listener.close()  # theirs stay open while they drain
        for server in self._servers:
            _signal(server.process)

    async def _keep(self, number: int) -> None:
        """Keep one process running in this place."""
        deaths = failed_starts = 0
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            begun = loop.time()
            has_served, returncode = await self._run_one()
            if self._stop.is_set():
                return
            failed_starts = 0 if has_served else failed_starts + 1
            deaths = 0 if loop.time() - begun > STEADY_S else deaths + 1
            if failed_starts >= FAILED_STARTS and not self._has_served:
                log.error("a server process cannot be started; giving up", server=number)
                self.has_failed = True
                self.ask_to_stop()
                return
            if failed_starts == FAILED_STARTS:  # what changed since (a file, a neighbour) may change back
                log.error("a server process cannot be started; trying on", server=number)
            delay_s = RESTART_DELAYS_S[min(deaths, len(RESTART_DELAYS_S)) - 1]
            log.warning("server process ended", server=number, returncode=returncode, restart_in_s=delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay_s)

    async def _run_one(self) -> tuple[bool, int]:
        """Run one process until it ends; returns whether it had begun to serve, and its exit code."""
        server = await self._start()
        self._servers.add(server)
        if self._stop.is_set():
            _signal(server.process)
        try:
            has_served = await self._listen(server)
            return has_served, await server.process.wait()
        finally:
            self._servers.discard(server)
            server.lifeline.close()

    async def _start(self) -> _Server:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptors = (self._plan.listener.fileno(), theirs.fileno())
        with theirs:
            ours.send(self._plan.settings)
            process = await asyncio.create_subprocess_exec(
                *self._plan.command,
                *map(str, descriptors),
                pass_fds=descriptors,
                start_new_session=True,  # a Ctrl-C is for the parent, which then stops them in order
                env=os.environ,
            )
        return _Server(process, ours)

    async def _listen(self, server: _Server) -> bool:
        """Hear a process's beats until it ends, kill it when it hangs; returns whether there was any beat."""
        has_served, patience_s = False, START_S
        loop = asyncio.get_running_loop()
        try:
            with suppress(ConnectionError):
                while await asyncio.wait_for(loop.sock_recv(server.lifeline, 4096), patience_s):
                    has_served, patience_s = True, SILENT_S + self._plan.stop_s
                    self._has_served = True
        except TimeoutError:
            log.error("killing a server process that hangs", pid=server.process.pid)  # noqa: TRY400  it says it all
            _signal(server.process, kill=True)
        return has_served


def _signal(process: Process, *, kill: bool = False) -> None:
    with suppress(ProcessLookupError):
        if kill:
            process.kill()
        else:
            process.terminate()
