import dataclasses
from collections.abc import Callable
from datetime import timedelta, timezone
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.uid import SegmentationStorage

from ai_engine.encode.analysed import Analysed, ShapeMismatch
from ai_engine.encode.images import Source
from ai_engine.encode.publication import encode
from ai_engine.encode.seg import UndescribedLabel, build_seg
from ai_engine.encode.source import Making, write_part10
from ai_engine.encode.uids import tracking_uid

from .conftest import AXIAL, MODEL, blob, make_findings, make_slices

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)  # a tilted coronal
OBLIQUE_NORMAL = (-0.6, 0.8, 0.0)
STACKS = [
    pytest.param(AXIAL, (0.0, 0.0, 2.5), id="axial, upwards"),
    pytest.param(AXIAL, (0.0, 0.0, -2.5), id="axial, reversed"),
    pytest.param((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (0.0, 0.0, 2.5), id="axial, prone"),
    pytest.param((0.0, 1.0, 0.0, 0.0, 0.0, -1.0), (3.0, 0.0, 0.0), id="sagittal"),
    pytest.param(OBLIQUE, tuple(3.0 * n for n in OBLIQUE_NORMAL), id="oblique"),
    pytest.param(OBLIQUE, tuple(-3.0 * n for n in OBLIQUE_NORMAL), id="oblique, reversed"),
    pytest.param(AXIAL, (0.0, 0.45, 2.5), id="gantry tilt"),
]
World = set[tuple[float, float, float]]


def read(part10: bytes) -> Dataset:
    return dcmread(BytesIO(part10))


def place(
    orientation: list[float], position: list[float], spacing: list[float], pixels: NDArray[np.bool_]
) -> World:
    """LPS positions of the pixels that are set, to a thousandth of a mm (PS3.3 Equation C.7.6.2.1-1)."""
    along_columns, along_rows = np.array(orientation[:3], float), np.array(orientation[3:], float)
    rows, columns = np.nonzero(pixels)
    found = np.array(position, float) + np.outer(columns * float(spacing[1]), along_columns)
    found = found + np.outer(rows * float(spacing[0]), along_rows)
    return {tuple(map(float, one)) for one in np.round(found, 3) + 0.0}  # type: ignore[misc]


def places_of_labels(slices: list[Dataset], labels: NDArray[np.uint8], number: int) -> World:
    found: World = set()
    for image, plane in zip(slices, labels, strict=True):
        found |= place(
            image.ImageOrientationPatient, image.ImagePositionPatient, image.PixelSpacing, plane == number
        )
    return found


def places_in_seg(seg: Dataset) -> dict[int, World]:
    """Positions by segment number, read from the frames and their functional groups alone."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    frames = np.atleast_3d(seg.pixel_array.T).T
    found: dict[int, World] = {}
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        holder = group if "SegmentIdentificationSequence" in group else shared
        number = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = group.PlanePositionSequence[0].ImagePositionPatient
        found.setdefault(number, set()).update(place(orientation, position, spacing, frame > 0))
    return found


@pytest.mark.parametrize(("orientation", "step"), STACKS)
def test_voxels_stay_where_they_are(
    making: Making, orientation: tuple[float, ...], step: tuple[float, float, float]
) -> None:
    slices = make_slices(6, orientation, step)
    labels = blob(slices)
    result = encode(make_findings(labels), Source(slices), making)
    assert result.seg is not None
    assert places_in_seg(read(result.seg.part10)) == {
        1: places_of_labels(slices, labels, 1),
        2: places_of_labels(slices, labels, 2),
    }


@pytest.mark.parametrize(("orientation", "step"), STACKS)
def test_frames_name_the_slice_they_lie_on(
    making: Making, orientation: tuple[float, ...], step: tuple[float, float, float]
) -> None:
    slices = make_slices(6, orientation, step)
    result = encode(make_findings(blob(slices)), Source(slices), making)
    assert result.seg is not None
    position_of = {image.SOPInstanceUID: image.ImagePositionPatient for image in slices}
    seg = read(result.seg.part10)
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert group.PlanePositionSequence[0].ImagePositionPatient == position_of[source]


def test_only_spanned_planes_are_frames(making: Making) -> None:
    slices = make_slices(6)
    seg = build_seg(Analysed(make_findings(blob(slices)), Source(slices)), making)
    assert seg is not None
    assert seg.dataset.NumberOfFrames == 5  # three planes of segment 1, two of segment 2
    assert seg.number_of == {1: 1, 2: 2}
    referenced = seg.dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced} == {
        image.SOPInstanceUID for image in slices[1:5]
    }


def test_read_back_by_highdicom(making: Making) -> None:
    slices = make_slices(6, AXIAL, (0.0, 0.0, -2.5))
    labels = blob(slices)
    result = encode(make_findings(labels), Source(slices), making)
    assert result.seg is not None
    seg = hd.seg.segread(BytesIO(result.seg.part10))
    uids = [image.SOPInstanceUID for image in slices[1:5]]
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True)
    assert np.array_equal(pixels, labels[1:5])
    assert seg.number_of_segments == 2


@pytest.mark.parametrize("count", [1, 4])
def test_one_segment_on_one_slice(making: Making, count: int) -> None:
    slices = make_slices(count)
    labels = np.zeros((count, 12, 10), np.uint8)
    labels[count - 1, 3:5, 4:9] = 2
    result = encode(without_slices(make_findings(labels)), Source(slices), making)
    assert result.seg is not None
    seg = read(result.seg.part10)
    assert seg.NumberOfFrames == 1
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [1]
    assert seg.SegmentSequence[0].SegmentLabel == "Lung 2"
    assert places_in_seg(seg) == {1: places_of_labels(slices, labels, 2)}


def without_slices(findings: object) -> object:
    """The findings without the one that is measured on image 3."""
    return dataclasses.replace(findings, findings=findings.findings[:1])  # type: ignore[attr-defined, type-var]


@pytest.mark.parametrize(
    "labels", [None, np.zeros((6, 12, 10), np.uint8)], ids=["no labels", "all background"]
)
def test_no_voxels_no_seg(making: Making, labels: NDArray[np.uint8] | None) -> None:
    result = encode(make_findings(labels), Source(make_slices(6)), making)
    assert result.seg is None
    assert "Referenced Segment" not in str(read(result.sr.part10))


def test_labels_must_cover_the_slices(making: Making) -> None:
    with pytest.raises(ShapeMismatch, match=r"\(5, 12, 10\)"):
        build_seg(Analysed(make_findings(np.zeros((5, 12, 10), np.uint8)), Source(make_slices(6))), making)
    with pytest.raises(ShapeMismatch, match="int16"):
        build_seg(Analysed(make_findings(np.zeros((6, 12, 10), np.int16)), Source(make_slices(6))), making)  # type: ignore[arg-type]


def test_label_without_segment_is_refused(making: Making) -> None:
    with pytest.raises(UndescribedLabel, match="number 9"):
        build_seg(Analysed(make_findings(np.full((6, 12, 10), 9, np.uint8)), Source(make_slices(6))), making)


def test_segments_are_described(making: Making) -> None:
    slices = make_slices(6)
    seg = build_seg(Analysed(make_findings(blob(slices)), Source(slices)), making)
    assert seg is not None
    left = seg.dataset.SegmentSequence[0]
    assert left.SegmentAlgorithmType == "AUTOMATIC"
    assert left.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lung"
    modifier = left.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (modifier.CodeValue, modifier.CodingSchemeDesignator) == ("7771000", "SCT")
    algorithm = left.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("CT quantification", "1.0.0")
    assert left.TrackingID == "left-lung"
    assert left.TrackingUID == tracking_uid("2.25.100", MODEL, "left-lung")
    assert len(left.RecommendedDisplayCIELabValue) == 3


def test_tracking_uid_is_stable_over_versions() -> None:
    newer = dataclasses.replace(MODEL, version="2.0.0")
    assert tracking_uid("2.25.1", newer, "a") == tracking_uid("2.25.1", MODEL, "a")
    assert tracking_uid("2.25.2", MODEL, "a") != tracking_uid("2.25.1", MODEL, "a")


def test_series_and_equipment_say_what_it_is(making: Making) -> None:
    slices = make_slices(6)
    slices[0].BodyPartExamined = "CHEST"
    seg = build_seg(Analysed(make_findings(blob(slices)), Source(slices)), making)
    assert seg is not None
    made = seg.dataset
    assert made.SOPClassUID == SegmentationStorage
    assert made.SeriesDescription == "CT quantification 1.0.0 SEG: Research use only"
    assert made.SeriesNumber == 301
    assert made.ContentLabel == "CT_QUANTIFICATIO"
    assert made.ContentCreatorName == "Isthmus^ct-quantification"
    assert made.BodyPartExamined == "CHEST"
    assert (made.Manufacturer, made.ManufacturerModelName) == ("Isthmus", "ct-quantification")
    assert list(made.SoftwareVersions) == ["1.0.0", "Isthmus 0.1.0"]
    assert made.DeviceSerialNumber.startswith("2.25.")


class TestSource:
    """What comes over from the source series."""

    def both(self, slices: list[Dataset], making: Making) -> list[Dataset]:
        result = encode(make_findings(blob(slices)), Source(slices), making)
        assert result.seg is not None
        return [read(result.seg.part10), read(result.sr.part10)]

    def test_patient_and_study_as_in_the_source(self, making: Making) -> None:
        slices = make_slices()
        for image in slices:
            image.SpecificCharacterSet = "ISO_IR 100"
            image.PatientName = "Müller^Jürgen"
            qualifiers = Dataset()
            qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType = "1.2.3", "ISO"
            image.IssuerOfPatientIDQualifiersSequence = [qualifiers]
            with disable_value_validation():  # no values of the standard: kept as sent
                image.add_new("PatientSex", "CS", "unsure")
                image.add_new("PatientBirthDate", "DA", "1970")
        for made in self.both(slices, making):
            assert made.SpecificCharacterSet == "ISO_IR 192"
            assert str(made.PatientName) == "Müller^Jürgen"
            assert (made.PatientID, made.IssuerOfPatientID) == ("P-1", "HOSPITAL")
            assert made.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "1.2.3"
            with disable_value_validation():
                assert (made.PatientSex, made.PatientBirthDate) == ("unsure", "1970")
            assert (made.StudyInstanceUID, made.StudyDate, made.StudyTime) == (
                "2.25.100",
                "20260301",
                "101112",
            )
            assert (made.StudyID, made.AccessionNumber) == ("S1", "A-7")

    def test_text_of_a_latin_1_file_is_written_as_utf_8(self, making: Making) -> None:
        slices = make_slices()
        for image in slices:
            image.SpecificCharacterSet = "ISO_IR 100"
            image.StudyDescription = "Thorax für Prüfung"
            code = Dataset()
            code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "Brüstkorb"
            image.ProcedureCodeSequence = [code]
        files = []
        for image in slices:
            buffer = BytesIO()
            image.save_as(buffer, implicit_vr=False, little_endian=True)
            buffer.seek(0)
            files.append(dcmread(buffer, force=True))
        for made in self.both(files, making):
            assert made.StudyDescription == "Thorax für Prüfung"
            assert made.ProcedureCodeSequence[0].CodeMeaning == "Brüstkorb"

    def test_minimal_headers(self, making: Making, run_tool: Callable[..., str]) -> None:
        keep = {
            *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns"),
            *("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
        }
        slices = make_slices()
        for image in slices:
            for element in list(image):
                if element.keyword not in keep:
                    del image[element.tag]
        for made in self.both(slices, making):
            assert made.PatientID in ("", None)
            assert made.SeriesNumber in (9001, 9002)
            assert "Error" not in run_tool("dciodvfy", write_part10(made))

    def test_value_that_breaks_its_representation_is_kept(self, making: Making) -> None:
        slices = make_slices()
        slices[0].PatientWeight = "70"
        buffer = BytesIO()
        slices[0].save_as(buffer, implicit_vr=False, little_endian=True)
        broken = buffer.getvalue().replace(b"DS\x02\x0070", b"DS\x02\x00xx")
        assert broken != buffer.getvalue()
        slices[0] = dcmread(BytesIO(broken), force=True)
        for made in self.both(slices, making):
            with disable_value_validation():
                assert made["PatientWeight"].value == "xx"

    @pytest.mark.parametrize(
        ("offset", "date", "time"),
        [
            pytest.param(None, "20260302", "031530.250000", id="the clock given"),
            pytest.param("+0900", "20260302", "171530.250000", id="ahead"),
            pytest.param("-0930", "20260301", "224530.250000", id="behind"),
        ],
    )
    def test_time_is_in_the_zone_of_the_source(
        self, making: Making, offset: str | None, date: str, time: str
    ) -> None:
        slices = make_slices()
        for image in slices:
            if offset:
                image.TimezoneOffsetFromUTC = offset
        local = dataclasses.replace(making, made_at=making.made_at.astimezone(timezone(timedelta(hours=-5))))
        for made in self.both(slices, local):
            assert made.get("TimezoneOffsetFromUTC") == offset
            assert (made.ContentDate, made.ContentTime) == (date, time)
            assert (made.SeriesDate, made.InstanceCreationTime) == (date, time)


def test_same_inputs_make_the_same_bytes(making: Making) -> None:
    slices = make_slices()
    first = encode(make_findings(blob(slices)), Source(slices), making)
    assert encode(make_findings(blob(slices)), Source(slices), making) == first


def test_file_is_ours(making: Making) -> None:
    slices = make_slices()
    result = encode(make_findings(blob(slices)), Source(slices), making)
    assert result.seg is not None
    for each in (result.seg, result.sr):
        made = read(each.part10)
        assert made.file_meta.ImplementationVersionName == "ISTHMUS"
        assert made.file_meta.ImplementationClassUID.startswith("2.25.")
        assert made.file_meta.MediaStorageSOPInstanceUID == each.reference.sop_instance_uid
        assert made.SeriesInstanceUID == each.reference.series_instance_uid
    assert result.seg.reference.series_instance_uid != result.sr.reference.series_instance_uid


@pytest.mark.parametrize(("orientation", "step"), STACKS)
def test_dciodvfy_finds_no_error(
    making: Making,
    run_tool: Callable[..., str],
    orientation: tuple[float, ...],
    step: tuple[float, float, float],
) -> None:
    slices = make_slices(6, orientation, step)
    result = encode(make_findings(blob(slices)), Source(slices), making)
    assert result.seg is not None
    said = run_tool("dciodvfy", result.seg.part10)
    assert "Segmentation" in said
    assert "Error" not in said
