"""Query parameters beside the matching keys, and what a value may say (PS3.18 8.3.4, PS3.4 C.2.2.2)."""

from datetime import UTC

import pytest

from dicomweb.attributes import Level
from dicomweb.search.conditions import MAX_ALTERNATIVES, InvalidQuery, Number, Range
from dicomweb.search.parameters import NOT_APPLIED, fitting_limit
from dicomweb.search.query import parse_query
from dicomweb.worklist.keys import conditions
from dicomweb.worklist.search import parse_query as parse_worklist_query


@pytest.mark.parametrize("name", NOT_APPLIED)
def test_matching_that_is_not_performed_is_said_in_the_words_of_the_standard(name: str) -> None:
    for parse in (lambda asked: parse_query(Level.STUDY, asked), parse_worklist_query):
        assert parse([(name, "true")]).warnings == (NOT_APPLIED[name],)
        assert parse([(name, "false")]).warnings == ()
        with pytest.raises(InvalidQuery, match=name):
            parse([(name, "yes")])


def test_a_long_name_is_cut_in_its_warning() -> None:
    for parse in (lambda asked: parse_query(Level.STUDY, asked), parse_worklist_query):
        (warning,) = parse([(".".join(["PatientAge"] * 5000), "1")]).warnings
        assert len(warning) < 200


@pytest.mark.parametrize("value", ["Doe^Jane", "1_0", "٣", "9" * 4000, "1.5", "2147483648"])
def test_what_is_no_integer_is_refused_without_saying_it(value: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        parse_query(Level.SERIES, [("SeriesNumber", value)])
    assert str(refused.value) == "SeriesNumber: not an IS."


@pytest.mark.parametrize(("value", "number"), [(" 7 ", 7), ("+7", 7), ("-0012", -12)])
def test_integers(value: str, number: int) -> None:
    (match,) = parse_query(Level.SERIES, [("SeriesNumber", value)]).matches
    assert match.condition == Number(number)


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ("20260101 - 20260131", Range("20260101", "20260131")),
        ("- 20260131", Range("", "20260131")),
        ("20260101 -", Range("20260101", "")),
    ],
)
def test_a_range_may_have_blanks(value: str, bounds: Range) -> None:
    (match,) = parse_query(Level.STUDY, [("StudyDate", value)]).matches
    assert match.condition == bounds


@pytest.mark.parametrize(
    ("name", "value", "alternatives"),
    [
        ("Modality", ",".join(f"C{number}" for number in range(50)), 50),
        ("PatientName", " ".join(f"w{number}" for number in range(10)), 10),
        ("SeriesDescription", "a*", 1),
    ],
)
def test_a_query_has_a_bounded_number_of_conditions(name: str, value: str, alternatives: int) -> None:
    """Thousands of codes or words, which one request line holds, took seconds of the event loop."""
    fitting = MAX_ALTERNATIVES // alternatives
    fuzzy = [("fuzzymatching", "true")] if name == "PatientName" else []
    parse_query(Level.SERIES, [*fuzzy, *[(name, value)] * (fitting - len(fuzzy))])
    with pytest.raises(InvalidQuery, match=str(MAX_ALTERNATIVES) if alternatives > 1 else "Too many"):
        parse_query(Level.SERIES, [*fuzzy, *[(name, value)] * (fitting + 1)])


def test_a_worklist_query_has_a_bounded_number_of_conditions() -> None:
    states = ",".join(f"S{number}" for number in range(100))
    conditions([("ProcedureStepState", states)] * 2, UTC)
    with pytest.raises(InvalidQuery, match=str(MAX_ALTERNATIVES)):
        conditions([("ProcedureStepState", states)] * 3, UTC)


@pytest.mark.parametrize(
    ("limit", "sizes", "fitting"),
    [
        (5, [1, 1, 1], 5),
        (2, [1, 1, 1], 2),
        (5, [4, 4, 4, 4], 2),
        (5, [20], 5),
        (5, [20, 1], 1),
        (5, [], 5),
        (0, [1], 0),
    ],
)
def test_a_limit_that_fits_in_bytes(limit: int, sizes: list[int], fitting: int) -> None:
    assert fitting_limit(limit, sizes, 10) == fitting


@pytest.mark.parametrize("value", ["=", "==", "^", "*=*", "^^=^", "*^*"])
def test_a_name_of_delimiters_matches_everything(value: str) -> None:
    """A search of workitems for one was 500."""
    assert parse_query(Level.STUDY, [("PatientName", value)]).matches == ()
    assert conditions([("PatientName", value)], UTC) == []
