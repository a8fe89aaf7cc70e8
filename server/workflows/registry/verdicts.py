"""What clinicians say of a model's results, by version: as they verify, amend or reject reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from sqlalchemy import insert, select, update

from ai_engine.tables import ModelVerdict
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.state import State
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.report.graph import report_id_of

VERDICT = table_of(ModelVerdict)


class Verdict(Enum):
    """What was said."""

    VERIFIED = "verified"
    AMENDED = "amended"
    REJECTED = "rejected"


GRAVITY: Mapping[Verdict, int] = {Verdict.VERIFIED: 0, Verdict.AMENDED: 1, Verdict.REJECTED: 2}


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict, and who said so."""

    verdict: Verdict
    person: str


def person_of(principal: Principal, verifier: str) -> str:
    """A word for a person that is the same each time and names nobody.

    Many may ask through one client: then the name that it states tells them apart.
    """
    return sha256(f"{principal.id}\x00{verifier.casefold()}".encode()).hexdigest()[:16]


async def note_verdict(unit: UnitOfWork, study_instance_uid: str, report_id: str, said: Said) -> None:
    """Count a verdict for the version whose result the report tells of; a report of others counts for nobody.

    Of several verdicts on one result the gravest stays: who verifies what was amended agrees with the
    amendment. It counts in the window of the first: by the time of a later one, a window would get the bad
    results of those before it without the good ones.
    """
    w = WORKITEM.c
    query = select(w.workitem_uid, w.model_name, w.model_version).where(
        w.study_instance_uid == study_instance_uid, w.state == State.COMPLETED.value, w.attempt > 0
    )
    rows = (await unit.execute(query.order_by(w.pk.desc()))).all()
    result = next(
        (row for row in rows if report_id_of(study_instance_uid, row.model_name) == report_id), None
    )
    if result is None:
        return
    of_result = VERDICT.c.workitem_uid == result.workitem_uid
    before = (await unit.execute(select(VERDICT.c.verdict).where(of_result))).scalar_one_or_none()
    if before is not None and GRAVITY[Verdict(before)] >= GRAVITY[said.verdict]:
        return
    columns = {"verdict": said.verdict.value, "person": said.person}
    if before is not None:
        await unit.execute(update(VERDICT).where(of_result).values(**columns))
        return
    about = {
        "workitem_uid": result.workitem_uid,
        "model_name": result.model_name,
        "version": result.model_version,
        "at_us": unit.now_us,
    }
    await unit.execute(insert(VERDICT), [about | columns])
