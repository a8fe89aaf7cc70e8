"""Publishing a result: its DICOM objects into the study, its FHIR graph into the record, at once (DESIGN §2).

The bytes are made durable first. Then the transaction: the attempt is still the current one (fencing), the
instances are indexed, what they supersede leaves the default answers, Patient and ImagingStudy are brought up
to date, the graph of the SR is written, the workitem ends. A worker that lost its claim publishes nothing; a
retry writes the same UIDs and ids, so nothing doubles.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from ai_engine.encode.publication import EncodedObject, EncodedResult
from dicomweb.attributes import DicomJson
from dicomweb.store.index import index_instances, supersede_instances
from dicomweb.store.instances import (
    InstanceResult,
    Origin,
    ReceivedInstance,
    StoredInstance,
    prepare_instance,
)
from dicomweb.tables import Study
from dicomweb.wire.exact import read_exactly
from dicomweb.worklist.attempts import complete, fence, standing_output
from dicomweb.worklist.workitem import Claim, SeriesReference
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, Fault, FaultKind
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.site import Site
from server.workflows.documents.known import Looked, note_document, own_documents_of
from server.workflows.projection import project_study, task_facts
from server.workflows.registry.in_service import require_in_service
from server.workflows.registry.shadow_rows import defer_shadow_runs
from server.workflows.report.content import uid_of
from server.workflows.report.graph import report_id_of
from server.workflows.report.record import Surroundings, context_of, surroundings_of, write_graph
from server.workflows.sr_to_fhir import map_sr, predecessors_of

_STUDY = table_of(Study)


class ResultRefused(Fault):
    """The archive does not take the result: its study was deleted, or belongs to another patient by now."""

    kind = FaultKind.CONFLICT


class ResultOutdated(Busy):
    """Another result of the same model was published meanwhile; the next attempt replaces that."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A result whose bytes are durable."""

    instances: tuple[StoredInstance, ...]
    document: DicomJson  # the SR
    pdf: tuple[str, str] | None  # Series and SOP Instance UID of the report to read
    superseded: tuple[SeriesReference, ...]
    summary: Mapping[str, Any]


async def publish(
    services: Services,
    claim: Claim,
    result: EncodedResult,
    superseded: tuple[SeriesReference, ...],
    summary: Mapping[str, Any],
) -> None:
    """Publish a result and complete its workitem.

    Args:
        services: of this process.
        claim: the workitem.
        result: what the model found, encoded.
        superseded: the output that `result` replaces, as its SR says.
        summary: of the findings, for shadow runs to be held against.

    Raises:
        LeaseLost: the claim is not the current one any more.
        ResultRefused, ResultOutdated, VersionOutOfService: the archive has moved on; nothing was published.
        Busy: not now; nothing was published.
    """
    received = await asyncio.to_thread(_prepare, result.objects)
    ranges = await services.objects.put([each.part10 for each in result.objects])
    instances = tuple(map(StoredInstance, received, ranges))
    document = await asyncio.to_thread(read_exactly, result.sr.part10)
    pdf = None if result.pdf is None else result.pdf.reference
    place = None if pdf is None else (pdf.series_instance_uid, pdf.sop_instance_uid)
    publication = Publication(instances, document, place, superseded, summary)
    around = surroundings_of(services)
    await services.database.transact(lambda unit: _publish(unit, claim, publication, around))


def _prepare(made: Sequence[EncodedObject]) -> list[ReceivedInstance]:
    return [prepare_instance(each.part10) for each in made]


async def _publish(unit: UnitOfWork, claim: Claim, publication: Publication, around: Surroundings) -> None:
    await unit.lock(
        [f"study:{claim.study_instance_uid}"]
    )  # before the workitem: so everybody takes them who needs both
    workitem = await fence(unit, claim)
    await require_in_service(unit, workitem)
    await _require_study(unit, claim.study_instance_uid)
    if await standing_output(unit, claim) != publication.superseded:
        raise ResultOutdated("Another result of this model was published meanwhile.")
    await _publish_objects(unit, claim, publication, around.site)
    await project_study(unit, claim.study_instance_uid, around.site)
    query = select(_STUDY).where(_STUDY.c.study_instance_uid == claim.study_instance_uid)
    study = (await unit.execute(query)).mappings().one()
    report_id = report_id_of(claim.study_instance_uid, claim.model_name)
    context = await context_of(unit, study, report_id, around)
    ended = {**workitem, "ended_us": unit.now_us, "patient_id": study["patient_id"]}
    graph = map_sr(publication.document, replace(context, task=task_facts(ended), pdf=publication.pdf))
    await write_graph(unit, graph, claim.principal)
    await note_document(unit, _looked_at(publication), report_id)
    await defer_shadow_runs(unit, claim, publication.summary)
    await complete(unit, claim, _output(publication.instances))


async def _require_study(unit: UnitOfWork, study_instance_uid: str) -> None:
    """Let no result bring a study back that was deleted meanwhile."""
    query = select(_STUDY.c.id).where(_STUDY.c.study_instance_uid == study_instance_uid)
    if (await unit.execute(query)).first() is None:
        raise ResultRefused("The study was deleted.")


async def _publish_objects(unit: UnitOfWork, claim: Claim, publication: Publication, site: Site) -> None:
    results = await index_instances(unit, publication.instances, Origin.ENGINE, site)
    for result in results:
        if result.refusal is not None:
            raise ResultRefused(f"The archive refuses the result ({result.refusal.reason.name}).")
        unit.audit(_stored(claim.principal, result))
    current = {result.sop_instance_uid for result in results}
    before = [uid for each in publication.superseded for uid in each.sop_instance_uids]
    before += await own_documents_of(unit, report_id_of(claim.study_instance_uid, claim.model_name))
    replaced = [uid for uid in before if uid not in current]
    if replaced:
        await supersede_instances(unit, replaced)


def _looked_at(publication: Publication) -> Looked:
    """The SR among the instances, as the table of documents knows it."""
    uid = uid_of(publication.document, "SOPInstanceUID")
    sr = next(each for each in publication.instances if each.parsed.sop_instance_uid == uid)
    sha256 = sr.received.digests.data_set_sha256
    replaced = frozenset(predecessors_of(publication.document))
    return Looked(sr.parsed.study_instance_uid, sr.parsed.sop_instance_uid, sha256, replaced)


def _output(instances: Sequence[StoredInstance]) -> tuple[SeriesReference, ...]:
    return tuple(
        SeriesReference(
            each.parsed.study_instance_uid,
            each.parsed.series_instance_uid,
            each.parsed.sop_class_uid,
            (each.parsed.sop_instance_uid,),
        )
        for each in instances
    )


def _stored(principal: Principal, result: InstanceResult) -> AuditEntry:
    return AuditEntry(
        principal, Action.CREATE, "publish", "ImagingStudy", result.sop_instance_uid, result.patient_id
    )
