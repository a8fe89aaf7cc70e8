"""A QIDO-RS query as a value, from its query parameters (PS3.18 8.3.4, 10.6.1.2). Pure.

A parameter that this server does not match on is ignored, and the answer says so in a Warning header
(PS3.18 8.3.4.1); so is an includefield that names no attribute.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dicomweb.attributes import INDEXED, Level
from dicomweb.search.conditions import (
    Condition,
    InvalidQuery,
    Name,
    made_fuzzy,
    parse_condition,
    require_few,
)
from dicomweb.search.fields import Fields, add_path, path_of
from dicomweb.search.keys import KEYS, SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Key
from dicomweb.search.ordering import MAX_ORDER_KEYS, Ordering, parse_order
from dicomweb.search.parameters import NOT_APPLIED, ignored, printable, read_count, read_truth

MAX_PARAMETERS = 200
MAX_RESULTS = 5000  # of one answer: about 5 MB of JSON; the rest is had by offset
MAX_RESULTS_WITH_METADATA = 500  # of one whose results come from whole instances, 14 KB of JSON each

NOT_FOR_SEARCH = frozenset({"accept", "charset"})  # PS3.18 8.3.3: handled before the query is read

FUZZY_NOT_APPLIED = "No person name was matched fuzzily. Only literal matching has been performed."
MORE_RESULTS = "There are additional results that can be requested with the offset parameter."


@dataclass(frozen=True, slots=True)
class Match:
    """One condition on one key."""

    key: Key
    condition: Condition


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for."""

    level: Level
    matches: tuple[Match, ...] = ()
    fields: Fields = field(default_factory=dict)  # to return beside the default ones
    include_all: bool = False
    order: tuple[Ordering, ...] = ()  # none: the server's own
    wants_total: bool = False  # how many there are, whatever the page
    limit: int = MAX_RESULTS
    offset: int = 0
    is_limited: bool = False  # whether the caller chose the limit
    warnings: tuple[str, ...] = ()

    def has(self, key: Key) -> bool:
        """Whether there is a condition on `key`."""
        return any(match.key is key for match in self.matches)

    @property
    def needs_metadata(self) -> bool:
        """Whether the answer needs more of an instance than the index columns hold."""
        return self.level is Level.INSTANCE and (self.include_all or not self.fields.keys() <= INDEXED)

    @property
    def within_study(self) -> bool:
        """Whether the search is confined to named studies."""
        return self.has(STUDY_INSTANCE_UID)

    @property
    def within_series(self) -> bool:
        """Whether the search is confined to named series."""
        return self.has(SERIES_INSTANCE_UID)


@dataclass(slots=True)
class _Draft:
    matches: list[Match]
    fields: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    order: list[Ordering] = field(default_factory=list)
    include_all: bool = False
    fuzzy: bool = False
    wants_total: bool = False
    limit: int | None = None
    offset: int = 0


def parse_query(
    level: Level, parameters: Iterable[tuple[str, str]], target: Iterable[tuple[Key, str]] = ()
) -> Query:
    """The query that `parameters` make; `target` holds the UIDs of the resource path.

    Raises:
        InvalidQuery: a value is not what its parameter takes.
    """
    draft = _Draft([Match(key, _required(key, uid)) for key, uid in target])
    for count, (name, value) in enumerate(parameters):
        if count >= MAX_PARAMETERS:
            raise InvalidQuery("Too many query parameters.")
        _read_parameter(draft, level, name, value)
    if draft.fuzzy:
        _apply_fuzzy_matching(draft)
    require_few(match.condition for match in draft.matches)
    query = Query(
        level=level,
        matches=tuple(draft.matches),
        fields=draft.fields,
        include_all=draft.include_all,
        order=tuple(draft.order),
        wants_total=draft.wants_total,
        offset=draft.offset,
        warnings=tuple(draft.warnings),
    )
    most = MAX_RESULTS_WITH_METADATA if query.needs_metadata else MAX_RESULTS
    asked = most + 1 if draft.limit is None else draft.limit
    return replace(query, limit=min(asked, most), is_limited=asked <= most)


def _required(key: Key, uid: str) -> Condition:
    condition = parse_condition(key.vr, "The resource path", uid)
    if condition is None:
        raise InvalidQuery("The resource path holds an empty UID.")
    return condition


def _read_parameter(draft: _Draft, level: Level, name: str, value: str) -> None:
    match name:
        case "includefield":
            _read_include_fields(draft, value)
        case "limit":
            draft.limit = read_count(name, value)
        case "offset":
            draft.offset = read_count(name, value)
        case "orderby":
            _read_order(draft, level, value)
        case "count":
            draft.wants_total = read_truth(name, value)
        case "fuzzymatching":
            draft.fuzzy = read_truth(name, value)
        case "emptyvaluematching" | "multiplevaluematching":
            draft.warnings += [NOT_APPLIED[name]] if read_truth(name, value) else []
        case _ if name not in NOT_FOR_SEARCH:
            _read_match(draft, level, name, value)


def _read_match(draft: _Draft, level: Level, name: str, value: str) -> None:
    path = path_of(name)
    key = KEYS.get(path) if path else None
    if key is None or key.level > level:
        draft.warnings.append(ignored(name))
        return
    add_path(draft.fields, key.path)
    condition = parse_condition(key.vr, name, value)
    if condition is not None:
        draft.matches.append(Match(key, condition))


def _read_include_fields(draft: _Draft, value: str) -> None:
    for name in filter(None, value.split(",")):
        path = path_of(name)
        if name == "all":
            draft.include_all = True
        elif path is None:
            draft.warnings.append(f"The includefield {printable(name)} names no attribute and was ignored.")
        else:
            add_path(draft.fields, path)


def _read_order(draft: _Draft, level: Level, value: str) -> None:
    for part in parse_order(level, value):
        if isinstance(part, Ordering):
            draft.order.append(part)
        else:
            draft.warnings.append(f"orderby {printable(part)} is not supported and was ignored.")
    if len(draft.order) > MAX_ORDER_KEYS:
        raise InvalidQuery("orderby: too many attributes.")


def _apply_fuzzy_matching(draft: _Draft) -> None:
    """Names match fuzzily, wherever the parameter stands among them; a Warning when there was none."""
    applied = [
        replace(match, condition=made_fuzzy(match.condition)) if isinstance(match.condition, Name) else match
        for match in draft.matches
    ]
    if applied == draft.matches:
        draft.warnings.append(FUZZY_NOT_APPLIED)
    draft.matches = applied
