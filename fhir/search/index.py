"""All index rows of a resource, for every search parameter of its type."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Table

from fhir.search.composite import RowsOf, compile_composite
from fhir.search.definitions import SearchParameter, SearchType, parameters_of
from fhir.search.extract import Extract, extractor, first_name
from fhir.search.full_text import TEXT, text_row
from fhir.search.kinds import KINDS
from fhir.search.near import LOCATION, near_row
from fhir.search.path import Json, compile_path, parse_path
from fhir.search.quantity import QUANTITY
from fhir.search.string import STRING, Text, row_of_text
from fhir.search.token import TOKEN, TOKEN_TEXTS_OF, TYPES_OF, row_of_token
from fhir.search.value import Kind, Surroundings, ValuesOf

Row = dict[str, Any]
Values = Callable[[Json, Surroundings], Iterator[Any]]

# Of the rows that are made here: higher whenever another set of parameters, or another way to extract or to
# write their values, would make other rows of the same resource. Resources of a lower one are indexed again
# in the background (`fhir/interactions/reindex.py`).
# 2: texts and types beside tokens; 3: positions; 4: the last day; 5: rows kept beside: labels, mentions
INDEX_VERSION = 5

TYPES_FROM = 1 << 20  # `n` of the rows for `:of-type`, beyond those of a parameter's own values

# Columns of the resource table answer these; `_id` and `_lastUpdated` need no rows.
OF_RESOURCE_ROW = frozenset({"_id", "_lastUpdated"})


def index_rows(resource: Json, around: Surroundings) -> Mapping[Table, list[Row]]:
    """The index rows of a resource by table, without `rid`; equal values once."""
    rows: dict[Table, list[Row]] = {}
    for names, number, kind, extract in _simple(resource["resourceType"]):
        if names is not None and names.isdisjoint(resource):
            continue
        values = dict.fromkeys(extract(resource, resource, around))
        if values:
            into = rows.setdefault(kind.table, [])
            into += ({"param": number, "n": n, **kind.row_of(value)} for n, value in enumerate(values))
            if kind is TOKEN:
                _add_beside(rows, number, resource, around)
    for rows_of in _composites(resource["resourceType"]):
        for table, row in rows_of(resource, around):
            rows.setdefault(table, []).append(row)
    if resource["resourceType"] == LOCATION and (place := near_row(resource)):
        rows.setdefault(QUANTITY.table, []).append(place)
    if words := text_row(resource):
        rows[TEXT] = [words]
    return rows


@cache
def _simple(resource_type: str) -> list[tuple[frozenset[str] | None, int, Kind, Extract]]:
    return [
        (_first_names(parameter), parameter.number, KINDS[parameter.type], extractor(parameter))
        for parameter in parameters_of(resource_type).values()
        if parameter.type in KINDS and parameter.code not in OF_RESOURCE_ROW
    ]


def _add_beside(rows: dict[Table, list[Row]], number: int, resource: Json, around: Surroundings) -> None:
    """What `:text` and `:of-type` ask for: texts as of a string parameter, values under their types."""
    texts, types = _beside(resource["resourceType"])[number]
    for n, text in enumerate(dict.fromkeys(texts(resource, around))):
        rows.setdefault(STRING.table, []).append({"param": number, "n": n, **row_of_text(Text(text))})
    for n, token in enumerate(dict.fromkeys(types(resource, around))):
        rows[TOKEN.table].append({"param": number, "n": TYPES_FROM + n, **row_of_token(token)})


@cache
def _beside(resource_type: str) -> Mapping[int, tuple[Values, Values]]:
    return {
        parameter.number: (
            _values(parameter, TOKEN_TEXTS_OF),
            _values(parameter, TYPES_OF),
        )
        for parameter in parameters_of(resource_type).values()
        if parameter.type is SearchType.TOKEN
    }


def _values(parameter: SearchParameter, values_of: Mapping[str, ValuesOf]) -> Values:
    ways = [
        (first_name(path), compile_path(path), values_of[path.type])
        for path in map(parse_path, parameter.paths or ())
        if path.type in values_of
    ]

    def values(resource: Json, around: Surroundings) -> Iterator[Any]:
        for first, select, of in ways:
            if first is None or first in resource:
                for node in select(resource, resource):
                    yield from of(node, around)

    return values


def _first_names(parameter: SearchParameter) -> frozenset[str] | None:
    """The elements of the resource without which the parameter has no value; None: not known."""
    if parameter.paths is None:
        return None
    return frozenset(step.name for path in map(parse_path, parameter.paths) for step in path.steps[:1])


@cache
def _composites(resource_type: str) -> list[RowsOf]:
    parameters = parameters_of(resource_type).values()
    return [compile_composite(each) for each in parameters if each.type is SearchType.COMPOSITE]
