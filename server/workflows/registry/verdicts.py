"""What clinicians say of a model's results, by version: as they verify, amend or reject reports."""

from collections.abc import Mapping
from enum import Enum

from sqlalchemy import insert, select, update

from ai_engine.tables import ModelVerdict
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.state import State
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


async def note_verdict(unit: UnitOfWork, study_instance_uid: str, report_id: str, verdict: Verdict) -> None:
    """Count a verdict for the version whose result the report tells of; a report of others counts for nobody.

    Of several verdicts on one result the gravest stays: who verifies what was amended agrees with the
    amendment.
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
    if before is not None and GRAVITY[Verdict(before)] >= GRAVITY[verdict]:
        return
    said = {"verdict": verdict.value, "at_us": unit.now_us}
    if before is not None:
        await unit.execute(update(VERDICT).where(of_result).values(**said))
        return
    about = {
        "workitem_uid": result.workitem_uid,
        "model_name": result.model_name,
        "version": result.model_version,
    }
    await unit.execute(insert(VERDICT), [about | said])
