"""The SR that our encoder writes, through Part 10 bytes, as FHIR; and the same one damaged at random."""

import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.codes import code_of
from ai_engine.encode.equipment import Equipment
from ai_engine.encode.images import Source
from ai_engine.encode.measurements import Basis
from ai_engine.encode.source import Making, write_part10
from ai_engine.encode.sr import build_sr
from ai_engine.encode.uids import UidSource
from ai_engine.findings import Code, Finding, Findings, Measurement, ModelIdentity, NotMeasured
from dicomweb.wire.exact import read_exactly
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate
from server.kernel.faults import Fault
from server.workflows import sr_to_fhir
from server.workflows.report.devices import device_id
from server.workflows.report.graph import ReportContext, ReportGraph, report_id_of
from server.workflows.verify.reissue import Signature, reissue

from .documents import map_sr

MODEL = ModelIdentity(
    name="ct-quantification",
    title="CT quantification",
    version="1.0.0",
    manufacturer="Isthmus",
    family=code_of(codes.cid7162.MorphologicalOperations),
    intended_use="Research use only. Not for clinical use.",
)
CONTEXT = ReportContext(
    report_id_of("2.25.100", MODEL.name), "study-1", "2.25.100", "2026-03-02T08:15:30.250Z", "patient-1"
)
LUNG = Finding(
    tracking_id="left-lung",
    finding=code_of(codes.SCT.Lung),
    site=code_of(codes.SCT.Lung),
    laterality=code_of(codes.SCT.Left),
    measurements=(
        Measurement(
            code_of(codes.SCT.Volume), 2345.7, Code("ml", "UCUM", "milliliter"), method="sum of voxels"
        ),
        Measurement(
            code_of(codes.DCM.MeanAttenuationCoefficient),
            -812.5,
            code_of(codes.UCUM.HounsfieldUnit),
            derivation=code_of(codes.SCT.Mean),
            slice_index=0,
        ),
    ),
    probability=0.93,
)


@cache
def part10(findings: tuple[Finding, ...]) -> bytes:
    missing = (NotMeasured("Right lung volume", "the right lung is cut by the field of view"),)
    return encoded(Findings(MODEL, (), None, findings, missing, "Left lung volume 2345.7 ml."))


def encoded(said: Findings) -> bytes:
    """The SR of findings of one image."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "2.25.7"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = (
        "2.25.100",
        "2.25.200",
        "2.25.300",
    )
    image.Modality, image.Rows, image.Columns = "CT", 4, 4
    image.PixelSpacing, image.SliceThickness = [1.0, 1.0], 1.0
    image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Doe^Jane", "P-1", "", "F"
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260301", "101112", "1", "A-7"
    image.SeriesNumber = 3
    making = Making(
        Equipment.of(MODEL, "Isthmus 0.1.0"), datetime(2026, 3, 2, 8, tzinfo=UTC), UidSource("2.25.42")
    )
    return write_part10(build_sr(Basis(Analysed(said, Source([image])), None), making))


def make_sr(findings: tuple[Finding, ...]) -> Dataset:
    return dcmread(BytesIO(part10(findings)))


@pytest.fixture(scope="module")
def graph() -> ReportGraph:
    return map_sr(make_sr((LUNG,)), CONTEXT)


def observation(graph: ReportGraph, code: Code) -> dict[str, Any]:
    (found,) = [o for o in graph.observations if o["code"].get("coding", [{}])[0].get("code") == code.value]
    return found


def test_our_document_becomes_a_valid_graph(graph: ReportGraph, as_r4b: Callable[[Any], Any]) -> None:
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []
        as_r4b(resource)


def test_every_number_arrives(graph: ReportGraph) -> None:
    volume = observation(graph, code_of(codes.SCT.Volume))
    assert encode_json(volume["valueQuantity"]["value"]) == b"2345.7"
    assert volume["valueQuantity"]["code"] == "ml"
    assert volume["method"] == {"text": "sum of voxels"}
    assert volume["bodySite"]["text"] == "Lung, Left"
    density = observation(graph, code_of(codes.DCM.MeanAttenuationCoefficient))
    assert encode_json(density["valueQuantity"]["value"]) == b"-812.5"
    assert density["component"][0]["valueCodeableConcept"]["coding"][0]["code"] == codes.SCT.Mean.value
    assert density["derivedFrom"][1]["identifier"]["value"] == "urn:oid:2.25.7"
    lung = observation(graph, code_of(codes.DCM.Finding))
    assert encode_json(lung["component"][0]["valueQuantity"]["value"]) == b"0.93"


def test_the_report_says_conclusion_use_and_what_is_missing(graph: ReportGraph) -> None:
    assert graph.report["conclusion"] == "Left lung volume 2345.7 ml."
    div = graph.report["text"]["div"]
    assert MODEL.intended_use in div
    assert "Right lung volume: not measured (the right lung is cut by the field of view)" in div
    assert "Lung, Left, Volume: 2345.7 ml" in div


def test_the_model_version_is_one_device_with_and_without_findings(graph: ReportGraph) -> None:
    (device,) = graph.devices
    assert device["id"] == device_id(MODEL.manufacturer, MODEL.name, MODEL.version)
    assert [n["name"] for n in device["deviceName"]] == [MODEL.title, MODEL.name]
    assert device["version"] == [{"value": MODEL.version}]
    assert device["note"] == [{"text": MODEL.intended_use}]
    (empty,) = map_sr(make_sr(()), CONTEXT).devices
    assert empty["id"] == device["id"]


def test_a_document_without_findings_still_says_why(as_r4b: Callable[[Any], Any]) -> None:
    graph = map_sr(make_sr(()), CONTEXT)
    assert [o["code"]["text"] for o in graph.observations] == ["Right lung volume"]
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []
        as_r4b(resource)


def test_a_verified_document_has_no_errors(tmp_path: Path) -> None:
    """dciodvfy (dicom3tools) finds nothing wrong with what we write ourselves."""
    file = tmp_path / "verified.dcm"
    signature = Signature("Lovelace^Ada", None, 1_772_438_400_000_000)
    file.write_bytes(reissue(read_exactly(part10((LUNG,))), signature, "2.25.901"))
    tool = shutil.which("dciodvfy")
    assert tool is not None, "dciodvfy is not installed; the test set-up installs dicom3tools"
    said = subprocess.run([tool, "-new", str(file)], capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", ["test-SR.dcm", "reportsi.dcm"])
def test_other_documents_are_mapped_as_far_as_they_go(name: str) -> None:
    file = get_testdata_file(name, download=False)
    assert file is not None
    graph = map_sr(dcmread(str(file)), CONTEXT)
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []


@pytest.mark.filterwarnings("ignore")  # pydicom warns of what we put in
@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_document_never_breaks_the_mapping(seed: int) -> None:
    chance = random.Random(seed)
    sr = make_sr((LUNG,))
    for _ in range(12):
        _damage(sr, chance)
    for resource in map_sr(sr, CONTEXT).resources():
        assert validate(decode_json(encode_json(resource))) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_are_not_what_they_claim_never_break_the_mapping(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(part10((LUNG,)))
    for _ in range(8):
        at = data.index(
            chance.choice([b"UI", b"SH", b"LO", b"CS", b"DS", b"UT", b"SQ"]), chance.randrange(1000, 3000)
        )
        data[at] = chance.randrange(256)
    try:
        sr = read_exactly(bytes(data))
    except Fault:
        return  # such bytes are refused at the door
    for resource in sr_to_fhir.map_sr(sr, CONTEXT).resources():
        assert validate(decode_json(encode_json(resource))) == []


LINE_SEPARATOR = ("\u2028", "-")  # no code string holds one


def _damage(dataset: Dataset, chance: random.Random) -> None:
    """Remove, empty or garble one element somewhere below."""
    keywords = [e.keyword for e in dataset if e.keyword]
    keyword = chance.choice(keywords) if keywords else ""
    if not keyword:
        return
    element = dataset[keyword]
    if element.VR == "SQ" and element.value and chance.random() < 0.85:
        _damage(chance.choice(element.value), chance)
    elif element.VR == "SQ":
        element.value = []
    elif chance.random() < 0.4:
        del dataset[keyword]
    elif element.VR in ("SH", "LO", "UT", "UC", "CS", "PN", "LT", "ST"):
        element.value = chance.choice(
            ["", " ", "a  b", "<x>&\x01", "\\", LINE_SEPARATOR[element.VR == "CS"], "x" * 300, ["a", "b"]]
        )
