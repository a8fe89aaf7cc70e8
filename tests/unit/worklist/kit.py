"""Values and look-ups that the tests of the worklist share."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from dicomweb.tables import Study
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.schedule import Armed, arm
from dicomweb.worklist.state import Priority
from dicomweb.worklist.tables import WorkitemAttempt
from dicomweb.worklist.workitem import NewWorkitem, SeriesReference
from server.kernel.database import Database
from server.kernel.rows import Row, table_of
from server.kernel.tables import AuditRow, OutboxEvent

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ATTEMPT = table_of(WorkitemAttempt)
_STUDY = table_of(Study)


async def make_schema(database: Database) -> None:
    async with database._writer.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)


def ct(study: str = "1.2.3", *, slices: int = 3, first: int = 1) -> SeriesReference:
    uids = tuple(f"{study}.1.{number}" for number in range(first, first + slices))
    return SeriesReference(study, f"{study}.1", CT_IMAGE_STORAGE, uids)


def wanted(
    study: str = "1.2.3",
    *,
    slices: int = 3,
    priority: Priority = Priority.MEDIUM,
    patient_id: str | None = "p1",
    rule: str = "ct-quantification",
) -> NewWorkitem:
    return NewWorkitem(
        rule, "ct-quantification", "1.0.0", study, patient_id, (ct(study, slices=slices),), priority
    )


async def armed(database: Database, *args: Any, **options: Any) -> Armed:
    return await database.transact(lambda unit: arm(unit, wanted(*args, **options)))


async def armed_uid(database: Database, *args: Any, **options: Any) -> str:
    return (await armed(database, *args, **options)).workitem_uid


async def workitem(database: Database, workitem_uid: str) -> Mapping[str, Any]:
    async with database.read() as connection:
        found = await connection.execute(select(WORKITEM).where(WORKITEM.c.workitem_uid == workitem_uid))
        return dict(found.mappings().one())


async def attempts(database: Database) -> list[tuple[int, str]]:
    async with database.read() as connection:
        found = await connection.execute(
            select(ATTEMPT.c.number, ATTEMPT.c.outcome).order_by(ATTEMPT.c.number)
        )
        return [(row.number, row.outcome) for row in found]


async def events(database: Database) -> list[tuple[str, str]]:
    event = table_of(OutboxEvent)
    async with database.read() as connection:
        found = await connection.execute(select(event.c.kind, event.c.payload).order_by(event.c.sequence))
        return [(row.kind, row.payload) for row in found]


async def audited(database: Database) -> list[tuple[str, str]]:
    entry = table_of(AuditRow)
    async with database.read() as connection:
        query = select(entry.c.principal, entry.c.interaction).order_by(entry.c.sequence)
        return [(row.principal, row.interaction) for row in await connection.execute(query)]


async def let_leases_run_out(database: Database) -> None:
    """Time passes for the leases, as the database sees them."""
    await database.transact(lambda unit: unit.execute(update(ATTEMPT).values(lease_until_us=unit.now_us - 1)))


async def let_back_off_end(database: Database) -> None:
    await database.transact(lambda unit: unit.execute(update(WORKITEM).values(not_before_us=None)))


async def store_study(database: Database, study: str = "1.2.3", patient_id: str | None = "p1") -> None:
    """A study row as STOW leaves it, with the attributes that a workitem shows."""
    attributes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": [f"MRN-{study}"]},
        "00100021": {"vr": "LO", "Value": ["HOSPITAL"]},
        "00080050": {"vr": "SH", "Value": ["A1"]},
        "00081030": {"vr": "LO", "Value": ["CT chest"]},
    }
    row = {
        "study_instance_uid": study,
        "patient_value": f"MRN-{study}",
        "patient_id": patient_id,
        "link_state": "linked" if patient_id else "unassigned",
        "created_us": 1,
        "changed_us": 1,
        "attributes": json.dumps(attributes),
    }
    needed = [c for c in _STUDY.c if not (c.nullable or c.primary_key or c.server_default is not None)]
    empty = {column.name: "" for column in needed}
    await database.transact(lambda unit: unit.execute(insert(_STUDY), [empty | row]))
