"""What was ever published of a study: the reports of its documents, and their Observations.

The engine's are found by its workitems, all others by `report_document`.
"""

from collections.abc import Iterator

from sqlalchemy import select

from dicomweb.store.instances import Origin
from dicomweb.tables import Instance
from dicomweb.worklist.tables import Workitem
from dicomweb.worklist.workitem import decode_series
from fhir.interactions.read import read_resource
from fhir.model.json_codec import Json
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.documents.known import documents_of
from server.workflows.documents.tables import ReportDocument
from server.workflows.report.graph import provenance_id_of, report_id_of
from terminology.definitions import sop_classes

PAGES = (sop_classes.EncapsulatedPDFStorage,)
PICTURES = (sop_classes.SecondaryCaptureImageStorage, sop_classes.KeyObjectSelectionDocumentStorage)

_WORKITEM, _DOCUMENT = table_of(Workitem), table_of(ReportDocument)


async def published_of(unit: UnitOfWork, study_instance_uid: str) -> list[tuple[str, str]]:
    """Type and id of every report on the study, and of every Observation of any version of it."""
    found: dict[tuple[str, str], None] = {}
    documents = [
        *await _of_workitems(unit, study_instance_uid),
        *await _of_documents(unit, study_instance_uid),
    ]
    for report_id, sop_instance_uid in documents:
        found[("DiagnosticReport", report_id)] = None
        provenance_id = provenance_id_of(report_id, sop_instance_uid)
        provenance = await read_resource(unit.connection, "Provenance", provenance_id)
        found |= dict.fromkeys(_observations_of(provenance or {}))
    return list(found)


async def is_version_of(
    unit: UnitOfWork, study_instance_uid: str, report_id: str, sop_instance_uid: str
) -> bool:
    """Whether a report was made of this document of the study; its own `identifier` could say anything."""
    known = [
        *await _of_documents(unit, study_instance_uid),
        *await _of_workitems(unit, study_instance_uid),
    ]
    return (report_id, sop_instance_uid) in known


async def made_with(
    unit: UnitOfWork, study_instance_uid: str, report_id: str, sop_instance_uid: str
) -> list[str]:
    """What stands and falls with a document of a report: itself, and what a model of ours made with it.

    An outside performer may name any instance as its output; those are none of ours.
    """
    documents = {sop_instance_uid, *await documents_of(unit, report_id)}
    c, i = _WORKITEM.c, table_of(Instance).c
    outputs = select(c.output).where(c.study_instance_uid == study_instance_uid)
    beside: set[str] = set()
    for output in (await unit.execute(outputs)).scalars().all():
        uids = {uid for each in decode_series(output) for uid in each.sop_instance_uids}
        beside |= uids if uids & documents else set()
    ours = select(i.sop_instance_uid).where(
        i.sop_instance_uid.in_(sorted(beside)), i.origin == Origin.ENGINE.value
    )
    return [sop_instance_uid, *(await unit.execute(ours)).scalars().all()]


async def outdated_by(
    unit: UnitOfWork,
    study_instance_uid: str,
    report_id: str,
    sop_instance_uid: str,
    *,
    changes_findings: bool,
) -> list[str]:
    """What a new edition of a document takes the place of: itself, and what shows otherwise.

    A page says that nobody verified it. Pictures and key objects show the findings as they were. The
    segmentation stays: the document refers to it.
    """
    classes = [*PAGES, *(PICTURES if changes_findings else ())]
    beside = await made_with(unit, study_instance_uid, report_id, sop_instance_uid)
    i = table_of(Instance).c
    query = select(i.sop_instance_uid).where(i.sop_instance_uid.in_(beside), i.sop_class_uid.in_(classes))
    return [sop_instance_uid, *(await unit.execute(query)).scalars().all()]


async def _of_workitems(unit: UnitOfWork, study_instance_uid: str) -> list[tuple[str, str]]:
    """(report, SOP Instance UID) of what the engine made; not all of it are documents."""
    c = _WORKITEM.c
    query = select(c.model_name, c.output).where(c.study_instance_uid == study_instance_uid).order_by(c.pk)
    rows = (await unit.execute(query)).all()
    return [
        (report_id_of(study_instance_uid, row.model_name), uid)
        for row in rows
        for uid in ["", *(uid for each in decode_series(row.output) for uid in each.sop_instance_uids)]
    ]


async def _of_documents(unit: UnitOfWork, study_instance_uid: str) -> list[tuple[str, str]]:
    c = _DOCUMENT.c
    query = select(c.report_id, c.sop_instance_uid).where(
        c.study_instance_uid == study_instance_uid, c.report_id.is_not(None)
    )
    rows = (await unit.execute(query.order_by(c.looked_us, c.sop_instance_uid))).all()
    return [(row.report_id, row.sop_instance_uid) for row in rows]


def _observations_of(provenance: Json) -> Iterator[tuple[str, str]]:
    for target in provenance.get("target", ()):
        resource_type, _, resource_id = target.get("reference", "").partition("/")
        if resource_type == "Observation":
            yield resource_type, resource_id
