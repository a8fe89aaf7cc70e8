"""A search of AuditEvents as a query of the audit trail (FHIR R4 auditevent.html#search). Pure.

The parameters that the trail can answer; the CapabilityStatement names these and no others.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir.audit_events.render import (
    ACTIONS,
    ALERTS,
    OTHER_TYPES,
    OUTCOMES,
    REST_INTERACTION,
    REST_INTERACTIONS,
    REST_TYPE,
    TOKENS,
)
from fhir.model.systems import DICOM
from fhir.search.date import read_date
from fhir.search.query import DEFAULT_COUNT, MAX_COUNT, PAGE, WITHOUT_EFFECT
from fhir.search.value import Asked, InvalidSearch, Prefix, Surroundings, UnsupportedSearch, split_escaped
from server.kernel.audit_trail import About, EntryKey, OneOf, Span, TrailQuery

MAX_AUDIT_VALUES = 50  # of one parameter

_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_REFERENCE = re.compile(r"(?:.*/)?([A-Z][A-Za-z]{1,60})/([A-Za-z0-9\-.]{1,64})", re.DOTALL)
_SORTS = {"-date": True, "-_lastUpdated": True, "date": False, "_lastUpdated": False}


@dataclass(slots=True)
class AuditQuery:
    """What is asked for, and how it is to be shown."""

    trail: TrailQuery = field(default_factory=TrailQuery)
    count: int = DEFAULT_COUNT
    total: bool = False
    only_count: bool = False
    page: str | None = None
    understood: list[tuple[str, str]] = field(default_factory=list)


def parse_audit_query(pairs: Sequence[tuple[str, str]], around: Surroundings, *, strict: bool) -> AuditQuery:
    """The query that the parameters of a request describe.

    Raises:
        InvalidSearch: a value makes no sense, or (strict) a name is unknown.
        UnsupportedSearch: a parameter of R4 that the trail cannot answer.
    """
    query = AuditQuery()
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise InvalidSearch("A search parameter contains NUL.")
        if name in WITHOUT_EFFECT or value == "":
            continue
        if _take(query, name, value, around):
            if name != PAGE:
                query.understood.append((name, value))
        elif name.partition(":")[0] in _NOT_OFFERED or name.partition(":")[0] in CRITERIA:
            raise UnsupportedSearch("AuditEvents are not searched by that parameter or modifier here.")
        elif strict:
            raise InvalidSearch("AuditEvent has no such search parameter.")
    return query


def key_of(resource_id: str) -> EntryKey | None:
    """The entry that an id names; None: it names none."""
    found = _ID.fullmatch(resource_id)
    return EntryKey(int(found[1]), int(found[2])) if found else None


def _take(query: AuditQuery, name: str, value: str, around: Surroundings) -> bool:
    if name in _RESULTS:
        return _RESULTS[name](query, value)
    read = _READERS.get(name)
    if read is None:
        return False
    values = split_escaped(value, ",")
    if len(values) > MAX_AUDIT_VALUES:
        raise InvalidSearch(f"The search parameter '{name}' has more than {MAX_AUDIT_VALUES} values.")
    read(query.trail, name, values, around)
    return True


def _take_count(query: AuditQuery, value: str) -> bool:
    if not value.isascii() or not value.isdigit() or len(value) > 10:
        raise InvalidSearch("'_count' is no whole number of zero or more.")
    query.count = min(int(value), MAX_COUNT)
    query.only_count = query.only_count or query.count == 0
    return True


def _take_sort(query: AuditQuery, value: str) -> bool:
    if value not in _SORTS:
        raise UnsupportedSearch("AuditEvents are sorted by date only.")
    query.trail.newest_first = _SORTS[value]
    return True


def _take_total(query: AuditQuery, value: str) -> bool:
    if value not in ("none", "estimate", "accurate"):
        raise InvalidSearch("'_total' is none, estimate or accurate.")
    query.total = value != "none"
    return True


def _take_summary(query: AuditQuery, value: str) -> bool:
    if value not in ("true", "text", "data", "count", "false"):
        raise InvalidSearch("'_summary' is true, text, data, count or false.")
    query.only_count = query.only_count or value == "count"
    return value in ("count", "false")


def _take_page(query: AuditQuery, value: str) -> bool:
    query.page = value
    return True


_RESULTS: Mapping[str, Callable[[AuditQuery, str], bool]] = {
    "_count": _take_count,
    "_sort": _take_sort,
    "_total": _take_total,
    "_summary": _take_summary,
    PAGE: _take_page,
}
Reader = Callable[[TrailQuery, str, Sequence[str], Surroundings], None]


def _read_ids(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    keys = (key_of(value) for value in values)
    trail.keys.append([key for key in keys if key is not None])


def _read_dates(trail: TrailQuery, name: str, values: Sequence[str], around: Surroundings) -> None:
    spans: list[Span] = []
    for value in values:
        term = read_date(Asked(name, value, None, around))
        assert isinstance(term.form, Prefix)
        low_us, high_us = term.values
        spans += _SPANS_OF[term.form](low_us, high_us)
    trail.spans.append(spans)


# What of an instant the prefixes ask, of a range from `low` to before `high` (search.html#date).
_SPANS_OF: Mapping[Prefix, Callable[[int, int], Sequence[Span]]] = {
    Prefix.EQ: lambda low, high: [Span(low, high)],
    Prefix.NE: lambda low, high: [Span(None, low), Span(high, None)],
    Prefix.GT: lambda _low, high: [Span(high, None)],
    Prefix.SA: lambda _low, high: [Span(high, None)],
    Prefix.LT: lambda low, _high: [Span(None, low)],
    Prefix.EB: lambda low, _high: [Span(None, low)],
    Prefix.GE: lambda low, _high: [Span(low, None)],
    Prefix.LE: lambda _low, high: [Span(None, high)],
    Prefix.AP: lambda low, high: [Span(low, high)],
}


def _read_patients(trail: TrailQuery, name: str, values: Sequence[str], _around: Surroundings) -> None:
    ids = set()
    for value in values:
        resource_type, resource_id = _reference(name, value, "Patient")
        if resource_type == "Patient":
            ids.add(resource_id)
    trail.columns.append(OneOf("patient_id", frozenset(ids)))


def _read_entities(trail: TrailQuery, name: str, values: Sequence[str], _around: Surroundings) -> None:
    trail.about.append([About(*_reference(name, value, None)) for value in values])


def _reference(name: str, value: str, only_type: str | None) -> tuple[str, str]:
    found = _REFERENCE.fullmatch(value)
    if found is not None:
        return found[1], found[2]
    if only_type is None or "/" in value:
        raise InvalidSearch(f"The value of '{name}' is no reference of the form Type/id.")
    return only_type, value


def _read_principals(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    trail.agents.append(frozenset(_codes(values, ("",))))


def _read_actions(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    trail.columns.append(OneOf("action", frozenset(_codes(values, (ACTIONS,)))))


def _read_outcomes(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    trail.columns.append(OneOf("outcome", frozenset(_codes(values, (OUTCOMES,)))))


def _read_subtypes(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    wanted = set()
    for value in values:
        system, bar, code = value.rpartition("|")
        if system in ("", DICOM):
            wanted |= {own for own, coding in ALERTS.items() if coding["code"] == code}
        known = REST_INTERACTION if code in REST_INTERACTIONS else ""
        if not bar or system == known:
            wanted.add(code)
    trail.columns.append(OneOf("interaction", frozenset(wanted)))


def _read_types(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    """Every interaction has one type: `rest` those that are of no other."""
    rest = _is_asked(values, REST_TYPE)
    named = [acts for coding, acts in OTHER_TYPES if _is_asked(values, coding) is not rest]
    trail.columns.append(OneOf("interaction", frozenset[str]().union(*named), negated=rest))


def _is_asked(values: Sequence[str], coding: Mapping[str, str]) -> bool:
    return coding["code"] in _codes(values, (coding["system"],))


def _read_policies(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    """What an access token was used for; other policies are of no entry."""
    tokens = (value.removeprefix(TOKENS) for value in values if value.startswith(TOKENS))
    trail.columns.append(OneOf("token", frozenset(tokens)))


def _read_addresses(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    """Addresses that begin so (search.html#string); the trail has them in lower case."""
    trail.addresses.append([value.lower() for value in values])


def _read_address(trail: TrailQuery, _name: str, values: Sequence[str], _around: Surroundings) -> None:
    trail.columns.append(OneOf("address", frozenset(values)))


def _codes(values: Sequence[str], systems: Sequence[str]) -> Sequence[str]:
    """The codes that these token values ask for, where they name no other system."""
    parts = (value.rpartition("|") for value in values)
    return [code for system, bar, code in parts if not bar or system in systems]


CRITERIA: Mapping[str, Reader] = {
    "_id": _read_ids,
    "_lastUpdated": _read_dates,
    "date": _read_dates,
    "patient": _read_patients,
    "entity": _read_entities,
    "altid": _read_principals,
    "action": _read_actions,
    "outcome": _read_outcomes,
    "subtype": _read_subtypes,
    "type": _read_types,
    "policy": _read_policies,
    "address": _read_addresses,
}
# `agent` is a reference; who asks has no resource of ours, and is found by the identifier.
_READERS: Mapping[str, Reader] = {
    **CRITERIA,
    "address:exact": _read_address,
    "agent:identifier": _read_principals,
    "patient:Patient": _read_patients,
}
_NOT_OFFERED = frozenset(
    {
        "agent", "agent-name", "agent-role", "entity-name", "entity-role", "entity-type",
        "site", "source", "_has", "_filter", "_list", "_text", "_content", "_include", "_revinclude", "_tag",
        "_security", "_profile", "_source", "_elements",
    }
)  # fmt: skip
