"""The worker process: `isthmus worker`, and the one that `serve` keeps beside itself."""

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import structlog

from server.app import between_processes, build_services, close_services, readiness_of
from server.http.metrics import Metrics
from server.http.operation import Operation, serve_operation
from server.kernel.logging import configure_logging
from server.kernel.metrics_folder import shared_folder
from server.kernel.process_metrics import Role, watch_process
from server.kernel.services import Services
from server.kernel.tracing import close_tracing, configure_tracing
from server.kernel.uids import new_id
from server.migrations import upgrade
from server.settings import Settings
from server.workflows.background import Loop, run_loop
from server.workflows.engine_jobs import WAKE_S, wake_for_waiting
from server.workflows.facts import watch_machine
from server.workflows.job_registry import worker_runner
from server.workflows.worker_process import require_engine

if TYPE_CHECKING:
    from ai_engine.runners.process import RunnerPolicy

log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; the workitem in hand is finished within the grace, or given back."""
    configure_logging(settings.log_level)
    require_engine()
    asyncio.run(_work(settings))


def runner_policy(settings: Settings) -> "RunnerPolicy":
    """What the operator decided for all models."""
    from ai_engine.runners.process import RunnerPolicy

    data = settings.data.absolute()
    return RunnerPolicy(
        settings.allow_unsandboxed, (data,), settings.allow_pickled_weights, settings.inference_servers
    )


async def _work(settings: Settings) -> None:
    from server.workflows.analysis import build_worker
    from server.workflows.registry.shadow import ShadowRuns, shadow_handlers
    from server.workflows.warm_models import room_here
    from server.workflows.worker import WorkerSettings

    configure_tracing(settings.tracing, Role.WORKER.value)
    await upgrade(settings.database)
    services = build_services(settings)
    name = f"{socket.gethostname()}-{os.getpid()}-{new_id()[:8]}"
    policy = runner_policy(settings)
    unpacked = settings.data.absolute() / "models"
    given = (settings.models_memory_mb, settings.devices, settings.gpu_memory_mb)
    room = await asyncio.to_thread(room_here, *given)
    mine = WorkerSettings(name, settings.lease_s)
    worker, models = build_worker(services, mine, policy, unpacked, room)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shadow = shadow_handlers(ShadowRuns(services, models))
    runner = worker_runner(services, worker.step, settings.worker_grace_s, settings.worker_slots, shadow)
    wake = Loop("wake for waiting", lambda: wake_for_waiting(services), WAKE_S, rest_s=WAKE_S)
    beside = [
        asyncio.create_task(watch_process(Role.WORKER, stop, services.database.report)),
        asyncio.create_task(run_loop(wake, stop)),
    ]
    beside += map(asyncio.create_task, between_processes(services, stop))
    if operation := _operation(settings, services):
        beside.append(asyncio.create_task(serve_operation(operation, stop)))
    log.info("worker ready", worker=name, slots=settings.worker_slots, memory_mb=dict(room.budget_mb))
    try:
        await asyncio.gather(runner.run(stop), *beside)
    finally:
        await models.close()
        await close_services(services)
        await asyncio.to_thread(close_tracing)


def _operation(settings: Settings, services: Services) -> Operation | None:
    """What the worker listens for; None: nothing, or the server beside it tells its metrics."""
    if settings.worker_metrics_port is None or shared_folder() is not None:
        return None
    metrics, readiness = Metrics(), readiness_of(services)
    watch_machine(metrics, readiness, settings.data)
    return Operation(settings.worker_metrics_host, settings.worker_metrics_port, readiness, metrics)
