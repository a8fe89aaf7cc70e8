"""What the demo reads from UPS-RS, QIDO-RS and FHIR search."""

from typing import Any

import httpx
import pytest

from server.client import demo_results
from server.client.demo_results import (
    NoAnswer,
    describe_instances,
    find_reports,
    follow_workitems,
    search,
    workitems_of,
)

STUDY = "1.2.3"


def workitem(state: str, **progress: Any) -> dict[str, Any]:
    information = {
        "00741004": {"vr": "DS", "Value": [progress.get("percent", 0)]},
        "00741006": {"vr": "ST", "Value": [progress.get("text", "")]},
        "00741238": {"vr": "LT", "Value": [progress["reason"]]} if "reason" in progress else {"vr": "LT"},
    }
    return {
        "00080018": {"vr": "UI", "Value": ["1.2.9"]},
        "00741000": {"vr": "CS", "Value": [state]},
        "00741204": {"vr": "LO", "Value": ["ct-quantification 1"]},
        "00741002": {"vr": "SQ", "Value": [information]},
    }


class Server:
    """Answers GET by path and query; a list is answered one by one, its last again and again."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        self.asked.append(url.raw_path.decode())
        answer = self.answers[url.path + (f"#{url.params['page']}" if "page" in url.params else "")]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def client(server: Server) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(server), base_url="http://server")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_results, "POLL_S", 0)


def test_workitem_with_its_reason() -> None:
    server = Server({"/dicom-web/workitems": [[workitem("CANCELED", percent=30, reason="one slice")]]})
    (found,) = workitems_of(client(server), STUDY)
    assert (found.state, found.progress, found.reason, found.has_ended) == (
        "CANCELED",
        30.0,
        "one slice",
        True,
    )
    assert "StudyInstanceUID=1.2.3" in server.asked[0]


def test_follow_until_the_end() -> None:
    answers: list[Any] = [
        httpx.Response(204),
        [workitem("SCHEDULED")],
        [workitem("IN PROGRESS", percent=50, text="lungs")],
        [workitem("COMPLETED", percent=100)],
    ]
    seen = list(
        follow_workitems(client(Server({"/dicom-web/workitems": answers})), STUDY, appear_s=9, end_s=9)
    )
    assert [[w.state for w in each] for each in seen] == [[], ["SCHEDULED"], ["IN PROGRESS"], ["COMPLETED"]]


def test_study_that_no_model_wants() -> None:
    server = Server({"/dicom-web/workitems": httpx.Response(204)})
    assert list(follow_workitems(client(server), STUDY, appear_s=-1, end_s=9)) == [()]


def test_analysis_that_does_not_end() -> None:
    server = Server({"/dicom-web/workitems": [[workitem("IN PROGRESS")]]})
    with pytest.raises(NoAnswer):
        list(follow_workitems(client(server), STUDY, appear_s=9, end_s=-1))


def test_error_of_the_server_is_told() -> None:
    with pytest.raises(NoAnswer, match="503"):
        list(workitems_of(client(Server({"/dicom-web/workitems": httpx.Response(503, text="busy")})), STUDY))


def bundle(*resources: Any, following: str | None = None) -> dict[str, Any]:
    links = [{"relation": "next", "url": following}] if following else []
    return {"entry": [{"resource": resource} for resource in resources], "link": links}


def test_search_goes_through_pages_and_leaves_out_includes() -> None:
    first = bundle({"id": "a"}, following="http://server/fhir/Observation?page=2")
    first["entry"].append({"resource": {"id": "p"}, "search": {"mode": "include"}})
    server = Server({"/fhir/Observation": first, "/fhir/Observation#2": bundle({"id": "b"})})
    assert [each["id"] for each in search(client(server), "Observation", {})] == ["a", "b"]


def quantity(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"code": {"text": name}, "valueQuantity": {"value": value, "unit": "spoken", "code": unit}}


def test_report_with_members_components_and_what_was_not_measured() -> None:
    observations = [
        {
            "id": "volume",
            **quantity("Density", -812.51, "[hnsf'U]"),
            "bodySite": {"coding": [{"display": "Left lung"}]},
            "component": [{"code": {"text": "Derivation"}, "valueCodeableConcept": {"text": "Mean"}}],
        },
        {
            "id": "group",
            "code": {"text": "Finding"},
            "valueCodeableConcept": {"text": "Lung"},
            "bodySite": {"text": "Left lung"},
            "hasMember": [{"reference": "Observation/volume"}],
        },
        {
            "id": "fat",
            "code": {"coding": [{"code": "F", "display": "Fat area"}]},
            "dataAbsentReason": {"text": "not in the field of view"},
            "component": [quantity("Slice", 3.0, "1")],
        },
        {"id": "foreign", **quantity("Heart rate", 70.0, "/min")},
    ]
    report = {
        "id": "r1",
        "status": "preliminary",
        "conclusion": "Two lungs.",
        "subject": {"reference": "Patient/p"},
        "result": [{"reference": "Observation/group"}, {"reference": "Observation/fat"}],
    }
    server = Server(
        {
            "/fhir/ImagingStudy": [bundle(), bundle({"id": "s1"})],  # the projection comes a moment later
            "/fhir/DiagnosticReport": bundle(report),
            "/fhir/Observation": bundle(*observations),
        }
    )
    (found,) = find_reports(client(server), STUDY, wait_s=9)
    assert (found.id, found.status, found.conclusion, found.observations) == (
        "r1",
        "preliminary",
        "Two lungs.",
        3,
    )
    assert [(m.name, m.value, m.unit, m.where) for m in found.measured] == [
        ("Lung", "", "", "Left lung"),
        ("Density (Mean)", "-812.5", "HU", "Left lung"),
        ("Slice", "3", "", ""),
    ]
    assert found.not_measured == {"not in the field of view": ["Fat area"]}
    assert "identifier=urn%3Adicom%3Auid%7Curn%3Aoid%3A1.2.3" in server.asked[0]
    assert any("imaging-study=ImagingStudy%2Fs1" in asked for asked in server.asked)


def test_study_unknown_to_the_record_has_no_report() -> None:
    assert find_reports(client(Server({"/fhir/ImagingStudy": bundle()})), STUDY, wait_s=0) == []


def test_rows_of_qido() -> None:
    row = {
        "00080060": {"vr": "CS", "Value": ["SEG"]},
        "00080018": {"vr": "UI", "Value": ["1.5"]},
        "0020000E": {},
    }
    (found,) = describe_instances([row])
    assert (found.modality, found.sop_instance_uid, found.series_instance_uid) == ("SEG", "1.5", "")
