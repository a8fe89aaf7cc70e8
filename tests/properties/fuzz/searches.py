"""Query parameters of both searches: a statement that runs, or a fault (PS3.18 8.3.4, 10.6, 11.9)."""

from datetime import UTC
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql

from dicomweb.attributes import Level
from dicomweb.search.keys import KEYS, SERIES_INSTANCE_UID, STUDY_INSTANCE_UID
from dicomweb.search.query import parse_query
from dicomweb.search.sql import count_matches, select_matches
from dicomweb.worklist import search as worklist
from dicomweb.worklist.events.filter import parse_filter
from dicomweb.worklist.keys import KEYS as WORKLIST_KEYS
from dicomweb.worklist.keys import conditions
from server.kernel.access import EVERYONE, Reach
from server.kernel.faults import Fault
from server.kernel.rows import Row
from tests.properties.fuzz.properties import Property

CONTROLS = ("includefield", "limit", "offset", "orderby", "count", "fuzzymatching", "emptyvaluematching")
CONTROLS += ("multiplevaluematching", "accept", "charset")
PIECES = (
    "*",
    "?",
    "-",
    ",",
    "\\",
    "=",
    "^",
    "[",
    "]",
    "%",
    "_",
    "'",
    '"',
    " ",
    "\x00",
    "\n",
    "true",
    "false",
    "all",
)
PIECES += (
    "20260115",
    "2026",
    "1015",
    "235959.999999",
    "+0100",
    "1.2.3",
    "CT",
    "Doe",
    "Müller",
    "山田",
    "ﷺ",
    "-1",
)
PIECES += ("PatientName", "00100010", "RequestAttributesSequence.ScheduledProcedureStepID", "9" * 12, "٣")

REACHES = (EVERYONE, Reach(frozenset({"p1", "p2"})), Reach(frozenset()))
# The resources that are searched, Table 10.6.1-1: no studies below a study, no series below a series.
IN_STUDY, IN_SERIES = (STUDY_INSTANCE_UID, "1.2"), (SERIES_INSTANCE_UID, "1.2")
RESOURCES: tuple[tuple[Level, tuple[Any, ...]], ...] = (
    (Level.STUDY, ()),
    (Level.SERIES, ()),
    (Level.SERIES, (IN_STUDY,)),
    (Level.INSTANCE, ()),
    (Level.INSTANCE, (IN_STUDY,)),
    (Level.INSTANCE, (IN_SERIES,)),
    (Level.INSTANCE, (IN_STUDY, IN_SERIES)),
)

_known = st.sampled_from([*KEYS, *WORKLIST_KEYS, *CONTROLS])
names = _known | st.sampled_from(PIECES) | st.text(max_size=12)
values = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=6).map("".join)
parameters = st.lists(st.tuples(names, values), max_size=6)

_engine = create_engine("sqlite://")
_connection = _engine.connect()


def _run(statement: Any) -> None:
    if not _connection.dialect.has_table(_connection, "workitem"):
        Row.metadata.create_all(_connection)
    _connection.execute(statement).all()
    str(statement.compile(dialect=postgresql.dialect()))


def is_a_search_or_a_fault(asked: tuple[tuple[Level, Any], list[tuple[str, str]], Reach]) -> None:
    """A search of studies, series or instances."""
    (level, target), pairs, reach = asked
    try:
        query = parse_query(level, pairs, target)
    except Fault as fault:
        _says_no_value(fault, pairs)
        return
    _run(select_matches(query, reach))
    _run(count_matches(query, reach))
    assert all(text.isascii() and text.isprintable() and len(text) < 200 for text in query.warnings)


def is_a_worklist_search_or_a_fault(asked: tuple[list[tuple[str, str]], Reach]) -> None:
    """A search of workitems."""
    pairs, reach = asked
    try:
        query = worklist.parse_query(pairs)
        _run(worklist.select_workitems(query, reach, UTC))
    except Fault as fault:
        _says_no_value(fault, pairs)
        return
    assert all(text.isascii() and text.isprintable() and len(text) < 200 for text in query.warnings)


def is_a_filter_or_a_fault(text: str) -> None:
    """The filter of a subscription."""
    try:
        conditions(parse_filter([text]), UTC)
    except Fault:
        return


def _says_no_value(fault: Fault, pairs: list[tuple[str, str]]) -> None:
    """A value may be a patient's."""
    assert not any(len(value) > 5 and value in str(fault) for _, value in pairs)


PROPERTIES = [
    Property(
        "a search",
        st.tuples(st.sampled_from(RESOURCES), parameters, st.sampled_from(REACHES)),
        is_a_search_or_a_fault,
        [
            ((Level.SERIES, ()), [("SeriesNumber", "Doe^Jane")], EVERYONE),
            ((Level.SERIES, ()), [("SeriesNumber", "9" * 4000)], EVERYONE),
            ((Level.STUDY, ()), [("PatientName", "*a" * 2000)], EVERYONE),
            ((Level.STUDY, ()), [("PatientName", "[[]]*")], EVERYONE),
        ],
    ),
    Property(
        "a worklist search",
        st.tuples(parameters, st.sampled_from(REACHES)),
        is_a_worklist_search_or_a_fault,
        [([(".".join(["PatientID"] * 30), "1")], EVERYONE), ([("PatientName", "=")], EVERYONE)],
    ),
    Property(
        "a filter", st.lists(st.tuples(names, values).map("=".join)).map(",".join), is_a_filter_or_a_fault
    ),
]
