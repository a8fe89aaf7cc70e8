"""Findings as a Comprehensive 3D SR by TID 1500 Measurement Report (PS3.3 A.35.13, PS3.16 TID 1500).

What stands where is listed in `codes`. The document is COMPLETE, PRELIMINARY and UNVERIFIED: nobody has
looked at it. Its evidence names every image that was analysed, and the Segmentation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    CodeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from ai_engine.encode import codes as ours
from ai_engine.encode.codes import coded
from ai_engine.encode.measurements import measurement_group
from ai_engine.encode.seg import EncodedSeg
from ai_engine.encode.source import InstanceReference, Making, blank_context, complete
from ai_engine.encode.uids import device_uid
from ai_engine.encode.wording import series_description, series_number
from ai_engine.findings import Code, Findings, ModelIdentity, NotMeasured

LANGUAGE = Code("en-US", "RFC5646", "English (United States)")  # CID 5000 names languages by RFC 5646


@dataclass(frozen=True, slots=True)
class Basis:
    """What an SR rests on.

    `slices` are the source images in the order of the findings' slice indices; `predecessors` the SRs of
    earlier results that it replaces.
    """

    slices: Sequence[Dataset]
    seg: EncodedSeg | None
    predecessors: Sequence[InstanceReference] = ()


def build_sr(findings: Findings, basis: Basis, making: Making) -> Dataset:
    """The SR of these findings; it may have no measurement group, and then says so in words."""
    source = basis.slices[0]
    evidence = [blank_context(image) for image in basis.slices]
    if basis.seg is not None:
        evidence.append(basis.seg.dataset)
    made = Comprehensive3DSR(
        evidence=evidence,
        content=_report(findings, basis),
        series_instance_uid=making.uids.uid("sr-series"),
        series_number=series_number(source, "SR"),
        sop_instance_uid=making.uids.uid("sr"),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=series_description(findings.model, "SR"),
        coding_schemes=[CodingSchemeIdentificationItem(ours.SCHEME, name=ours.SCHEME_NAME)],
        **making.made_by.as_attributes(),
    )
    if basis.predecessors:
        made.PredecessorDocumentsSequence = [_predecessor(each) for each in basis.predecessors]
    complete(made, source, making)
    return made


def _predecessor(reference: InstanceReference) -> Dataset:
    """One item of Predecessor Documents Sequence (PS3.3 Table C.17-2, macro of Table C.17-3)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = reference.sop_class_uid
    instance.ReferencedSOPInstanceUID = reference.sop_instance_uid
    series.SeriesInstanceUID = reference.series_instance_uid
    series.ReferencedSOPSequence = [instance]
    study.StudyInstanceUID = reference.study_instance_uid
    study.ReferencedSeriesSequence = [series]
    return study


def _report(findings: Findings, basis: Basis) -> ContainerContentItem:
    """The root container. Ours: highdicom's template knows no row 12 and demands a measurement group."""
    root = ContainerContentItem(name=coded(ours.MEASUREMENT_REPORT), template_id="1500")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(coded(LANGUAGE)))
    root.ContentSequence.extend(_observation_context(findings.model))
    root.ContentSequence.append(_procedure(str(basis.slices[0].get("Modality") or "")))
    if findings.findings:
        measurements = _container(ours.IMAGING_MEASUREMENTS)
        for finding in findings.findings:
            measurements.ContentSequence.extend(measurement_group(finding, findings, basis.slices, basis.seg))
        root.ContentSequence.append(measurements)
    evaluations = _container(ours.QUALITATIVE_EVALUATIONS)
    evaluations.ContentSequence.extend(_statements(findings))
    root.ContentSequence.append(evaluations)
    return root


def _observation_context(model: ModelIdentity) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(model),
        name=model.title,
        manufacturer_name=model.manufacturer,
        model_name=model.name,
        serial_number=device_uid(model),
    )
    return ObservationContext(ObserverContext(codes.DCM.Device, device))


def _procedure(modality: str) -> CodeContentItem:
    return CodeContentItem(
        name=coded(ours.PROCEDURE_REPORTED),
        value=coded(ours.PROCEDURE_OF_MODALITY.get(modality, ours.OTHER_PROCEDURE)),
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )


def _container(name: Code) -> ContainerContentItem:
    container = ContainerContentItem(name=coded(name), relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence()
    return container


def _statements(findings: Findings) -> Iterator[TextContentItem]:
    yield _text(ours.CONCLUSION, findings.conclusion, RelationshipTypeValues.CONTAINS)
    for each in findings.not_measured:
        yield _not_measured(each)
    yield _text(ours.INTENDED_USE, findings.model.intended_use, RelationshipTypeValues.CONTAINS)


def _not_measured(each: NotMeasured) -> TextContentItem:
    item = _text(ours.NOT_MEASURED, each.name, RelationshipTypeValues.CONTAINS)
    reason = _text(ours.NOT_MEASURED_REASON, each.reason, RelationshipTypeValues.HAS_PROPERTIES)
    item.ContentSequence = ContentSequence([reason])
    return item


def _text(name: Code, value: str, relationship: RelationshipTypeValues) -> TextContentItem:
    return TextContentItem(name=coded(name), value=value, relationship_type=relationship)
