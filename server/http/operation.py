"""A listener of its own for health and metrics, for processes that serve nothing else: the worker."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from server.http.health import Readiness, build_router
from server.http.metrics import Metrics
from server.http.paced_bodies import PacedBodies
from server.http.tracing import NO_TELEMETRY
from server.kernel.faults import Fault


class PortTaken(Fault):
    """The address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be asked of this process, and where."""

    host: str
    port: int
    readiness: Readiness
    metrics: Metrics


async def serve_operation(operation: Operation, stop: asyncio.Event) -> None:
    """Answer `/livez`, `/readyz` and `/metrics` until `stop`.

    Raises:
        PortTaken: somebody else listens there.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, telemetry=NO_TELEMETRY)
    app.include_router(build_router(operation.readiness, operation.metrics))
    config = uvicorn.Config(app, log_config=None, access_log=False, http=PacedBodies, server_header=False)
    server = _Server(config)
    serving = asyncio.create_task(server.serve([_listen(operation.host, operation.port)]))
    await stop.wait()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """Leaves the signals to the process whose work this stands beside."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise PortTaken(f"cannot listen on {host}:{port} for metrics: {error.strerror}") from error
