"""What a history is asked for: `_count`, `_since`, `_at`, where a page begins (FHIR R4 http.html#history)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fhir.exchange import Pairs
from fhir.search.date import DateRange, parse_date
from fhir.search.query import DEFAULT_COUNT, MAX_COUNT, PAGE, WITHOUT_EFFECT
from fhir.search.value import InvalidSearch, Surroundings


@dataclass(slots=True)
class HistoryQuery:
    """A history of what the URL names; `understood` is for the self link."""

    resource_type: str | None
    resource_id: str | None
    count: int = DEFAULT_COUNT
    since_us: int | None = None  # only versions made at or after it
    at: DateRange | None = None  # only versions that were current at some time within it
    page: str | None = None
    understood: list[tuple[str, str]] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Where the history is, below the base."""
        named = [name for name in (self.resource_type, self.resource_id) if name is not None]
        return "/".join([*named, "_history"])


def parse_history(
    named: tuple[str | None, str | None], pairs: Pairs, around: Surroundings, *, strict: bool
) -> HistoryQuery:
    """The history that a URL asks for; `named` is (resource type, id).

    Raises:
        InvalidSearch: a value that makes no sense, or (strict) an unknown parameter.
    """
    query = HistoryQuery(*named)
    for name, value in pairs:
        if name in WITHOUT_EFFECT:
            continue
        take = _TAKE.get(name)
        if take is not None:
            take(query, value, around)
            if name != PAGE:
                query.understood.append((name, value))
        elif strict:
            raise InvalidSearch("A history takes _count, _since and _at.")
    return query


def _take_count(query: HistoryQuery, value: str, _around: Surroundings) -> None:
    if not value.isascii() or not value.isdigit() or len(value) > 10:
        raise InvalidSearch("'_count' is no whole number of zero or more.")
    query.count = min(int(value), MAX_COUNT)


def _take_since(query: HistoryQuery, value: str, around: Surroundings) -> None:
    query.since_us = _date("_since", value, around).low_us


def _take_at(query: HistoryQuery, value: str, around: Surroundings) -> None:
    query.at = _date("_at", value, around)


def _take_page(query: HistoryQuery, value: str, _around: Surroundings) -> None:
    query.page = value


def _date(name: str, value: str, around: Surroundings) -> DateRange:
    found = parse_date(value.replace(" ", "+"), around.zone)  # a "+" that was not encoded
    if found is None:
        raise InvalidSearch(f"The value of '{name}' is no date.")
    return found


_TAKE: Mapping[str, Callable[[HistoryQuery, str, Surroundings], None]] = {
    "_count": _take_count,
    "_since": _take_since,
    "_at": _take_at,
    PAGE: _take_page,
}
