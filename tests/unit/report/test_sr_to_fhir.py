"""What an SR by TID 1500 says, FHIR says: no more, and the same ids each time."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from fhir.model.builders.results import TaskFacts
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate
from server.workflows.report.graph import ReportContext, ReportGraph, entered_in_error, report_id_of

from .documents import code, coded, container, document, group, image, map_sr, measurements, number, text

CONTEXT = ReportContext(
    report_id=report_id_of("2.25.100", "model"),
    imaging_study_id="study-1",
    study_instance_uid="2.25.100",
    issued="2026-03-02T08:15:30.250Z",
    patient_id="patient-1",
    timezone="Europe/Berlin",
    accession_number="A-7",
    accession_system="urn:acc",
    based_on=["order-1"],
)
VOLUME = number(codes.SCT.Volume, "200.0", codes.UCUM.CubicMillimeter)


def local(value: str, meaning: str) -> Code:
    return Code(value, "99ISTHMUS", meaning)


def by_code(graph: ReportGraph, value: str) -> list[dict[str, Any]]:
    return [o for o in graph.observations if o["code"].get("coding", [{}])[0].get("code") == value]


def only(graph: ReportGraph, value: str) -> dict[str, Any]:
    (found,) = by_code(graph, value)
    return found


def check(graph: ReportGraph, as_r4b: Callable[[Any], Any]) -> None:
    for resource in graph.resources():
        assert validate(decode_json(encode_json(resource))) == []
        as_r4b(resource)


@pytest.fixture
def rich() -> Dataset:
    """A document with everything that the mapping knows."""
    nodule = group(
        code(Code("276214006", "SCT", "Finding category"), codes.cid7150.MorphologicallyAbnormalStructure),
        code(codes.DCM.Finding, codes.SCT.Nodule),
        code(
            codes.SCT.FindingSite,
            codes.SCT.Lung,
            code(codes.SCT.Laterality, codes.SCT.Left, relationship="HAS CONCEPT MOD"),
            relationship="HAS CONCEPT MOD",
        ),
        text(codes.DCM.AlgorithmName, "nodule-finder", relationship="HAS OBS CONTEXT"),
        text(codes.DCM.AlgorithmVersion, "1.2", relationship="HAS OBS CONTEXT"),
        code(codes.DCM.AlgorithmFamily, codes.cid7162.EdgeDetection, relationship="HAS OBS CONTEXT"),
        text(codes.DCM.AlgorithmParameters, "threshold 0.5", relationship="HAS OBS CONTEXT"),
        image(codes.DCM.ReferencedSegment, "2.25.901"),
        number(
            codes.SCT.Diameter,
            "7.10",
            codes.UCUM.Millimeter,
            code(codes.DCM.Derivation, codes.SCT.Mean, relationship="HAS CONCEPT MOD"),
            text(
                local("method-in-words", "Measurement method in words"),
                "longest axis",
                relationship="HAS CONCEPT MOD",
            ),
            image(codes.DCM.SourceOfMeasurement, "2.25.902", relationship="INFERRED FROM"),
        ),
        number(
            codes.SCT.Diameter,
            "9.00",
            codes.UCUM.Millimeter,
            code(codes.DCM.Derivation, codes.SCT.Maximum, relationship="HAS CONCEPT MOD"),
        ),
        number(codes.DCM.Probability, "0.93", codes.UCUM.NoUnits),
        code(codes.DCM.LevelOfSignificance, codes.SCT.NotSignificant),
    )
    return document(
        code(codes.DCM.ObserverType, codes.DCM.Person, relationship="HAS OBS CONTEXT"),
        text(codes.DCM.PersonObserverName, "Doe^Jane", relationship="HAS OBS CONTEXT"),
        measurements(nodule),
        container(
            Code("C0034375", "UMLS", "Qualitative Evaluations"),
            text(codes.DCM.Conclusion, "One nodule of 7.1 mm <b>."),
            text(
                local("not-measured", "Not measured"),
                "Right lung volume",
                text(
                    local("not-measured-why", "Reason why not measured"),
                    "cut off",
                    relationship="HAS PROPERTIES",
                ),
            ),
            text(local("intended-use", "Intended use"), "Research use only."),
        ),
    )


def test_the_whole_graph_is_valid(rich: Dataset, as_r4b: Callable[[Any], Any]) -> None:
    task = TaskFacts(
        "t", "2.25.7", "study-1", "2026-03-02T08:15:30Z", "2026-03-02T08:15:31Z", "x", "patient-1"
    )
    graph = map_sr(rich, replace(CONTEXT, task=task))
    check(graph, as_r4b)
    assert [r["resourceType"] for r in graph.resources()][-3:] == ["DiagnosticReport", "Provenance", "Task"]


def test_every_reference_within_the_graph_resolves(rich: Dataset) -> None:
    graph = map_sr(rich, CONTEXT)
    named = {f"{r['resourceType']}/{r['id']}" for r in graph.resources()}
    assert len(named) == len(list(graph.resources()))
    known = named | {"Patient/patient-1", "ImagingStudy/study-1", "ServiceRequest/order-1"}
    assert set(_references([*graph.resources()])) <= known


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [r for child in value.values() for r in _references(child)]
    return [r for child in value for r in _references(child)] if isinstance(value, list) else []


def test_a_measurement_says_what_where_how_and_how_much(rich: Dataset) -> None:
    graph = map_sr(rich, CONTEXT)
    mean, maximum = by_code(graph, codes.SCT.Diameter.value)
    assert mean["valueQuantity"] == {
        "value": Decimal("7.10"),
        "unit": "mm",
        "system": "http://unitsofmeasure.org",
        "code": "mm",
    }
    assert b'"value":7.10,' in encode_json(mean)
    assert mean["bodySite"]["text"] == "Lung, Left"
    assert mean["bodySite"]["coding"][1]["code"] == "39607008:272741003=7771000"
    assert mean["method"] == {"text": "longest axis"}
    assert mean["component"][0]["valueCodeableConcept"]["text"] == "Nodule"
    assert mean["component"][1]["valueCodeableConcept"]["text"] == codes.SCT.Mean.meaning
    assert mean["id"] != maximum["id"]
    assert {d["identifier"]["value"] for d in mean["derivedFrom"]} == {"urn:oid:2.25.100", "urn:oid:2.25.902"}
    assert (mean["subject"], mean["issued"]) == ({"reference": "Patient/patient-1"}, CONTEXT.issued)
    assert mean["effectiveDateTime"] == "2026-03-01T10:11:12+01:00"


def test_a_group_names_its_finding_and_members(rich: Dataset) -> None:
    graph = map_sr(rich, CONTEXT)
    found = only(graph, codes.DCM.Finding.value)
    assert found["valueCodeableConcept"]["coding"][0]["code"] == codes.SCT.Nodule.value
    assert [c["coding"][0]["code"] for c in found["category"]] == ["imaging", "125007"]
    assert [i["value"] for i in found["identifier"]] == ["urn:oid:2.25.500", "nodule-1"]
    assert len(found["hasMember"]) == 3
    (probability,) = found["component"]
    assert probability["code"]["coding"][0]["code"] == codes.DCM.Probability.value
    assert str(probability["valueQuantity"]["value"]) == "0.93"
    assert "urn:oid:2.25.901" in {d["identifier"]["value"] for d in found["derivedFrom"]}


def test_the_report_joins_study_results_and_conclusion(rich: Dataset) -> None:
    graph = map_sr(rich, CONTEXT)
    report = graph.report
    assert report["id"] == CONTEXT.report_id
    assert report["status"] == "preliminary"
    assert report["conclusion"] == "One nodule of 7.1 mm <b>."
    assert "<b>.</p>" not in report["text"]["div"]
    assert report["imagingStudy"][0]["reference"] == "ImagingStudy/study-1"
    assert report["basedOn"] == [{"reference": "ServiceRequest/order-1"}]
    assert report["performer"] == [{"type": "Practitioner", "display": "Jane Doe"}]
    assert [i["value"] for i in report["identifier"]] == ["urn:oid:2.25.900", "A-7"]
    groups = [o["id"] for o in graph.observations if "hasMember" in o]
    assert [r["reference"].split("/")[1] for r in report["result"]][: len(groups)] == groups


def test_what_was_not_measured_says_why(rich: Dataset) -> None:
    graph = map_sr(rich, CONTEXT)
    (absent,) = (o for o in graph.observations if "dataAbsentReason" in o)
    assert absent["code"] == {"text": "Right lung volume"}
    assert absent["dataAbsentReason"]["text"] == "cut off"
    assert f"Observation/{absent['id']}" in {r["reference"] for r in graph.report["result"]}


def test_the_algorithm_is_a_device_with_its_version_and_use(rich: Dataset) -> None:
    graph = map_sr(rich, CONTEXT)
    finder = next(d for d in graph.devices if d["deviceName"][0]["name"] == "nodule-finder")
    assert finder["version"] == [{"value": "1.2"}]
    assert finder["manufacturer"] == "Acme"
    assert finder["note"] == [{"text": "Research use only."}, {"text": "Parameters: threshold 0.5"}]
    assert finder["type"]["text"] == codes.cid7162.EdgeDetection.meaning
    assert only(graph, codes.DCM.LevelOfSignificance.value)["device"]["reference"] == f"Device/{finder['id']}"


def test_provenance_names_sources_and_makers(rich: Dataset) -> None:
    predecessor = Dataset()
    series, instance = Dataset(), Dataset()
    instance.ReferencedSOPInstanceUID = "2.25.800"
    series.ReferencedSOPSequence, predecessor.ReferencedSeriesSequence = [instance], [series]
    rich.PredecessorDocumentsSequence = [predecessor]
    provenance = map_sr(rich, CONTEXT).provenance
    entities = [(e["role"], e["what"]["identifier"]["value"]) for e in provenance["entity"]]
    assert ("source", "urn:oid:2.25.900") in entities
    assert ("source", "urn:oid:2.25.901") in entities
    assert ("revision", "urn:oid:2.25.800") in entities
    assert [a["type"]["coding"][0]["code"] for a in provenance["agent"]] == ["assembler", "author"]


def test_ids_depend_on_what_is_said_and_not_on_the_document(rich: Dataset) -> None:
    first = {o["id"] for o in map_sr(rich, CONTEXT).observations}
    rich.SOPInstanceUID = "2.25.999"
    again = map_sr(rich, replace(CONTEXT, issued="2027-01-01T00:00:00Z"))
    assert {o["id"] for o in again.observations} == first
    other = map_sr(rich, replace(CONTEXT, report_id=report_id_of("2.25.100", "another model")))
    assert not first & {o["id"] for o in other.observations}


def test_what_a_new_version_no_longer_says_is_named(rich: Dataset) -> None:
    first = map_sr(rich, CONTEXT)
    ids = frozenset(o["id"] for o in first.observations)
    second = map_sr(document(measurements(group(VOLUME))), replace(CONTEXT, previous_observation_ids=ids))
    kept = {o["id"] for o in second.observations} & ids
    assert len(kept) == 1  # the group: the same tracking identifier
    assert second.no_longer_held == ids - kept
    gone = next(o for o in first.observations if o["id"] in second.no_longer_held)
    assert validate(entered_in_error(gone)) == []


def test_the_same_thing_measured_twice_is_two_observations() -> None:
    graph = map_sr(document(measurements(group(VOLUME, VOLUME), group(VOLUME))), CONTEXT)
    assert len({o["id"] for o in graph.observations}) == len(graph.observations) == 5


@pytest.mark.parametrize(
    ("flag", "amends", "status"),
    [
        pytest.param("UNVERIFIED", False, "preliminary", id="nobody looked"),
        pytest.param("UNVERIFIED", True, "preliminary", id="nobody looked at the new version"),
        pytest.param("VERIFIED", False, "final", id="verified"),
        pytest.param("VERIFIED", True, "amended", id="verified again"),
        pytest.param(None, False, "preliminary", id="not said"),
    ],
)
def test_status_follows_verification(flag: str | None, amends: bool, status: str) -> None:
    sr = document(measurements(group(VOLUME)), VerificationFlag=flag)
    graph = map_sr(sr, replace(CONTEXT, amends=amends))
    assert {r["status"] for r in (graph.report, *graph.observations)} == {status}


def test_a_verifier_interprets_the_report(as_r4b: Callable[[Any], Any]) -> None:
    verifier = Dataset()
    verifier.VerifyingObserverName = "Roe^Richard"
    graph = map_sr(document(VerificationFlag="VERIFIED", VerifyingObserverSequence=[verifier]), CONTEXT)
    check(graph, as_r4b)
    assert graph.report["resultsInterpreter"][0]["display"] == "Richard Roe"
    assert graph.provenance["agent"][-1]["type"]["coding"][0]["code"] == "verifier"


def test_without_patient_or_zone_nothing_is_made_up(as_r4b: Callable[[Any], Any]) -> None:
    bare = ReportContext("r", "s", "2.25.100", "2026-03-02T08:15:30Z")
    graph = map_sr(document(measurements(group(VOLUME))), bare)
    check(graph, as_r4b)
    assert "subject" not in graph.report
    assert graph.report["effectiveDateTime"] == "2026-03-01"


def test_an_anatomical_finding_is_its_own_body_site() -> None:
    category = code(Code("276214006", "SCT", "Finding category"), codes.cid7150.AnatomicalStructure)
    side = code(codes.SCT.Laterality, codes.SCT.Right)
    graph = map_sr(
        document(measurements(group(category, code(codes.DCM.Finding, codes.SCT.Lung), side, VOLUME))),
        CONTEXT,
    )
    assert only(graph, codes.SCT.Volume.value)["bodySite"]["text"] == f"{codes.SCT.Lung.meaning}, Right"
    assert len(graph.observations) == 2  # the side is said there


def test_a_side_without_a_site_is_an_observation_of_its_own() -> None:
    graph = map_sr(
        document(measurements(group(code(codes.SCT.Laterality, codes.SCT.Right), VOLUME))), CONTEXT
    )
    assert only(graph, codes.SCT.Laterality.value)["valueCodeableConcept"]["text"] == codes.SCT.Right.meaning


def test_a_number_that_was_not_taken_says_why(as_r4b: Callable[[Any], Any]) -> None:
    failed = number(
        codes.SCT.Volume, None, None, NumericValueQualifierCodeSequence=[coded(codes.DCM.MeasurementFailure)]
    )
    graph = map_sr(document(measurements(group(failed))), CONTEXT)
    check(graph, as_r4b)
    absent = only(graph, codes.SCT.Volume.value)
    assert absent["dataAbsentReason"]["coding"][0]["code"] == codes.DCM.MeasurementFailure.value
    assert "valueQuantity" not in absent


def test_retired_snomed_codes_read_as_snomed_ct() -> None:
    old = code(codes.DCM.Finding, Code("T-A7010", "SRT", "Spinal cord"))
    graph = map_sr(document(measurements(group(old, VOLUME))), CONTEXT)
    coding = only(graph, codes.DCM.Finding.value)["valueCodeableConcept"]["coding"][0]
    assert coding == {"system": "http://snomed.info/sct", "code": "2748008", "display": "Spinal cord"}


def test_a_scheme_that_the_document_explains_gets_its_oid() -> None:
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = "99ACME", "1.2.3.4"
    explained = number(Code("X1", "99ACME", "Explained"), "1", codes.UCUM.Millimeter)
    private = number(Code("X2", "99OTHER", "Private"), "1", Code("mm", "99OTHER", "millimetre"))
    sr = document(measurements(group(explained, private)), CodingSchemeIdentificationSequence=[scheme])
    graph = map_sr(sr, CONTEXT)
    assert only(graph, "X1")["code"]["coding"][0]["system"] == "urn:oid:1.2.3.4"
    assert "system" not in only(graph, "X2")["code"]["coding"][0]
    assert only(graph, "X2")["valueQuantity"] == {"value": Decimal("1"), "unit": "millimetre"}


def test_conclusions_are_found_where_templates_put_them() -> None:
    sr = document(
        container(
            codes.DCM.Impressions,
            text(codes.DCM.Impression, "First."),
            code(codes.DCM.Impression, codes.SCT.Nodule),
        ),
        text(codes.DCM.Conclusion, "Second."),
    )
    report = map_sr(sr, CONTEXT).report
    assert report["conclusion"] == "First.\nSecond."
    assert report["conclusionCode"][0]["text"] == codes.SCT.Nodule.meaning


def test_the_image_library_is_no_finding() -> None:
    sr = document(container(codes.DCM.ImageLibrary, number(codes.SCT.Volume, "1", codes.UCUM.Millimeter)))
    assert map_sr(sr, CONTEXT).observations == ()


def test_a_tracking_uid_names_a_group_without_an_identifier() -> None:
    ids = {
        map_sr(
            document(measurements(group(VOLUME, tracking=None, tracking_uid=value))), CONTEXT
        ).observations[-1]["id"]
        for value in ("2.25.1", "2.25.2")
    }
    assert len(ids) == 2


def test_a_document_that_says_nothing_is_still_a_report(as_r4b: Callable[[Any], Any]) -> None:
    graph = map_sr(Dataset(), CONTEXT)
    check(graph, as_r4b)
    assert graph.observations == ()
    assert graph.devices[0]["deviceName"][0]["name"] == "Unnamed equipment"
