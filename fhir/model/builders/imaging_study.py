"""Patient and ImagingStudy, as the archive knows them (FHIR R4 patient.html, imagingstudy.html)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir.model import systems
from fhir.model.builders.datatypes import (
    absent,
    accession_identifier,
    coding,
    concept,
    elements,
    identifier,
    reference,
    uid_identifier,
    unsigned,
)

Json = Any

MEDICAL_RECORD_NUMBER = concept(coding(systems.IDENTIFIER_TYPE, "MR", "Medical record number"))
OTHER_MODALITY = "OT"  # PS3.3 C.7.3.1.1.1: "Other", for a series that states none a FHIR code can hold


# Laterality (0020,0060), PS3.3 C.7.3.1
SIDES = {
    "R": coding(systems.SNOMED_CT, "24028007", "Right"),
    "L": coding(systems.SNOMED_CT, "7771000", "Left"),
}
PERFORMER = concept(coding(systems.PARTICIPATION, "PRF", "performer"))


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """What the archive knows of a patient."""

    id: str
    identifiers: Sequence[tuple[str, str]]  # (system, value)
    names: Sequence[dict[str, Json]] = ()  # from `human_names`
    gender: str | None = None
    birth_date: str | None = None  # FHIR date


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One instance of a series."""

    sop_instance_uid: str
    sop_class_uid: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """One series; `instances` are listed only when given, `number_of_instances` always."""

    series_instance_uid: str
    number_of_instances: int
    modality: str | None = None
    number: int | None = None
    description: str | None = None
    body_part_examined: str | None = None  # CS value; coded by its text only
    started: str | None = None  # FHIR dateTime
    instances: Sequence[InstanceFacts] = ()
    laterality: str | None = None  # CS value: R or L
    performers: Sequence[dict[str, Json]] = ()  # from `practitioner`


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """One study."""

    id: str  # of the ImagingStudy
    study_instance_uid: str
    patient_id: str | None  # None: unassigned
    series: Sequence[SeriesFacts]
    status: str = "available"
    accession_number: str | None = None
    accession_system: str | None = None
    started: str | None = None  # FHIR dateTime, from `fhir_date_time`
    description: str | None = None
    endpoint_ids: Sequence[str] = ()
    based_on: Sequence[str] = ()  # ids of ServiceRequests
    procedures: Sequence[dict[str, Json]] = ()  # CodeableConcepts
    reasons: Sequence[dict[str, Json]] = ()  # CodeableConcepts
    referrer: dict[str, Json] | None = None  # from `practitioner`
    interpreters: Sequence[dict[str, Json]] = ()


def patient(facts: PatientFacts) -> dict[str, Json]:
    """The Patient."""
    identifiers = [identifier(system, value, MEDICAL_RECORD_NUMBER) for system, value in facts.identifiers]
    return elements(
        resourceType="Patient",
        id=facts.id,
        identifier=identifiers,
        name=list(facts.names),
        gender=facts.gender,
        birthDate=facts.birth_date,
    )


def imaging_study(facts: StudyFacts) -> dict[str, Json]:
    """The ImagingStudy; one without a patient says that its subject is unknown."""
    modalities = [coding(systems.DICOM, m) for m in sorted({s.modality for s in facts.series if s.modality})]
    subject = absent("unknown") if facts.patient_id is None else reference("Patient", facts.patient_id)
    return elements(
        resourceType="ImagingStudy",
        id=facts.id,
        identifier=_identifiers(facts),
        status=facts.status,
        modality=[modality for modality in modalities if modality],
        subject=subject,
        started=facts.started,
        basedOn=[reference("ServiceRequest", id_) for id_ in facts.based_on],
        referrer=facts.referrer,
        interpreter=list(facts.interpreters),
        endpoint=[reference("Endpoint", id_) for id_ in facts.endpoint_ids],
        numberOfSeries=len(facts.series),
        numberOfInstances=sum(series.number_of_instances for series in facts.series),
        procedureCode=list(facts.procedures),
        reasonCode=list(facts.reasons),
        description=facts.description,
        series=[_series(series) for series in facts.series],
    )


def _identifiers(facts: StudyFacts) -> list[dict[str, Json]]:
    identifiers = [uid_identifier(facts.study_instance_uid)]
    if facts.accession_number:
        identifiers.append(accession_identifier(facts.accession_number, facts.accession_system))
    return identifiers


def _series(facts: SeriesFacts) -> dict[str, Json]:
    return elements(
        uid=facts.series_instance_uid,
        number=unsigned(facts.number),
        modality=coding(systems.DICOM, facts.modality or OTHER_MODALITY)
        or coding(systems.DICOM, OTHER_MODALITY),
        description=facts.description,
        numberOfInstances=facts.number_of_instances,
        bodySite=coding(None, None, facts.body_part_examined),
        laterality=SIDES.get(facts.laterality or ""),
        started=facts.started,
        performer=[{"function": PERFORMER, "actor": each} for each in facts.performers],
        instance=[_instance(instance) for instance in facts.instances],
    )


def _instance(facts: InstanceFacts) -> dict[str, Json]:
    return elements(
        uid=facts.sop_instance_uid,
        sopClass=coding(systems.URI, f"urn:oid:{facts.sop_class_uid}"),
        number=unsigned(facts.number),
    )
