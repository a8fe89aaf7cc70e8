"""All background work: which events defer which jobs, what each job does, what recurs, who runs what.

To add work that follows from an event, subscribe to it. To add work that recurs, add a line to `CARE`: a step
does a bounded amount and returns how much that was; while it is not nothing, it is called again soon.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dicomweb.store.reindex import refresh_index
from fhir.binaries.stored import sweep_uploads
from fhir.interactions.enforce import enforce_outstanding
from fhir.interactions.reindex import refresh_search
from fhir.subscriptions.deliver import tend
from server.audit.chain import seal_settled
from server.audit.check import NEWEST_S, WHOLE_S, check_newest, check_whole
from server.audit.forward.run import EVERY_S, forward_settled
from server.kernel.audit_months import make_audit_months
from server.kernel.job_metrics import observe_run
from server.kernel.job_queues import job_queue
from server.kernel.job_runner import JobRunner
from server.kernel.jobs import (
    DEFAULT_BEATS,
    INFERENCE,
    NOTIFY,
    RECORD,
    STORAGE,
    Args,
    Derive,
    Handlers,
    Subscriptions,
)
from server.kernel.periodic_jobs import Recurring
from server.kernel.services import Services
from server.workflows import engine_jobs, record_jobs, settle
from server.workflows.documents import jobs as document_jobs
from server.workflows.documents.jobs import document_handlers
from server.workflows.record_jobs import record_handlers
from server.workflows.registry import shadow_rows
from server.workflows.registry.watch import watch_models
from server.workflows.retention.apply import apply_retention
from server.workflows.retention.prune import forget_deleted, prune
from server.workflows.settle import settle_handlers
from server.workflows.storage.pack import pack_settled
from server.workflows.storage.remove import remove_due
from server.workflows.storage.scrub import scrub
from server.workflows.storage.sweep import sweep_orphans
from server.workflows.subscriptions.jobs import subscription_handlers

Step = Callable[[Services], Awaitable[int]]

AGAIN_S = 1.0  # after a step that did something
RECORD_SLOTS, STORAGE_SLOTS = 4, 1  # jobs of a queue that one process runs at once
NOTIFY_SLOTS = 32  # each waits for one subscriber: those that do not answer must not keep the others waiting


def _together(*parts: Subscriptions) -> Subscriptions:
    joined: dict[str, list[Derive]] = defaultdict(list)
    for part in parts:
        for kind, derive in part.items():
            joined[kind] += derive
    return joined


SUBSCRIPTIONS: Subscriptions = _together(
    record_jobs.SUBSCRIPTIONS,
    document_jobs.SUBSCRIPTIONS,
    settle.SUBSCRIPTIONS,
    engine_jobs.SUBSCRIPTIONS,
    shadow_rows.SUBSCRIPTIONS,
)


@dataclass(frozen=True, slots=True)
class Care:
    """A step that is taken every so often, by one process at a time."""

    recurring: Recurring
    step: Step


async def _make_audit_months(services: Services) -> int:
    return await make_audit_months(services.database)


async def _seal_audit(services: Services) -> int:
    return await seal_settled(services.database, services.audit_keys) if services.audit_keys else 0


async def _check_newest(services: Services) -> int:
    return await check_newest(services.database, services.audit_keys) if services.audit_keys else 0


async def _check_whole(services: Services) -> int:
    return await check_whole(services.database, services.audit_keys) if services.audit_keys else 0


CARE = (
    Care(Recurring("make-audit-months", 3600), _make_audit_months),
    Care(Recurring("seal-audit", 60), _seal_audit),
    Care(Recurring("forward-audit", EVERY_S, NOTIFY), forward_settled),
    Care(Recurring("check-audit-newest", NEWEST_S), _check_newest),
    Care(Recurring("check-audit-whole", WHOLE_S), _check_whole),
    Care(Recurring("refresh-index", 300), refresh_index),
    Care(Recurring("refresh-search", 300), refresh_search),
    Care(Recurring("enforce-consents", 60), enforce_outstanding),
    Care(Recurring("pack-objects", 30), pack_settled),
    Care(Recurring("remove-objects", 60), remove_due),
    Care(Recurring("sweep-objects", 600), sweep_orphans),
    Care(Recurring("scrub-objects", 60), scrub),
    Care(Recurring("apply-retention", 3600), apply_retention),
    Care(Recurring("prune", 3600), prune),
    Care(Recurring("forget-deleted", 3600), forget_deleted),
    Care(Recurring("tend-subscriptions", 60), tend),
    Care(Recurring("watch-models", 60), watch_models),
    Care(Recurring("sweep-uploads", 600), sweep_uploads),
)
RECURRING: Sequence[Recurring] = [each.recurring for each in CARE]


def server_runner(services: Services, quiet_time_s: float | None) -> JobRunner:
    """What a server process runs beside the requests; `quiet_time_s` replaces every rule's own."""
    return JobRunner(
        queue=job_queue(services.database, (RECORD, STORAGE, NOTIFY), DEFAULT_BEATS),
        handlers=server_handlers(services, quiet_time_s),
        slots={RECORD: RECORD_SLOTS, STORAGE: STORAGE_SLOTS, NOTIFY: NOTIFY_SLOTS},
        observe=observe_run,
    )


def worker_runner(
    services: Services, step: Callable[[], Awaitable[int]], grace_s: float, slots: int, shadow: Handlers
) -> JobRunner:
    """What a worker process runs, `slots` jobs at once.

    `shadow`: what it does for versions that are not shown to clinicians.
    """
    return JobRunner(
        queue=job_queue(services.database, (INFERENCE,), DEFAULT_BEATS),
        handlers={**engine_jobs.engine_handlers(step), **shadow},
        slots={INFERENCE: slots},
        grace_s=grace_s,
        observe=observe_run,
    )


def server_handlers(services: Services, quiet_time_s: float | None = None) -> Handlers:
    """What the jobs of the servers' queues do."""
    care = {each.recurring.task: _care_handler(services, each) for each in CARE}
    return {
        **record_handlers(services),
        **document_handlers(services),
        **settle_handlers(services, quiet_time_s),
        **subscription_handlers(services),
        **shadow_rows.shadow_row_handlers(services),
        **care,
    }


def _care_handler(services: Services, care: Care) -> Callable[[Args], Awaitable[None]]:
    async def handle(_args: Args) -> None:
        if await care.step(services):
            await services.database.defer(care.recurring.job(delay_s=AGAIN_S))

    return handle
