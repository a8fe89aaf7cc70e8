"""The facts that every scrape tells: worklist, jobs, outbox, stored objects, readiness, memory, disk."""

from collections.abc import Iterable
from pathlib import Path

from server.audit.check import audit_facts
from server.audit.forward.run import forward_facts
from server.auth.emergency.review import emergency_facts
from server.http.health import Readiness
from server.http.metrics import Metrics
from server.kernel.backups import backup_facts
from server.kernel.job_overview import job_facts
from server.kernel.metrics import Fact
from server.kernel.outbox import outbox_facts
from server.kernel.periodic_jobs import periodic_facts
from server.kernel.process_metrics import disk_facts, memory_facts
from server.kernel.services import Services
from server.workflows.consents.overview import consent_facts
from server.workflows.job_registry import RECURRING
from server.workflows.storage.figures import storage_facts
from server.workflows.subscriptions.overview import subscription_facts
from server.workflows.worklist_metrics import worklist_facts


def watch_machine(metrics: Metrics, readiness: Readiness, data: Path) -> None:
    """Facts of any process of ours."""

    async def machine() -> Iterable[Fact]:
        return [*memory_facts(), *disk_facts(data)]

    metrics.watch("readiness", readiness.facts)
    metrics.watch("machine", machine)


def watch_database(metrics: Metrics, services: Services) -> None:
    """Facts that stand in the database: asked of the servers, which would all say the same."""
    metrics.watch("worklist", lambda: worklist_facts(services))
    metrics.watch("jobs", lambda: job_facts(services.database))
    metrics.watch("periodic", lambda: periodic_facts(services.database, RECURRING))
    metrics.watch("storage", lambda: storage_facts(services))
    metrics.watch("backup", lambda: backup_facts(services.database))
    metrics.watch("outbox", lambda: outbox_facts(services.database))
    metrics.watch("emergency", lambda: emergency_facts(services.database))
    metrics.watch("audit", lambda: audit_facts(services.database, services.audit_keys))
    metrics.watch("forwarding", lambda: forward_facts(services))
    metrics.watch("consents", lambda: consent_facts(services.database))
    metrics.watch("subscriptions", lambda: subscription_facts(services.database))
