"""search (FHIR R4 http.html#search): one page of matches and what they include, as a Bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Row as ResultRow

from fhir.bundle import Page, entry_of, render_searchset
from fhir.interactions.door import Door
from fhir.interactions.included import read_included
from fhir.interactions.reaches import patients_of_all
from fhir.interactions.searched_codes import SearchedCodes
from fhir.search.codes import resolve_codes
from fhir.search.matches import read_matches
from fhir.search.order import After
from fhir.search.page import Pager, pager
from fhir.search.place import Place
from fhir.search.query import SearchQuery, parse_query
from fhir.search.sql import SHOWN, Reaches, prepare_count
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Principal, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database
from server.kernel.faults import Forbidden

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Search:
    """A search under way: what is asked, how far it may look, and how its pages are named."""

    query: SearchQuery
    access: Access
    reaches: Reaches
    around: Surroundings
    pager: Pager


async def search(door: Door, access: Access, place: Place, pairs: Pairs, *, strict: bool) -> bytes:
    """The searchset Bundle of a search, as JSON text.

    Raises:
        InvalidSearch, UnsupportedSearch: see `parse_query`.
        Forbidden: the caller may not search there.
    """
    reaches = reaches_of(access, place.types, all_of_them=place.is_of_one_type)
    query = parse_query(place.resource_type, pairs, strict=strict, access=access)
    query.path = place.path
    if query.types is not None:
        named = [name for name in query.types if name in place.types]
        reaches = reaches_of(access, named, all_of_them=True)
    if place.compartment is not None:
        query.criteria.append(place.compartment)
    await resolve_codes(query, SearchedCodes(door))
    around = door.surroundings()
    pages = pager(door.page_secret, access.principal, reaches, place.path, query.understood)
    search = Search(query, access, reaches, around, pages)
    page = await _read_page(door.services.database, search)
    await door.services.read_audit.record(_audit_entry(access.principal, reaches, place))
    return render_searchset(door.base_url, query, page, around.now_us)


def reaches_of(access: Access, types: Sequence[str], *, all_of_them: bool) -> Reaches:
    """How far the caller may search each type; those that it may not search are left out, if it may any.

    Raises:
        Forbidden: it may search none, or, where all have to be open, not all.
    """
    reaches: dict[str, Reach] = {}
    refused: Forbidden | None = None
    for name in types:
        try:
            reaches[name] = access.narrow_reach(name, Permission.SEARCH)
        except Forbidden as fault:
            refused = fault
    if refused is not None and (all_of_them or not reaches):
        raise refused
    return reaches


async def _read_page(database: Database, search: Search) -> Page:
    query = search.query
    total = None
    if query.total or query.only_count:
        counted = await database.look_up(*prepare_count(query, search.reaches, search.around))
        total = counted[0].total
    if query.only_count:
        return Page(total=total)
    after = search.pager.read(query.page) if query.page is not None else None
    found = await read_matches(database, query, search.reaches, search.around, after)
    matches = found[: query.count]
    more = len(found) > query.count
    if total is None and after is None and not more:
        total = len(matches)
    included, issues = await read_included(
        database, search.access, query, [row.rid for row in matches], search.around
    )
    entries = [entry_of(row, "match", query.subset) for row in matches]
    entries += [entry_of(row, "include", query.subset) for row in included]
    next_page = search.pager.token(_position(matches[-1])) if more and matches else None
    return Page(total, entries, next_page, issues)


def _position(row: ResultRow[Any]) -> After:
    return After(tuple(row[len(SHOWN) :]), row.rid)


def _audit_entry(principal: Principal, reaches: Reaches, place: Place) -> AuditEntry:
    patients = patients_of_all(reaches)
    one = next(iter(patients)) if patients is not None and len(patients) == 1 else None
    if place.compartment is not None and place.compartment.compartment_type == "Patient":
        one = place.compartment.compartment_id
    entry = AuditEntry(principal, Action.EXECUTE, place.interaction, place.resource_type)
    return replace(entry, patient_id=one)
