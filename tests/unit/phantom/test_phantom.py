"""The generated chest CT: reproducible, calibrated, and a proper CT Image."""

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ai_engine.phantom import anatomy
from ai_engine.phantom.chest import AIRWAYS, LEFT, RIGHT, Phantom, PhantomSpec, make_phantom
from ai_engine.phantom.datasets import PhantomStudy, phantom_datasets, slice_dataset
from ai_engine.phantom.series import SMALL

SPEC = PhantomSpec(seed=7, slices=30, rows=128, columns=128)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SPEC, "1.2.3")


def test_the_same_seed_gives_the_same_phantom(phantom: Phantom) -> None:
    again = make_phantom(SPEC, "1.2.3", threads=1)
    assert np.array_equal(again.voxels, phantom.voxels)
    assert again.truth == phantom.truth
    assert not np.array_equal(make_phantom(replace(SPEC, seed=8), "1.2.3").voxels, phantom.voxels)


def test_tissues_have_their_hounsfield_units() -> None:
    quiet = make_phantom(replace(SPEC, noise_hu=0), "1.2.3")
    inside = quiet.voxels[quiet.truth_labels == AIRWAYS]
    assert np.percentile(inside, 20) == anatomy.AIR_HU
    for label in (RIGHT, LEFT):
        assert -900 < np.median(quiet.voxels[quiet.truth_labels == label]) < -830
    present = set(np.unique(quiet.voxels).tolist())
    assert {anatomy.FAT_HU, anatomy.MUSCLE_HU, anatomy.HEART_HU, anatomy.LIVER_HU} <= present
    assert quiet.voxels.max() > 400


def test_noise_is_what_was_asked_for(phantom: Phantom) -> None:
    spec = replace(SPEC, field_of_view_mm=96.0)  # 0.75 mm
    one = make_phantom(spec, "1.2.3").voxels[15].astype(float)
    other = make_phantom(replace(spec, noise_hu=0.0), "1.2.3").voxels[15].astype(float)
    assert (one - other).std() == pytest.approx(spec.noise_hu, rel=0.15)


def test_the_truth_is_counted_on_the_labels(phantom: Phantom) -> None:
    voxel_ml = float(np.prod(SPEC.spacing_mm)) / 1000
    assert phantom.truth.right_lung_ml == pytest.approx((phantom.truth_labels == RIGHT).sum() * voxel_ml)
    assert 2500 < phantom.truth.lungs_ml < 6500
    assert phantom.truth.right_lung_ml > phantom.truth.left_lung_ml
    assert phantom.truth.emphysema_percent == pytest.approx(100 * SPEC.emphysema_share, abs=4)
    assert make_phantom(replace(SPEC, emphysema_share=0.0), "1.2").truth.emphysema_percent == 0
    assert len(phantom.truth.nodules) == SPEC.nodule_count


def test_the_right_lung_lies_on_the_patients_right(phantom: Phantom) -> None:
    columns = np.nonzero(phantom.truth_labels == RIGHT)[2]
    x, _, _ = phantom.geometry.position_lps_mm((0, 0, float(columns.mean())))
    assert x < -30


def test_instances_are_written_and_read_back(phantom: Phantom) -> None:
    study = PhantomStudy(seed=7)
    dataset = slice_dataset(phantom.voxels[3], phantom.geometry, 3, study)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    read = pydicom.dcmread(buffer)
    assert read.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID
    assert np.array_equal(read.pixel_array.astype(int) - 1024, np.clip(phantom.voxels[3], -1024, 3071))
    np.testing.assert_allclose(
        read.ImagePositionPatient, phantom.geometry.position_lps_mm((3, 0, 0)), atol=1e-5
    )


def test_uids_follow_seed_and_salt() -> None:
    one, same, salted, other = (
        list(phantom_datasets(study, SMALL))
        for study in (PhantomStudy(1), PhantomStudy(1), PhantomStudy(1, salt="x"), PhantomStudy(2))
    )
    assert one == same
    assert len({each.SOPInstanceUID for each in one}) == len(one)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        values = {str(each[0][keyword].value) for each in (one, salted, other)}
        assert len(values) == 3
        assert all(value.startswith("2.25.") and len(value) <= 64 for value in values)


def test_dciodvfy_finds_no_fault(phantom: Phantom, tmp_path: Path) -> None:
    dataset = slice_dataset(phantom.voxels[3], phantom.geometry, 3, PhantomStudy(accession_number="A1"))
    path = tmp_path / "slice.dcm"
    dataset.save_as(path, enforce_file_format=True)
    report = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert "Error" not in report.stderr + report.stdout
    assert "Warning" not in report.stderr + report.stdout
