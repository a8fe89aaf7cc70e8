"""Findings as a Comprehensive 3D SR by TID 1500 Measurement Report (PS3.3 A.35.13, PS3.16 TID 1500).

What stands where is listed in `codes`. The document is COMPLETE, PRELIMINARY and UNVERIFIED: nobody has
looked at it. Its evidence names every image that was analysed, and the Segmentation.
"""

from collections.abc import Iterator, Sequence

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
from ai_engine.encode.library import image_library
from ai_engine.encode.measurements import Basis, measurement_groups
from ai_engine.encode.numbers import probability_of
from ai_engine.encode.source import InstanceReference, Making, complete
from ai_engine.encode.uids import device_uid
from ai_engine.encode.wording import series_description, series_number
from ai_engine.findings import Code, Evaluation, Findings, ModelIdentity, NotMeasured

LANGUAGE = Code("en-US", "RFC5646", "English (United States)")  # CID 5000 names languages by RFC 5646


def build_sr(basis: Basis, making: Making, predecessors: Sequence[InstanceReference] = ()) -> Dataset:
    """The SR of these findings; it may have no measurement group, and then says so in words.

    `predecessors` are the SRs of earlier results that it replaces.
    """
    findings, source = basis.analysed.findings, basis.analysed.source.first
    evidence = basis.analysed.source.evidence()
    if basis.seg is not None:
        evidence.append(basis.seg.dataset)
    made = Comprehensive3DSR(
        evidence=evidence,
        content=_report(basis),
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
    if predecessors:
        made.PredecessorDocumentsSequence = [_predecessor(each) for each in predecessors]
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


def _report(basis: Basis) -> ContainerContentItem:
    """The root container. Ours: highdicom's template knows no row 12 and demands a measurement group."""
    findings, source = basis.analysed.findings, basis.analysed.source
    root = ContainerContentItem(name=coded(ours.MEASUREMENT_REPORT), template_id="1500")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(coded(LANGUAGE)))
    root.ContentSequence.extend(ObservationContext(observer_context(findings.model)))
    root.ContentSequence.append(_procedure(str(source.first.get("Modality") or "")))
    if touched := basis.analysed.key_slices():
        root.ContentSequence.append(image_library(source, touched))
    if findings.findings:
        measurements = _container(ours.IMAGING_MEASUREMENTS)
        for finding in findings.findings:
            for group in measurement_groups(finding, basis):
                measurements.ContentSequence.extend(group)
        root.ContentSequence.append(measurements)
    evaluations = _container(ours.QUALITATIVE_EVALUATIONS)
    evaluations.ContentSequence.extend(_statements(findings))
    root.ContentSequence.append(evaluations)
    return root


def observer_context(model: ModelIdentity) -> ObserverContext:
    """The model as the device that observed (TID 1002, 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(model),
        name=model.title,
        manufacturer_name=model.manufacturer,
        model_name=model.name,
        serial_number=device_uid(model),
    )
    return ObserverContext(codes.DCM.Device, device)


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


def _statements(findings: Findings) -> Iterator[TextContentItem | CodeContentItem]:
    yield _text(ours.CONCLUSION, findings.conclusion, RelationshipTypeValues.CONTAINS)
    yield from map(_evaluation, findings.evaluations)
    for flag in findings.quality:
        yield _text(flag.concept, flag.text, RelationshipTypeValues.CONTAINS)
    for each in findings.not_measured:
        yield _not_measured(each)
    yield _text(ours.INTENDED_USE, findings.model.intended_use, RelationshipTypeValues.CONTAINS)


def _evaluation(each: Evaluation) -> CodeContentItem:
    """What was looked for, and that it is absent: nothing found is a result."""
    item = CodeContentItem(coded(each.concept), coded(each.value), RelationshipTypeValues.CONTAINS)
    if each.probability is not None:
        item.ContentSequence = ContentSequence([probability_of(each.probability, each.uncertainty)])
    return item


def _not_measured(each: NotMeasured) -> TextContentItem:
    item = _text(ours.NOT_MEASURED, each.name, RelationshipTypeValues.CONTAINS)
    reason = _text(ours.NOT_MEASURED_REASON, each.reason, RelationshipTypeValues.HAS_PROPERTIES)
    item.ContentSequence = ContentSequence([reason])
    return item


def _text(name: Code, value: str, relationship: RelationshipTypeValues) -> TextContentItem:
    return TextContentItem(name=coded(name), value=value, relationship_type=relationship)
