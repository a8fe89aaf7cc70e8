"""What documents hold that our own encoder does not write: regions, groups in groups, prose (PS3.16)."""

import hashlib
import os
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicomweb.wire.exact import read_exactly
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate
from server.workflows import sr_to_fhir
from server.workflows.report import presented
from server.workflows.report.graph import ReportContext, ReportGraph

from .documents import code, container, content, document, group, image, map_sr, measurements, number, text

CONTEXT = ReportContext(
    "report-1", "study-1", "2.25.100", "2026-03-02T08:15:30Z", "patient-1", public_base="https://a.example"
)
LENGTH = number(codes.SCT.Length, "7.10", codes.UCUM.Millimeter)
SHARED = Path(os.environ.get("ISTHMUS_SHARED_DATA", "../../shared/data")) / "seg-sr"


def coded_as(graph: ReportGraph, value: str) -> dict[str, Any]:
    (found,) = [o for o in graph.observations if o["code"]["coding"][0]["code"] == value]
    return found


def region(*points: float, frames: int | None = None, **values: Any) -> Dataset:
    selected = image(codes.DCM.SourceImageForSegmentation, "2.25.903", relationship="SELECTED FROM")
    if frames is not None:
        selected.ReferencedSOPSequence[0].ReferencedFrameNumber = frames
    return content("SCOORD", codes.DCM.ImageRegion, selected, GraphicData=list(points), **values)


@pytest.mark.parametrize("at_group", [True, False], ids=["of the group", "of the measurement"])
def test_a_region_is_named_and_its_image_referred_to(at_group: bool) -> None:
    drawn = region(1, 1, 9, 1, 9, 9, frames=3, GraphicType="POLYLINE")
    measured = number(codes.SCT.Length, "7.10", codes.UCUM.Millimeter, *([] if at_group else [drawn]))
    graph = map_sr(document(measurements(group(measured, *([drawn] if at_group else [])))), CONTEXT)
    holder = coded_as(graph, "125007" if at_group else codes.SCT.Length.value)
    assert holder["note"] == [
        {
            "text": "Image Region: POLYLINE, 3 points in image 2.25.903, frame 3."
            " The coordinates stand in the DICOM SR."
        }
    ]
    assert [each["display"] for each in holder["derivedFrom"][1:]] == ["Image"]
    assert holder["derivedFrom"][1]["identifier"]["value"] == "urn:oid:2.25.903"


def test_a_region_in_space_has_no_image() -> None:
    surface = content(
        "SCOORD3D", codes.DCM.VolumeSurface, GraphicData=[1.0, 2.0, 3.0], GraphicType="POINT",
        ReferencedFrameOfReferenceUID="2.25.77",
    )  # fmt: skip
    found = coded_as(map_sr(document(measurements(group(LENGTH, surface))), CONTEXT), "125007")
    assert found["note"][0]["text"].startswith("Volume Surface: POINT, 1 point.")


def test_each_instance_that_a_group_rests_on_is_referred_to_once() -> None:
    frame = image(codes.DCM.ReferencedSegmentationFrame, "2.25.901")
    source = image(codes.DCM.SourceImageForSegmentation, "2.25.902")
    reference = image(codes.DCM.RealWorldValueMapUsedForMeasurement, "2.25.904")
    reference.ValueType = "COMPOSITE"
    graph = map_sr(document(measurements(group(LENGTH, frame, source, source, reference))), CONTEXT)
    found = coded_as(graph, "125007")["derivedFrom"][1:]
    assert [(each["identifier"]["value"][-3:], each["display"]) for each in found] == [
        ("901", "Segmentation"),
        ("902", "Image"),
        ("904", "Real World Value Map used for measurement"),
    ]


def test_a_group_within_a_group_is_its_member() -> None:
    inner = group(LENGTH, tracking="inner", tracking_uid="2.25.501")
    graph = map_sr(document(measurements(group(inner, code(codes.DCM.Finding, codes.SCT.Nodule)))), CONTEXT)
    length, inside, outside = graph.observations
    assert inside["hasMember"] == [{"reference": f"Observation/{length['id']}"}]
    assert outside["hasMember"] == [{"reference": f"Observation/{inside['id']}"}]
    assert graph.report["result"] == [{"reference": f"Observation/{outside['id']}"}]


def test_evaluations_in_a_container_of_a_group_are_its_members() -> None:
    shape = code(Code("129736006", "SCT", "Shape"), Code("42700002", "SCT", "Round"))
    evaluations = container(Code("C0034375", "UMLS", "Qualitative Evaluations"), shape)
    graph = map_sr(document(measurements(group(LENGTH, evaluations))), CONTEXT)
    assert len(coded_as(graph, "125007")["hasMember"]) == 2
    assert coded_as(graph, "129736006")["valueCodeableConcept"]["text"] == "Round"


@pytest.mark.parametrize(
    ("completion", "verification", "preliminary", "amends", "status", "observed"),
    [
        pytest.param("PARTIAL", "UNVERIFIED", None, False, "partial", "preliminary", id="unfinished"),
        pytest.param("COMPLETE", "UNVERIFIED", "FINAL", False, "preliminary", "preliminary", id="unverified"),
        pytest.param("COMPLETE", "VERIFIED", "FINAL", False, "final", "final", id="verified"),
        pytest.param("COMPLETE", "VERIFIED", None, True, "amended", "amended", id="verified again"),
        pytest.param("COMPLETE", "VERIFIED", "PRELIMINARY", False, "preliminary", "preliminary", id="early"),
        pytest.param("PARTIAL", "VERIFIED", "FINAL", False, "preliminary", "preliminary", id="verified part"),
    ],
)
def test_status_by_the_flags_of_the_document(
    completion: str, verification: str, preliminary: str | None, amends: bool, status: str, observed: str
) -> None:
    flags = {"CompletionFlag": completion, "VerificationFlag": verification}
    flags |= {"PreliminaryFlag": preliminary} if preliminary else {}
    graph = map_sr(document(measurements(group(LENGTH)), **flags), replace(CONTEXT, amends=amends))
    assert graph.report["status"] == status
    assert {each["status"] for each in graph.observations} == {observed}


def test_authors_and_participants_perform_once_each() -> None:
    author, participant = Dataset(), Dataset()
    author.PersonName, participant.PersonName = "Doe^Jane", "Roe^Richard"
    observer = content(
        "PNAME", codes.DCM.PersonObserverName, relationship="HAS OBS CONTEXT", PersonName="Doe^Jane"
    )
    made = document(observer, AuthorObserverSequence=[author], ParticipantSequence=[participant, author])
    names = [each["display"] for each in map_sr(made, CONTEXT).report["performer"]]
    assert names == ["Jane Doe", "Richard Roe"]


def prose() -> Dataset:
    made = document(
        container(codes.DCM.Findings, text(codes.DCM.Comment, "No <b>fracture</b>.")),
        container(codes.DCM.Impressions, text(codes.DCM.Impression, "Normal chest.")),
    )
    made.ConceptNameCodeSequence[0].CodeValue, made.ConceptNameCodeSequence[0].CodeMeaning = (
        "18745-0",
        "Report",
    )
    made.ConceptNameCodeSequence[0].CodingSchemeDesignator = "LN"
    return made


def test_a_document_of_prose_is_a_report_to_be_read(as_r4b: Callable[[Any], Any]) -> None:
    graph = map_sr(prose(), CONTEXT)
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []
        as_r4b(resource)
    assert graph.observations == ()
    assert graph.report["conclusion"] == "Normal chest."
    assert "<p>Comment: No &lt;b&gt;fracture&lt;/b&gt;.</p>" in graph.report["text"]["div"]
    assert "No &lt;b&gt;fracture" in page_of(graph)


def test_a_document_that_says_template_1500_is_measured_whatever_its_title() -> None:
    made, template = prose(), Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    made.ContentTemplateSequence = [template]
    assert [o["valueString"] for o in map_sr(made, CONTEXT).observations] == ["No <b>fracture</b>."]


def test_a_document_too_long_for_observations_is_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = document(measurements(group(LENGTH)))
    monkeypatch.setattr(sr_to_fhir, "MAX_OBSERVATIONS", 2)
    assert len(map_sr(made, CONTEXT).observations) == 2
    monkeypatch.setattr(sr_to_fhir, "MAX_OBSERVATIONS", 1)
    graph = map_sr(made, CONTEXT)
    assert graph.observations == ()
    assert "Length: 7.10 mm" in graph.report["text"]["div"]


def page_of(graph: ReportGraph) -> str:
    (attachment,) = graph.report["presentedForm"]
    page = b64decode(attachment["data"])
    assert attachment["size"] == len(page)
    assert b64decode(attachment["hash"]) == hashlib.sha1(page, usedforsecurity=False).digest()
    assert attachment["contentType"] == "text/html"
    return page.decode()


def test_the_page_says_what_and_not_of_whom() -> None:
    page = page_of(map_sr(document(measurements(group(LENGTH)), PatientName="Secret^Person"), CONTEXT))
    assert "Length</span>: 7.10 mm" in page
    assert "UNVERIFIED" in page
    assert "Secret" not in page
    assert "<script" not in page


def test_a_page_too_long_to_stand_in_the_report_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presented, "MAX_INLINE_BYTES", 100)
    made = document(SeriesInstanceUID="2.25.800")
    (attachment,) = map_sr(made, CONTEXT).report["presentedForm"]
    path = "dicom-web/studies/2.25.100/series/2.25.800/instances/2.25.900/rendered"
    assert attachment == {
        "contentType": "text/html",
        "title": codes.DCM.ImagingMeasurementReport.meaning,
        "url": f"https://a.example/{path}",
    }
    assert "presentedForm" not in map_sr(made, replace(CONTEXT, public_base=None)).report


@pytest.mark.parametrize(
    ("name", "observations"),
    [
        ("dcmqi-sr.dcm", 23),
        ("highdicom-sr_document.dcm", 2),
        ("highdicom-sr_document_with_multiple_groups.dcm", 10),
    ],
)
def test_published_examples(name: str, observations: int, as_r4b: Callable[[Any], Any]) -> None:
    """Of dcmqi and highdicom; they run where the folder of shared data is."""
    if not SHARED.is_dir():
        return
    graph = sr_to_fhir.map_sr(read_exactly((SHARED / name).read_bytes()), CONTEXT)
    assert len(graph.observations) == observations
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []
        as_r4b(resource)


def test_a_measurement_inferred_from_others_of_its_kind_is_valid() -> None:
    part = number(codes.SCT.Length, "3.5", codes.UCUM.Millimeter, relationship="INFERRED FROM")
    longest = number(codes.SCT.Length, "7.10", codes.UCUM.Millimeter, part)
    found = coded_as(map_sr(document(measurements(group(longest))), CONTEXT), codes.SCT.Length.value)
    assert validate(decode_json(encode_json(found))) == []
    (component,) = found["component"]
    assert component["code"] == {"text": "Length"}  # obs-7: the code is the Observation's own
    assert str(component["valueQuantity"]["value"]) == "3.5"
