"""A series becomes a volume, or is refused with the attribute's name."""

import copy
import random

import numpy as np
import pydicom
import pytest
from pydicom import FileDataset
from pydicom.data import get_testdata_file

from ai_engine.phantom.chest import make_phantom
from ai_engine.phantom.datasets import PhantomStudy
from ai_engine.phantom.series import (
    SMALL,
    localizer,
    numbered_from_the_head,
    oblique_series,
    tilted,
    with_gap,
    with_repetition,
    without,
)
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.volume import build_volume
from ai_engine.wants import Wants


def refusal(datasets: list[FileDataset], wants: Wants) -> SeriesRefused:
    with pytest.raises(SeriesRefused) as caught:
        build_volume(datasets, wants)
    return caught.value


def changed(dataset: FileDataset, **values: object) -> FileDataset:
    other = copy.deepcopy(dataset)
    for keyword, value in values.items():
        setattr(other, keyword, value)
    return other


def test_any_order_of_arrival_gives_the_same_volume(series: list[FileDataset], wants: Wants) -> None:
    expected = build_volume(series, wants)
    shuffled = list(series)
    random.Random(3).shuffle(shuffled)
    for datasets in (shuffled, numbered_from_the_head(series)):
        volume = build_volume(datasets, wants)
        assert np.array_equal(volume.voxels, expected.voxels)
        assert volume.sop_instance_uids == expected.sop_instance_uids
        assert np.array_equal(volume.geometry.affine, expected.geometry.affine)


def test_voxels_and_geometry_are_the_phantoms(series: list[FileDataset], wants: Wants) -> None:
    phantom = make_phantom(SMALL, PhantomStudy().uid("frame-of-reference"))
    volume = build_volume(series, wants)
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, phantom.voxels)
    np.testing.assert_allclose(volume.geometry.affine, phantom.geometry.affine, atol=1e-5)
    assert volume.geometry.frame_of_reference_uid == phantom.geometry.frame_of_reference_uid
    assert volume.slice_thickness_mm == 12.5
    assert volume.left_out == ()


def test_each_slice_lies_where_its_image_says(wants: Wants) -> None:
    study = PhantomStudy()
    phantom = make_phantom(SMALL, study.uid("frame-of-reference"))
    volume = build_volume(oblique_series(phantom, study, 25)[::-1], wants)
    for index, image in enumerate(volume.slices):
        np.testing.assert_allclose(
            volume.geometry.position_lps_mm((index, 0, 0)), image.ImagePositionPatient, atol=1e-3
        )
    assert np.array_equal(volume.voxels, phantom.voxels)
    assert volume.geometry.voxel_volume_mm3 == pytest.approx(12.5 * 6 * 6, rel=1e-4)


def test_axis_0_runs_along_the_normal_when_rows_are_mirrored(series: list[FileDataset], wants: Wants) -> None:
    mirrored = [changed(each, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]) for each in series]
    volume = build_volume(mirrored, wants)
    axes = volume.geometry.affine[:3, :3]
    assert np.cross(axes[:, 2], axes[:, 1]) @ axes[:, 0] > 0
    assert volume.sop_instance_uids == tuple(str(each.SOPInstanceUID) for each in reversed(series))


def test_a_tilted_gantry_shears_the_affine(series: list[FileDataset], wants: Wants) -> None:
    volume = build_volume(tilted(series, 20), wants)
    assert volume.geometry.affine[1, 0] == pytest.approx(12.5 * np.tan(np.radians(20)), rel=1e-4)
    assert volume.geometry.voxel_volume_mm3 == pytest.approx(12.5 * 36, rel=1e-4)
    assert refusal(tilted(series, 45), wants).reason is RefusalReason.NOT_IN_LINE


def test_the_longest_even_run_is_used_beside_a_gap(series: list[FileDataset], wants: Wants) -> None:
    volume = build_volume(with_gap(series, [5, 6]), wants)
    assert volume.sop_instance_uids == tuple(str(each.SOPInstanceUID) for each in series[7:])
    assert {each.sop_instance_uid for each in volume.left_out} == {str(s.SOPInstanceUID) for s in series[:5]}
    assert volume.remarks == (
        "Left out of the analysis: 5 image(s), beyond a gap or change of spacing between slices.",
    )


def test_a_series_torn_into_short_runs_is_refused(series: list[FileDataset], wants: Wants) -> None:
    error = refusal(with_gap(series, [4, 9, 14, 19]), wants)
    assert error.reason is RefusalReason.MISSING_SLICES
    assert "ImagePositionPatient" in str(error)


def test_positions_rounded_by_the_scanner_are_even(series: list[FileDataset], wants: Wants) -> None:
    jittered = [
        changed(each, ImagePositionPatient=[*each.ImagePositionPatient[:2], round(0.625 * index, 1)])
        for index, each in enumerate(series)
    ]
    volume = build_volume(jittered, wants)
    assert len(volume.slices) == 24
    assert volume.geometry.spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def test_a_repeated_slice_counts_once(series: list[FileDataset], wants: Wants) -> None:
    volume = build_volume(with_repetition(series, 7), wants)
    assert len(volume.slices) == 24
    assert [each.reason for each in volume.left_out] == ["a repetition of another slice"]


def test_two_different_slices_at_one_place_are_refused(series: list[FileDataset], wants: Wants) -> None:
    twice = with_repetition(series, 7)
    twice[-1].PixelData = series[8].PixelData
    assert refusal(twice, wants).reason is RefusalReason.DUPLICATE_POSITION


def test_a_localizer_is_left_out(series: list[FileDataset], wants: Wants) -> None:
    volume = build_volume([localizer(series[0]), *series], wants)
    assert len(volume.slices) == 24
    assert "Image Type" in volume.left_out[0].reason


@pytest.mark.parametrize(
    "keyword",
    [
        "PixelSpacing",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "RescaleSlope",
        "RescaleIntercept",
        "Rows",
        "PixelData",
    ],
)
def test_a_missing_attribute_is_named(keyword: str, series: list[FileDataset], wants: Wants) -> None:
    error = refusal(without(series, keyword), wants)
    assert error.reason is RefusalReason.MISSING_ATTRIBUTE
    assert error.code == "missing-attribute"
    assert keyword in str(error)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", [0, 1]),
        ("PixelSpacing", [1]),
        ("PixelSpacing", [1, 2, 3]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("RescaleSlope", 0),
        ("PhotometricInterpretation", "RGB"),
        ("SamplesPerPixel", 3),
        ("BitsStored", 17),
    ],
)
def test_an_impossible_attribute_is_named(
    keyword: str, value: object, series: list[FileDataset], wants: Wants
) -> None:
    error = refusal([changed(each, **{keyword: value}) for each in series], wants)
    assert error.reason is RefusalReason.INVALID_ATTRIBUTE
    assert keyword in str(error)


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("Rows", 32, RefusalReason.MIXED_SERIES),
        ("PixelSpacing", [5, 5], RefusalReason.MIXED_SERIES),
        ("FrameOfReferenceUID", "1.2", RefusalReason.MIXED_SERIES),
        ("SeriesInstanceUID", "1.2", RefusalReason.MIXED_SERIES),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0.9, 0.4358899], RefusalReason.NOT_PARALLEL),
        ("NumberOfFrames", 2, RefusalReason.MULTI_FRAME),
    ],
)
def test_one_odd_slice_is_refused(
    keyword: str, value: object, reason: RefusalReason, series: list[FileDataset], wants: Wants
) -> None:
    error = refusal([changed(series[0], **{keyword: value}), *series[1:]], wants)
    assert error.reason is reason
    assert keyword in str(error)


def test_a_single_real_slice_is_refused_with_its_number(wants: Wants) -> None:
    image = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    error = refusal([image], wants)
    assert error.reason is RefusalReason.TOO_FEW_SLICES
    assert str(error) == "the series has 1 usable slice(s); the model needs at least 10"


def test_what_the_model_does_not_read_is_refused(series: list[FileDataset], wants: Wants) -> None:
    others = [changed(each, SOPClassUID="1.2.840.10008.5.1.4.1.1.4") for each in series]
    assert refusal(others, wants).reason is RefusalReason.NOT_WANTED
    assert refusal([], wants).reason is RefusalReason.NO_IMAGES


def test_ct_without_modality_is_in_hounsfield_units(series: list[FileDataset], wants: Wants) -> None:
    silent = without(series, "Modality")
    anything = Wants(modalities=(), sop_classes=())
    assert build_volume(silent, anything).voxels.dtype == np.int16
    silent = without(silent, "SOPClassUID")
    assert build_volume(silent, anything).voxels.dtype == np.float32
    only_ct = Wants(modalities=("CT",), sop_classes=())
    assert np.array_equal(build_volume(silent, only_ct).voxels, build_volume(series, wants).voxels)


def test_limits_are_named(series: list[FileDataset]) -> None:
    for limit, words in (
        ({"maximum_slice_spacing_mm": 5.0}, "distance between slices is 12.5 mm"),
        ({"maximum_slice_thickness_mm": 5.0}, "SliceThickness is 12.5 mm"),
        ({"maximum_pixel_spacing_mm": 2.0}, "PixelSpacing is 6 mm"),
        ({"minimum_extent_mm": 400.0}, "cover 300 mm"),
    ):
        error = refusal(series, Wants(modalities=("CT",), sop_classes=("CTImageStorage",), **limit))
        assert error.reason is RefusalReason.LIMIT_EXCEEDED
        assert words in str(error)


def test_a_size_that_headers_only_claim_is_refused(series: list[FileDataset], wants: Wants) -> None:
    error = refusal([changed(each, Rows=0xFFFF, Columns=0xFFFF) for each in series], wants)
    assert error.reason is RefusalReason.LIMIT_EXCEEDED
    assert "voxels" in str(error)


def test_a_series_without_frame_of_reference_has_one_of_its_own(
    series: list[FileDataset], wants: Wants
) -> None:
    volume = build_volume(without(series, "FrameOfReferenceUID"), wants)
    assert volume.geometry.frame_of_reference_uid.startswith("2.25.")
