import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr._concepts_dict import concepts
from pydicom.uid import Comprehensive3DSRStorage

from ai_engine.encode import codes as ours
from ai_engine.encode.images import Source
from ai_engine.encode.numbers import reported
from ai_engine.encode.publication import EncodedResult, encode
from ai_engine.encode.source import InstanceReference, Making
from ai_engine.encode.uids import device_uid, tracking_uid
from ai_engine.findings import Code, Findings

from .conftest import MODEL, blob, make_findings, make_slices


def read(part10: bytes) -> Dataset:
    return dcmread(BytesIO(part10))


@pytest.fixture
def slices() -> list[Dataset]:
    return make_slices()


@pytest.fixture
def result(slices: list[Dataset], making: Making) -> EncodedResult:
    return encode(make_findings(blob(slices)), Source(slices), making)


@pytest.fixture
def sr(result: EncodedResult) -> Dataset:
    return read(result.sr.part10)


def children(item: Dataset, code: Code) -> list[Dataset]:
    return [
        child
        for child in item.get("ContentSequence", ())
        if child.ConceptNameCodeSequence[0].CodeValue == code.value
    ]


def test_document_is_preliminary_and_unverified(sr: Dataset) -> None:
    assert sr.SOPClassUID == Comprehensive3DSRStorage
    assert (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert sr.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert sr.SeriesDescription == "CT quantification 1.0.0 SR: Research use only"
    assert sr.SeriesNumber == 302
    scheme = sr.CodingSchemeIdentificationSequence[0]
    assert scheme.CodingSchemeDesignator == "99ISTHMUS"


def test_read_back_by_highdicom(result: EncodedResult) -> None:
    sr = hd.sr.srread(BytesIO(result.sr.part10))
    assert isinstance(sr, hd.sr.Comprehensive3DSR)
    (group,) = sr.content.get_volumetric_roi_measurement_groups()
    assert group.tracking_uid == tracking_uid("2.25.100", MODEL, "left-lung")
    assert group.tracking_identifier == "left-lung"
    assert group.finding_sites[0].laterality.meaning == "Left"
    assert group.referenced_segment is not None
    by_name = {measurement.name.meaning: measurement for measurement in group.get_measurements()}
    assert by_name["Volume"].value == 2345.7
    assert by_name["Volume"].unit.value == "ml"
    assert by_name["Mean Attenuation Coefficient"].derivation.meaning == "Mean"
    assert by_name["Probability"].value == 0.93
    regions = sr.content.get_planar_roi_measurement_groups()
    assert [each.tracking_identifier for each in regions] == ["left-lung", "fat"]
    other = regions[1]
    (area,) = other.get_measurements()
    assert area.referenced_images[0].referenced_sop_instance_uid == "2.25.70002"
    (observer,) = sr.content.get_observer_contexts()
    assert observer.observer_identifying_attributes.uid == device_uid(MODEL)


def test_segment_and_group_share_their_tracking(result: EncodedResult, sr: Dataset) -> None:
    assert result.seg is not None
    seg = read(result.seg.part10)
    group = children(children(sr, ours.IMAGING_MEASUREMENTS)[0], Code("125007", "DCM", ""))[0]
    uid = children(group, Code("112040", "DCM", ""))[0].UID
    assert uid == seg.SegmentSequence[0].TrackingUID
    reference = children(group, Code("121191", "DCM", ""))[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert reference.ReferencedSegmentNumber == 1


def test_segment_number_follows_the_seg(making: Making, slices: list[Dataset]) -> None:
    labels = np.zeros((6, 12, 10), np.uint8)
    labels[2, 1:3, 1:3] = 2
    findings = make_findings(labels)
    right = dataclasses.replace(findings.findings[0], segment_number=2, tracking_id="right-lung")
    findings = dataclasses.replace(findings, findings=(findings.findings[0], right))
    sr = hd.sr.srread(BytesIO(encode(findings, Source(slices), making).sr.part10))
    (group,) = sr.content.get_volumetric_roi_measurement_groups()
    assert group.tracking_identifier == "right-lung"
    (other,) = sr.content.get_image_measurement_groups()  # the empty segment's finding
    assert other.tracking_identifier == "left-lung"


def test_evidence_is_what_was_analysed(result: EncodedResult, sr: Dataset, slices: list[Dataset]) -> None:
    assert result.seg is not None
    (study,) = sr.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == "2.25.100"
    named = {
        series.SeriesInstanceUID: {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
        for series in study.ReferencedSeriesSequence
    }
    seg = result.seg.reference
    assert named == {
        "2.25.200": {image.SOPInstanceUID for image in slices},
        seg.series_instance_uid: {seg.sop_instance_uid},
    }
    assert "PertinentOtherEvidenceSequence" not in sr


def test_statements_stand_under_qualitative_evaluations(sr: Dataset) -> None:
    (container,) = children(sr, ours.QUALITATIVE_EVALUATIONS)
    assert [item.ConceptNameCodeSequence[0].CodeValue for item in container.ContentSequence] == [
        *(code.value for code in (ours.CONCLUSION, ours.NOT_MEASURED, ours.INTENDED_USE))
    ]
    conclusion, missing, use = container.ContentSequence
    assert conclusion.TextValue.startswith("Left lung volume 2345.7 ml. Fat area 123.4 cm² on")
    assert missing.TextValue == "Right lung volume"
    (reason,) = children(missing, ours.NOT_MEASURED_REASON)
    assert reason.TextValue == "the right lung is cut by the field of view"
    assert use.TextValue == "Research use only. Not for clinical use."


def test_nothing_found_still_reports(
    making: Making, slices: list[Dataset], run_tool: Callable[..., str]
) -> None:
    findings = dataclasses.replace(make_findings(None), segments=(), findings=())
    result = encode(findings, Source(slices), making)
    assert result.seg is None
    sr = read(result.sr.part10)
    assert children(sr, ours.IMAGING_MEASUREMENTS) == []
    assert len(children(sr, ours.QUALITATIVE_EVALUATIONS)) == 1
    assert "Error" not in run_tool("dciodvfy", result.sr.part10)
    assert isinstance(hd.sr.srread(BytesIO(result.sr.part10)), hd.sr.Comprehensive3DSR)


def test_predecessors_are_named(making: Making, slices: list[Dataset], run_tool: Callable[..., str]) -> None:
    earlier = InstanceReference("2.25.100", "2.25.900", Comprehensive3DSRStorage, "2.25.901")
    result = encode(make_findings(blob(slices)), Source(slices), making, [earlier])
    (study,) = read(result.sr.part10).PredecessorDocumentsSequence
    assert study.StudyInstanceUID == "2.25.100"
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "2.25.900"
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.901"
    assert "Error" not in run_tool("dciodvfy", result.sr.part10)


def test_laterality_without_site(making: Making, slices: list[Dataset]) -> None:
    findings = make_findings(blob(slices))
    lung = dataclasses.replace(findings.findings[0], site=None)
    result = encode(dataclasses.replace(findings, findings=(lung,)), Source(slices), making)
    sr = hd.sr.srread(BytesIO(result.sr.part10))
    (group,) = sr.content.get_volumetric_roi_measurement_groups()
    (side,) = group.get_qualitative_evaluations(ours.coded(ours.LATERALITY))
    assert side[0].value.meaning == "Left"


@pytest.mark.parametrize(
    ("modality", "code"), [("CT", "25045-6"), ("MG", "43468-8"), ("US", "363679005"), ("", "363679005")]
)
def test_procedure_reported(making: Making, modality: str, code: str) -> None:
    slices = make_slices()
    slices[0].Modality = modality
    sr = read(encode(make_findings(None), Source(slices), making).sr.part10)
    (item,) = children(sr, ours.PROCEDURE_REPORTED)
    assert item.ConceptCodeSequence[0].CodeValue == code


@pytest.mark.parametrize(
    "value",
    [0.0, 1.0, 0.1 + 0.2, 5234.5, -1023.999, 1 / 3, -1 / 3e7, 1.23456789e-300, -9.87654321e300, 123456789.0],
)
def test_values_fit_a_decimal_string(making: Making, slices: list[Dataset], value: float) -> None:
    findings: Findings = make_findings(None)
    measured = dataclasses.replace(findings.findings[0].measurements[0], value=value)
    finding = dataclasses.replace(findings.findings[0], measurements=(measured,), probability=None)
    part10 = encode(dataclasses.replace(findings, findings=(finding,)), Source(slices), making).sr.part10
    group = children(read(part10), ours.IMAGING_MEASUREMENTS)[0].ContentSequence[0]
    (number,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
    written = number.MeasuredValueSequence[0]
    assert len(str(written.NumericValue)) <= 16
    assert float(written.NumericValue) == written.FloatingPointValue == reported(value)
    assert reported(value) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(("value", "text"), [(2085.0, "2085"), (5.4, "5.4"), (-0.0, "0"), (0.1 + 0.2, "0.3")])
def test_numbers_are_written_as_people_write_them(
    making: Making, slices: list[Dataset], value: float, text: str
) -> None:
    findings = make_findings(None)
    finding = dataclasses.replace(findings.findings[0], measurements=(), probability=value)
    sr = read(encode(dataclasses.replace(findings, findings=(finding,)), Source(slices), making).sr.part10)
    group = children(sr, ours.IMAGING_MEASUREMENTS)[0].ContentSequence[0]
    (number,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
    assert str(number.MeasuredValueSequence[0].NumericValue) == text


def emitted_codes(item: Dataset) -> Iterator[tuple[str, str, str]]:
    for each in item.iterall():
        if each.keyword.endswith("CodeSequence"):
            for code in each.value:
                yield code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning


def test_every_code_is_known(result: EncodedResult, sr: Dataset) -> None:
    assert result.seg is not None
    known = {
        (scheme, value) for scheme, names in concepts.items() for entry in names.values() for value in entry
    }
    known |= {(code.scheme, code.value) for code in (*ours.LOCAL_CODES, ours.QUALITATIVE_EVALUATIONS)}
    known |= {("RFC5646", "en-US"), ("UCUM", "ml")}
    for scheme, value, meaning in {*emitted_codes(sr), *emitted_codes(read(result.seg.part10))}:
        assert (scheme, value) in known
        assert len(value) <= 16
        assert 0 < len(meaning) <= 64


def test_local_codes_fit_their_value_representations() -> None:
    for code in ours.LOCAL_CODES:
        assert re.fullmatch(r"[a-z-]{1,16}", code.value)
        assert len(code.meaning) <= 64


def test_dciodvfy_finds_no_error(result: EncodedResult, run_tool: Callable[..., str]) -> None:
    said = run_tool("dciodvfy", result.sr.part10)
    assert "Comprehensive3DSR" in said
    assert "Error" not in said


def test_dsrdump_reads_all(result: EncodedResult, run_tool: Callable[..., str]) -> None:
    said = run_tool("dsrdump", result.sr.part10, "+Pl")
    for words in (
        "Left lung volume 2345.7 ml.",
        '"2345.7" (ml,UCUM',
        "Research use only. Not for clinical use.",
    ):
        assert words in said
    assert not re.search(r"^[EF]: ", said, re.MULTILINE)


def test_local_codes_are_published() -> None:
    definitions = Path(ours.__file__).parents[1] / "definitions" / "isthmus_codes.json"
    published = {entry["code"]: entry["display"] for entry in json.loads(definitions.read_text())["codes"]}
    assert {code.value: published.get(code.value) for code in ours.LOCAL_CODES} == {
        code.value: code.meaning for code in ours.LOCAL_CODES
    }
