"""The documents of a study that are known, and noting one (table `report_document`)."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from dicomweb.store.instances import Origin
from dicomweb.tables import Instance
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.documents.lineage import KnownDocument
from server.workflows.documents.tables import ReportDocument

_DOCUMENT = table_of(ReportDocument)


@dataclass(frozen=True, slots=True)
class Looked:
    """A document that was looked at."""

    study_instance_uid: str
    sop_instance_uid: str
    data_set_sha256: bytes
    predecessors: frozenset[str] = frozenset()


async def known_documents(unit: UnitOfWork, study_instance_uid: str) -> list[KnownDocument]:
    """Those of a study, in the order in which they were looked at."""
    c = _DOCUMENT.c
    query = select(_DOCUMENT).where(c.study_instance_uid == study_instance_uid)
    rows = await unit.execute(query.order_by(c.looked_us, c.sop_instance_uid))
    return [
        KnownDocument(row.sop_instance_uid, row.report_id, frozenset(row.predecessors.split()))
        for row in rows.all()
    ]


async def note_document(
    unit: UnitOfWork, looked: Looked, report_id: str | None, problem: str | None = None
) -> None:
    """Note of which report a document is a version, or why it is none."""
    await unit.execute(delete(_DOCUMENT).where(_DOCUMENT.c.sop_instance_uid == looked.sop_instance_uid))
    row = {
        "sop_instance_uid": looked.sop_instance_uid,
        "study_instance_uid": looked.study_instance_uid,
        "data_set_sha256": looked.data_set_sha256,
        "report_id": report_id,
        "problem": problem,
        "predecessors": " ".join(sorted(looked.predecessors)),
        "looked_us": unit.now_us,
    }
    await unit.execute(insert(_DOCUMENT), [row])


async def own_documents_of(unit: UnitOfWork, report_id: str) -> list[str]:
    """Those of `documents_of` that were made here: results, and what a person verified of them."""
    uids = await documents_of(unit, report_id)
    c = table_of(Instance).c
    made_here = select(c.sop_instance_uid).where(
        c.sop_instance_uid.in_(uids), c.origin == Origin.ENGINE.value
    )
    return list((await unit.execute(made_here.order_by(c.id))).scalars().all())


async def documents_of(unit: UnitOfWork, report_id: str) -> list[str]:
    """SOP Instance UIDs of every document that was a version of a report, the newest first."""
    c = _DOCUMENT.c
    query = select(c.sop_instance_uid).where(c.report_id == report_id)
    ordered = query.order_by(c.looked_us.desc(), c.sop_instance_uid)
    return list((await unit.execute(ordered)).scalars().all())
