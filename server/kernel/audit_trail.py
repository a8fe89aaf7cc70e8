"""Reading the audit trail: who looked at what, newest or oldest first, page by page.

An entry is named by when it was recorded and its number: so it is found by the key that the months of
PostgreSQL have too (`server/kernel/audit_months.py`). Searches go by time, or by patient and time; other
conditions are looked at on the way, so who asks for them names a time as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, not_, or_, select, tuple_

from server.kernel.rows import table_of
from server.kernel.tables import AuditRow

_AUDIT = table_of(AuditRow)


@dataclass(frozen=True, slots=True)
class Span:
    """Instants from `low_us` on, before `high_us`; None: open."""

    low_us: int | None
    high_us: int | None


@dataclass(frozen=True, slots=True)
class OneOf:
    """A column has one of these values, or none of them."""

    column: str  # of `AuditRow`
    values: frozenset[str]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """The act was on this resource; of a Patient: also on what is part of its record."""

    resource_type: str
    resource_id: str


@dataclass(frozen=True, slots=True)
class EntryKey:
    """Which entry."""

    recorded_us: int
    sequence: int


@dataclass(slots=True)
class TrailQuery:
    """What entries are asked for: all conditions hold, of the alternatives of one any."""

    keys: list[Sequence[EntryKey]] = field(default_factory=list)
    spans: list[Sequence[Span]] = field(default_factory=list)
    columns: list[OneOf] = field(default_factory=list)
    agents: list[frozenset[str]] = field(default_factory=list)  # one of these asked, or was asked through
    about: list[Sequence[About]] = field(default_factory=list)
    addresses: list[Sequence[str]] = field(default_factory=list)  # beginnings: it came from one such
    newest_first: bool = True


def select_entries(query: TrailQuery, after: EntryKey | None, limit: int) -> Select[Any]:
    """The entries, `limit` at most, that follow `after` in the order asked for."""
    c = _AUDIT.c
    rows = select(_AUDIT).where(*_conditions(query))
    if after is not None:
        here, there = tuple_(c.recorded_us, c.sequence), tuple_(after.recorded_us, after.sequence)
        rows = rows.where(here < there if query.newest_first else here > there)
    order = (
        (c.recorded_us.desc(), c.sequence.desc())
        if query.newest_first
        else (c.recorded_us.asc(), c.sequence.asc())
    )
    return rows.order_by(*order).limit(limit)


def count_entries(query: TrailQuery) -> Select[Any]:
    """How many entries there are."""
    return select(func.count()).select_from(_AUDIT).where(*_conditions(query))


def _conditions(query: TrailQuery) -> list[ColumnElement[bool]]:
    c = _AUDIT.c
    terms: list[ColumnElement[bool]] = []
    for keys in query.keys:
        named = (and_(c.recorded_us == key.recorded_us, c.sequence == key.sequence) for key in keys)
        terms.append(or_(false(), *named))
    terms += [or_(false(), *map(_within, spans)) for spans in query.spans]
    terms += [_one_of(each) for each in query.columns]
    terms += [or_(c.principal.in_(sorted(each)), c.client.in_(sorted(each))) for each in query.agents]
    terms += [or_(false(), *map(_is_about, about)) for about in query.about]
    for beginnings in query.addresses:
        terms.append(or_(false(), *(c.address.startswith(each, autoescape=True) for each in beginnings)))
    return terms


def _within(span: Span) -> ColumnElement[bool]:
    at = _AUDIT.c.recorded_us
    bounds = [at >= span.low_us] if span.low_us is not None else []
    bounds += [at < span.high_us] if span.high_us is not None else []
    return and_(*bounds) if bounds else at.is_not(None)


def _one_of(wanted: OneOf) -> ColumnElement[bool]:
    column = _AUDIT.c[wanted.column]
    has = column.in_(sorted(wanted.values))
    return or_(column.is_(None), not_(has)) if wanted.negated else has


def _is_about(about: About) -> ColumnElement[bool]:
    c = _AUDIT.c
    itself = and_(c.resource_type == about.resource_type, c.resource_id == about.resource_id)
    return or_(itself, c.patient_id == about.resource_id) if about.resource_type == "Patient" else itself
