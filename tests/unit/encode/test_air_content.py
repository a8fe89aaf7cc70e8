"""IHE RAD AI Results, one test a primitive; named as Gazelle's of an Evidence Creator, AIR_Content_*."""

from collections.abc import Callable
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, KeyObjectSelectionDocumentStorage

from ai_engine.encode.images import Source
from ai_engine.encode.publication import EncodedResult, encode
from ai_engine.encode.source import Making
from ai_engine.encode.uids import tracking_uid
from ai_engine.findings import Location
from ai_engine.manifest import ResultObjects

from .conftest import MODEL, make_slices
from .detections import detected, nodule, nothing_found, point


def read(part10: bytes) -> Dataset:
    return dcmread(BytesIO(part10))


@pytest.fixture
def slices() -> list[Dataset]:
    return make_slices()


@pytest.fixture
def result(making: Making, slices: list[Dataset]) -> EncodedResult:
    findings = detected(slices, nodule(slices, 1, segment_number=7))
    return encode(findings, Source(slices), making, (), ResultObjects(key_images=True))


@pytest.fixture
def sr(result: EncodedResult) -> Dataset:
    return read(result.sr.part10)


def named(item: Dataset, code: object) -> list[Dataset]:
    """The items below, of any depth, with this name."""
    found = []
    for child in item.get("ContentSequence", ()):
        name = child.get("ConceptNameCodeSequence")
        if name and (name[0].CodeValue, name[0].CodingSchemeDesignator) == (
            code.value,  # type: ignore[attr-defined]
            code.scheme_designator,  # type: ignore[attr-defined]
        ):
            found.append(child)
        found += named(child, code)
    return found


def groups(sr: Dataset) -> list[Dataset]:
    return named(sr, codes.DCM.MeasurementGroup)


def test_root_is_tid_1500_in_comprehensive_3d_sr(sr: Dataset) -> None:
    assert sr.SOPClassUID == Comprehensive3DSRStorage
    assert sr.ContentTemplateSequence[0].TemplateIdentifier == "1500"


def test_air_content_qualitative_findings(
    making: Making, slices: list[Dataset], run_tool: Callable[..., str]
) -> None:
    part10 = encode(nothing_found(slices), Source(slices), making).sr.part10
    (found,) = named(read(part10), codes.SCT.Nodule)
    assert found.ValueType == "CODE"
    assert found.ConceptCodeSequence[0].CodeValue == codes.SCT.Absent.value
    (probability,) = found.ContentSequence
    assert probability.RelationshipType == "HAS PROPERTIES"
    assert str(probability.MeasuredValueSequence[0].NumericValue) == "0.03"
    (spread,) = probability.ContentSequence
    assert spread.ConceptNameCodeSequence[0].CodeMeaning == "Standard Deviation"
    (flag,) = named(read(part10), codes.DCM.ImageArtifacts)
    assert flag.TextValue == "Motion between images 3 and 4."
    assert groups(read(part10)) == []
    assert "Error" not in run_tool("dciodvfy", part10)


def test_air_content_measurements(sr: Dataset) -> None:
    (diameter,) = named(sr, codes.SCT.Diameter)
    assert diameter.MeasuredValueSequence[0].NumericValue == 7.5
    assert diameter.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    (probability,) = named(sr, codes.DCM.Probability)
    (spread,) = probability.ContentSequence
    assert (spread.RelationshipType, str(spread.MeasuredValueSequence[0].NumericValue)) == (
        "HAS PROPERTIES",
        "0.04",
    )


def test_air_content_locations(sr: Dataset, slices: list[Dataset]) -> None:
    line, place = named(sr, codes.DCM.ImageRegion)
    assert (line.ValueType, line.GraphicType) == ("SCOORD", "POLYLINE")
    assert list(line.GraphicData) == [4.5, 3.5, 6.5, 5.5]  # column, row; 0.5 is the centre of the first pixel
    assert (
        line.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == slices[2].SOPInstanceUID
    )
    assert (place.ValueType, place.GraphicType) == ("SCOORD3D", "POINT")
    assert place.ReferencedFrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert np.allclose(place.GraphicData, point(slices, 2.0, 4.0, 5.0).lps_mm, atol=1e-4)


def test_air_content_regions(result: EncodedResult, sr: Dataset) -> None:
    assert result.seg is not None
    (segment,) = named(sr, codes.DCM.ReferencedSegment)
    referenced = segment.ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID == result.seg.reference.sop_instance_uid
    assert referenced.ReferencedSegmentNumber == 1


def test_air_content_tracking_identifiers(result: EncodedResult, sr: Dataset) -> None:
    assert result.seg is not None
    expected = tracking_uid("2.25.100", MODEL, "nodule-1", "at-1")
    assert read(result.seg.part10).SegmentSequence[0].TrackingUID == expected
    assert [item.UID for item in named(sr, codes.DCM.TrackingUniqueIdentifier)] == [expected] * 3
    assert {item.TextValue for item in named(sr, codes.DCM.TrackingIdentifier)} == {"nodule-1"}


def test_air_content_image_references(
    result: EncodedResult, slices: list[Dataset], run_tool: Callable[..., str]
) -> None:
    (key_objects,) = result.others
    made = read(key_objects.part10)
    assert made.SOPClassUID == KeyObjectSelectionDocumentStorage
    assert made.ConceptNameCodeSequence[0].CodeValue == codes.DCM.OfInterest.value
    (image,) = [item for item in made.ContentSequence if item.ValueType == "IMAGE"]
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == slices[2].SOPInstanceUID
    assert made.StudyInstanceUID == slices[0].StudyInstanceUID
    said = run_tool("dciodvfy", key_objects.part10)
    assert "KeyObjectSelectionDocument" in said
    assert "Error" not in said


def test_library_holds_only_the_slices_that_are_touched(sr: Dataset, slices: list[Dataset]) -> None:
    (library,) = named(sr, codes.DCM.ImageLibraryGroup)
    images = [item for item in library.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images] == [
        slices[2].SOPInstanceUID
    ]


def test_another_place_is_another_identity(making: Making, slices: list[Dataset]) -> None:
    uids = {
        named(
            read(
                encode(
                    detected(slices, nodule(slices, 1, tracking_salt=salt)), Source(slices), making
                ).sr.part10
            ),
            codes.DCM.TrackingUniqueIdentifier,
        )[0].UID
        for salt in ("0,0,0", "1,0,0")
    }
    assert len(uids) == 2


SHAPES = [
    pytest.param({"segment_number": 7}, ["POLYLINE", "POINT"], id="segment and line"),
    pytest.param({}, ["POLYLINE", "POINT"], id="line"),
    pytest.param({"location": "box"}, ["POLYLINE", "POINT"], id="box"),
    pytest.param({"location": "centre"}, ["POINT", "POINT"], id="point"),
    pytest.param({"location": None, "segment_number": 7}, ["POLYLINE"], id="segment without a place"),
    pytest.param({"location": None}, ["POLYLINE"], id="all that was looked at"),
]


@pytest.mark.parametrize(("of", "graphics"), SHAPES)
def test_every_shape_is_valid_and_has_a_region(
    making: Making,
    slices: list[Dataset],
    run_tool: Callable[..., str],
    of: dict[str, object],
    graphics: list[str],
) -> None:
    box = (point(slices, 1.0, 3.0, 4.0), point(slices, 3.0, 5.0, 6.0))
    centre = point(slices, 2.0, 4.0, 5.0)
    places = {"box": Location(centre, box=box), "centre": Location(centre)}
    of = {**of, **({"location": places[str(of["location"])]} if of.get("location") else {})}
    part10 = encode(detected(slices, nodule(slices, 1, **of)), Source(slices), making).sr.part10
    sr = read(part10)
    assert [item.GraphicType for item in named(sr, codes.DCM.ImageRegion)] == graphics
    if of.get("location") is places["box"]:
        outline = np.reshape(named(sr, codes.DCM.ImageRegion)[0].GraphicData, (-1, 2))
        assert {tuple(map(float, corner)) for corner in outline} >= {
            (4.0, 3.0),
            (7.0, 3.0),
            (7.0, 6.0),
            (4.0, 6.0),
        }
        assert tuple(outline[0]) == tuple(outline[-1])
    assert "Error" not in run_tool("dciodvfy", part10)
    assert not [line for line in run_tool("dsrdump", part10).splitlines() if line.startswith(("E:", "F:"))]
    assert isinstance(hd.sr.srread(BytesIO(part10)), hd.sr.Comprehensive3DSR)


def test_projection_image_has_findings_on_it_and_no_place_in_the_patient(
    making: Making, run_tool: Callable[..., str]
) -> None:
    slices = make_slices(1)
    found = nodule(make_slices(), 1, location=Location(point(make_slices(), 0.0, 4.0, 5.0)))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
        del slices[0][keyword]
    slices[0].Modality = "DX"
    part10 = encode(detected(slices, found), Source(slices), making).sr.part10
    (region,) = named(read(part10), codes.DCM.ImageRegion)
    assert (region.ValueType, list(region.GraphicData)) == ("SCOORD", [5.5, 4.5])
    assert "Error" not in run_tool("dciodvfy", part10)
