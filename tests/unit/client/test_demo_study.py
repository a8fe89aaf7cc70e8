"""The completed copy of a real series: what is filled, replaced, removed, kept and said."""

from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import CTImageStorage

from server.client.demo_study import CopyNames, NoDemoStudy, complete, completed_study

from .conftest import make_instance


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Three slices whose data sets name nothing, as some de-identified collections are."""
    for n in range(3):
        slice_ = make_instance(
            f"1.2.3.{n}", PatientName="", PatientID="", StudyInstanceUID="", InstanceNumber=n
        )
        path = tmp_path / f"{n}.dcm"
        slice_.SOPInstanceUID = slice_.SOPClassUID = ""
        slice_.save_as(path, enforce_file_format=False)
        text = path.read_bytes()
        if text[128:132] != b"DICM":
            path.write_bytes(b"\x00" * 128 + b"DICM" + text)
    return tmp_path


def test_missing_uids_come_from_the_file_meta(bare: Path) -> None:
    study = completed_study(bare)
    copies = list(study.instances())
    assert [copy.SOPInstanceUID for copy in copies] == ["1.2.3.0", "1.2.3.1", "1.2.3.2"]
    assert {copy.SOPClassUID for copy in copies} == {CTImageStorage}
    assert {copy.StudyInstanceUID for copy in copies} == {study.study_instance_uid}
    assert len({copy.SeriesInstanceUID for copy in copies}) == 1
    assert copies[0].PatientID.startswith("DEMO-")
    assert "SOPInstanceUID taken from the file meta information" in study.notes
    assert any(note.startswith("PatientID filled with DEMO-") for note in study.notes)


def test_copy_is_the_same_each_time(bare: Path) -> None:
    assert completed_study(bare).study_instance_uid == completed_study(bare).study_instance_uid


def test_real_series_loses_what_names_a_person_and_keeps_its_pixels() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    study = completed_study(path)
    (copy,) = study.instances()
    original = dcmread(path)
    assert copy.PixelData == original.PixelData
    assert copy.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert copy.SOPInstanceUID == original.SOPInstanceUID
    assert original.PatientID not in str(copy)
    assert str(original.PatientName) not in str(copy)
    assert original.InstitutionName not in str(copy)
    assert not [element for element in copy if element.tag.is_private]
    said = " ".join(study.notes)
    assert "PatientID replaced" in said
    assert "InstitutionName" in said
    assert "private attributes" in said


def test_compressed_pixels_are_not_touched() -> None:
    path = Path(str(get_testdata_file("MR_small_RLE.dcm", download=False)))
    (copy,) = completed_study(path).instances()
    assert copy.PixelData == dcmread(path).PixelData


def test_what_was_empty_is_not_called_removed() -> None:
    changes: Counter[str] = Counter()
    copy = complete(make_instance("1.2.3", InstitutionName="", StationName="CT1"), names(), changes)
    assert "StationName removed" in changes
    assert "InstitutionName removed" not in changes
    assert "StationName" not in copy


def test_largest_series_is_taken_and_the_rest_is_named(tmp_path: Path) -> None:
    for n in range(5):
        series = "1.9.1" if n < 3 else "1.9.2"
        instance = make_instance(f"1.2.3.{n}", SeriesInstanceUID=series)
        instance.save_as(tmp_path / f"{n}.dcm", enforce_file_format=True)
    study = completed_study(tmp_path)
    assert study.count == 3
    assert "left out: 2 files of other series" in study.notes


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(NoDemoStudy):
        completed_study(tmp_path)


def names() -> CopyNames:
    return CopyNames.derived_from("1.2.3")
