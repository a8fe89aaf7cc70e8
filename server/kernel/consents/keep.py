"""The rows of a Consent, written with it, and moved along when Patients are merged.

Whoever is told `CONSENT_CHANGED` forgets what callers were denied before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import ConsentDenial, ConsentException, ConsentVerdict, StudyLabel

VERDICT, DENIAL, EXCEPTION = table_of(ConsentVerdict), table_of(ConsentDenial), table_of(ConsentException)
LABEL = table_of(StudyLabel)

CONSENT_CHANGED = "consent.changed"  # told in this process; nothing is written
_ANY_DENIAL = select(literal(1)).select_from(DENIAL).limit(1)


class State(Enum):
    """How a Consent stands."""

    ENFORCED = "enforced"
    UNENFORCED = "not enforced"
    NOT_IN_FORCE = "not in force"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A Consent as it is enforced: rows without `rid` and `patient_id`; or why it is not."""

    state: State

    holder: str | None = None  # the Patient
    denials: Sequence[dict[str, Any]] = ()
    exceptions: Sequence[dict[str, Any]] = ()
    reasons: Sequence[tuple[str, str]] = ()  # element and text: why it is not


async def any_denial(connection: AsyncConnection) -> bool:
    """Whether anybody denies anything."""
    return (await connection.execute(_ANY_DENIAL)).first() is not None


async def count_denials(unit: UnitOfWork, patient_id: str) -> int:
    """How many rows say what this Patient, and who is one person with it, denies."""
    rows = select(func.count()).select_from(DENIAL).where(DENIAL.c.patient_id == patient_id)
    return int((await unit.execute(rows)).scalar_one())


async def add_verdict(
    unit: UnitOfWork, consent: tuple[int, str, int], verdict: Verdict, family: Iterable[str]
) -> None:
    """Have a Consent that says nothing yet, by rid, id and version, say this.

    `family`: the Patients that are one person with the holder, who is among them.
    """
    rid, consent_id, version_id = consent
    unit.tell(CONSENT_CHANGED)
    row = {"rid": rid, "id": consent_id, "version_id": version_id, "state": verdict.state.value}
    await unit.execute(insert(VERDICT), [{**row, "reasons": orjson.dumps(verdict.reasons).decode()}])
    denials = [
        {"patient_id": patient_id, "rid": rid, "number": number, "holder": verdict.holder, **each}
        for patient_id in sorted(family)
        for number, each in enumerate(verdict.denials)
    ]
    exceptions = [{"rid": rid, "number": number, **each} for number, each in enumerate(verdict.exceptions)]
    if denials:
        await unit.execute(insert(DENIAL), denials)
    if exceptions:
        await unit.execute(insert(EXCEPTION), exceptions)


async def forget_consent(unit: UnitOfWork, rid: int) -> None:
    """Have a Consent say nothing."""
    for table in (VERDICT, DENIAL, EXCEPTION):
        await unit.execute(delete(table).where(table.c.rid == rid))
    unit.tell(CONSENT_CHANGED)


async def spread_denials(unit: UnitOfWork, family: Iterable[str]) -> None:
    """Have what one of these Patients denies hold for each of them: they are one person by now."""
    members = sorted(family)
    of_family = DENIAL.c.holder.in_(members)
    if (await unit.execute(select(DENIAL.c.rid).where(of_family).limit(1))).first() is None:
        return
    await unit.execute(delete(DENIAL).where(of_family, DENIAL.c.patient_id != DENIAL.c.holder))
    names = [column.name for column in DENIAL.c if column.name != "patient_id"]
    own = select(*(DENIAL.c[name] for name in names)).where(of_family, DENIAL.c.patient_id == DENIAL.c.holder)
    for member in members:
        copied = own.add_columns(literal(member)).where(DENIAL.c.holder != member)
        await unit.execute(insert(DENIAL).from_select([*names, "patient_id"], copied))
    unit.tell(CONSENT_CHANGED)


async def keep_study_labels(
    unit: UnitOfWork, study_instance_uid: str, labels: Sequence[tuple[str, str]]
) -> None:
    """Have a study bear these labels, by system and code."""
    await unit.execute(delete(LABEL).where(LABEL.c.study_instance_uid == study_instance_uid))
    rows = [
        {"study_instance_uid": study_instance_uid, "number": number, "system": system, "code": code}
        for number, (system, code) in enumerate(labels)
    ]
    if rows:
        await unit.execute(insert(LABEL), rows)
