"""Every invariant of R4 at every place of real resources: our engine and `fhirpathpy` must agree.

fhirpathpy 2.2 is wrong or unable in what `ITS_FAULTS` lists; there the table of N1's own examples judges.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fhirpathpy import apply_parsed_path
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models
from fhirpathpy.parser import parse

from fhir.fhirpath import EvaluationFailed, Item, compile_expression
from fhir.fhirpath.environment import root_resource
from fhir.fhirpath.equality import freeze
from fhir.fhirpath.items import children_of, resource_item
from fhir.fhirpath.singleton import boolean
from fhir.model.validation.definitions import constraint_of, structure_of
from fhir.search.definitions import parameters_of
from tests.fhir_examples import EXAMPLES, example

ITS_FAULTS = {
    "ctm-1": "it has no resolve()",
    **dict.fromkeys(("per-1", "bdl-10", "age-1", "cnt-3"), "it has no hasValue()"),
    "que-7": "it takes Boolean for the System's alone, so que-7 could never hold",
    "rng-2": "it compares no quantities of FHIR",
}
TRACE = re.compile(r"\.trace\('\w+'(, id)?\)")  # theirs prints it
_parsed: dict[str, Any] = {}


def places(item: Item) -> Iterator[tuple[Item, str, tuple[str, ...]]]:
    """Each element that is an object, with its path in R4 and the keys of its invariants."""
    child = item.child
    place = (item.kind.name, "") if child is None or child.is_resource else (child.type_name, child.below)
    keys = structure_of(place[0]).constraints if not place[1] else ()
    if child is not None and item.owner is not None:
        keys += added(item)
    if type(item.value) is dict:
        yield item, ".".join(filter(None, place)), keys
        for below in children_of(item):
            yield from places(below)


def added(item: Item) -> tuple[str, ...]:
    owner, child = item.owner, item.child
    assert owner is not None
    assert child is not None
    at = owner.child
    place = (owner.kind.name, "") if at is None or at.is_resource else (at.type_name, at.below)
    elements = structure_of(place[0]).elements.get(place[1], ())
    return next(e.constraints for e in elements if e.name == child.name)


def expression_of(key: str, path: str) -> str:
    return TRACE.sub("", constraint_of(key, path.partition(".")[0]).expression or "true")


def ours(expression: str, item: Item) -> bool | None:
    try:
        return boolean(compile_expression(expression).evaluate(item))
    except EvaluationFailed:
        return None


def theirs(path: str, expression: str, item: Item) -> bool | None:
    tree = _parsed.get(expression) or _parsed.setdefault(expression, parse(expression))
    resource = item.resource()
    around = {"resource": resource.value if resource else None, "rootResource": root_resource(item)[0].value}
    found = apply_parsed_path(ResourceNode.create_node(item.value, path), tree, around, models["r4"])
    return found[0] if found else None


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_say_the_same_of_every_invariant(name: str) -> None:
    differ = []
    for item, path, keys in places(resource_item(example(name))):
        for key in set(keys) - set(ITS_FAULTS):
            expression = expression_of(key, path)
            if ours(expression, item) != theirs(path, expression, item):
                differ.append((key, item.path(), ours(expression, item)))
    assert differ == []


def values_of(found: list[Any]) -> set[Any]:
    """A set, for theirs keeps 1 beside 1.0; without what stands beside primitives, which theirs changes."""
    values = (value.value if isinstance(value, Item) else value for value in found)
    return {freeze(without_underscores(value)) for value in values if value is not None}


def without_underscores(value: Any) -> Any:
    if isinstance(value, dict):
        return {n: without_underscores(v) for n, v in value.items() if not n.startswith("_")}
    return [without_underscores(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_find_the_same_by_every_search_parameter(name: str) -> None:
    resource = example(name)
    differ = []
    for parameter in parameters_of(resource["resourceType"]).values():
        expression = parameter.expression
        if "resolve()" in expression or expression.startswith("Resource."):
            continue  # it has no resolve(), and does not know what a Patient is else
        tree = _parsed.get(expression) or _parsed.setdefault(expression, parse(expression))
        found = apply_parsed_path(resource, tree, {}, models["r4"])
        if values_of(compile_expression(expression).evaluate(resource)) != values_of(found):
            differ.append((parameter.code, expression))
    assert differ == []
