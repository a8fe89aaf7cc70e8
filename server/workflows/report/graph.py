"""What goes into the mapping beside the SR, and what comes out of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir.model.builders.results import TaskFacts
from server.kernel.uids import derived_id
from server.workflows.report.content import ContentItem

Json = Any
Resource = dict[str, Json]


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What the record knows and the SR does not.

    `report_id` belongs to (study, model name) and so stays over versions: see `report_id_of`.
    """

    report_id: str
    imaging_study_id: str
    study_instance_uid: str
    issued: str  # instant
    patient_id: str | None = None  # of the FHIR Patient; None: unassigned
    timezone: str | None = None  # IANA name, for a study that states no offset
    amends: bool = False  # a final report of this id was there before
    accession_number: str | None = None
    accession_system: str | None = None
    based_on: Sequence[str] = ()  # ids of ServiceRequests
    previous_observation_ids: frozenset[str] = frozenset()  # those that the last version of the report named
    task: TaskFacts | None = None  # of the workitem; None: no workitem led to this SR
    public_base: str | None = None  # of URLs in what is written; None: it names none
    pdf: tuple[str, str] | None = None  # Series and SOP Instance UID of the document's PDF; None: it has none
    # What code systems call concepts that the document calls otherwise, by code and scheme.
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportGraph:
    """The resources of one SR. Ids are the same each time the same thing is said."""

    report: Resource
    observations: tuple[Resource, ...]  # groups and their measurements
    devices: tuple[Resource, ...]
    provenance: Resource
    task: Resource | None
    no_longer_held: frozenset[str]  # ids of previous Observations that this version does not make
    sources: Mapping[str, ContentItem] = field(default_factory=dict)  # of each Observation, by its id
    also: Mapping[str, Sequence[ContentItem]] = field(default_factory=dict)  # further items that tell of it

    def resources(self) -> Iterator[Resource]:
        """Every resource, each after what it refers to."""
        yield from self.devices
        yield from self.observations
        yield self.report
        yield self.provenance
        if self.task is not None:
            yield self.task


def report_id_of(study_instance_uid: str, model_name: str) -> str:
    """The id of the one DiagnosticReport that a model has on a study."""
    return derived_id("diagnostic-report", study_instance_uid, model_name)


def provenance_id_of(report_id: str, sop_instance_uid: str) -> str:
    """The id of the Provenance of one version of a report: that of one SR document."""
    return derived_id("provenance", report_id, sop_instance_uid)


def entered_in_error(observation: Resource) -> Resource:
    """A stored Observation as it reads once it no longer holds (FHIR R4 valueset-observation-status)."""
    return {**observation, "status": "entered-in-error"}
