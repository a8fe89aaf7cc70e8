"""What analysis of images says: Device, Observation, DiagnosticReport, Provenance, Task (FHIR R4).

The builders lay out; what is said comes from the caller. Elements of each facts class carry FHIR values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir.model import systems
from fhir.model.builders.datatypes import coding, concept, elements, reference, uid_identifier

Json = Any

IMAGING_CATEGORY = concept(coding(systems.OBSERVATION_CATEGORY, "imaging", "Imaging"))
IMAGING_SECTION = concept(coding(systems.DIAGNOSTIC_SERVICE_SECTION, "IMG", "Diagnostic Imaging"))


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device that makes results: one version of a model, or equipment. Software of ours has no UDI."""

    id: str
    name: str  # for people
    model_name: str | None = None
    version: str | None = None
    manufacturer: str | None = None
    serial_number: str | None = None
    uid: str | None = None  # Device Observer UID
    type: dict[str, Json] | None = None  # CodeableConcept
    notes: Sequence[str] = ()  # intended use and the like


@dataclass(frozen=True, slots=True)
class ObservationFacts:
    """One Observation. `value` is (element name, value): ("valueQuantity", {...}); None: no value."""

    id: str
    status: str
    code: dict[str, Json]
    category: Sequence[dict[str, Json]] = (IMAGING_CATEGORY,)
    identifiers: Sequence[dict[str, Json]] = ()
    subject: dict[str, Json] | None = None
    effective: str | None = None
    issued: str | None = None
    value: tuple[str, Json] | None = None
    data_absent_reason: dict[str, Json] | None = None
    body_site: dict[str, Json] | None = None
    method: dict[str, Json] | None = None
    device: dict[str, Json] | None = None
    has_member: Sequence[dict[str, Json]] = ()
    derived_from: Sequence[dict[str, Json]] = ()
    components: Sequence[dict[str, Json]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """One DiagnosticReport."""

    id: str
    status: str
    code: dict[str, Json]
    identifiers: Sequence[dict[str, Json]] = ()
    text: dict[str, Json] | None = None
    subject: dict[str, Json] | None = None
    based_on: Sequence[dict[str, Json]] = ()
    effective: str | None = None
    issued: str | None = None
    performer: Sequence[dict[str, Json]] = ()
    results_interpreter: Sequence[dict[str, Json]] = ()
    result: Sequence[dict[str, Json]] = ()
    imaging_study: Sequence[dict[str, Json]] = ()
    conclusion: str | None = None
    conclusion_code: Sequence[dict[str, Json]] = ()
    presented_form: Sequence[dict[str, Json]] = ()


@dataclass(frozen=True, slots=True)
class ProvenanceFacts:
    """Who made the targets, of what."""

    id: str
    targets: Sequence[dict[str, Json]]
    recorded: str  # instant
    agents: Sequence[tuple[str, str, dict[str, Json]]]  # (code and display of participant type, who)
    sources: Sequence[dict[str, Json]]
    revised: Sequence[dict[str, Json]] = ()  # earlier documents that this one replaces


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """The analysis of a study as a Task, beside its DICOM workitem."""

    id: str
    workitem_uid: str
    imaging_study_id: str | None  # None: it is about no study
    authored_on: str  # dateTime
    last_modified: str  # dateTime
    description: str
    patient_id: str | None = None
    owner: dict[str, Json] | None = None  # the Device that performs
    priority: str = "routine"  # routine | urgent | asap | stat


def device(facts: DeviceFacts) -> dict[str, Json]:
    """The Device."""
    names = [{"name": facts.name, "type": "user-friendly-name"}]
    if facts.model_name and facts.model_name != facts.name:
        names.append({"name": facts.model_name, "type": "model-name"})
    return elements(
        resourceType="Device",
        id=facts.id,
        identifier=[uid_identifier(facts.uid)] if facts.uid else None,
        status="active",
        manufacturer=facts.manufacturer,
        serialNumber=facts.serial_number,
        deviceName=names,
        type=facts.type,
        version=[{"value": facts.version}] if facts.version else None,
        note=[{"text": note} for note in facts.notes],
    )


def observation(facts: ObservationFacts) -> dict[str, Json]:
    """The Observation."""
    resource = elements(
        resourceType="Observation",
        id=facts.id,
        identifier=list(facts.identifiers),
        status=facts.status,
        category=list(facts.category),
        code=facts.code,
        subject=facts.subject,
        effectiveDateTime=facts.effective,
        issued=facts.issued,
    )
    if facts.value is not None:
        name, value = facts.value
        resource[name] = value
    return resource | elements(
        dataAbsentReason=facts.data_absent_reason,
        note=[{"text": note} for note in facts.notes],
        bodySite=facts.body_site,
        method=facts.method,
        device=facts.device,
        hasMember=list(facts.has_member),
        derivedFrom=list(facts.derived_from),
        component=list(facts.components),
    )


def diagnostic_report(facts: ReportFacts) -> dict[str, Json]:
    """The DiagnosticReport."""
    return elements(
        resourceType="DiagnosticReport",
        id=facts.id,
        text=facts.text,
        identifier=list(facts.identifiers),
        basedOn=list(facts.based_on),
        status=facts.status,
        category=[IMAGING_SECTION],
        code=facts.code,
        subject=facts.subject,
        effectiveDateTime=facts.effective,
        issued=facts.issued,
        performer=list(facts.performer),
        resultsInterpreter=list(facts.results_interpreter),
        result=list(facts.result),
        imagingStudy=list(facts.imaging_study),
        conclusion=facts.conclusion,
        conclusionCode=list(facts.conclusion_code),
        presentedForm=list(facts.presented_form),
    )


def provenance(facts: ProvenanceFacts) -> dict[str, Json]:
    """The Provenance."""
    agents = [
        {"type": concept(coding(systems.PARTICIPANT_TYPE, code, display)), "who": who}
        for code, display, who in facts.agents
    ]
    return elements(
        resourceType="Provenance",
        id=facts.id,
        target=list(facts.targets),
        recorded=facts.recorded,
        agent=agents,
        entity=[
            *({"role": "source", "what": what} for what in facts.sources),
            *({"role": "revision", "what": what} for what in facts.revised),
        ],
    )


def open_task(facts: TaskFacts, status: str) -> dict[str, Json]:
    """The Task of a step that made no report: requested, accepted, in-progress, on-hold; or completed so."""
    return _task(facts, status)


def completed_task(facts: TaskFacts, report_id: str) -> dict[str, Json]:
    """The Task of an analysis that made a report."""
    output = {
        "type": concept(text="Diagnostic report"),
        "valueReference": reference("DiagnosticReport", report_id),
    }
    return _task(facts, "completed") | {"output": [output]}


def failed_task(facts: TaskFacts, reason: str, code: dict[str, Json] | None = None) -> dict[str, Json]:
    """The Task of an analysis that made no report, and why.

    Args:
        facts: what was to be done.
        reason: a sentence for people.
        code: the reason as a Coding, that of the workitem's cancellation.
    """
    codings = [code] if code else []
    return _task(facts, "failed") | {"statusReason": concept(*codings, text=reason)}


def cancelled_task(facts: TaskFacts, reason: str) -> dict[str, Json]:
    """The Task of an analysis that was called off, and why."""
    return _task(facts, "cancelled") | {"statusReason": concept(text=reason)}


def _task(facts: TaskFacts, status: str) -> dict[str, Json]:
    return elements(
        resourceType="Task",
        id=facts.id,
        identifier=[uid_identifier(facts.workitem_uid)],
        status=status,
        intent="order",
        priority=facts.priority,
        code=concept(coding(systems.TASK_CODE, "fulfill", "Fulfill the focal request")),
        description=facts.description,
        focus=reference("ImagingStudy", facts.imaging_study_id) if facts.imaging_study_id else None,
        **{"for": reference("Patient", facts.patient_id) if facts.patient_id else None},
        authoredOn=facts.authored_on,
        lastModified=facts.last_modified,
        owner=facts.owner,
    )
