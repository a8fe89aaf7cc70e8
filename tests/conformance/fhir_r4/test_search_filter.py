"""`_filter` (FHIR R4 search_filter.html)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from fhir.search.filter import (
    MAX_COMPARISONS,
    MAX_FILTER_CHARACTERS,
    MAX_FILTER_DEPTH,
    Alternatives,
    Comparison,
    Filter,
    Negation,
    Together,
    parse_filter,
)
from fhir.search.value import InvalidSearch, UnsupportedSearch
from tests.conformance.fhir_r4.searching import check, observation

A, B, C = Comparison("a", "eq", "1"), Comparison("b", "ge", "2"), Comparison("c.d", "co", "x y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a eq 1", A),
        ("  a  eq  1 ", A),
        ('a eq "1"', A),
        ('c.d co "x y"', C),
        (r'a eq "q\"\\\n"', Comparison("a", "eq", 'q"\\\n')),
        ("a eq 1 and b ge 2", Together((A, B))),
        ("a eq 1 or b ge 2", Alternatives((A, B))),
        ('a eq 1 or b ge 2 and c.d co "x y"', Alternatives((A, Together((B, C))))),
        ('(a eq 1 or b ge 2) and c.d co "x y"', Together((Alternatives((A, B)), C))),
        ("not (a eq 1)", Negation(A)),
        ("not(a eq 1) and b ge 2", Together((Negation(A), B))),
        ("((a eq 1))", A),
        ("a eq or", Comparison("a", "eq", "or")),
        ("code eq http://loinc.org|1234-5", Comparison("code", "eq", "http://loinc.org|1234-5")),
    ],
)
def test_a_filter_is_read(text: str, expected: Filter) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a", "a eq", "a eq (", "a eq 1 and", "(a eq 1", "a eq 1)", "a is 1", "a.b. eq 1", '"a" eq 1',
        'a eq "1', "not a eq 1", "and", "a eq 1 b eq 2", "1 eq 1", "(" * 100, "a eq 1 or" * 3,
        "a" * (MAX_FILTER_CHARACTERS + 1),
        "(" * (MAX_FILTER_DEPTH + 1) + "a eq 1" + ")" * (MAX_FILTER_DEPTH + 1),
        " and ".join(["a eq 1"] * (MAX_COMPARISONS + 1)),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidSearch):
        parse_filter(text)


def test_a_filter_within_a_path_is_refused() -> None:
    with pytest.raises(UnsupportedSearch):
        parse_filter("name[use eq official].given eq x")


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    made = {}
    for name, family, born, gender in (
        ("ann", "Miller", "1970-05-17", "female"),
        ("bob", "Müller", "1980", "male"),
        ("cy", "Mueller 100%", None, "male"),
    ):
        patient = {"resourceType": "Patient", "name": [{"family": family, "given": [name]}], "gender": gender}
        made[name] = await create({**patient, **({"birthDate": born} if born else {})})
        made[f"pulse-{name}"] = await create(
            observation(made[name], valueQuantity={"value": len(family), "unit": "x"})
        )
    return made


async def test_filters_find(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    cases = {
        'Patient: family eq "miller"': "ann",
        "Patient: family eq mill": "",
        "Patient: family eq Muller": "bob",
        "Patient: family sw mu": "bob cy",
        "Patient: family co ll": "ann bob cy",
        'Patient: family ew "100%"': "cy",
        "Patient: family ew ler": "ann bob",
        "Patient: family ne miller": "bob cy",
        "Patient: gender eq male and birthdate pr true": "bob",
        "Patient: birthdate pr false": "cy",
        "Patient: birthdate ge 1975 or family sw mill": "ann bob",
        "Patient: birthdate po 1970-05": "ann",
        "Patient: birthdate lt 1980": "ann",
        "Patient: not (gender eq male)": "ann",
        "Patient: gender ne male": "ann",
        "Patient: not (gender eq female or birthdate pr true)": "cy",
        "Patient: given eq ann or (gender eq male and family co 100)": "ann cy",
        "Patient: _id eq {bob}": "bob",
        "Patient: _lastUpdated gt 2020-01-01 and given eq bob": "bob",
        "Observation: value-quantity gt 6": "pulse-cy",
        "Observation: patient re Patient/{ann}": "pulse-ann",
        "Observation: subject eq {ann}": "pulse-ann",
        "Observation: patient.family eq miller": "pulse-ann",
        "Observation: subject:Patient.birthdate ge 1975 or patient.given eq ann": "pulse-ann pulse-bob",
        "Observation: code eq http://loinc.org|8867-4 and patient.given eq bob": "pulse-bob",
        r'Patient: family eq "\\"': "",
        "Patient: nope eq 1": "400 value",
        "Patient: gender gt male": "400 not-supported",
        'Patient: family eq ""': "400 value",
        "Patient: birthdate eq soon": "400 value",
        "Patient: birthdate eq gt2000": "400 value",
        "Patient: birthdate po lt2000": "400 value",
        "Patient: birthdate ge gt2000": "400 value",
        "Patient: _id in x": "400 not-supported",
        "Patient: _id sb x": "400 not-supported",
        "Patient: birthdate pr maybe": "400 value",
        "Patient: gender.x eq 1": "400 value",
        "Observation: patient.nope eq 1": "400 value",
        "Observation: code-value-quantity eq a$1": "400 not-supported",
        "Patient: gender in http://vs.test": "400 value",
        "Patient: gender in http://hl7.org/fhir/ValueSet/administrative-gender": "ann bob cy",
        "Patient: gender ni http://hl7.org/fhir/ValueSet/administrative-gender": "",
    }
    urls = {}
    for case, expected in cases.items():
        resource_type, _, text = case.partition(": ")
        urls[f"/{resource_type}?_filter={quote(text, safe='{}')}"] = expected
    await check(client, names, urls.items())
    both = "/Patient?gender=male&_filter=" + quote("family sw mu and birthdate pr true")
    await check(client, names, [(both, "bob")])


async def test_a_filter_finds_within_reach_only(
    client: httpx.AsyncClient, names: dict[str, str], confine: Callable[..., Any]
) -> None:
    only = confine(names["ann"], resource_type="Observation")
    anybody = "/Observation?_filter=" + quote("not (patient eq {ann}) or patient eq {ann}", safe="{}")
    chained = "/Observation?_filter=" + quote("patient.family eq miller")
    await check(client, names, [(anybody, "pulse-ann"), (chained, "403 forbidden")], **only)
    hidden = "/Observation?_filter=" + quote("patient.family co ll or patient.family eq nobody")
    await check(client, names, [(hidden, "pulse-ann")], **confine(names["ann"]))
