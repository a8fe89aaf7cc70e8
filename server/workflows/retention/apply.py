"""Retention rules applied: a few due studies at a time, deleted as a person would delete them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row

from dicomweb.delete.holds import LegalHoldInForce
from dicomweb.retrieve.locate import Resource
from server.kernel.access import Principal
from server.kernel.faults import NotFound
from server.kernel.retention_policy import RetentionRule
from server.kernel.services import Services
from server.workflows.deletion.delete import Deletion, delete
from server.workflows.retention.due import select_due

RETENTION = Principal("system:retention", "retention")
STUDIES_AT_ONCE = 20  # deleted by one step

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """Studies that are due by a rule."""

    rule: RetentionRule
    studies: Sequence[Row[Any]]  # study_instance_uid, study_date, created_us


async def apply_retention(services: Services) -> int:
    """Delete some of the studies that the rules want gone; returns how many went."""
    gone = 0
    for rule in services.retention.rules:
        if not rule.dry_run and gone < STUDIES_AT_ONCE:
            due = await find_due(services, rule, STUDIES_AT_ONCE - gone)
            for study in due.studies:
                gone += await _delete(services, rule, study.study_instance_uid)
    return gone


async def find_due(services: Services, rule: RetentionRule, limit: int) -> Due:
    """The first studies that are due by a rule; nothing is done to them."""
    query = select_due(rule, services.retention.rules, services.clock(), limit)
    async with services.database.read() as connection:
        return Due(rule, (await connection.execute(query)).all())


async def _delete(services: Services, rule: RetentionRule, study_instance_uid: str) -> int:
    """Delete one study; 0: somebody else did meanwhile, or placed a hold."""
    deletion = Deletion(Resource(study_instance_uid), RETENTION, f"Retention rule: {rule}")
    try:
        instances = await delete(services, deletion)
    except (NotFound, LegalHoldInForce):
        return 0
    log.info("study deleted", study=study_instance_uid, instances=instances, rule=str(rule))
    return 1
