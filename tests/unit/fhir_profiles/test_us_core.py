"""US Core 6.1.0, where its package is: its own examples obey the profiles that they claim.

Without the package the guide of our own stands in.
"""

import copy
import tarfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from fhir.model.json_codec import decode_json
from fhir.model.profiles import Library, check_profiles
from fhir.model.profiles.rule import Rule
from fhir.model.validation import Severity
from fhir.packages import read_package
from tests.fhir_examples import SHARED
from tests.unit.fhir_profiles.definitions import GUIDE, OBSERVATION, PATIENT, good_observation, good_patient

PACKAGE = SHARED / "ig" / "us-core-6.1.0.tgz"
# Their profiles are of SDC, which is another package.
NOT_OF_THIS_PACKAGE = "http://hl7.org/fhir/uv/sdc/"


@cache
def library() -> Library:
    if not PACKAGE.exists():
        return Library(GUIDE)
    return Library(definition.resource for definition in read_package(PACKAGE))


@cache
def examples() -> tuple[dict[str, Any], ...]:
    if not PACKAGE.exists():
        return (
            good_patient(meta={"profile": [PATIENT["url"]]}),
            good_observation(meta={"profile": [OBSERVATION["url"]]}),
        )
    with tarfile.open(PACKAGE) as archive:
        files = [m for m in archive if m.name.startswith("package/example/") and ".index" not in m.name]
        return tuple(decode_json(archive.extractfile(m).read()) for m in files)  # type: ignore[union-attr]


def profiles_of(resource: dict[str, Any]) -> list[str]:
    claimed = resource.get("meta", {}).get("profile", ())
    return [url for url in claimed if not url.startswith(NOT_OF_THIS_PACKAGE)]


def errors(resource: dict[str, Any], profiles: list[str]) -> list[str]:
    return [
        f"{issue.expression}: {issue.text}"
        for issue in check_profiles(resource, profiles, library())
        if issue.severity is Severity.ERROR
    ]


def test_every_profile_compiles() -> None:
    claimed = {url for resource in examples() for url in profiles_of(resource)}
    assert claimed
    assert [url for url in claimed if library().profile(url) is None] == []


def test_the_examples_obey_the_profiles_that_they_claim() -> None:
    assert [found for each in examples() if (found := errors(each, profiles_of(each)))] == []


def without_needed(value: dict[str, Any], rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object without one element that the profile needs, each in turn; elements below too."""
    for name in list(value):
        child = next(
            (
                c
                for n, c in rule.children.items()
                if name == n or (name.startswith(n) and name[len(n)].isupper())
            ),
            None,
        )
        if child is None or f"_{name}" in value:
            continue
        if child.min:
            yield name, {n: v for n, v in value.items() if n != name}
        if isinstance(value[name], dict):
            for below, changed in without_needed(value[name], child):
                yield f"{name}.{below}", {**value, name: changed}


def test_without_what_a_profile_needs_none_obeys_it() -> None:
    unnoticed = []
    for example in examples():
        for url in profiles_of(example):
            rule = library().profile(url)
            assert rule is not None
            for name, changed in without_needed(copy.deepcopy(example), rule):
                if not errors(changed, [url]):
                    unnoticed.append((url, name))
    assert unnoticed == []


def test_a_code_of_no_slice_is_noticed() -> None:
    pressure = next((e for e in examples() if e.get("id") == "blood-pressure"), None)
    if pressure is None:
        changed, profile = good_observation(component=[]), OBSERVATION["url"]
    else:
        changed, (profile, *_) = copy.deepcopy(pressure), profiles_of(pressure)
        changed["component"][0]["code"]["coding"][0]["code"] = "0000-0"
    assert errors(changed, [profile]) != []


@pytest.mark.parametrize("url", ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"])
def test_a_value_set_of_elsewhere_cannot_be_told(url: str) -> None:
    race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    part = {
        "url": "ombCategory",
        "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "nonsense"},
    }
    patient = good_patient(
        gender="male", extension=[{"url": race, "extension": [part, {"url": "text", "valueString": "x"}]}]
    )
    if library().profile(url) is None:
        return
    place = "Patient.extension[0].extension[0].value"
    (issue,) = [i for i in check_profiles(patient, [url], library()) if i.expression == place]
    assert issue.severity is Severity.INFORMATION
