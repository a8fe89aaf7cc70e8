"""The one mapping from a DICOM SR to FHIR R4: for our own documents and other vendors'.

It follows the graph of HL7's "DICOM SR to FHIR" guide, laid out in R4: measurement group → Observation with
members, measurement → Observation, TID 4019 → Device, document → DiagnosticReport. A document that is not by
TID 1500 becomes a report that is read and not reckoned with: its text, conclusions and page. Pure. Rule: the
FHIR graph says nothing that the SR does not; what the mapping does not understand is left out, and the SR
stays the original.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dicomweb.attributes import DicomJson
from fhir.model.builders.datatypes import (
    accession_identifier,
    concept,
    instance_reference,
    narrative,
    reference,
    uid_identifier,
)
from fhir.model.builders.dicom_values import fhir_date_time, practitioner
from fhir.model.builders.results import (
    ProvenanceFacts,
    ReportFacts,
    completed_task,
    diagnostic_report,
    provenance,
)
from server.workflows.report import concepts
from server.workflows.report.coding import Schemes
from server.workflows.report.content import Concept, ContentItem, items_of, root_of, text_of, uid_of
from server.workflows.report.devices import Devices
from server.workflows.report.graph import ReportContext, ReportGraph, provenance_id_of
from server.workflows.report.locations import only_locates, thing_of
from server.workflows.report.observations import READ_ELSEWHERE, VALUE_TYPES, Common, Observations
from server.workflows.report.presented import Place, presented_form, presented_pdf
from server.workflows.report.regions import SEGMENTATION
from server.workflows.report.summary import prose_lines, summary_lines

Json = Any

MAX_CONTAINERS = 16  # containers within containers that are looked into
MAX_OBSERVATIONS = 1_000  # of a document; one with more is a report to be read: all are one transaction
UNTITLED = "Imaging Measurement Report"


@dataclass(slots=True)
class _Outline:
    """A document sorted by what its items are."""

    groups: list[ContentItem] = field(default_factory=list)
    statements: list[ContentItem] = field(default_factory=list)
    conclusions: list[ContentItem] = field(default_factory=list)  # in words
    conclusion_codes: list[Concept] = field(default_factory=list)
    intended_use: list[str] = field(default_factory=list)


def map_sr(document: DicomJson, context: ReportContext) -> ReportGraph:
    """The FHIR resources that say what this SR document says."""
    schemes = Schemes(document, context.names)
    outline = _Outline()
    _outline(root_of(document), outline)
    devices = Devices(document, schemes, outline.intended_use)
    observations = Observations(_common(document, context), schemes, devices)
    if has_measurements(document):
        for group in outline.groups:
            observations.add_group(group)
        for statement in outline.statements:
            observations.add_statement(statement)
    ids = frozenset(made["id"] for made in observations.made)
    return ReportGraph(
        report=_report(document, context, outline, observations),
        observations=tuple(observations.made),
        devices=devices.resources,
        provenance=_provenance(document, context, observations),
        task=None if context.task is None else completed_task(context.task, context.report_id),
        no_longer_held=context.previous_observation_ids - ids,
        sources=observations.sources,
        also=observations.also,
    )


def has_measurements(document: DicomJson) -> bool:
    """Whether a document becomes Observations: by TID 1500, as it says or by its title, and not too long."""
    templates = [
        text_of(item, "TemplateIdentifier") for item in items_of(document, "ContentTemplateSequence")
    ]
    root = root_of(document)
    return ("1500" in templates or root.key in concepts.MEASUREMENT_REPORTS) and not _is_longer(root)


def _is_longer(root: ContentItem) -> bool:
    """Whether a document has more items that become Observations; a few of them may tell of others."""
    waiting, count = [root], 0
    things: set[object] = set()
    while waiting and count <= MAX_OBSERVATIONS:
        holder = waiting.pop()
        said = [child for child in holder.children if not _tells_of_another(child, holder, things)]
        waiting += [child for child in said if child.value_type == "CONTAINER"]
        count += sum(child.value_type in VALUE_TYPES for child in said)
        count += sum(child.key == concepts.MEASUREMENT_GROUP for child in said)
    return count > MAX_OBSERVATIONS


def _tells_of_another(item: ContentItem, holder: ContentItem, things: set[object]) -> bool:
    """Whether an item becomes no Observation, nor what is in it; `things`: of the groups before it."""
    if item.relationship != "CONTAINS" or item.key == concepts.IMAGE_LIBRARY or item.key in READ_ELSEWHERE:
        return True
    if item.key != concepts.MEASUREMENT_GROUP:
        return item.key == concepts.PROBABILITY and holder.key == concepts.MEASUREMENT_GROUP
    thing = thing_of(item)
    if thing in things and only_locates(item):
        return True
    things.add(thing)
    return False


def _outline(container: ContentItem, outline: _Outline, depth: int = 0) -> None:
    concludes = container.key in concepts.CONCLUSION_CONTAINERS
    for item in container.children:
        if item.value_type == "CONTAINER":
            if item.key == concepts.MEASUREMENT_GROUP:
                outline.groups.append(item)
            elif item.key != concepts.IMAGE_LIBRARY and depth < MAX_CONTAINERS:
                _outline(item, outline, depth + 1)
        elif item.relationship == "CONTAINS":
            _sort_in(item, concludes or item.key in concepts.CONCLUSIONS, outline)


def _sort_in(item: ContentItem, concludes: bool, outline: _Outline) -> None:
    text, code = item.text(), item.code()
    if concludes and text is not None:
        outline.conclusions.append(item)
    elif concludes and code is not None:
        outline.conclusion_codes.append(code)
    elif item.key == concepts.INTENDED_USE and text is not None:
        outline.intended_use.append(text)
    else:
        outline.statements.append(item)


SIGNED, EARLY = "VERIFIED", "preliminary"


def report_status(document: DicomJson, *, amends: bool) -> str:
    """DiagnosticReport.status (PS3.3 C.17.2): nothing is final before its end, nor unverified."""
    is_partial = text_of(document, "CompletionFlag") == "PARTIAL"
    if text_of(document, "VerificationFlag") != SIGNED:
        return "partial" if is_partial else EARLY
    if is_partial or text_of(document, "PreliminaryFlag") == "PRELIMINARY":
        return EARLY
    return "amended" if amends else "final"


def observation_status(report_status: str) -> str:
    """Observation.status in a report of that status; no Observation is partial."""
    return EARLY if report_status == "partial" else report_status


def _common(document: DicomJson, context: ReportContext) -> Common:
    return Common(
        report_id=context.report_id,
        status=observation_status(report_status(document, amends=context.amends)),
        study=_study(context),
        subject=reference("Patient", context.patient_id) if context.patient_id else None,
        effective=_study_time(document, context),
        issued=context.issued,
    )


def _study(context: ReportContext) -> dict[str, Json]:
    return reference(
        "ImagingStudy", context.imaging_study_id, target=uid_identifier(context.study_instance_uid)
    )


def _study_time(document: DicomJson, context: ReportContext) -> str | None:
    return fhir_date_time(
        text_of(document, "StudyDate"),
        text_of(document, "StudyTime"),
        utc_offset=text_of(document, "TimezoneOffsetFromUTC"),
        timezone=context.timezone,
    )


def _report(
    document: DicomJson, context: ReportContext, outline: _Outline, observations: Observations
) -> dict[str, Json]:
    title = root_of(document).concept
    common, schemes = observations.common, observations.schemes
    conclusion = "\n".join(_words(outline))
    words = UNTITLED if title is None else title.meaning
    return diagnostic_report(
        ReportFacts(
            context.report_id,
            report_status(document, amends=context.amends),
            concept(text=UNTITLED) if title is None else schemes.codeable(title),
            identifiers=list(_identifiers(document, context)),
            text=narrative(words, _lines(document, outline, observations)),
            subject=common.subject,
            based_on=[reference("ServiceRequest", id_) for id_ in context.based_on],
            effective=common.effective,
            issued=context.issued,
            performer=list(_persons(document)),
            results_interpreter=list(_verifiers(document)),
            result=observations.results,
            imaging_study=[common.study],
            conclusion=conclusion or None,
            conclusion_code=[schemes.codeable(code) for code in outline.conclusion_codes],
            presented_form=[
                *presented_form(document, words, _place(document, context)),
                *presented_pdf(words, _place_of_pdf(context)),
            ],
        )
    )


def _lines(document: DicomJson, outline: _Outline, observations: Observations) -> list[str]:
    """The report in a few lines: what it concludes and measured; of a document to be read, its items."""
    said = summary_lines(observations.made) if has_measurements(document) else prose_lines(document)
    return [*_words(outline), *said, *outline.intended_use]


def _words(outline: _Outline) -> list[str]:
    return [text for item in outline.conclusions if (text := item.text()) is not None]


def conclusions_of(document: DicomJson) -> list[ContentItem]:
    """The items that conclude in words: DiagnosticReport.conclusion."""
    outline = _Outline()
    _outline(root_of(document), outline)
    return outline.conclusions


def _place(document: DicomJson, context: ReportContext) -> Place | None:
    """Where the document is retrieved; None: it does not say, or no URL is to be named."""
    series, instance = uid_of(document, "SeriesInstanceUID"), uid_of(document, "SOPInstanceUID")
    if context.public_base is None or series is None or instance is None:
        return None
    return Place(context.public_base, context.study_instance_uid, series, instance)


def _place_of_pdf(context: ReportContext) -> Place | None:
    """Where the PDF that was made with the document is retrieved; None: there is none, or no URL."""
    if context.pdf is None or context.public_base is None:
        return None
    return Place(context.public_base, context.study_instance_uid, *context.pdf)


def _identifiers(document: DicomJson, context: ReportContext) -> Iterator[dict[str, Json]]:
    """The SR instance itself, and the order's accession number."""
    if uid := uid_of(document, "SOPInstanceUID"):
        yield uid_identifier(uid)
    if context.accession_number:
        yield accession_identifier(context.accession_number, context.accession_system)


def _persons(document: DicomJson) -> Iterator[dict[str, Json]]:
    """The person observers (TID 1003), the authors and who else took part (PS3.3 C.17.2), each once."""
    observers = (item for item in root_of(document).children if item.key == concepts.PERSON_OBSERVER_NAME)
    names = [item.text() for item in observers]
    for keyword in ("AuthorObserverSequence", "ParticipantSequence"):
        names += [text_of(item, "PersonName") for item in items_of(document, keyword)]
    for name in dict.fromkeys(name for name in names if name):
        yield practitioner(name)


def _verifiers(document: DicomJson) -> Iterator[dict[str, Json]]:
    for item in items_of(document, "VerifyingObserverSequence"):
        if name := text_of(item, "VerifyingObserverName"):
            yield practitioner(name)


def _provenance(document: DicomJson, context: ReportContext, observations: Observations) -> dict[str, Json]:
    """Who made the report and its Observations, from which DICOM instances."""
    sop_instance_uid = uid_of(document, "SOPInstanceUID")
    made = [reference("Observation", each["id"]) for each in observations.made]
    agents = [
        ("assembler", "Assembler", observations.devices.of_document),
        *(("author", "Author", person) for person in _persons(document)),
        *(("verifier", "Verifier", person) for person in _verifiers(document)),
    ]
    return provenance(
        ProvenanceFacts(
            provenance_id_of(context.report_id, sop_instance_uid or context.issued),
            [reference("DiagnosticReport", context.report_id), *made],
            context.issued,
            agents,
            sources=list(_sources(sop_instance_uid, observations)),
            revised=[instance_reference(uid, "Predecessor document") for uid in predecessors_of(document)],
        )
    )


def _sources(sop_instance_uid: str | None, observations: Observations) -> Iterator[dict[str, Json]]:
    if sop_instance_uid is not None:
        yield instance_reference(sop_instance_uid, "Structured report")
    segmentations = {}
    for made in observations.made:
        for basis in made.get("derivedFrom", ()):
            if basis.get("display") == SEGMENTATION:
                segmentations[basis["identifier"]["value"]] = basis
    yield from segmentations.values()
    yield observations.common.study


def predecessors_of(document: DicomJson) -> Iterator[str]:
    """The SOP Instance UIDs of the documents that this one replaces (PS3.3 C.17.2)."""
    for study in items_of(document, "PredecessorDocumentsSequence"):
        for series in items_of(study, "ReferencedSeriesSequence"):
            for instance in items_of(series, "ReferencedSOPSequence"):
                if uid := uid_of(instance, "ReferencedSOPInstanceUID"):
                    yield uid
