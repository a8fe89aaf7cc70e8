"""Received SR documents become reports: found after the store's commit, mapped one by one (DESIGN §2).

Storage never waits for it. A document is looked at once, and again only when another data set has taken its
place; what makes no report leaves a reason, in the log and in `report_document`. The engine's own documents
have their reports from `server/workflows/publish.py`.
"""

import asyncio
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import RowMapping, Select, and_, bindparam, or_, select

from dicomweb.attributes import DicomJson
from dicomweb.render.media import NotRendered
from dicomweb.store.instances import Origin
from dicomweb.tables import Instance, Study
from dicomweb.wire.exact import read_exactly
from dicomweb.wire.faults import UnreadableDataSet
from fhir.model.validation.issue import InvalidResource
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.object_store import StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.documents.classes import CLASSES
from server.workflows.documents.known import Looked, known_documents, note_document
from server.workflows.documents.lineage import belonging_of
from server.workflows.documents.tables import ReportDocument
from server.workflows.report.names import Names, names_of
from server.workflows.report.record import (
    Surroundings,
    context_of,
    retract_report,
    surroundings_of,
    write_graph,
)
from server.workflows.sr_to_fhir import map_sr, predecessors_of
from server.workflows.terminology import terms_of

READER = Principal("system:documents", "documents")
MAX_DOCUMENT_BYTES = 8 << 20  # of a document that is mapped; a long one has hundreds of kilobytes
MAX_PROBLEM_CHARACTERS = 1_000
NOT_MAPPABLE = (UnreadableDataSet, InvalidResource, NotRendered)

_INSTANCE, _STUDY, _DOCUMENT = table_of(Instance), table_of(Study), table_of(ReportDocument)

log = structlog.get_logger(__name__)


class DocumentTooLarge(UnreadableDataSet):
    """The document is larger than what is mapped."""


@dataclass(frozen=True, slots=True)
class _Document:
    """A received document, read."""

    looked: Looked
    content: DicomJson
    names: Names


def _select_waiting() -> Select[tuple[str]]:
    """Received documents that were not looked at, as they are now; the oldest first."""
    i, d = _INSTANCE.c, _DOCUMENT.c
    return (
        select(i.sop_instance_uid)
        .outerjoin(_DOCUMENT, d.sop_instance_uid == i.sop_instance_uid)
        .where(
            i.sop_class_uid.in_(sorted(CLASSES)),
            i.origin == Origin.RECEIVED.value,
            i.superseded_us.is_(None),
            or_(d.sop_instance_uid.is_(None), d.data_set_sha256 != i.data_set_sha256),
        )
        .order_by(i.id)
    )


_OF_STUDY = (
    _select_waiting().join(_STUDY, _STUDY.c.id == _INSTANCE.c.study_id)
).where(_STUDY.c.study_instance_uid == bindparam("study"))  # fmt: skip
_ONE = _select_waiting().where(_INSTANCE.c.sop_instance_uid == bindparam("instance"))
_DETAIL = (
    select(
        _STUDY.c.study_instance_uid,
        *(_INSTANCE.c[name] for name in ("sop_instance_uid", "data_set_sha256")),
        *(_INSTANCE.c[name] for name in ("object_name", "object_offset", "object_length")),
    )
    .join(_STUDY, _STUDY.c.id == _INSTANCE.c.study_id)
    .where(_INSTANCE.c.sop_instance_uid.in_(_ONE.scalar_subquery()))
)


async def waiting_documents(unit: UnitOfWork, study_instance_uid: str) -> list[str]:
    """The documents of a study that are to be looked at, by SOP Instance UID."""
    return list((await unit.execute(_OF_STUDY, {"study": study_instance_uid})).scalars().all())


async def map_document(services: Services, sop_instance_uid: str) -> None:
    """Look at one document; nothing when it is gone, or was looked at."""
    async with services.database.read() as connection:
        query = _DETAIL, {"instance": sop_instance_uid}
        row = (await connection.execute(*query)).mappings().one_or_none()
    if row is None:
        return
    looked = Looked(row["study_instance_uid"], sop_instance_uid, row["data_set_sha256"])
    try:
        document = await _read(services, row)
        around = surroundings_of(services)
        await services.database.transact(lambda unit: _map(unit, document, around))
    except NOT_MAPPABLE as fault:
        problem = str(fault)[:MAX_PROBLEM_CHARACTERS]
        log.warning("document makes no report", sop_instance_uid=sop_instance_uid, reason=problem)
        await services.database.transact(lambda unit: _note_problem(unit, looked, problem))


async def _read(services: Services, row: RowMapping) -> _Document:
    if row["object_length"] > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(f"The document is larger than {MAX_DOCUMENT_BYTES} bytes.")
    file = await services.objects.read(
        StoredRange(row["object_name"], row["object_offset"], row["object_length"])
    )
    content = await asyncio.to_thread(read_exactly, file)
    study, sha256 = row["study_instance_uid"], row["data_set_sha256"]
    replaced = frozenset(predecessors_of(content))
    names = await names_of(content, terms_of(services.database))
    return _Document(Looked(study, row["sop_instance_uid"], sha256, replaced), content, names)


async def _map(unit: UnitOfWork, document: _Document, around: Surroundings) -> None:
    looked = document.looked
    study_instance_uid = looked.study_instance_uid
    await unit.lock([f"study:{study_instance_uid}", f"reports:{study_instance_uid}"])
    study = await _study_of(unit, looked)
    if study is None:
        return
    known = await known_documents(unit, study_instance_uid)
    belonging = belonging_of(looked.sop_instance_uid, looked.predecessors, known)
    if not belonging.is_replaced:
        context = await context_of(unit, study, belonging.report_id, around)
        context = replace(context, names=document.names)
        await write_graph(unit, map_sr(document.content, context), READER)
    for report_id in sorted(belonging.ended):
        await retract_report(unit, report_id, READER)
    await note_document(unit, looked, belonging.report_id)


async def _study_of(unit: UnitOfWork, looked: Looked) -> RowMapping | None:
    """The row of the study while the document in it is what was read, and waits; else None."""
    same = and_(
        _INSTANCE.c.study_id == _STUDY.c.id,
        _INSTANCE.c.sop_instance_uid.in_(_ONE.scalar_subquery()),
        _INSTANCE.c.data_set_sha256 == looked.data_set_sha256,
    )
    named = {"instance": looked.sop_instance_uid}
    return (await unit.execute(select(_STUDY).join(_INSTANCE, same), named)).mappings().one_or_none()


async def _note_problem(unit: UnitOfWork, looked: Looked, problem: str) -> None:
    await unit.lock([f"study:{looked.study_instance_uid}", f"reports:{looked.study_instance_uid}"])
    if await _study_of(unit, looked) is not None:
        await note_document(unit, looked, None, problem)
