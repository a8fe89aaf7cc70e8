"""Composite parameters: values that belong together in one element (FHIR R4 search.html#composite).

Each component has its own number and rows in the table of its kind. Rows of one element share
`n // ROWS_PER_ELEMENT`: that is what the join goes by.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Table

from fhir.search.definitions import SearchParameter
from fhir.search.extract import Extract, extractor
from fhir.search.kinds import KINDS
from fhir.search.path import Json, compile_path, parse_path
from fhir.search.value import Surroundings

RowsOf = Callable[[Json, Surroundings], Iterator[tuple[Table, dict[str, Any]]]]

ROWS_PER_ELEMENT = 1024  # values of one component in one element


def compile_composite(parameter: SearchParameter) -> RowsOf:
    """A function that yields the rows of each element in which every component has a value."""
    selects = [compile_path(path) for path in map(parse_path, parameter.paths or ())]
    extracts = [extractor(component) for component in parameter.components]

    def rows_of(resource: Json, around: Surroundings) -> Iterator[tuple[Table, dict[str, Any]]]:
        element = 0
        for node in (node for select_nodes in selects for node in select_nodes(resource, resource)):
            found = _found(extracts, node, resource, around)
            if found is not None:
                yield from _element_rows(parameter, found, element)
                element += 1

    return rows_of


def _found(
    extracts: Sequence[Extract], node: Json, resource: Json, around: Surroundings
) -> list[list[Any]] | None:
    """The values of each component; None: one has none. Most lack the last, which is looked for first."""
    found: list[list[Any]] = []
    for extract in reversed(extracts):
        values = list(extract(node, resource, around))
        if not values:
            return None
        found.append(values)
    return found[::-1]


def _element_rows(
    parameter: SearchParameter, found: list[list[Any]], element: int
) -> Iterator[tuple[Table, dict[str, Any]]]:
    for component, values in zip(parameter.components, found, strict=True):
        kind = KINDS[component.type]
        for at, value in enumerate(values[:ROWS_PER_ELEMENT]):
            row = kind.row_of(value)
            yield kind.table, {"param": component.number, "n": element * ROWS_PER_ELEMENT + at, **row}
