"""Whole records, extracted by our paths and by `fhirpathpy`: the same values for every search parameter."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models

from fhir.search.definitions import parameters_of
from fhir.search.expression import alternatives
from fhir.search.kinds import KINDS
from fhir.search.path import compile_path, parse_path, type_of_reference
from tests.fhir_examples import BUNDLES, example


def resources_of(name: str) -> Iterator[dict[str, Any]]:
    return (entry["resource"] for entry in example(name)["entry"])


@cache
def selector(resource_type: str, expression: str) -> Callable[[Any], list[Any]]:
    """What FHIRPath selects; it cannot resolve: the type test on a reference is made from its text."""
    ways = []
    for part in alternatives(expression):
        text = part.replace("Resource.", f"{resource_type}.")
        plain, _, target = text.partition(".where(resolve() is ")
        ways.append((fhirpathpy.compile(plain, models["r4"]), target.rstrip(")")))

    def select(resource: Any) -> list[Any]:
        found: list[Any] = []
        for evaluate, target in ways:
            values = evaluate(resource, None)
            found += [v for v in values if type_of_reference(v) == target] if target else values
        return found

    return select


def differing(resource: dict[str, Any]) -> list[str]:
    """The parameters of which the two find different values."""
    resource_type = resource["resourceType"]
    wrong = []
    for parameter in parameters_of(resource_type).values():
        if parameter.type not in KINDS or parameter.paths is None:
            continue
        paths = map(parse_path, parameter.paths)
        ours = [node for path in paths for node in compile_path(path)(resource, resource)]
        theirs = selector(resource_type, parameter.expression)(resource)
        if sorted(map(repr, ours)) != sorted(map(repr, theirs)):
            wrong.append(f"{resource_type}/{resource.get('id')} {parameter.code}")
    return wrong


def test_a_few_of_a_record() -> None:
    seen: set[str] = set()
    for resource in resources_of(BUNDLES[-1]):
        if resource["resourceType"] not in seen:
            seen.add(resource["resourceType"])
            assert differing(resource) == []


@pytest.mark.slow
def test_whole_records() -> None:
    for name in BUNDLES:
        wrong = list(islice((each for one in resources_of(name) for each in differing(one)), 10))
        assert wrong == [], name
