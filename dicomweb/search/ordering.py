"""The `orderby` parameter, beyond the standard: `StudyDate,-PatientName`, as dcm4chee has it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from dicomweb.attributes import Level
from dicomweb.search.conditions import InvalidQuery
from dicomweb.search.fields import path_of
from dicomweb.search.keys import KEYS, SORTED_SOURCES, Key

MAX_ORDER_KEYS = 8


@dataclass(frozen=True, slots=True)
class Ordering:
    """One key to order by."""

    key: Key
    descending: bool = False


def parse_order(level: Level, value: str) -> Iterator[Ordering | str]:
    """What `value` orders by, from the first on; as text what it names and cannot be ordered by.

    Raises:
        InvalidQuery: more keys than anybody orders by.
    """
    names = [name.strip() for name in value.split(",") if name.strip()]
    if len(names) > MAX_ORDER_KEYS:
        raise InvalidQuery(f"orderby: more than {MAX_ORDER_KEYS} attributes.")
    for name in names:
        descending = name.startswith("-")
        key = KEYS.get(path_of(name[descending:]) or "")
        if key is None or key.level > level or key.source not in SORTED_SOURCES:
            yield name[descending:]
        else:
            yield Ordering(key, descending)
