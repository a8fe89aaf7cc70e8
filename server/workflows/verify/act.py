"""A report accepted, amended or rejected: both doors in one transaction, in the name of the person.

What is decided rests on the version that was read; when another one stands there by the time of the
transaction, nothing is done. Accepting issues the document anew as VERIFIED; the edition before leaves the
default answers and stays retrievable by its UID, and with it the page to read; after a change of findings the
pictures and key objects too. Rejecting takes the document and what the model made with it
out of the default answers, and says of report and Observations that they were in error.
"""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import RowMapping, select

from dicomweb.attributes import DicomJson
from dicomweb.reach import within_reach
from dicomweb.store.index import STUDY_CHANGED, index_instances, supersede_instances
from dicomweb.store.instances import Origin, StoredInstance, prepare_instance
from dicomweb.tables import Instance, Study
from dicomweb.wire.dicom_json import text_of
from dicomweb.wire.exact import read_exactly
from dicomweb.wire.faults import UnreadableDataSet, UnwritableDataSet
from fhir.interactions.authored import put_resource
from fhir.interactions.etag import Guard
from fhir.interactions.granted import may_read, require_reached
from fhir.interactions.rewrite import Held, hold_resource
from fhir.interactions.write import Draft, Written
from fhir.model import systems
from fhir.model.builders.datatypes import (
    coding,
    concept,
    instance_reference,
    narrative,
    reference,
)
from fhir.model.builders.dicom_values import practitioner
from fhir.model.builders.results import ProvenanceFacts, provenance
from fhir.model.json_codec import Json, decode_json
from fhir.search.value import Surroundings
from server.kernel.access import Access, Reach
from server.kernel.audit import Action as Act
from server.kernel.audit import AuditEntry
from server.kernel.clock import instant_text
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.object_store import StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.uids import derived_id, new_uid
from server.workflows.documents.known import Looked, note_document
from server.workflows.projection import project_study
from server.workflows.registry.verdicts import Said, Verdict, note_verdict, person_of
from server.workflows.report.graph import ReportContext
from server.workflows.report.published import is_version_of, made_with, outdated_by
from server.workflows.report.record import (
    IN_ERROR,
    SIGNED_OFF,
    context_of,
    observation_ids_of,
    retract_report,
    surroundings_of,
    write_graph,
)
from server.workflows.sr_to_fhir import conclusions_of, map_sr
from server.workflows.verify.amend import amend
from server.workflows.verify.reissue import VERIFIED, Signature, reissue
from server.workflows.verify.request import REPORT, Action, Verification

_INSTANCE, _STUDY = table_of(Instance), table_of(Study)


class NotVerifiable(Fault):
    """The report is not one that can be verified here."""

    kind = FaultKind.UNPROCESSABLE


class ReportChanged(Fault):
    """The report is not what it was when the request was read, or its document is gone."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, of which report, by whom."""

    report_id: str
    access: Access
    reach: Reach  # for DiagnosticReport.u
    guard: Guard
    word: Verification
    around: Surroundings


@dataclass(frozen=True, slots=True)
class _Found:
    """A report, and the document that it is a version of."""

    held: Held
    study: RowMapping
    instance: RowMapping

    @property
    def edition(self) -> tuple[int, str, int | None]:
        """What tells whether it is still the same."""
        return (
            self.held.row.version_id,
            self.instance["sop_instance_uid"],
            self.instance["superseded_us"],
        )

    @property
    def status(self) -> str:
        """DiagnosticReport.status."""
        return str(decode_json(self.held.text)["status"])

    def as_written(self) -> Written:
        """The report as it stands: nothing was to be done."""
        row = self.held.row
        return Written(row.id, row.version_id, False, row.last_updated_us, self.held.text)


async def verify(services: Services, asked: Asked) -> Written:
    """Do what is asked; `changed` False: it had been done. Who may not read the report is not shown it.

    Raises:
        NotFound: no such report within reach.
        VersionDiffers: `If-Match` names another version.
        NotVerifiable, NotAmendable, UnwritableDataSet: this report, or its document, does not allow it.
        ReportChanged: somebody else was first, or the document is gone.
    """
    written = await _act(services, asked)
    shown = await services.database.transact(partial(_is_shown, asked=asked))
    return written if shown else replace(written, text=b"")


async def _is_shown(unit: UnitOfWork, asked: Asked) -> bool:
    draft = Draft({"resourceType": REPORT}, b"", asked.report_id)
    return await may_read(unit, asked.access, asked.reach, draft, asked.around)


async def _act(services: Services, asked: Asked) -> Written:
    found = await services.database.transact(partial(_find, asked=asked))
    if asked.word.action is Action.REJECT:
        if found.status == IN_ERROR:
            return await _already(services, asked, found)
        return await services.database.transact(lambda unit: _reject(unit, services, asked, found))
    if found.status == IN_ERROR:
        raise NotVerifiable("The report was rejected.")
    file = await _edition(services, asked, found)
    if file is None:
        return await _already(services, asked, found)
    received = await asyncio.to_thread(prepare_instance, file)
    (stored,) = await services.objects.put([file])
    edition = StoredInstance(received, stored), await asyncio.to_thread(read_exactly, file)
    return await services.database.transact(lambda unit: _sign(unit, services, asked, (found, *edition)))


async def _find(unit: UnitOfWork, asked: Asked) -> _Found:
    """The report and its document, locked until the transaction ends."""
    held = await hold_resource(unit, REPORT, asked.report_id)
    if held is None:
        raise NotFound("No such resource.")
    await require_reached(unit, asked.reach, held.row, asked.around)
    asked.guard.require(held.row.version_id)
    report = decode_json(held.text)
    uid = next((each["value"] for each in report.get("identifier", ()) if _is_uid(each)), "")
    i = _INSTANCE.c
    query = (
        select(
            i.sop_instance_uid, i.object_name, i.object_offset, i.object_length, i.superseded_us, i.study_id
        )
        .join(_STUDY, _STUDY.c.id == i.study_id)
        .where(i.sop_instance_uid == uid.removeprefix("urn:oid:"), within_reach(asked.reach))
    )
    instance = (await unit.execute(query)).mappings().one_or_none()
    if instance is None:
        raise NotVerifiable("The report has no document in this archive.")
    study = (await unit.execute(select(_STUDY).where(_STUDY.c.id == instance["study_id"]))).mappings().one()
    named = (study["study_instance_uid"], asked.report_id, instance["sop_instance_uid"])
    if not await is_version_of(unit, *named):
        raise NotVerifiable("The report was not made of a document of this archive.")
    return _Found(held, study, instance)


def _is_uid(identifier: Json) -> bool:
    return identifier.get("system") == systems.DICOM_UID and "value" in identifier


async def _already(services: Services, asked: Asked, found: _Found) -> Written:
    await services.read_audit.record(_entry(asked, found))
    return found.as_written()


async def _edition(services: Services, asked: Asked, found: _Found) -> bytes | None:
    """The file of the verified document; None: it is verified as it stands, and nothing is changed."""
    at = found.instance
    file = await services.objects.read(
        StoredRange(at["object_name"], at["object_offset"], at["object_length"])
    )
    signature = Signature(asked.word.verifier, asked.word.organization, services.clock())
    is_final = found.status in SIGNED_OFF
    try:
        return await asyncio.to_thread(_signed, file, asked, signature, is_final=is_final)
    except (UnreadableDataSet, UnwritableDataSet) as fault:
        raise NotVerifiable(f"The document cannot be issued anew: {fault}") from None


def _signed(file: bytes, asked: Asked, signature: Signature, *, is_final: bool) -> bytes | None:
    document, before = read_exactly(file), read_exactly(file)
    if asked.word.amendment:
        # Ids of Observations belong to the report; of the rest of the context nothing is read here.
        graph = map_sr(document, ReportContext(asked.report_id, "", "", ""))
        amend(document, graph.sources, graph.also, conclusions_of(document), asked.word.amendment)
    if is_final and text_of(before, "VerificationFlag") == VERIFIED and document == before:
        return None
    return reissue(document, signature, new_uid())


async def _hold_again(unit: UnitOfWork, asked: Asked, found: _Found) -> _Found:
    """Let nobody else write, and go on only while everything stands as it was read.

    Raises:
        ReportChanged: it does not.
    """
    uid = found.study["study_instance_uid"]
    await unit.lock([f"study:{uid}", f"reports:{uid}"])
    try:
        now = await _find(unit, asked)
    except (NotFound, NotVerifiable):
        raise ReportChanged("The report, or its document, has changed meanwhile.") from None
    if now.edition != found.edition:
        raise ReportChanged("The report has changed meanwhile.")
    return now


async def _sign(
    unit: UnitOfWork, services: Services, asked: Asked, made: tuple[_Found, StoredInstance, DicomJson]
) -> Written:
    found, stored, document = made
    found = await _hold_again(unit, asked, found)
    (result,) = await index_instances(unit, [stored], Origin.ENGINE, services.site)
    if result.refusal is not None:
        raise ReportChanged(f"The archive refuses the document ({result.refusal.reason.name}).")
    before = found.instance["sop_instance_uid"]
    parsed = stored.parsed
    named = (parsed.study_instance_uid, asked.report_id, before)
    is_other = asked.word.amendment.changes_findings
    await supersede_instances(unit, await outdated_by(unit, *named, changes_findings=is_other))
    looked = Looked(
        parsed.study_instance_uid,
        parsed.sop_instance_uid,
        stored.received.digests.data_set_sha256,
        frozenset({before}),
    )
    await note_document(unit, looked, asked.report_id)
    context = await context_of(unit, found.study, asked.report_id, surroundings_of(services))
    graph = map_sr(document, context)
    if asked.word.reason is not None:
        graph = replace(graph, provenance=graph.provenance | {"reason": [concept(text=asked.word.reason)]})
    written = await write_graph(unit, graph, asked.access.principal)
    verdict = Verdict.AMENDED if asked.word.amendment else Verdict.VERIFIED
    await note_verdict(unit, parsed.study_instance_uid, asked.report_id, _said(asked, verdict))
    await project_study(unit, parsed.study_instance_uid, services.site)
    unit.audit(_stored(asked, parsed.sop_instance_uid, found))
    unit.audit(_entry(asked, found))
    return written


async def _reject(unit: UnitOfWork, services: Services, asked: Asked, found: _Found) -> Written:
    found = await _hold_again(unit, asked, found)
    study, document = found.study["study_instance_uid"], found.instance["sop_instance_uid"]
    await supersede_instances(unit, await made_with(unit, study, asked.report_id, document))
    observations = await observation_ids_of(unit, decode_json(found.held.text))
    word, principal = asked.word, asked.access.principal
    lines = [f"Entered in error: {word.reason}", f"Rejected by {practitioner(word.verifier)['display']}."]
    said = narrative("Rejected report", lines)
    written = await retract_report(unit, asked.report_id, principal, said)
    assert written is not None
    await note_verdict(unit, study, asked.report_id, _said(asked, Verdict.REJECTED))
    targets = [reference(REPORT, asked.report_id)]
    targets += [reference("Observation", each) for each in sorted(observations)]
    await put_resource(unit, _rejection(unit, asked, document, targets), principal)
    unit.emit(STUDY_CHANGED, study, {"instances": 0, "input": False, "derived": []})
    await project_study(unit, study, services.site)
    unit.audit(_entry(asked, found))
    return written


def _said(asked: Asked, verdict: Verdict) -> Said:
    return Said(verdict, person_of(asked.access.principal, asked.word.verifier))


def _rejection(unit: UnitOfWork, asked: Asked, document: str, targets: list[Json]) -> dict[str, Any]:
    """The Provenance that says who took the report back, and why (FHIR R4 provenance.html)."""
    made = provenance(
        ProvenanceFacts(
            derived_id("rejection", asked.report_id, document),
            targets,
            instant_text(unit.now_us),
            [("verifier", "Verifier", practitioner(asked.word.verifier))],
            sources=[instance_reference(document, "Structured report")],
        )
    )
    nullify = coding(systems.DATA_OPERATION, "NULLIFY", "nullify")
    return made | {"activity": concept(nullify), "reason": [concept(text=asked.word.reason)]}


def _entry(asked: Asked, found: _Found) -> AuditEntry:
    interaction = f"verify-{asked.word.action.value}"
    patient_id = found.study["patient_id"]
    return AuditEntry(asked.access.principal, Act.EXECUTE, interaction, REPORT, asked.report_id, patient_id)


def _stored(asked: Asked, sop_instance_uid: str, found: _Found) -> AuditEntry:
    patient_id = found.study["patient_id"]
    return AuditEntry(
        asked.access.principal, Act.CREATE, "verify", "ImagingStudy", sop_instance_uid, patient_id
    )
