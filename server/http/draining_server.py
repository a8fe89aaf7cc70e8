"""uvicorn's server with our way out: drain first, finish what is under way, end at once when asked twice."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import uvicorn

from server.http.drain import Drain
from server.http.lifeline import Lifeline
from server.http.tls import CLOSE_S, HANDSHAKE_S, LOOK_S, ServedTls

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FORCED_END_S = 2.0  # after a second signal; threads that hang are not waited for
BEAT_TICKS = 10  # of a tenth of a second each
STARTUP_FAILURE = 3  # uvicorn's exit code of it

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WayOut:
    """How a server process leaves."""

    drain: Drain
    drain_s: float  # it goes on accepting connections for so long
    lifeline: Lifeline | None = None  # None: nobody supervises it


class DrainingServer(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, or until its supervisor is gone; `force_exit`: it was asked twice."""

    def __init__(self, config: uvicorn.Config, way_out: WayOut, tls: ServedTls | None = None) -> None:
        super().__init__(config)
        self._way_out = way_out
        self._leaves_at = float("inf")
        self._tls = tls
        self._look: asyncio.Task[bool] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve on these sockets: uvicorn's own way gives a handshake a minute."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        self.servers = [
            await asyncio.get_running_loop().create_server(
                self._protocol,
                sock=each,
                backlog=self.config.backlog,
                ssl=self.config.ssl,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
                ssl_shutdown_timeout=CLOSE_S if self._tls else None,
            )
            for each in sockets or ()
        ]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        """What serves one connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals on the event loop, and keep them: ending on request is no failure."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to leave now."""
        lifeline = self._way_out.lifeline
        if lifeline is not None and counter % BEAT_TICKS == 0 and not lifeline.beat():
            self._begin_drain("the supervisor is gone")
        if self._tls is not None and counter % (LOOK_S * BEAT_TICKS) == 0:
            self._look = asyncio.create_task(asyncio.to_thread(self._tls.look))
        leaves = await super().on_tick(counter)
        return leaves or self.force_exit or asyncio.get_running_loop().time() >= self._leaves_at

    def _signalled(self) -> None:
        if self._way_out.drain.has_begun:
            self._end_at_once()
        else:
            self._begin_drain("a signal")

    def _begin_drain(self, cause: str) -> None:
        if self._way_out.drain.has_begun:
            return
        log.info("leaving", cause=cause, drain_s=self._way_out.drain_s)
        self._leaves_at = asyncio.get_running_loop().time() + self._way_out.drain_s
        self._way_out.drain.begin()

    def _end_at_once(self) -> None:
        log.warning("ending at once")
        self.force_exit = True
        last_resort = threading.Timer(FORCED_END_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()
