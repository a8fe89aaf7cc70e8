"""`isthmus serve`: one server process, or a parent with several of them on one socket.

The one that is started prepares: it binds the socket, brings the schema up to date and keeps the embedded
worker. Rule: a server process holds nothing that another needs, so which one answers never matters.
"""

import asyncio
import base64
import gc
import logging
import pickle
import socket
import sys

import structlog
import uvicorn
from fastapi import FastAPI

from fhir.interactions.authored import put_own_definitions
from server.app import build_app, build_services, worker_environment
from server.http.drain import Drain
from server.http.draining_server import STOP_SIGNALS, DrainingServer, WayOut
from server.http.lifeline import Lifeline
from server.http.memory import tune_allocator
from server.http.paced_bodies import PacedBodies
from server.http.supervisor import Plan, Supervisor
from server.http.tls import ServedTls, load_context
from server.kernel.audit_months import make_audit_months
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy, Fault
from server.kernel.logging import configure_logging
from server.kernel.object_stores import join_installation, open_store
from server.migrations import upgrade
from server.settings import Settings
from server.workflows.adopt_outbox import adopt_outbox
from server.workflows.endpoints import publish_endpoints
from server.workflows.models import keep_shipped, register_shipped
from server.workflows.own_codes import publish_own_codes
from server.workflows.registry.versions import INSTALLER
from server.workflows.storage.pack import follow_prefix
from server.workflows.worker_process import keep_worker, require_engine

KEEP_ALIVE_S = 75
PING_S = 20.0  # between pings of a channel, and until one without answer is closed
MAX_MESSAGE_BYTES = 4 << 10  # from a channel's client, which has nothing to say
BACKLOG = 2048  # connections that wait to be accepted, of all server processes together

log = structlog.get_logger(__name__)


class AddressNotAvailable(Fault):
    """The address cannot be listened on."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once, with exit code 1."""
    configure_logging(settings.log_level)
    if settings.worker:
        require_engine()
    if settings.tls is not None:
        load_context(settings.tls)
    elif not settings.is_loopback and not settings.base.startswith("https:"):
        log.warning(
            "no TLS: tokens and records cross the network in the clear (tls_certificate, public_base)"
        )
    listener = _listen(settings)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    asyncio.run(_prepare(settings))
    log.info("serving", base=settings.base, auth=settings.auth, worker=settings.worker)
    if settings.server_workers == 1:
        _serve(settings, listener)
    elif not asyncio.run(_supervise(settings, listener)):
        sys.exit(1)


def serve_supervised(listener: int, lifeline: int) -> None:
    """Be one of several server processes; `listener` and `lifeline` are descriptors that the parent gave."""
    supervisor = Lifeline(lifeline)
    settings: Settings = pickle.loads(base64.b64decode(supervisor.read_settings()))  # noqa: S301  the parent's own
    configure_logging(settings.log_level)
    shared = socket.socket(fileno=listener)
    shared.set_inheritable(False)
    _serve(settings, shared, supervisor)


def _serve(settings: Settings, listener: socket.socket, lifeline: Lifeline | None = None) -> None:
    """Serve in this process: first the requests under way end, then the worker, then the database."""
    tune_allocator()
    drain = Drain()
    tls = ServedTls(settings.tls) if settings.tls else None
    config = server_config(settings, build_app(settings, build_services(settings), drain), tls)
    server = DrainingServer(config, WayOut(drain, settings.drain_s, lifeline), tls)
    gc.freeze()  # what is there by now stays; to look through it for garbage would hold up requests
    server.run(sockets=[listener])
    if server.force_exit:
        sys.exit(1)


def server_config(settings: Settings, app: FastAPI, tls: ServedTls | None = None) -> uvicorn.Config:
    """How uvicorn serves."""
    logging.getLogger("uvicorn.error").addFilter(_names_no_path)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=PacedBodies,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_s,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # reports are a few hundred bytes; a window for each channel is not
        ssl_context_factory=(lambda *_: tls.context) if tls else None,
        proxy_headers=bool(settings.trusted_proxies),  # by default uvicorn believes every loopback client
        forwarded_allow_ips=list(settings.trusted_proxies),
    )


def _names_no_path(record: logging.LogRecord) -> bool:
    """Leave out that uvicorn logs each WebSocket with its path and query, which may hold what no log may."""
    return '"WebSocket ' not in str(record.msg)


async def _supervise(settings: Settings, listener: socket.socket) -> bool:
    """Run the server processes and the worker; returns whether all went well until the end."""
    theirs = settings.model_copy(update={"worker": False})
    supervisor = Supervisor(
        Plan(
            command=(sys.executable, "-m", "server.serve"),
            listener=listener,
            settings=base64.b64encode(pickle.dumps(theirs)) + b"\n",
            servers=settings.server_workers,
            stop_s=settings.drain_s + settings.shutdown_s,
        )
    )
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, supervisor.ask_to_stop)
    stop = asyncio.Event()
    worker = asyncio.create_task(keep_worker(stop, worker_environment(settings))) if settings.worker else None
    await supervisor.run()
    stop.set()
    if worker is not None:
        if supervisor.is_forced:
            worker.cancel()
        await asyncio.wait([worker])
    return not (supervisor.has_failed or supervisor.is_forced)


async def _prepare(settings: Settings) -> None:
    """What is done once, before anybody serves."""
    settings.data.mkdir(parents=True, exist_ok=True)
    settings.derive_key("nothing")  # makes the master key file, if there is none
    await upgrade(settings.database)
    database = Database(settings.database)
    await make_audit_months(database)
    await adopt_outbox(database)
    await database.transact(lambda unit: _publish_definitions(unit, settings))
    await keep_shipped(database)
    await register_shipped(database)
    await _join_store(settings, database)
    await database.close()


async def _join_store(settings: Settings, database: Database) -> None:
    """See that the object store is ours. One that is down now is asked again before anything is removed."""
    objects = open_store(settings.objects)
    try:
        await join_installation(database, objects)
    except Busy as fault:
        log.warning("the object store is not reached", reason=str(fault))
    finally:
        await objects.close()
    await database.transact(lambda unit: follow_prefix(unit, objects.prefix))


async def _publish_definitions(unit: UnitOfWork, settings: Settings) -> None:
    await put_own_definitions(unit, INSTALLER)
    await publish_own_codes(unit, INSTALLER)
    await publish_endpoints(unit, settings.base, INSTALLER, needs_token=settings.auth)


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, bound before anything is started, so that a taken port is one clear line."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise AddressNotAvailable(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error
    listener.listen(BACKLOG)
    return listener


if __name__ == "__main__":
    serve_supervised(*map(int, sys.argv[1:3]))
