"""read and search of AuditEvents: for callers that are confined to no patient, and audited themselves."""

from fhir.audit_events.query import AuditQuery, key_of, parse_audit_query
from fhir.audit_events.render import AUDIT_EVENT, Entry, audit_event
from fhir.bundle import Entry as BundleEntry
from fhir.bundle import Links, Page, render_page
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.answers import answer_stored
from fhir.interactions.door import Door
from fhir.interactions.read import Stored
from fhir.model.json_codec import encode_json
from fhir.negotiation import read_preferences
from fhir.search.order import After
from fhir.search.page import Pager, pager
from server.kernel.access import Access, Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.audit_trail import EntryKey, TrailQuery, count_entries, select_entries
from server.kernel.database import Database
from server.kernel.faults import Forbidden, NotFound


async def read_audit_event(door: Door, request: FhirRequest) -> Answer:
    """One entry of the trail.

    Raises:
        Forbidden: no grant, or the caller is confined to patients.
        NotFound: there is no such entry, or no more.
    """
    _require_open(request.access, Permission.READ)
    key = key_of(request.resource_id or "")
    if key is None or request.version_id not in (None, "1"):
        raise NotFound("No such AuditEvent.")
    async with door.services.database.read() as connection:
        row = (await connection.execute(select_entries(TrailQuery(keys=[[key]]), None, 1))).first()
    if row is None:
        raise NotFound("No such AuditEvent.")
    entry = Entry(**row._mapping)
    act = AuditEntry(request.access.principal, Action.READ, "read", AUDIT_EVENT, entry.id)
    await door.services.read_audit.record(act)
    text = encode_json(audit_event(entry))
    return answer_stored(request, Stored(AUDIT_EVENT, entry.id, 1, entry.recorded_us, text))


async def search_audit_events(door: Door, request: FhirRequest) -> Answer:
    """A page of the trail.

    Raises:
        Forbidden: no grant, or the caller is confined to patients.
        InvalidSearch, UnsupportedSearch: see `parse_audit_query`.
    """
    access, around = request.access, door.surroundings()
    _require_open(access, Permission.SEARCH)
    strict = read_preferences([request.headers.get("prefer", "")]).strict
    query = parse_audit_query(request.pairs, around, strict=strict)
    pages = pager(door.page_secret, access.principal, {}, AUDIT_EVENT, query.understood)
    page = await _read_page(door.services.database, query, pages)
    act = AuditEntry(access.principal, Action.EXECUTE, "search-type", AUDIT_EVENT)
    await door.services.read_audit.record(act)
    links = Links(f"{door.base_url}/{AUDIT_EVENT}", query.understood, query.page)
    return Answer(text=render_page(door.base_url, links, page, around.now_us))


async def _read_page(database: Database, query: AuditQuery, pages: Pager) -> Page:
    total = None
    async with database.read() as connection:
        if query.total or query.only_count:
            total = (await connection.execute(count_entries(query.trail))).scalar_one()
        if query.only_count:
            return Page(total=total)
        after = None
        if query.page is not None:
            reached = pages.read(query.page)
            after = EntryKey(int(reached.values[0]), reached.rid)
        rows = (await connection.execute(select_entries(query.trail, after, query.count + 1))).all()
    found = [Entry(**row._mapping) for row in rows[: query.count]]
    more = len(rows) > query.count
    if total is None and after is None and not more:
        total = len(found)
    entries = [BundleEntry(AUDIT_EVENT, e.id, encode_json(audit_event(e)), "match") for e in found]
    next_page = pages.token(After((found[-1].recorded_us,), found[-1].sequence)) if more and found else None
    return Page(total, entries, next_page)


def _require_open(access: Access, permission: Permission) -> None:
    """The trail tells of everybody: stricter than R4, whose patient compartment has AuditEvent.patient.

    Raises:
        Forbidden: no grant opens it, or the token has a patient.
    """
    if access.reach(AUDIT_EVENT, permission).is_confined:
        raise Forbidden("The audit trail is not open to a token that is confined to a patient.")
