"""Searching the worklist: parameters become a value, the value becomes SQL (PS3.18 §11.9, PS3.4 CC.2.8).

A key is a keyword or a tag, or a path of them for an attribute in a sequence. A key that this worklist does
not match on is ignored, and the answer says so in a Warning header (PS3.18 8.3.4.1).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from sqlalchemy import Select, func, select

from dicomweb.search.conditions import InvalidQuery
from dicomweb.search.parameters import NOT_APPLIED, ignored, read_count, read_truth
from dicomweb.tables import Study
from dicomweb.wire.dictionary import keyword_of
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.keys import KEYS, check_key, conditions
from dicomweb.worklist.reach import within
from server.kernel.access import Reach
from server.kernel.rows import table_of

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000  # workitems of one answer: about 5 MB of JSON; the rest is had by offset
MAX_PARAMETERS = 200
MAX_READ_CHARACTERS = 64 << 20  # of workitems as they are stored, read for one answer

FUZZY_NOT_APPLIED = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
MORE_RESULTS = "There are additional results that can be requested with the offset parameter."

_STUDY = table_of(Study)
_TAG = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass(frozen=True, slots=True)
class WorkitemQuery:
    """What a search asks for."""

    matches: tuple[tuple[str, str], ...]  # (path of keywords, value)
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    instances: bool = False  # whether every input and output instance is to be named
    warnings: tuple[str, ...] = ()


def parse_query(parameters: Iterable[tuple[str, str]]) -> WorkitemQuery:
    """Read the query parameters of Search for Workitems (PS3.18 §11.9.1.2).

    Raises:
        InvalidQuery: limit or offset is no number, a value is none of its VR, or there are too many of them.
    """
    controls: dict[str, str] = {}
    matches: list[tuple[str, str]] = []
    warnings: list[str] = []
    for name, value in _bounded(parameters):
        path = _path(name)
        if name in _CONTROLS:
            controls[name] = f"{controls[name]},{value}" if name in controls else value
        elif path not in KEYS:
            warnings.append(ignored(name))
        elif value:
            check_key(path, value)
            matches.append((path, value))
    warnings += [text for name, text in _NOT_APPLIED.items() if read_truth(name, controls.get(name, "false"))]
    return WorkitemQuery(
        matches=tuple(matches),
        limit=min(read_count("limit", controls.get("limit", str(DEFAULT_LIMIT))), MAX_LIMIT),
        offset=read_count("offset", controls.get("offset", "0")),
        instances=not _INSTANCES.isdisjoint(controls.get("includefield", "").split(",")),
        warnings=tuple(warnings),
    )


def select_workitems(query: WorkitemQuery, reach: Reach, zone: tzinfo = UTC) -> Select[Any]:
    """The workitems of a query within reach, newest first, and one more than the limit if there are more.

    `zone` is that of instants which state none.
    """
    return (
        _with_study()
        .where(within(reach), *conditions(query.matches, zone))
        .order_by(WORKITEM.c.pk.desc())
        .limit(query.limit + 1)
        .offset(query.offset)
    )


def select_sizes(query: WorkitemQuery, reach: Reach, zone: tzinfo = UTC) -> Select[int]:
    """How much each row of `select_workitems` has of what was sent, in the same order."""
    c = WORKITEM.c
    size = func.length(func.coalesce(c.attributes, "")) + func.length(c.input) + func.length(c.output)
    return select_workitems(query, reach, zone).with_only_columns(size, maintain_column_froms=True)


def select_workitem(workitem_uid: str, reach: Reach) -> Select[Any]:
    """The workitem of a UID, if it is within reach."""
    return _with_study().where(WORKITEM.c.workitem_uid == workitem_uid, within(reach))


def _with_study() -> Select[Any]:
    of_study = _STUDY.c.study_instance_uid == WORKITEM.c.study_instance_uid
    return select(WORKITEM, _STUDY.c.attributes.label("study_attributes")).select_from(
        WORKITEM.outerjoin(_STUDY, of_study)
    )


_NOT_APPLIED = {"fuzzymatching": FUZZY_NOT_APPLIED, **NOT_APPLIED}
_CONTROLS = frozenset({"limit", "offset", "includefield", "accept", "charset", *_NOT_APPLIED})
_INSTANCES = frozenset({"all", "InputInformationSequence", "00404021"})


def _bounded(parameters: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    read = list(parameters)
    if len(read) > MAX_PARAMETERS:
        raise InvalidQuery("Too many query parameters.")
    if any("\x00" in value for _, value in read):
        raise InvalidQuery("A query parameter holds NUL.")
    return read


def _path(name: str) -> str:
    """A key as a path of keywords: "00404021.0020000D" is InputInformationSequence.StudyInstanceUID."""
    parts = name.split(".")
    return ".".join(keyword_of(int(part, 16)) or part if _TAG.fullmatch(part) else part for part in parts)
