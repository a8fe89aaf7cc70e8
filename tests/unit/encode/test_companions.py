"""Key objects, pictures and the report to read: what a manifest asks for beside SEG and SR."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.codes import code_of
from ai_engine.encode.images import Source
from ai_engine.encode.pictures import (
    BANNER,
    LONGEST_SIDE,
    UNSEGMENTED_RGB,
    drawn_size,
    gray_levels,
    picture,
)
from ai_engine.encode.publication import EncodedResult, encode
from ai_engine.encode.source import Making
from ai_engine.findings import Location, Measurement
from ai_engine.manifest import ResultObjects

from .conftest import make_slices
from .detections import MM, detected, nodule, nothing_found, point

ALL = ResultObjects(key_images=True, secondary_capture=True, pdf=True)
RED = (255, 60, 60)


def read(part10: bytes) -> Dataset:
    return dcmread(BytesIO(part10))


def voxels(slices: list[Dataset]) -> NDArray[np.int16]:
    shape = (len(slices), slices[0].Rows, slices[0].Columns)
    return np.random.default_rng(3).integers(-1000, 400, shape).astype(np.int16)


def source(slices: list[Dataset]) -> Source:
    return Source(slices, (), voxels(slices))


@pytest.fixture
def slices() -> list[Dataset]:
    return make_slices()


@pytest.fixture
def result(making: Making, slices: list[Dataset]) -> EncodedResult:
    other = nodule(slices, 2, location=Location(point(slices, 4.0, 7.0, 7.0)))
    findings = detected(slices, nodule(slices, 1, segment_number=7), other)
    return encode(findings, source(slices), making, (), ALL)


def test_nothing_is_made_that_is_not_asked_for(making: Making, slices: list[Dataset]) -> None:
    made = encode(detected(slices, nodule(slices, 1, segment_number=7)), source(slices), making)
    assert [read(each.part10).Modality for each in made.objects] == ["SEG", "SR"]


def test_all_are_of_the_study_each_kind_in_a_series_of_its_own(
    result: EncodedResult, slices: list[Dataset]
) -> None:
    made = [read(each.part10) for each in result.objects]
    assert [each.Modality for each in made] == ["SEG", "SR", "KO", "OT", "OT", "DOC"]
    assert {each.StudyInstanceUID for each in made} == {slices[0].StudyInstanceUID}
    assert len({each.SOPInstanceUID for each in made}) == len(made)
    series = [(each.Modality, each.SeriesInstanceUID, each.SeriesNumber) for each in made]
    assert (
        len(set(series)) == len({uid for _, uid, _ in series}) == len({number for *_, number in series}) == 5
    )
    for each in made:
        assert (each.PatientID, str(each.PatientName)) == ("P-1", "Doe^Jane")
        assert "Research use only" in each.SeriesDescription
        assert list(each.SoftwareVersions) == ["1.0.0", "Isthmus 0.1.0"]


def test_dciodvfy_finds_no_error(result: EncodedResult, run_tool: Callable[..., str]) -> None:
    said = [run_tool("dciodvfy", each.part10) for each in (*result.others, result.pdf) if each is not None]
    kinds = ["KeyObjectSelectionDocument", "SCImage", "SCImage", "EncapsulatedPDF"]
    for kind, text in zip(kinds, said, strict=True):
        assert kind in text
        assert "Error" not in text


def test_same_inputs_make_the_same_bytes(
    making: Making, slices: list[Dataset], result: EncodedResult
) -> None:
    other = nodule(slices, 2, location=Location(point(slices, 4.0, 7.0, 7.0)))
    findings = detected(slices, nodule(slices, 1, segment_number=7), other)
    assert encode(findings, source(slices), making, (), ALL) == result


def test_pictures_are_of_the_slices_with_findings(result: EncodedResult, slices: list[Dataset]) -> None:
    captures = [read(each.part10) for each in result.others[1:]]
    assert {each.SOPClassUID for each in captures} == {SecondaryCaptureImageStorage}
    assert [each.SourceImageSequence[0].ReferencedSOPInstanceUID for each in captures] == [
        slices[2].SOPInstanceUID,
        slices[4].SOPInstanceUID,
    ]
    assert [each.InstanceNumber for each in captures] == [1, 2]
    assert not any("BurnedInAnnotation" in each for each in captures)  # of the source it is not known
    assert captures[0].pixel_array.shape == (captures[0].Rows, captures[0].Columns, 3)


def test_contours_lie_where_the_segment_does(slices: list[Dataset]) -> None:
    findings = detected(slices, nodule(slices, 1, segment_number=7))
    drawn = np.asarray(picture(Analysed(findings, source(slices)), 2))[BANNER:-BANNER]
    rows, columns = np.nonzero((drawn == RED).all(axis=2))
    labelled = np.argwhere(findings.labels[2] == 7)  # type: ignore[index]
    scale = np.array(drawn.shape[:2]) / findings.labels[2].shape  # type: ignore[index]
    low, high = labelled.min(axis=0) * scale, (labelled.max(axis=0) + 1) * scale
    inside = (rows >= low[0] - 1) & (rows <= high[0]) & (columns >= low[1] - 1) & (columns <= high[1])
    assert inside.mean() > 0.5  # the rest is the text beside it
    assert (abs(rows[inside].min() - low[0]), abs(columns[inside].max() - high[1])) < (2, 2)
    empty = np.asarray(picture(Analysed(findings, source(slices)), 5))
    assert not (empty == RED).all(axis=2).any()


def test_boxes_are_drawn_along_the_outer_edges_of_their_pixels(slices: list[Dataset]) -> None:
    corner = point(slices, 2.0, 5.0, 3.0)
    found = nodule(slices, location=Location(corner, box=(corner, corner)))
    drawn = np.asarray(picture(Analysed(detected(slices, found), source(slices)), 2))[BANNER:-BANNER]
    scale = np.array(drawn.shape[:2]) / (slices[0].Rows, slices[0].Columns)
    rows, columns = np.nonzero((drawn == UNSEGMENTED_RGB).all(axis=2))
    ours = columns < 4 * scale[1]  # the text stands beside it
    assert abs(rows[ours].min() - 5 * scale[0]) <= 1
    assert abs(rows[ours].max() - (6 * scale[0] - 1)) <= 1
    assert abs(columns[ours].min() - 3 * scale[1]) <= 1
    assert abs(columns[ours].max() - (4 * scale[1] - 1)) <= 1


@pytest.mark.parametrize(
    ("said", "capture", "pdf"),
    [
        pytest.param(("NO", "NO"), ["NO", "NO"], "NO", id="no"),
        pytest.param(("NO", "YES"), ["NO", "YES"], "YES", id="one of them"),
        pytest.param((None, "NO"), [None, "NO"], "YES", id="not known"),
    ],
)
def test_burned_in_is_said_as_far_as_it_is_known(
    making: Making,
    slices: list[Dataset],
    run_tool: Callable[..., str],
    said: tuple[str | None, str],
    capture: list[str | None],
    pdf: str,
) -> None:
    for at, word in zip((2, 4), said, strict=True):
        if word is not None:
            slices[at].BurnedInAnnotation = word
    other = nodule(slices, 2, location=Location(point(slices, 4.0, 7.0, 7.0)))
    asked = ResultObjects(secondary_capture=True, pdf=True)
    made = encode(detected(slices, nodule(slices), other), source(slices), making, (), asked)
    assert [read(each.part10).get("BurnedInAnnotation") for each in made.others] == capture
    assert made.pdf is not None
    assert read(made.pdf.part10).BurnedInAnnotation == pdf
    assert not ["Error" for each in (*made.others, made.pdf) if "Error" in run_tool("dciodvfy", each.part10)]


def test_a_report_without_pictures_has_nothing_burned_in(making: Making, slices: list[Dataset]) -> None:
    made = encode(nothing_found(slices), source(slices), making, (), ResultObjects(pdf=True))
    assert made.pdf is not None
    assert read(made.pdf.part10).BurnedInAnnotation == "NO"


@pytest.mark.parametrize(("spacing", "size"), [([0.7, 0.7], (640, 768)), ([2.0, 1.0], (320, 768))])
def test_pixels_of_a_picture_are_square(spacing: list[float], size: tuple[int, int]) -> None:
    (image,) = make_slices(1)
    image.PixelSpacing = spacing
    assert drawn_size(image) == size
    assert max(size) == LONGEST_SIDE


@pytest.mark.parametrize(
    ("about", "levels"),
    [
        pytest.param({"WindowCenter": 0, "WindowWidth": 200}, [0, 127, 255], id="its window"),
        pytest.param(
            {"WindowCenter": [0, 40], "WindowWidth": [200, 400]}, [0, 127, 255], id="the first of two"
        ),
        pytest.param({}, [0, 63, 191], id="a CT that states none"),
        pytest.param({"WindowCenter": 0, "WindowWidth": 0}, [0, 63, 191], id="one that is none"),
        pytest.param({"Modality": "MR"}, [0, 127, 255], id="another modality"),
        pytest.param(
            {"WindowCenter": 0, "WindowWidth": 200, "PhotometricInterpretation": "MONOCHROME1"},
            [255, 127, 0],
            id="inverted",
        ),
    ],
)
def test_gray_levels(about: dict[str, object], levels: list[int]) -> None:
    (image,) = make_slices(1)
    for keyword, value in about.items():
        setattr(image, keyword, value)
    window = about.get("Modality") == "MR" or ("WindowCenter" in about and about["WindowWidth"])
    values = np.array([[-100, 0, 100]] if window else [[-160, -60, 140]], np.int16)
    assert np.abs(gray_levels(values, image).astype(int)[0] - levels).max() <= 2


def test_the_pdf_is_whole_and_names_its_report(result: EncodedResult, slices: list[Dataset]) -> None:
    assert result.pdf is not None
    made = read(result.pdf.part10)
    assert made.SOPClassUID == EncapsulatedPDFStorage
    pdf = made.EncapsulatedDocument[: made.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    (basis,) = made.SourceInstanceSequence
    assert basis.ReferencedSOPInstanceUID == result.sr.reference.sop_instance_uid
    assert made.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert made.VerificationFlag == "UNVERIFIED"
    assert pdf.count(b"/Subtype /Image") == 2


def test_nothing_found_is_a_report_too(making: Making, slices: list[Dataset]) -> None:
    made = encode(nothing_found(slices), source(slices), making, (), ALL)
    assert [read(each.part10).Modality for each in made.objects] == ["SR", "DOC"]


def test_a_radiograph_is_drawn_as_it_is_meant_to_be_shown(making: Making) -> None:
    slices = make_slices(2)
    for image in slices:
        image.Modality, image.PhotometricInterpretation = "DX", "MONOCHROME1"
        image.WindowCenter, image.WindowWidth = 2000, 4000
        del image.ImagePositionPatient, image.ImageOrientationPatient
    measured = Measurement(code_of(codes.SCT.Diameter), 7.5, MM, slice_index=0)
    findings = detected(slices, nodule(make_slices(), 1, location=None, measurements=(measured,)))
    shown = np.zeros((2, 20, 16), np.float32)  # filled up behind 12 rows and 10 columns
    shown[0, :12, :10] = 0.5
    presented = Source(slices, (), shown, is_presented=True)
    made = encode(findings, presented, making, (), ALL)
    assert [read(each.part10).Modality for each in made.objects] == ["SR", "KO", "OT", "DOC"]
    drawn = np.asarray(picture(Analysed(findings, presented), 0))[BANNER:-BANNER]
    assert np.abs(drawn[drawn.shape[0] // 2 :, drawn.shape[1] // 2 :].astype(int) - 127).max() <= 1
