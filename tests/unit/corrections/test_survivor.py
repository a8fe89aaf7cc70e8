"""Whom a merged study shows: the way from the record to DICOM, and back (DESIGN §5, Identity)."""

from typing import Any

import orjson
import pytest

from dicomweb.overlay.survivor import IDENTITY, shown_of_survivor
from dicomweb.store.identity import patient_identifier
from dicomweb.wire.dicom_json import data_set, element, name_text
from fhir.model.builders.dicom_values import human_names
from server.kernel.patients import PatientIdentifier
from server.kernel.site import Site
from server.workflows.person import person_of

SITE = Site(system_of_issuer={"HERE": "https://example.org/mrn"})
NORA = data_set(element("PatientName", "New^Nora"))


@pytest.mark.parametrize(
    "system",
    [
        SITE.patient_system,
        "https://example.org/mrn",
        "urn:oid:1.2.40.0.13",
        "urn:isthmus:issuer:St.%20Mary%26Co",
        "https://other.example.org/ids",
    ],
)
def test_the_identifier_is_read_back_as_the_one_it_is(system: str) -> None:
    identifier = PatientIdentifier(system, "M 7")
    shown = shown_of_survivor([identifier], NORA, None, SITE)
    assert patient_identifier(shown, SITE) == identifier
    assert shown.keys() <= IDENTITY
    before = data_set(
        element("PatientID", "X"), element("IssuerOfPatientID", "urn:x"), element("PatientSex", "F")
    )
    assert patient_identifier({**before, **shown}, SITE) == identifier  # nothing of the old issuer is left


def test_of_several_identifiers_the_one_of_the_studys_own_system() -> None:
    one, two = PatientIdentifier("urn:a", "1"), PatientIdentifier("urn:b", "2")
    assert shown_of_survivor([one, two], {}, "urn:b", SITE)["00100020"]["Value"] == ["2"]
    assert shown_of_survivor([one, two], {}, "urn:c", SITE)["00100020"]["Value"] == ["1"]


@pytest.mark.parametrize("value", ["a\\b", "a\nb", "a\x00b"])
def test_an_identifier_that_dicom_cannot_hold_is_not_shown(value: str) -> None:
    assert shown_of_survivor([PatientIdentifier("urn:a", value)], NORA, None, SITE) == NORA
    usable = PatientIdentifier("urn:b", "2")
    shown = shown_of_survivor([PatientIdentifier("urn:a", value), usable], NORA, "urn:a", SITE)
    assert patient_identifier(shown, SITE) == usable


def elements(**said: Any) -> dict[str, bytes]:
    return {name: orjson.dumps(each) for name, each in said.items()}


@pytest.mark.parametrize(
    "name", ["Doe", "Doe^Jane", "Doe^Jane^Ann Lee^Dr.^MD", "Yamada^Tarou=山田^太郎=やまだ^たろう"]
)
def test_names_come_back(name: str) -> None:
    (shown,) = person_of(elements(name=human_names(name)))["00100010"]["Value"]
    assert name_text(shown) == name


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({}, {}),
        (
            {"gender": "female", "birthDate": "1970-01-02"},
            {"PatientSex": "F", "PatientBirthDate": "19700102"},
        ),
        ({"gender": "unknown", "birthDate": "1970"}, {}),
        ({"name": [{"text": "Jane  Doe"}]}, {"PatientName": "Jane Doe"}),
        ({"name": [{"family": "A=B\\C^D"}]}, {"PatientName": "A B C D"}),
        (
            {"name": [{"use": "old", "family": "Was"}, {"use": "official", "family": "Is"}]},
            {"PatientName": "Is"},
        ),
        ({"name": [{"use": "nickname", "given": ["Jo"]}]}, {"PatientName": "^Jo"}),
        ({"name": [{"family": "x" * 80}]}, {"PatientName": "x" * 64}),
    ],
)
def test_persons(said: dict[str, Any], shown: dict[str, str]) -> None:
    assert person_of(elements(**said)) == data_set(*(element(*each) for each in shown.items()))
