"""`isthmus store` and `isthmus demo` as a user runs them."""

import io
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import FileDataset
from pydicom.data import get_testdata_file
from rich.console import Console

from server.client.demo import FINDINGS, NO_FINDINGS, DemoOptions, run_demo
from server.client.store_command import run_store


def write(datasets: Sequence[FileDataset], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


class Screen(Console):
    """What the user sees."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=160)

    @property
    def text(self) -> str:
        assert isinstance(self.file, io.StringIO)
        return self.file.getvalue()


def run_demo_on(folder: Path, tmp_path: Path) -> tuple[int, str]:
    screen = Screen()
    code = run_demo(DemoOptions(study=folder, data=tmp_path / "data"), screen)
    return code, screen.text


def test_store_sends_once_and_names_what_is_refused(
    lone_server: Any, new_chest: Callable[..., Sequence[FileDataset]], tmp_path: Path
) -> None:
    datasets = new_chest(slices=5)
    folder = write(datasets, tmp_path / "study")
    datasets[0].StudyInstanceUID = ""
    datasets[0].SOPInstanceUID = datasets[0].file_meta.MediaStorageSOPInstanceUID = "2.25.17"
    write(datasets[:1], folder / "broken")
    (folder / "notes.txt").write_text("no image")
    token = lone_server.token("system/ImagingStudy.cs")

    first, second = Screen(), Screen()
    assert run_store([folder], lone_server.base, token, first) == 1
    assert "5 stored" in first.text
    assert "StudyInstanceUID (0020,000D)" in first.text
    assert "notes.txt: not a DICOM file" in first.text
    assert run_store([folder], lone_server.base, token, second) == 1
    assert "0 stored (0.0 MB), 5 were there already, 1 refused" in second.text
    shutil.rmtree(folder / "broken")
    assert run_store([folder], lone_server.base, token, Screen()) == 0


@pytest.mark.parametrize(
    ("scope", "word"), [(None, "401"), ("system/ImagingStudy.rs", "403"), ("system/Patient.cruds", "403")]
)
def test_store_without_permission_says_so(
    lone_server: Any, chest: Sequence[FileDataset], tmp_path: Path, scope: str | None, word: str
) -> None:
    folder = write(chest[:1], tmp_path / "study")
    screen = Screen()
    assert run_store([folder], lone_server.base, lone_server.token(scope) if scope else None, screen) == 1
    assert word in screen.text


def test_demo_on_a_series_shows_findings_and_stops(chest: Sequence[FileDataset], tmp_path: Path) -> None:
    code, text = run_demo_on(write(chest, tmp_path / "study"), tmp_path)
    assert code == FINDINGS, text
    for expected in ("PatientID replaced", "COMPLETED", "SEG ", "SR ", "DiagnosticReport/", "Volume", "curl"):
        assert expected in text
    assert "Lung" in text
    uid = re.findall(r"/ui/viewer/viewer\?StudyInstanceUIDs=([0-9.]+)#token=\S{20,}", text)
    assert uid == re.findall(r"/dicom-web/studies/([0-9.]+)/series", text)
    assert "isthmus viewer install" in text  # for there is none
    log = (tmp_path / "data" / "server.log").read_text()
    assert "Finished server process" in log
    assert chest[0].PatientID not in log


@pytest.mark.slow
def test_demo_on_one_slice_ends_as_an_explained_refusal(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    code, text = run_demo_on(path, tmp_path)
    assert code == NO_FINDINGS
    assert "CANCELED" in text
    assert "slice" in text


def test_demo_on_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    code, text = run_demo_on(tmp_path / "study", tmp_path)
    assert code == 1
    assert "no DICOM image" in text
