"""Multi-frame images become the same volume as the single-frame series they hold (PS3.3 A.36, A.38, A.70)."""

import copy
import random

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import Dataset, FileDataset
from pydicom.uid import EnhancedMRImageStorage, JPEGLSLossless, MRImageStorage, RLELossless

from ai_engine.attributes import AttributeRule
from ai_engine.phantom.enhanced import enhanced
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.volume import Volume, build_volume
from ai_engine.wants import Wants
from server.kernel.uids import derived_uid

ANY = Wants(modalities=(), sop_classes=(), minimum_slices=10)
FIRST = Wants(modalities=(), sop_classes=(), minimum_slices=10, several_volumes="first")


def shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(5).shuffle(order)
    return order


def refusal(datasets: list[FileDataset], wants: Wants = ANY) -> SeriesRefused:
    with pytest.raises(SeriesRefused) as caught:
        build_volume(datasets, wants)
    return caught.value


def assert_same(volume: Volume, expected: Volume) -> None:
    assert np.array_equal(volume.voxels, expected.voxels)
    np.testing.assert_allclose(volume.geometry.affine, expected.geometry.affine, atol=1e-6)
    assert volume.geometry.frame_of_reference_uid == expected.geometry.frame_of_reference_uid


def test_frames_in_any_order_are_the_same_volume(series: list[FileDataset]) -> None:
    order = shuffled(24)
    volume = build_volume([enhanced(series, order)], ANY)
    assert_same(volume, build_volume(series, ANY))
    assert volume.frame_numbers == tuple(order.index(index) + 1 for index in range(24))
    assert len(set(volume.sop_instance_uids)) == 1
    for index, header in enumerate(volume.slices):
        assert header.ImagePositionPatient == series[index].ImagePositionPatient
        assert header.PixelSpacing == series[index].PixelSpacing
        assert "PixelData" not in header
        assert "NumberOfFrames" not in header
    assert build_volume(series, ANY).frame_numbers == (None,) * 24


def test_another_makers_legacy_conversion_is_the_same_volume(series: list[FileDataset]) -> None:
    converted = LegacyConvertedEnhancedCTImage(series, "1.2.3", 5, "1.2.4", 1)
    assert_same(build_volume([converted], ANY), build_volume(series, ANY))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("has_offset_table", [True, False])
def test_compressed_frames_are_decoded_each(
    syntax: str, has_offset_table: bool, series: list[FileDataset]
) -> None:
    image = enhanced(series, shuffled(24))
    image.compress(syntax)
    if not has_offset_table:
        table = int.from_bytes(image.PixelData[4:8], "little")
        image.PixelData = image.PixelData[:4] + bytes(4) + image.PixelData[8 + table :]
    assert_same(build_volume([image], ANY), build_volume(series, ANY))


def test_frames_that_are_not_all_there_are_refused(series: list[FileDataset]) -> None:
    image = enhanced(series)
    image.PixelData = image.PixelData[:-2]
    assert refusal([image]).reason is RefusalReason.PIXEL_DATA_UNREADABLE
    image.NumberOfFrames = 23
    assert refusal([image]).reason is RefusalReason.INVALID_ATTRIBUTE
    del image.PerFrameFunctionalGroupsSequence
    assert refusal([image]).reason is RefusalReason.MULTI_FRAME


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("Rows", 256),
        ("PixelRepresentation", 1),
        ("BitsStored", 8),
        ("PixelPaddingValue", 0),
        ("Modality", "MR"),
    ],
)
def test_no_functional_group_changes_what_the_frames_are(
    keyword: str, value: object, series: list[FileDataset]
) -> None:
    image, other = enhanced(series), Dataset()
    setattr(other, keyword, value)
    image.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence = [other]
    image.PerFrameFunctionalGroupsSequence[2].UnassignedPerFrameConvertedAttributesSequence = [other]
    volume = build_volume([image], ANY)
    assert_same(volume, build_volume(series, ANY))
    assert volume.slices[2].get(keyword) == image.get(keyword)


def test_excluded_frames_are_left_out_by_their_number(series: list[FileDataset]) -> None:
    image = enhanced(series)
    frame_type = image.PerFrameFunctionalGroupsSequence[23].CTImageFrameTypeSequence[0]
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    volume = build_volume([image], ANY)
    assert volume.frame_numbers == tuple(range(1, 24))
    assert [each.frame_number for each in volume.left_out] == [24]


def mr_series(series: list[FileDataset], **values: object) -> list[FileDataset]:
    """The slices as MR images with other pixels for other values."""
    made = []
    for each in series:
        image = copy.deepcopy(each)
        image.SOPClassUID, image.Modality = MRImageStorage, "MR"
        image.SOPInstanceUID = derived_uid(str(each.SOPInstanceUID), str(values))
        image.PixelData = bytes([sum(str(values).encode()) % 256, 0]) + each.PixelData[2:]
        image.RescaleType, image.RescaleSlope, image.RescaleIntercept = "US", 0.5, 0
        for keyword, value in values.items():
            setattr(image, keyword, value)
        made.append(image)
    return made


def test_the_values_of_mr_are_rescaled_and_not_rounded(series: list[FileDataset]) -> None:
    images = mr_series(series, EchoTime=30)
    volume = build_volume(images, ANY)
    stored = np.frombuffer(images[3].PixelData, "<u2").reshape(64, 64)
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels[3], stored * np.float32(0.5))
    image = enhanced(images, shuffled(24))
    assert image.SOPClassUID == EnhancedMRImageStorage
    assert_same(build_volume([image], ANY), volume)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", (30, 100)),
        ("TemporalPositionIdentifier", (2, 10)),
        ("DiffusionBValue", (0.0, 1000.0)),
        ("AcquisitionNumber", (1, 2)),
    ],
)
def test_two_volumes_in_a_series_are_told_apart(
    keyword: str, values: tuple[float, float], series: list[FileDataset]
) -> None:
    first, other = (mr_series(series, **{keyword: value}) for value in values)
    error = refusal([*other, *first])
    assert error.reason is RefusalReason.SEVERAL_VOLUMES
    assert f"2 volumes that differ in {keyword} ({values[0]:g}, {values[1]:g})" in str(error)
    volume = build_volume([*other, *first], FIRST)
    assert_same(volume, build_volume(first, ANY))
    assert {each.reason for each in volume.left_out} == {f"of another volume of the series by {keyword}"}
    assert_same(build_volume([*other[:9], *first], ANY), volume)  # too few to be meant


def test_points_in_time_are_told_apart_in_one_instance(series: list[FileDataset]) -> None:
    first, other = (mr_series(series, TemporalPositionIdentifier=value) for value in (1, 2))
    image = enhanced([*first, *other], shuffled(48))
    assert refusal([image]).reason is RefusalReason.SEVERAL_VOLUMES
    assert_same(build_volume([image], FIRST), build_volume(first, ANY))


def test_what_one_parting_hides_is_parted_again(series: list[FileDataset]) -> None:
    images = []
    for order, (echo, inversion) in enumerate([(30, 100), (90, 100), (30, 500), (90, 500)]):
        for place, image in enumerate(mr_series(series, EchoTime=echo, InversionTime=inversion)):
            image.AcquisitionNumber = image.InstanceNumber = 1
            image.SOPInstanceUID = f"1.2.3.{place}.{order}"  # so that no neighbours have one echo
            images.append(image)
    volume = build_volume(images, FIRST)
    assert {(each.EchoTime, each.InversionTime) for each in volume.slices} == {(30, 100)}
    assert len(volume.slices) == 24
    assert len(volume.left_out) == 72


def test_echoes_of_the_chosen_stack_are_accounted_for(series: list[FileDataset]) -> None:
    echoes = [mr_series(series, EchoTime=value) for value in (30, 100)]
    image = enhanced([*echoes[0], *echoes[1], *mr_series(series[:3], EchoTime=1)])
    for number, group in enumerate(image.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].StackID = "1" if number < 48 else "2"
    volume = build_volume([image], FIRST)
    assert volume.frame_numbers == tuple(range(1, 25))
    assert sorted(each.frame_number or 0 for each in volume.left_out) == list(range(25, 52))
    assert volume.remarks == (
        "Left out of the analysis: 24 image(s), of another volume of the series by EchoTime.",
        "Left out of the analysis: 3 image(s), of another volume of the series by StackID.",
    )


def test_stacks_of_one_instance_are_told_apart(series: list[FileDataset]) -> None:
    image = enhanced(series)
    for number, group in enumerate(image.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].StackID = "scout" if number < 2 else "axial"
    across = image.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for group in image.PerFrameFunctionalGroupsSequence[:2]:
        group.PlaneOrientationSequence = [type(across[0])(across[0])]
    volume = build_volume([image], ANY)
    assert volume.frame_numbers == tuple(range(3, 25))


def test_images_across_the_others_are_scouts(series: list[FileDataset]) -> None:
    scouts = mr_series(series[:2])
    for scout in scouts:
        scout.SOPClassUID, scout.Modality = series[0].SOPClassUID, "CT"
        scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    volume = build_volume([*scouts, *series], ANY)
    assert_same(volume, build_volume(series, ANY))
    assert volume.remarks == (
        "Left out of the analysis: 2 image(s), lying across the others, as a localizer does.",
    )


def test_what_the_model_asks_of_attributes_parts_the_volumes(series: list[FileDataset]) -> None:
    early, late = (mr_series(series, EchoTime=value) for value in (30, 100))
    image = enhanced([*early, *late], shuffled(48))
    asked = (AttributeRule(keyword="EchoTime", at_least=60),)
    wants = Wants(modalities=(), sop_classes=(), minimum_slices=10, attributes=asked)
    assert_same(build_volume([image], wants), build_volume(late, ANY))
    with_contrast = Wants(modalities=(), sop_classes=(), contrast="with")
    error = refusal([image], with_contrast)
    assert error.reason is RefusalReason.NOT_WANTED
    assert "without contrast medium by ContrastBolusAgent" in str(error)
