"""Radiographs are chosen by their views, and come as they are meant to be shown."""

import numpy as np
import pytest
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
)

from ai_engine.preprocess.presented import presented
from ai_engine.preprocess.projections import spacing_mm_of
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.volume import build_volume
from ai_engine.projection import MAMMOGRAPHY_VIEWS
from ai_engine.wants import Wants

SCREENING = Wants(
    modalities=("MG",),
    sop_classes=("DigitalMammographyXRayImageStorageForPresentation",),
    input="projections",
    views=("R-CC", "L-CC", "R-MLO", "L-MLO"),
    minimum_slices=4,
)
VIEWS = {"CC": codes.cid4014.CranioCaudal, "MLO": codes.cid4014.MedioLateralObliqueProjection}


def coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, "SCT", code.meaning
    return item


def mammogram(name: str, number: int, shape: tuple[int, int] = (4, 3), **more: object) -> FileDataset:
    """One view ("L-CC"); every pixel is the instance number."""
    side, view = name.split("-")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta)
    made.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    made.SOPInstanceUID, made.StudyInstanceUID, made.SeriesInstanceUID = f"1.{number}", "1.2", f"1.2.{number}"
    made.Modality, made.ImageType, made.InstanceNumber = "MG", ["ORIGINAL", "PRIMARY"], number
    made.ImageLaterality, made.ViewCodeSequence = side, [coded(VIEWS[view])]
    made.Rows, made.Columns = shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.ImagerPixelSpacing, made.EstimatedRadiographicMagnificationFactor = [0.1, 0.1], 1.25
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = 50, 100, "LINEAR_EXACT"
    made.PixelData = np.full(shape, number, "<u2").tobytes()
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def screening() -> list[FileDataset]:
    return [mammogram(name, number) for number, name in enumerate(("L-MLO", "R-MLO", "L-CC", "R-CC"), 1)]


def with_modifier(image: FileDataset, modifier: Code) -> FileDataset:
    image.ViewCodeSequence[0].ViewModifierCodeSequence = [coded(modifier)]
    return image


def test_the_four_views_are_chosen_from_more() -> None:
    others = [
        with_modifier(mammogram("L-CC", 11), codes.cid4015.ImplantDisplaced),
        with_modifier(mammogram("R-CC", 12), codes.cid4015.Magnification),
        with_modifier(mammogram("R-MLO", 13), codes.cid4015.SpotCompression),
        mammogram("L-MLO", 14, EstimatedRadiographicMagnificationFactor=1.8),
        mammogram("L-MLO", 15, PartialView="YES"),
        mammogram("R-CC", 16, ImageType=["DERIVED", "PRIMARY"]),
        mammogram("R-CC", 17, SOPClassUID=DigitalMammographyXRayImageStorageForProcessing),
        mammogram("L-CC", 0),  # sent before the one that is taken
    ]
    volume = build_volume([*others, *screening()], SCREENING)
    assert [each.name for each in volume.images] == ["R-CC", "L-CC", "R-MLO", "L-MLO"]
    assert [each.sop_instance_uid for each in volume.images] == ["1.4", "1.3", "1.2", "1.1"]
    assert volume.sop_instance_uids == ("1.4", "1.3", "1.2", "1.1")
    assert {each.sop_instance_uid for each in volume.left_out} == {
        str(each.SOPInstanceUID) for each in others
    }


def test_each_image_keeps_its_size() -> None:
    images = screening()
    images[0] = mammogram("L-MLO", 1, shape=(6, 2), PhotometricInterpretation="MONOCHROME1")
    volume = build_volume(images, SCREENING)
    assert volume.voxels.shape == (4, 6, 3)
    assert [each.pixels.shape for each in volume.images] == [(4, 3), (4, 3), (4, 3), (6, 2)]
    assert volume.images[0].pixels == pytest.approx(0.04)
    assert volume.images[3].pixels == pytest.approx(0.99)  # shown inverted
    assert volume.images[0].spacing_mm == pytest.approx((0.08, 0.08))


def test_a_view_that_is_not_there_is_named() -> None:
    with pytest.raises(SeriesRefused, match="there is no L-CC") as caught:
        build_volume([each for each in screening() if each.SOPInstanceUID != "1.3"], SCREENING)
    assert caught.value.reason is RefusalReason.MISSING_VIEWS


def test_all_images_are_taken_where_no_view_is_asked_for() -> None:
    wants = Wants(modalities=("DX",), sop_classes=(), input="projections", minimum_slices=1)
    volume = build_volume([mammogram("L-CC", 2, ViewCodeSequence=[], ViewPosition="PA")], wants)
    assert [(each.view, each.laterality, each.name) for each in volume.images] == [("PA", "L", "L-PA")]


EXACT = {"VOILUTFunction": "LINEAR_EXACT"}
TWOFOLD = {"EstimatedRadiographicMagnificationFactor": 2}


def image(values: list[int], **more: object) -> Dataset:
    made = Dataset()
    made.PixelRepresentation, made.PhotometricInterpretation, made.BitsStored = 0, "MONOCHROME2", 12
    for keyword, value in more.items():
        setattr(made, keyword, value)
    made.values_to_test = np.array([values], np.uint16)
    return made


@pytest.mark.parametrize(
    ("values", "attributes", "expected"),
    [
        pytest.param([0, 50, 100], {}, [0, 0.5, 1], id="no window"),
        pytest.param(
            [0, 50, 200],
            {"WindowCenter": [50, 9], "WindowWidth": [100, 9], **EXACT},
            [0, 0.5, 1],
            id="exact window, the first",
        ),
        pytest.param(
            [0, 50, 99, 200], {"WindowCenter": 50, "WindowWidth": 100}, [0.0, 50 / 99, 1, 1], id="window"
        ),
        pytest.param(
            [50, 75],
            {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"},
            [0.5, 1 / (1 + np.exp(-1))],
            id="sigmoid",
        ),
        pytest.param(
            [0, 10],
            {"RescaleSlope": 2, "RescaleIntercept": 5, "WindowCenter": 15, "WindowWidth": 20, **EXACT},
            [0, 1],
            id="after the Modality LUT",
        ),
        pytest.param([0, 100], {"PhotometricInterpretation": "MONOCHROME1"}, [1, 0], id="inverted"),
        pytest.param(
            [7, 50, 100],
            {"PixelPaddingValue": 7, "PhotometricInterpretation": "MONOCHROME1"},
            [0, 1, 0],
            id="padding is black",
        ),
    ],
)
def test_an_image_is_as_it_is_shown(
    values: list[int], attributes: dict[str, object], expected: list[float]
) -> None:
    made = image(values, **attributes)
    np.testing.assert_allclose(presented(made, made.values_to_test)[0], expected, atol=1e-6)


def test_a_table_of_values_of_interest() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 10, 8], [0, 51, 255]
    made = image([5, 10, 11, 12, 90], VOILUTSequence=[table])
    assert presented(made, made.values_to_test)[0] == pytest.approx([0, 0, 0.2, 1, 1])


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0, 0]}, None),
        ({"ImagerPixelSpacing": [0.2, 0.2], **TWOFOLD}, (0.1, 0.1)),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2], **TWOFOLD}, (0.1, 0.1)),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.15, 0.15], **TWOFOLD}, (0.15, 0.15)),
    ],
)
def test_the_spacing_at_the_patient(
    attributes: dict[str, object], expected: tuple[float, float] | None
) -> None:
    assert spacing_mm_of(image([1], **attributes)) == expected


def test_the_names_of_views_are_of_the_context_group() -> None:
    members = {getattr(codes.cid4014, name).value for name in codes.cid4014.dir()}
    assert set(MAMMOGRAPHY_VIEWS) <= members
    assert len(set(MAMMOGRAPHY_VIEWS.values())) == len(MAMMOGRAPHY_VIEWS)
