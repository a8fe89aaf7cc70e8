"""The matching keys of a filtered worklist subscription (PS3.18 §11.10.1.2). Pure, and as SQL.

Stricter than a search: a key that cannot be matched is refused, for a subscriber would be told of more than
it asked for; and so is the state, which a workitem does not keep.
"""

from collections.abc import Sequence
from datetime import UTC, tzinfo

import msgspec
from sqlalchemy import ColumnElement

from dicomweb.search.conditions import InvalidQuery
from dicomweb.worklist.keys import KEYS as SEARCH_KEYS
from dicomweb.worklist.keys import conditions
from dicomweb.worklist.search import parse_query

Filter = tuple[tuple[str, str], ...]  # (path of keywords, value)

KEYS = frozenset(SEARCH_KEYS) - {"ProcedureStepState"}
MAX_FILTER_TEXT = 4096


def parse_filter(values: Sequence[str]) -> Filter:
    """Read `filter=1#(attribute "=" value)`; lists of UIDs are separated by a backslash.

    Raises:
        InvalidQuery: there is no key, or one that cannot be matched.
    """
    text = ",".join(values)
    if len(text) > MAX_FILTER_TEXT or "\x00" in text:
        raise InvalidQuery(f"filter: over {MAX_FILTER_TEXT} characters, or it holds NUL.")
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    keys = [(name.strip(), value.strip()) for name, _, value in pairs]
    if not keys:
        raise InvalidQuery("filter: a filtered worklist subscription needs matching keys.")
    query = parse_query(keys)
    if len(query.matches) != len(keys) or any(path not in KEYS for path, _ in query.matches):
        raise InvalidQuery(f"filter: each key must have a value and be one of {', '.join(sorted(KEYS))}.")
    matching(query.matches)  # what cannot be matched is refused now, and not when something happens
    return query.matches


def matching(keys: Filter, zone: tzinfo = UTC) -> list[ColumnElement[bool]]:
    """The conditions of a filter; `zone` is that of instants which state none."""
    return conditions(keys, zone)


def encode_filter(keys: Filter) -> str:
    """The JSON text of the column `filter`."""
    return msgspec.json.encode(keys).decode()


def decode_filter(text: str) -> Filter:
    """The filter in a column `filter`."""
    return msgspec.json.decode(text, type=Filter)
