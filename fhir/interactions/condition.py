"""Conditions of writes: `If-None-Exist` and the criteria in a URL (FHIR R4 http.html#ccreate, #cond-update).

A condition is a search that is made under a lock of its own name, in the transaction that acts on its answer:
two clients with one condition come one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy.engine import Row as ResultRow
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.exchange import Pairs
from fhir.interactions.prepared import ON_CONDITION
from fhir.search.query import WITHOUT_EFFECT, SearchQuery, parse_query
from fhir.search.sql import select_page
from fhir.search.value import InvalidSearch, Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind


class SeveralMatches(Fault):
    """The condition of a conditional interaction matches more than one resource."""

    kind = FaultKind.PRECONDITION_FAILED


@dataclass(frozen=True, slots=True)
class Condition:
    """The search, how far it may look, and the name of the lock on it."""

    query: SearchQuery
    reach: Reach
    lock: str


def read_condition_header(access: Access, resource_type: str, if_none_exist: str) -> Condition:
    """The condition in an `If-None-Exist` header: criteria, or a URL of the type with criteria.

    Raises:
        InvalidSearch: no search criteria, one that is unknown, or the URL of another type.
        Forbidden: the caller may not search: the answer would tell what is there.
    """
    url, question, criteria = if_none_exist.partition("?")
    if not question or "=" in url:  # no URL stands before it
        url, criteria = "", if_none_exist
    if url.rpartition("/")[2] not in ("", resource_type):
        raise InvalidSearch("'If-None-Exist' is about another type.")
    try:
        pairs = parse_qsl(criteria, keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidSearch("'If-None-Exist' is no search.") from None
    return read_condition(access, resource_type, pairs)


def read_condition(access: Access, resource_type: str, pairs: Pairs) -> Condition:
    """The condition that the parameters of a URL state; raises as `read_condition_header`."""
    stated = [(name, value) for name, value in pairs if name not in WITHOUT_EFFECT]
    query = parse_query(resource_type, stated, strict=True, access=access)
    # One without a value would be as if absent: a client that has nothing to put in would write what it
    # does not mean.
    if not query.criteria or len(query.criteria) != len(stated):
        raise InvalidSearch("A condition needs search criteria with values, and nothing else.")
    query.count = 1
    named = "&".join(f"{name}={value}" for name, value in sorted(stated))
    reach = access.narrow_reach(resource_type, Permission.SEARCH)
    return Condition(query, reach, f"{ON_CONDITION}{resource_type}?{named}")


async def find_one(
    unit: UnitOfWork | AsyncConnection, condition: Condition, around: Surroundings
) -> ResultRow[Any] | None:
    """The resource that matches; None: none does. The condition's lock is held.

    Raises:
        SeveralMatches: more than one does.
    """
    rows = await find_all(unit, condition, around, 1)
    if len(rows) > 1:
        raise SeveralMatches("More than one resource matches the condition.")
    return rows[0] if rows else None


async def find_all(
    unit: UnitOfWork | AsyncConnection, condition: Condition, around: Surroundings, limit: int
) -> Sequence[ResultRow[Any]]:
    """The resources that match, one more than `limit` at most."""
    condition.query.count = limit
    return (await unit.execute(select_page(condition.query, condition.reach, around, None))).all()
