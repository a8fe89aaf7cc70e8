"""history-instance, history-type and history-system (FHIR R4 http.html#history)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhir.exchange import Answer, FhirRequest
from fhir.history.query import HistoryQuery, parse_history
from fhir.history.render import render_history
from fhir.history.sql import select_history
from fhir.interactions.door import Door
from fhir.interactions.reaches import Reaches, patients_of_all, reaches_of
from fhir.negotiation import read_preferences
from fhir.search.order import After
from fhir.search.page import pager
from server.kernel.access import Access, Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import NotFound
from server.kernel.horizon import settled_before_us


async def history(door: Door, request: FhirRequest) -> Answer:
    """A page of versions, newest first, of what the URL names.

    A history of several resources stops where writes are still under way, so that who asks again from the
    Bundle's `meta.lastUpdated` on misses none.

    Raises:
        Forbidden: no grant.
        NotFound: no such resource within the caller's reach.
        InvalidSearch: the parameters.
    """
    access, around = request.access, door.surroundings()
    reaches = _reaches(access, request)
    strict = read_preferences([request.headers.get("prefer", "")]).strict
    named = (request.resource_type, request.resource_id)
    query = parse_history(named, request.pairs, around, strict=strict)
    pages = pager(door.page_secret, access.principal, reaches, query.path, query.understood)
    after = None if query.page is None else pages.read(query.page)
    async with door.services.database.read() as connection:
        before_us = None if query.resource_id else await settled_before_us(connection)
        rows = (await connection.execute(select_history(query, reaches, after, before_us))).all()
    if not rows and query.resource_id is not None and _is_whole(query):
        raise NotFound("No such resource.")
    shown = rows[: query.count]
    more = len(rows) > query.count and bool(shown)
    last = shown[-1] if more else None
    next_page = last and pages.token(After((last.last_updated_us, last.version_id), last.rid))
    await door.services.read_audit.record(_audit_entry(request, reaches, rows))
    return Answer(text=render_history(door.base_url, query, shown, next_page, before_us or around.now_us))


def _is_whole(query: HistoryQuery) -> bool:
    return query.since_us is None and query.at is None and query.page is None


def _reaches(access: Access, request: FhirRequest) -> Reaches:
    """Instance history is a read, the others are searches (SMART App Launch 2.2, scopes)."""
    if request.resource_id is None or request.resource_type is None:
        return reaches_of(access, request.resource_type)
    return {request.resource_type: access.reach(request.resource_type, Permission.READ)}


def _audit_entry(request: FhirRequest, reaches: Reaches, rows: Sequence[Any]) -> AuditEntry:
    level = "system" if request.resource_type is None else "instance" if request.resource_id else "type"
    action = Action.READ if level == "instance" else Action.EXECUTE
    named = request.resource_type or "Resource"
    entry = AuditEntry(request.access.principal, action, f"history-{level}", named, request.resource_id)
    if level == "instance" and rows:
        return replace(entry, patient_id=rows[0].patient_id)
    patients = patients_of_all(reaches)
    return replace(entry, patient_id=min(patients)) if patients else entry
