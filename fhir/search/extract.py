"""From a resource to the values of one search parameter: compiled once per parameter.

Paths are closures over the JSON; what needs more than paths is evaluated by `fhir.fhirpath`.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fhir.fhirpath import EvaluationFailed, Item, compile_expression
from fhir.search.definitions import SearchParameter
from fhir.search.kinds import KINDS
from fhir.search.path import Json, Path, compile_path, parse_path
from fhir.search.value import Kind, Surroundings

Extract = Callable[[Json, Json, Surroundings], Iterator[Any]]  # (start, resource, around) -> values


@cache
def extractor(parameter: SearchParameter) -> Extract:
    """A function that yields the parameter's values, as its kind indexes them."""
    kind = KINDS[parameter.type]
    if parameter.paths is None:
        return _by_fhirpath(parameter.expression, kind)
    ways = [
        (first_name(path), compile_path(path), kind.values_of[path.type])
        for path in map(parse_path, parameter.paths)
        if path.type in kind.values_of  # others have no value of this kind: a Range is no token
    ]

    def extract(start: Json, resource: Json, around: Surroundings) -> Iterator[Any]:
        for first, select, values_of in ways:
            if first is None or first in start:
                for node in select(start, resource):
                    yield from values_of(node, around)

    return extract


@cache
def datatypes_of(parameter: SearchParameter) -> frozenset[str]:
    """The datatypes that the parameter looks at; empty: not known."""
    return frozenset(parse_path(path).type for path in parameter.paths or ())


def first_name(path: Path) -> str | None:
    """The element of the start without which there is nothing at the path's end; None: it cannot be told."""
    return path.steps[0].name if path.steps and not path.from_resource else None


def _by_fhirpath(expression: str, kind: Kind) -> Extract:
    compiled = compile_expression(expression)

    def extract(start: Json, _resource: Json, around: Surroundings) -> Iterator[Any]:
        try:
            found = compiled.evaluate(start)
        except EvaluationFailed:
            return  # what does not suit the expression has no value of it
        for node in found:
            values_of = kind.values_of.get(datatype_of(node))
            if values_of is not None:
                yield from values_of(node.value if isinstance(node, Item) else node, around)

    return extract


def datatype_of(node: Any) -> str:
    """The datatype of a value that FHIRPath found: an element's own, or the one that a System value is."""
    if isinstance(node, Item):
        return node.kind.name
    if isinstance(node, bool):
        return "boolean"
    return "string" if isinstance(node, str) else "decimal"
