"""The report as dcmqi's tid1500reader understands it: another reader's word for what is in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ai_engine.encode.images import Source
from ai_engine.encode.publication import EncodedResult, encode
from ai_engine.encode.source import Making

from .conftest import make_slices
from .detections import detected, nodule


@pytest.fixture
def result(making: Making) -> EncodedResult:
    slices = make_slices(6)
    return encode(detected(slices, nodule(slices, 1, segment_number=7)), Source(slices), making)


@pytest.fixture
def read(result: EncodedResult, tmp_path: Path) -> Any:
    """What the reader writes down of the report."""
    tool = shutil.which("tid1500reader", path=str(Path(sys.executable).parent))
    assert tool is not None, "dcmqi is not installed; it is in the extra dev"
    (tmp_path / "sr.dcm").write_bytes(result.sr.part10)
    words = ["--inputDICOM", "sr.dcm", "--outputMetadata", "read.json"]
    done = subprocess.run([tool, *words], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return json.loads((tmp_path / "read.json").read_text())


def test_dcmqi_reads_the_measurements_of_a_finding(read: Any, result: EncodedResult) -> None:
    group, *located = read["Measurements"]
    assert (group["Finding"]["CodeValue"], group["FindingSite"]["CodeValue"]) == ("27925004", "39607008")
    measured = {
        item["quantity"]["CodeMeaning"]: (item["value"], item["units"]["CodeValue"])
        for item in group["measurementItems"]
    }
    assert measured == {"Diameter": ("7.5", "mm"), "Probability": ("0.91", "1")}
    assert result.seg is not None
    assert group["segmentationSOPInstanceUID"] == result.seg.reference.sop_instance_uid
    assert group["ReferencedSegment"] == 1
    assert {each["TrackingUniqueIdentifier"] for each in located} == {group["TrackingUniqueIdentifier"]}
    assert not any(each["measurementItems"] for each in located)


def test_dcmqi_reads_who_made_it_and_that_nobody_verified_it(read: Any) -> None:
    assert read["VerificationFlag"] == "UNVERIFIED"
    assert read["observerContext"]["ObserverType"] == "DEVICE"
    assert read["Measurements"][0]["measurementAlgorithmIdentification"]["AlgorithmVersion"] == "1.0.0"
