"""Observation/$lastn: the latest observations of each code (FHIR R4 observation-operation-lastn.html).

Observations are of one code when the first coding of their `code` is the same. Of several at the time of the
last one that is returned, all are. The parameters are those of a search of Observation, and `max`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.engine import Row as ResultRow

from fhir.bundle import Links, Page, entry_of, render_page
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.door import Door
from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.negotiation import read_preferences
from fhir.operations.operation import Level, Operation
from fhir.operations.parameters import InvalidInput, read_inputs, whole_number
from fhir.search.conditions import SearchQuery
from fhir.search.definitions import SearchType, parameters_of
from fhir.search.kinds import KINDS
from fhir.search.query import PAGE, parse_query
from fhir.search.reach import R
from fhir.search.sql import SHOWN, select_matches
from fhir.search.value import Surroundings
from server.kernel.access import Permission, Reach
from server.kernel.audit import Action, AuditEntry

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Observation-lastn"
OBSERVATION = "Observation"
MAX_RETURNED = 1_000  # observations of one answer; more are cut off with a warning

_WHOSE = frozenset({"subject", "patient"})
_WHAT = frozenset({"code", "category"})


async def lastn(door: Door, request: FhirRequest) -> Answer:
    """The last observations of each code, codes in order, the latest first.

    Raises:
        InvalidInput: no patient, no code or category, or no sensible `max`.
        InvalidSearch, UnsupportedSearch: the other parameters.
    """
    access, around = request.access, door.surroundings()
    reach = access.narrow_reach(OBSERVATION, Permission.SEARCH)
    pairs = [(name, str(value)) for name, values in read_inputs(request).items() for value in values]
    most = _read_max(pairs)
    asked = [(name, value) for name, value in pairs if name != "max"]
    strict = read_preferences([request.headers.get("prefer", "")]).strict
    query = parse_query(OBSERVATION, asked, strict=strict, access=access)
    _require_criteria(query)
    async with door.services.database.read() as connection:
        rows = (await connection.execute(select_last(query, reach, around, most))).all()
    entry = AuditEntry(access.principal, Action.EXECUTE, "$lastn", OBSERVATION)
    await door.services.read_audit.record(entry)
    understood = [*query.understood, ("max", str(most))]
    links = Links(f"{door.base_url}/{OBSERVATION}/$lastn", understood)
    return Answer(text=render_page(door.base_url, links, _page(rows), around.now_us))


def select_last(query: SearchQuery, reach: Reach, around: Surroundings, most: int) -> Select[Any]:
    """The matches that are among the last `most` of their code, one more than `MAX_RETURNED` of them."""
    parameters = parameters_of(OBSERVATION)
    codes, dates = KINDS[SearchType.TOKEN].table.alias(), KINDS[SearchType.DATE].table.alias()
    matches = select_matches(query, reach, around).subquery()
    first_code = and_(
        codes.c.rid == matches.c.rid, codes.c.param == parameters["code"].number, codes.c.n == 0
    )
    first_date = and_(
        dates.c.rid == matches.c.rid, dates.c.param == parameters["date"].number, dates.c.n == 0
    )
    when = func.coalesce(dates.c.low_us, -(1 << 62))  # without a date it is the earliest
    place = func.rank().over(partition_by=(codes.c.system, codes.c.code), order_by=when.desc())
    placed = (
        select(matches.c.rid, codes.c.system, codes.c.code, when.label("when_us"), place.label("place"))
        .outerjoin(codes, first_code)
        .outerjoin(dates, first_date)
        .subquery()
    )
    rows = select(*SHOWN).join(placed, placed.c.rid == R.c.rid).where(placed.c.place <= most)
    ordered = rows.order_by(placed.c.system, placed.c.code, placed.c.when_us.desc(), R.c.rid.desc())
    return ordered.limit(MAX_RETURNED + 1)


def _read_max(pairs: Sequence[tuple[str, str]]) -> int:
    values = [value for name, value in pairs if name == "max"]
    if not values:
        return 1
    if len(values) > 1:
        raise InvalidInput("The parameter 'max' may be there once.")
    return min(whole_number("max", values[0]), MAX_RETURNED + 1)  # with more, that it is cut off is told


def _require_criteria(query: SearchQuery) -> None:
    names = {name.partition(":")[0].partition(".")[0] for name, _ in query.understood}
    if not names & _WHOSE or not names & _WHAT:
        raise InvalidInput("'$lastn' needs a patient or subject, and a code or category.")
    if query.includes or query.sort or query.only_count or PAGE in names:
        raise InvalidInput("'$lastn' takes search criteria and 'max'.")


def _page(rows: Sequence[ResultRow[Any]]) -> Page:
    issues = [_TOO_MANY] if len(rows) > MAX_RETURNED else []
    entries = [entry_of(row, "match", None) for row in rows[:MAX_RETURNED]]
    return Page(None if issues else len(entries), entries, issues=issues)


_TOO_MANY = Issue(
    Severity.WARNING, IssueType.INCOMPLETE, f"Only the first {MAX_RETURNED} observations are here."
)

LASTN_OPERATIONS: Sequence[Operation] = (
    Operation("lastn", _DEFINITION, frozenset({Level.TYPE}), lastn, types=frozenset({OBSERVATION})),
)
