"""Findings with a place, several groups of the SR, are one Observation; and so is what was not found."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from ai_engine.encode.codes import code_of
from ai_engine.findings import Evaluation, Finding, Findings, Location, Measurement, Point, QualityFlag
from dicomweb.wire.exact import read_exactly
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate
from server.workflows import sr_to_fhir
from server.workflows.report.graph import ReportGraph
from server.workflows.report.regions import MAX_NOTES
from server.workflows.sr_to_fhir import conclusions_of
from server.workflows.verify.amend import amend
from server.workflows.verify.reissue import Signature, reissue
from server.workflows.verify.request import Amendment

from .documents import content, document, group, image, map_sr, measurements, number
from .test_own_documents import CONTEXT, MODEL, encoded

NODULE = code_of(codes.SCT.Nodule)
CENTRE = Point((0.0, 1.0, 2.0), (2.0, 1.0, 0.0))


def nodule(tracking_id: str = "nodule-1", salt: str = "2,1,0") -> Finding:
    return Finding(
        tracking_id,
        NODULE,
        code_of(codes.SCT.Lung),
        measurements=(
            Measurement(code_of(codes.SCT.Diameter), 7.5, code_of(codes.UCUM.Millimeter)),
            Measurement(code_of(codes.SCT.Volume), 220.0, code_of(codes.UCUM.CubicMillimeter)),
        ),
        probability=0.91,
        uncertainty=0.04,
        location=Location(CENTRE),
        tracking_salt=salt,
    )


def result(*findings: Finding, **more: Any) -> Findings:
    return Findings(MODEL, (), None, findings, (), "Research use only.", **more)


def region(sop_instance_uid: str) -> Dataset:
    """A point on an image."""
    selected = image(codes.DCM.SourceOfMeasurement, sop_instance_uid, "SELECTED FROM")
    return content("SCOORD", codes.DCM.ImageRegion, selected, GraphicData=[1.0, 2.0], GraphicType="POINT")


def graph_of(findings: Findings) -> ReportGraph:
    return map_sr(dcmread(BytesIO(encoded(findings))), CONTEXT)


def groups(graph: ReportGraph) -> list[dict[str, Any]]:
    return [o for o in graph.observations if o["code"].get("coding", [{}])[0].get("code") == "121071"]


def test_a_finding_is_one_observation_however_many_groups_say_where_it_is() -> None:
    graph = graph_of(result(nodule()))
    (found,) = groups(graph)
    assert graph.report["result"] == [{"reference": f"Observation/{found['id']}"}]
    assert len(found["hasMember"]) == 2
    assert [each["text"].split(",")[0] for each in found["note"]] == [
        "Image Region: POINT",
        "Image Region: POINT",
    ]
    assert [each["identifier"]["value"] for each in found["derivedFrom"]] == [
        "urn:oid:2.25.100",
        "urn:oid:2.25.7",
    ]
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []


def test_probability_and_its_spread_are_components() -> None:
    (found,) = groups(graph_of(result(nodule())))
    said = {each["code"]["text"]: str(each["valueQuantity"]["value"]) for each in found["component"]}
    assert said == {"Probability": "0.91", "Probability, Standard Deviation": "0.04"}
    div = graph_of(result(nodule())).report["text"]["div"]
    assert "Lung, Finding: Nodule (Probability 0.91)" in div


def test_another_place_is_another_observation() -> None:
    ids = {groups(graph_of(result(nodule(salt=salt))))[0]["id"] for salt in ("2,1,0", "9,1,0")}
    assert len(ids) == 2


def test_identifiers_are_those_of_the_tracking() -> None:
    (found,) = groups(graph_of(result(nodule())))
    uid, name = found["identifier"]
    assert uid["value"].startswith("urn:oid:2.25.")
    assert name["value"] == "nodule-1"


def test_what_does_not_hold_goes_with_all_that_locates_it() -> None:
    content = read_exactly(encoded(result(nodule(), nodule("nodule-2", "9,1,0"))))
    graph = sr_to_fhir.map_sr(content, CONTEXT)
    rejected = groups(graph)[0]["id"]
    asked = Amendment(rejected=frozenset({rejected}))
    amend(content, graph.sources, graph.also, conclusions_of(content), asked)
    left = sr_to_fhir.map_sr(read_exactly(reissue(content, Signature("Doe", None, 0), "2.25.9")), CONTEXT)
    assert [each["identifier"][1]["value"] for each in groups(left)] == ["nodule-2"]


def test_a_group_with_a_measurement_of_its_own_stays_one_of_its_own() -> None:
    volume = number(codes.SCT.Volume, "1", codes.UCUM.CubicMillimeter)
    graph = map_sr(document(measurements(group(volume), group(volume))), CONTEXT)
    assert len([o for o in graph.observations if "hasMember" in o]) == 2


def test_what_was_looked_for_and_is_not_there_is_an_observation() -> None:
    absent = Evaluation(NODULE, code_of(codes.SCT.Absent), 0.03, 0.01)
    flag = QualityFlag(code_of(codes.DCM.ImageArtifacts), "Motion between images 3 and 4.")
    graph = graph_of(result(evaluations=(absent,), quality=(flag,)))
    found = {o["code"]["text"]: o for o in graph.observations}
    assert found["Nodule"]["valueCodeableConcept"]["text"] == "Absent"
    assert [each["code"]["text"] for each in found["Nodule"]["component"]] == [
        "Probability",
        "Probability, Standard Deviation",
    ]
    assert found[flag.concept.meaning]["valueString"] == flag.text
    assert graph.report["status"] == "preliminary"
    assert "Nodule: Absent" in graph.report["text"]["div"]


@pytest.mark.parametrize("base", ["https://x.example", None])
def test_the_pdf_is_linked(base: str | None) -> None:
    context = replace(CONTEXT, pdf=("2.25.5", "2.25.6"), public_base=base)
    forms = map_sr(dcmread(BytesIO(encoded(result(nodule())))), context).report["presentedForm"]
    linked = [each["url"] for each in forms if each["contentType"] == "application/pdf"]
    path = "/dicom-web/studies/2.25.100/series/2.25.5/instances/2.25.6/rendered"
    assert linked == ([f"{base}{path}"] if base else [])


def test_two_hundred_detections_are_observations_all() -> None:
    graph = graph_of(result(*(nodule(f"nodule-{each}", f"{each},1,0") for each in range(200))))
    assert len(groups(graph)) == 200
    assert len(graph.report["result"]) == 200


def test_groups_that_only_locate_are_bounded() -> None:
    many = [group(region(f"2.25.8{each}"), tracking_uid="2.25.77") for each in range(60)]
    volume = group(number(codes.SCT.Volume, "1", codes.UCUM.CubicMillimeter), tracking_uid="2.25.77")
    graph = map_sr(document(measurements(volume, *many)), CONTEXT)
    (found,) = [o for o in graph.observations if "hasMember" in o]
    assert len(found["note"]) == MAX_NOTES
    assert len(found["derivedFrom"]) <= MAX_NOTES
