"""What the builders lay out is valid FHIR R4, for this server's validator and for the R4B models."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fhir.model import systems
from fhir.model.builders.datatypes import coding, concept, narrative, quantity, reference
from fhir.model.builders.dicom_values import (
    administrative_gender,
    fhir_date,
    fhir_date_time,
    human_names,
)
from fhir.model.builders.imaging_study import (
    InstanceFacts,
    PatientFacts,
    SeriesFacts,
    StudyFacts,
    imaging_study,
    patient,
)
from fhir.model.builders.results import (
    DeviceFacts,
    ObservationFacts,
    ProvenanceFacts,
    ReportFacts,
    TaskFacts,
    cancelled_task,
    completed_task,
    device,
    diagnostic_report,
    failed_task,
    observation,
    open_task,
    provenance,
)
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate

TASK = TaskFacts(
    "t1",
    "2.25.7",
    "s1",
    "2026-01-01T10:00:00Z",
    "2026-01-01T10:00:09Z",
    "CT quantification",
    "p1",
    reference("Device", "d1"),
)
SERIES = SeriesFacts(
    "2.25.2",
    2,
    "CT",
    3,
    "Thorax",
    "CHEST",
    "2026-01-01",
    [InstanceFacts("2.25.3", "1.2.840.10008.5.1.4.1.1.2", 1)],
)
RESOURCES = [
    patient(
        PatientFacts("p1", [("urn:site", "42")], human_names("Doe^Jane^Q^Dr^Jr"), "female", "1970-01-01")
    ),
    patient(PatientFacts("p2", [])),
    imaging_study(
        StudyFacts(
            "s1", "2.25.1", "p1", [SERIES], accession_number="A1", accession_system="urn:acc", based_on=["r1"]
        )
    ),
    imaging_study(
        StudyFacts("s2", "2.25.1", None, [SeriesFacts("2.25.2", 0, None, -1)], started="2026-01-01")
    ),
    device(
        DeviceFacts(
            "d1", "CT quantification", "ct-quantification", "1.0", "Isthmus", notes=["Research use only."]
        )
    ),
    observation(
        ObservationFacts(
            "o1",
            "preliminary",
            concept(coding(systems.SNOMED_CT, "118565006", "Volume")),
            subject=reference("Patient", "p1"),
            effective="2026-01-01",
            issued="2026-01-01T10:00:00Z",
            value=("valueQuantity", quantity(Decimal("1.00"), "ml", systems.UCUM, "mL")),
            derived_from=[reference("ImagingStudy", "s1")],
        )
    ),
    diagnostic_report(
        ReportFacts(
            "g1",
            "preliminary",
            concept(text="Report"),
            text=narrative("A & <b>", ["x\x01y"]),
            conclusion="ok",
        )
    ),
    provenance(
        ProvenanceFacts(
            "v1",
            [reference("Observation", "o1")],
            "2026-01-01T10:00:00Z",
            [("assembler", "Assembler", reference("Device", "d1"))],
            [{"display": "SR"}],
        )
    ),
    open_task(TASK, "in-progress"),
    completed_task(TASK, "g1"),
    failed_task(TASK, "The model ran out of memory."),
    cancelled_task(TASK, "Other images arrived."),
]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r['resourceType']}/{r['id']}")
def test_what_is_built_is_valid(resource: dict[str, Any], as_r4b: Callable[[Any], Any]) -> None:
    assert validate(decode_json(encode_json(resource))) == []
    assert as_r4b(resource).id == resource["id"]


def test_a_decimal_keeps_its_digits() -> None:
    assert b'"value":1.00' in encode_json(quantity(Decimal("1.00"), None, None, None))


def test_a_study_counts_its_instances_even_when_it_lists_none() -> None:
    study = imaging_study(StudyFacts("s", "2.25.1", "p", [SeriesFacts("2.25.2", 200, "CT"), SERIES]))
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 202)
    assert [c["code"] for c in study["modality"]] == ["CT"]


def test_what_fhir_cannot_hold_never_spoils_a_study() -> None:
    """One invalid ImagingStudy would stop the projection of every study behind it."""
    odd = SeriesFacts("2.25.2", 1, modality="C  T", body_part_examined="A  B", number=-1)
    study = imaging_study(
        StudyFacts("s", "2.25.1", None, [odd], accession_number="A", accession_system="urn:oid:1 2")
    )
    assert validate(study) == []
    assert "modality" not in study
    assert study["series"][0]["modality"]["code"] == "OT"
    assert "system" not in study["identifier"][1]
    assert validate(patient(PatientFacts("p", [("urn:oid:1 2", "P1")]))) == []


def test_a_narrative_is_never_markup() -> None:
    div = narrative("<script>", ['"&\x00'])["div"]
    assert "<script>" not in div
    assert "\x00" not in div


def test_a_code_that_fhir_cannot_hold_is_left_out() -> None:
    assert coding("urn:x", "a  b", "both") == {"display": "both"}


@pytest.mark.parametrize(
    ("da", "tm", "offset", "zone", "expected"),
    [
        pytest.param(
            "20260102", "101112.123456", "+0100", None, "2026-01-02T10:11:12.123456+01:00", id="offset"
        ),
        pytest.param(
            "20260702", "1011", None, "Europe/Berlin", "2026-07-02T10:11:00+02:00", id="zone in summer"
        ),
        pytest.param(
            "20260102", "1011", "+0000", "Europe/Berlin", "2026-01-02T10:11:00+00:00", id="offset wins"
        ),
        pytest.param("20260102", "10", None, "UTC", "2026-01-02T10:00:00+00:00", id="hour only"),
        pytest.param(
            "18800102", "10", None, "Europe/Berlin", "1880-01-02T10:00:00+00:53", id="before standard time"
        ),
        pytest.param("20260102", "101112", None, None, "2026-01-02", id="no zone: date only"),
        pytest.param("20260102", "995999", "+0100", None, "2026-01-02", id="no time of day"),
        pytest.param("20260102", "101112", "+9900", None, "2026-01-02", id="no offset"),
        pytest.param(
            "2026.01.02", "10:11:12", "+0100", None, "2026-01-02T10:11:12+01:00", id="ACR-NEMA form"
        ),
        pytest.param("20260231", "101112", "+0100", None, None, id="no date"),
        pytest.param("", "101112", "+0100", None, None, id="empty date"),
        pytest.param(None, None, None, None, None, id="nothing"),
    ],
)
def test_a_dicom_time_needs_a_zone(
    da: str | None, tm: str | None, offset: str | None, zone: str | None, expected: str | None
) -> None:
    moment = fhir_date_time(da, tm, utc_offset=offset, timezone=zone)
    assert moment == expected
    if moment:
        assert validate(patient(PatientFacts("p", [])) | {"deceasedDateTime": moment}) == []


def test_dicom_values_become_fhir_values() -> None:
    assert fhir_date("19700101 ") == "1970-01-01"
    assert [administrative_gender(sex) for sex in ("M", "F", "O", "X", "", None)] == [
        "male",
        "female",
        "other",
        "unknown",
        None,
        None,
    ]


def test_a_person_name_has_a_name_per_component_group() -> None:
    latin, ideographic = human_names("Yamada^Tarou=山田^太郎")
    assert latin == {"family": "Yamada", "given": ["Tarou"]}
    assert ideographic["extension"][0]["valueCode"] == "IDE"
    assert human_names("^^^^") == human_names(None) == []
