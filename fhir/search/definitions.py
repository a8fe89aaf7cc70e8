"""The R4 search parameters and the patient compartment, from `definitions/search_parameters.json`, lazily.

`tools/generate_fhir_search.py` wrote the file; a parameter's number is pinned there, for index rows carry it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path as FilePath
from typing import Any

import msgspec
import orjson

DEFINITIONS = FilePath(__file__).parents[1] / "definitions"
EVERY_RESOURCE = "Resource"
_PUBLISHED_AT = "http://hl7.org/fhir/SearchParameter/"


class SearchType(Enum):
    """SearchParameter.type (FHIR R4 valueset-search-param-type)."""

    NUMBER = "number"
    DATE = "date"
    STRING = "string"
    TOKEN = "token"  # noqa: S105  a kind of parameter
    REFERENCE = "reference"
    COMPOSITE = "composite"
    QUANTITY = "quantity"
    URI = "uri"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter of one resource type, or one component of a composite parameter."""

    number: int
    code: str
    type: SearchType
    url: str
    expression: str
    paths: tuple[str, ...] | None  # None: only FHIRPath itself can evaluate the expression
    targets: tuple[str, ...] = ()
    components: tuple["SearchParameter", ...] = ()

    def __hash__(self) -> int:
        """Its number is its own."""
        return self.number


class _File(msgspec.Struct):
    types: list[str]
    unsupported: list[str]
    compartment: dict[str, list[str]]
    compartments: dict[str, dict[str, list[str]]]
    parameters: dict[str, msgspec.Raw]


@cache
def _file() -> _File:
    return msgspec.json.decode((DEFINITIONS / "search_parameters.json").read_bytes(), type=_File)


@cache
def resource_types() -> frozenset[str]:
    """The concrete resource types of R4."""
    return frozenset(_file().types)


@cache
def stored_types() -> frozenset[str]:
    """The resource types that a server keeps; Parameters is only ever sent (FHIR R4 parameters.html)."""
    return resource_types() - {"Parameters"}


@cache
def unsupported_codes() -> frozenset[str]:
    """Parameters of R4 that narrow a search and that this server does not offer."""
    return frozenset(_file().unsupported)


def compartment_codes(resource_type: str) -> tuple[str, ...]:
    """The parameters that put a resource of this type into a patient's compartment."""
    return tuple(_file().compartment.get(resource_type, ()))


@cache
def compartment_types() -> frozenset[str]:
    """The types whose resources have compartments (FHIR R4 compartmentdefinition.html)."""
    return frozenset(_file().compartments)


@cache
def compartment_members(compartment_type: str) -> Mapping[str, Sequence[str]]:
    """The types of what is in such a compartment, each with the parameters that put it there.

    A Patient's has Task too, as it has where it confines callers.
    """
    ours = _file().compartment if compartment_type == "Patient" else {}
    return {**ours, **_file().compartments[compartment_type]}


@cache
def parameters_of(resource_type: str) -> Mapping[str, SearchParameter]:
    """The supported search parameters of a resource type by code, those of every resource included."""
    found = {**_read(EVERY_RESOURCE)}
    if resource_type in _file().parameters:
        found.update(_read(resource_type))
    return found


@cache
def number_of(resource_type: str, code: str) -> int:
    """The number of a parameter that needs no expression to be indexed."""
    rows = msgspec.json.decode(_file().parameters[resource_type])
    return next(int(row["number"]) for row in rows if row["code"] == code)


@cache
def own_search_parameters() -> tuple[Mapping[str, Any], ...]:
    """The SearchParameter resources that this server adds to those of R4."""
    files = sorted((DEFINITIONS / "own").glob("SearchParameter-*.json"))
    return tuple(orjson.loads(file.read_bytes()) for file in files)


@cache
def own_operation_definitions() -> tuple[Mapping[str, Any], ...]:
    """The OperationDefinition resources of the operations that this server adds to those of R4."""
    files = sorted((DEFINITIONS / "own").glob("OperationDefinition-*.json"))
    return tuple(orjson.loads(file.read_bytes()) for file in files)


@cache
def _read(base: str) -> Mapping[str, SearchParameter]:
    rows = msgspec.json.decode(_file().parameters[base])
    return {row["code"]: _parameter(row) for row in rows if "expression" in row}


def _parameter(row: Mapping[str, Any]) -> SearchParameter:
    return SearchParameter(
        number=row["number"],
        code=row.get("code", ""),
        type=SearchType(row["type"]),
        url=_url(row.get("url", "")),
        expression=row["expression"],
        paths=None if row["paths"] is None else tuple(row["paths"]),
        targets=tuple(row.get("targets", ())),
        components=tuple(_parameter(component) for component in row.get("components", ())),
    )


def _url(written: str) -> str:
    return written if ":" in written or not written else _PUBLISHED_AT + written
