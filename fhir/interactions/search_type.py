"""search-type (FHIR R4 http.html#search): one page of matches and what they include, as a Bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Row as ResultRow
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.bundle import Entry, Page, entry_of, render_searchset
from fhir.interactions.door import Door
from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.search.definitions import resource_types
from fhir.search.page import Pager, pager
from fhir.search.query import SearchQuery, parse_query
from fhir.search.sql import SHOWN, After, select_count, select_included, select_page
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import Forbidden

MAX_INCLUDED = 1_000  # resources added to one page

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Search:
    """A search under way: what is asked, how far it may look, and how its pages are named."""

    query: SearchQuery
    access: Access
    reach: Reach
    around: Surroundings
    pager: Pager


async def search_type(door: Door, access: Access, resource_type: str, pairs: Pairs, *, strict: bool) -> bytes:
    """The searchset Bundle of a search, as JSON text.

    Raises:
        InvalidSearch, UnsupportedSearch: see `parse_query`.
        Forbidden: the caller may not search this type.
    """
    reach = access.reach(resource_type, Permission.SEARCH)
    query = parse_query(resource_type, pairs, strict=strict)
    around = door.surroundings()
    named = pager(door.page_secret, access, resource_type, query.understood)
    search = Search(query, access, reach, around, named)
    async with door.services.database.read() as connection:
        page = await _read_page(connection, search)
    await door.services.read_audit.record(_audit_entry(search))
    return render_searchset(door.base_url, query, page, around.now_us)


async def _read_page(connection: AsyncConnection, search: Search) -> Page:
    query = search.query
    total = None
    if query.total or query.only_count:
        statement = select_count(query, search.reach, search.around)
        total = (await connection.execute(statement)).scalar_one()
    if query.only_count:
        return Page(total=total)
    after = search.pager.read(query.page) if query.page is not None else None
    statement_of_page = select_page(query, search.reach, search.around, after)
    found = (await connection.execute(statement_of_page)).all()
    matches = found[: query.count]
    more = len(found) > query.count
    if total is None and after is None and not more:
        total = len(matches)
    included, issues = await _read_included(connection, search, [row.rid for row in matches])
    entries = [entry_of(row, "match", query.elements) for row in matches]
    next_page = search.pager.token(_position(matches[-1])) if more and matches else None
    return Page(total, [*entries, *included], next_page, issues)


def _position(row: ResultRow[Any]) -> After:
    return After(tuple(row[len(SHOWN) :]), row.rid)


async def _read_included(
    connection: AsyncConnection, search: Search, rids: Sequence[int]
) -> tuple[list[Entry], list[Issue]]:
    if not rids or not search.query.includes:
        return [], []
    reaches = _reaches(search.access, search.query.resource_type)
    found: dict[int, ResultRow[Any]] = {}
    for include in search.query.includes:
        statement = select_included(include, rids, reaches, MAX_INCLUDED + 1)
        if statement is not None:
            rows = (await connection.execute(statement)).all()
            found.update({row.rid: row for row in rows})
    added = [row for rid, row in found.items() if rid not in frozenset(rids)]
    issues = [_TOO_MANY] if len(added) > MAX_INCLUDED else []
    elements = search.query.elements
    return [entry_of(row, "include", elements) for row in added[:MAX_INCLUDED]], issues


_TOO_MANY = Issue(
    Severity.WARNING,
    IssueType.INCOMPLETE,
    f"Only the first {MAX_INCLUDED} included resources are on this page.",
)


# What comes along with a type to whoever may search that: without the Endpoint nobody finds the images that
# `patient/ImagingStudy.rs` opens (SMART Imaging Access, Finding studies).
ACCOMPANYING: Mapping[str, str] = {"ImagingStudy": "Endpoint"}


def _reaches(access: Access, searched_type: str) -> dict[str, Reach]:
    """How far the caller may search each type; types it may not search are left out."""
    reaches = {}
    if accompanying := ACCOMPANYING.get(searched_type):
        reaches[accompanying] = access.reach(searched_type, Permission.SEARCH)
    for resource_type in resource_types():
        try:
            reaches[resource_type] = access.reach(resource_type, Permission.SEARCH)
        except Forbidden:
            continue
    return reaches


def _audit_entry(search: Search) -> AuditEntry:
    patients = search.reach.patient_ids
    one = next(iter(patients)) if patients is not None and len(patients) == 1 else None
    entry = AuditEntry(search.access.principal, Action.EXECUTE, "search-type", search.query.resource_type)
    return replace(entry, patient_id=one)
