"""Bindings: lists, forms where no list can be had, and advice on extensible ones (R4 terminologies.html)."""

from typing import Any

import pytest

from fhir.model.validation import IssueType, Severity, validate
from fhir.model.validation.forms import FORMS, has_form_of

SETS = "http://hl7.org/fhir/ValueSet/"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "mimetypes",
            ["text/plain", "text/plain; charset=UTF-8", "application/fhir+json;fhirVersion=4.0",
             'a/b;c="d e"', "application/vnd.oasis.opendocument.text", "image/svg+xml",
             "json"],
            ["", "text", "text/", "/plain", "text/plain;", "text /plain", "text/plain\n", "a/b/c", "é/x"],
        ),
        (
            "all-languages",
            ["de", "en-US", "zh-Hant-HK", "sl-rozaj-biske", "de-CH-1901", "es-419", "en-a-bbb-x-c",
             "x-klingon", "i-navajo"],
            ["", "d", "de_CH", "deutsch!", "de-", "-de", "de-CH\n", "a-DE", "en-x"],
        ),
        ("currencies", ["EUR", "USD"], ["eur", "EURO", "", "€", 1]),
    ],
)  # fmt: skip
def test_codes_of_open_lists_have_a_form(name: str, good: list[Any], bad: list[Any]) -> None:
    fits = has_form_of(f"{SETS}{name}|4.0.1")
    assert fits is not None
    assert [code for code in good if not fits(code)] == []
    assert [code for code in bad if fits(code)] == []


def test_other_open_lists_have_none() -> None:
    assert has_form_of(f"{SETS}ucum-units|4.0.1") is None
    assert len(FORMS) == 3


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"resourceType": "Patient", "language": "deutsch_CH"}, "Patient.language"),
        (
            {"resourceType": "Binary", "contentType": "what ever", "data": "aGk="},
            "Binary.contentType",
        ),
        (
            {"resourceType": "PaymentNotice", "status": "active", "created": "2020",
             "recipient": {"display": "x"}, "payment": {"display": "x"},
             "amount": {"value": 1, "currency": "Euro"}},
            "PaymentNotice.amount.currency",
        ),
    ],
)  # fmt: skip
def test_the_walker_places_a_code_without_form(resource: dict[str, Any], place: str) -> None:
    assert [(i.code, i.expression) for i in validate(resource)] == [(IssueType.CODE_INVALID, place)]


def patient(**marital: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "maritalStatus": marital,
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    }


MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"


@pytest.mark.parametrize(
    ("marital", "advised"),
    [
        ({"coding": [{"system": MARITAL, "code": "M"}]}, False),
        ({"coding": [{"system": "urn:ours", "code": "x"}, {"system": MARITAL, "code": "M"}]}, False),
        ({"text": "it is complicated"}, False),
        ({"coding": [{"system": "urn:ours", "code": "x"}]}, True),
        ({"coding": [{"system": MARITAL, "code": "nonsense"}]}, True),
    ],
)
def test_an_extensible_binding_is_advice(marital: dict[str, Any], advised: bool) -> None:
    assert validate(patient(**marital)) == []
    found = [(i.severity, i.expression) for i in validate(patient(**marital), with_warnings=True)]
    assert found == ([(Severity.WARNING, "Patient.maritalStatus")] if advised else [])
