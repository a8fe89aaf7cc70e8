"""The resources that a page of a search includes (FHIR R4 search.html#include).

An include starts from the matches; one with `:iterate` also from what was included, until nothing new comes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy.engine import Row as ResultRow

from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.search.conditions import SearchQuery
from fhir.search.included import prepare_included
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import Database
from server.kernel.faults import Forbidden

MAX_INCLUDED = 1_000  # resources added to one page
MAX_ROUNDS = 20  # of `:iterate`: so far from the matches; each may be a statement an include

Rows = list[ResultRow[Any]]

_TOO_MANY = Issue(
    Severity.WARNING,
    IssueType.INCOMPLETE,
    f"Only the first {MAX_INCLUDED} included resources are on this page.",
)
_TOO_FAR = Issue(
    Severity.WARNING,
    IssueType.INCOMPLETE,
    f"':iterate' was followed over {MAX_ROUNDS} references, no further.",
)


async def read_included(
    database: Database, access: Access, query: SearchQuery, rids: Sequence[int], around: Surroundings
) -> tuple[Rows, list[Issue]]:
    """The rows that the includes of a query add to the matches `rids`, and what is to be said about them."""
    if not rids or not query.includes:
        return [], []
    matches, found = frozenset(rids), dict[int, ResultRow[Any]]()
    starts, includes, rounds = list(rids), list(query.includes), 0
    while starts and includes and len(found) <= MAX_INCLUDED and rounds < MAX_ROUNDS:
        new: dict[int, ResultRow[Any]] = {}
        for include in includes:
            reach_of = partial(_reach, access, query.resource_type)
            prepared = prepare_included(include, starts, reach_of, MAX_INCLUDED + 1, around)
            rows = [] if prepared is None else await database.look_up(*prepared)
            new.update({r.rid: r for r in rows if r.rid not in matches and r.rid not in found})
        found.update(new)
        starts, includes = list(new), [include for include in query.includes if include.iterate]
        rounds += 1
    issues = [_TOO_MANY] if len(found) > MAX_INCLUDED else [_TOO_FAR] if starts and includes else []
    return list(found.values())[:MAX_INCLUDED], issues


# What comes along with a type to whoever may search that: without the Endpoint nobody finds the images that
# `patient/ImagingStudy.rs` opens (SMART Imaging Access, Finding studies).
ACCOMPANYING: Mapping[str, str] = {"ImagingStudy": "Endpoint"}


def _reach(access: Access, searched_type: str, resource_type: str) -> Reach | None:
    """How far the caller may look among resources of a type; None: not at all."""
    try:
        return access.narrow_reach(resource_type, Permission.SEARCH)
    except Forbidden:
        if ACCOMPANYING.get(searched_type) == resource_type:
            searched = access.narrow_reach(searched_type, Permission.SEARCH)
            return Reach(searched.within, denials=searched.denials)
        return None
