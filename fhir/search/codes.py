"""`:in`, `:not-in`, `:above`, `:below` of tokens become the codes meant (FHIR R4 search.html#token).

Which codes those are is asked of whoever knows the terminology, before there is a statement.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from fhir.search.conditions import (
    Both,
    Chain,
    Condition,
    Criterion,
    Either,
    Has,
    SearchQuery,
    Unless,
)
from fhir.search.definitions import SearchType
from fhir.search.token import LISTED, list_codes
from fhir.search.value import InvalidSearch, split_escaped, unescape
from terminology.codes import Code

MODIFIERS = frozenset({"in", "not-in", "above", "below"})
MAX_SYSTEMS = 50  # code systems of the codes of one parameter
MAX_ASKED = 10  # value sets and hierarchies of one search


class Codes(Protocol):
    """Who knows the terminology."""

    async def of_value_set(self, name: str) -> frozenset[Code]:
        """The codes of a ValueSet by canonical URL or `ValueSet/id`; InvalidSearch: it cannot be told."""

    async def related(self, code: Code, relation: str) -> frozenset[Code]:
        """The code with those `above` or `below` it; InvalidSearch: it cannot be told."""


async def resolve_codes(query: SearchQuery, codes: Codes) -> None:
    """Put codes in the place of what names them, in all criteria of a query."""
    found: dict[Criterion, Condition] = {}
    for criterion in {c: None for each in query.criteria for c in _criteria(each)}:
        if len(found) >= MAX_ASKED:
            raise InvalidSearch(f"A search names at most {MAX_ASKED} value sets and hierarchies.")
        found[criterion] = await _resolved(criterion, codes)
    if found:
        query.criteria = [
            _map(each, lambda criterion: found.get(criterion, criterion)) for each in query.criteria
        ]


def _criteria(condition: Condition) -> list[Criterion]:
    met: list[Criterion] = []

    def see(criterion: Criterion) -> Condition:
        if criterion.parameter.type is SearchType.TOKEN and criterion.modifier in MODIFIERS:
            met.append(criterion)
        return criterion

    _map(condition, see)
    return met


def _map(condition: Condition, change: Callable[[Criterion], Condition]) -> Condition:
    if isinstance(condition, Criterion):
        return change(condition)
    if isinstance(condition, Chain | Has | Unless):
        return replace(condition, condition=_map(condition.condition, change))
    if isinstance(condition, Either | Both):
        return replace(condition, conditions=tuple(_map(each, change) for each in condition.conditions))
    return condition


async def _resolved(criterion: Criterion, codes: Codes) -> Condition:
    found: set[Code] = set()
    for value in criterion.values:
        if criterion.modifier in ("in", "not-in"):
            found |= await codes.of_value_set(unescape(value))
        else:
            found |= await codes.related(_code(criterion, value), str(criterion.modifier))
    matching = Criterion(criterion.parameter, LISTED, tuple(_lists(found))) if found else Either(())
    return Unless(matching) if criterion.modifier == "not-in" else matching


def _lists(codes: Iterable[Code]) -> Iterator[str]:
    """The codes of each system."""
    by_system: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_system.setdefault(code.system, []).append(code.code)
    if len(by_system) > MAX_SYSTEMS:
        raise InvalidSearch(f"A search names codes of at most {MAX_SYSTEMS} code systems.")
    return (list_codes(system, some) for system, some in by_system.items())


def _code(criterion: Criterion, value: str) -> Code:
    parts = [unescape(part) for part in split_escaped(value, "|")]
    if len(parts) != 2 or not all(parts):
        raise InvalidSearch(
            f"The value of '{criterion.parameter.code}:{criterion.modifier}' is not system|code."
        )
    return Code(*parts)
