"""Whatever is asked of a search: a statement or a fault, never an exception of ours (FHIR R4 search.html)."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from fhir.search.date import parse_date
from fhir.search.definitions import SearchType, parameters_of
from fhir.search.included import prepare_included
from fhir.search.query import parse_query
from fhir.search.sql import select_count, select_page
from fhir.search.value import InvalidSearch, Surroundings, UnsupportedSearch, split_escaped, unescape
from server.kernel.access import EVERYONE, Reach, system_access

AROUND = Surroundings(ZoneInfo("Europe/Zurich"), "http://fhir.test/fhir", 1_700_000_000_000_000)
ACCESS = system_access("fuzz")
REACHES = (EVERYONE, Reach(frozenset({"p1", "p2"})), Reach(frozenset()))
TYPES = ("Patient", "Observation", "DiagnosticReport", "MolecularSequence", "Device", "ValueSet")

CONTROLS = (
    "_count",
    "_sort",
    "_include",
    "_revinclude",
    "_total",
    "_summary",
    "_elements",
    "_page",
    "_has",
    "_filter",
    "_list",
)
LINKS = ("subject.name", "patient.identifier", "subject:Patient._id", "_has:Observation:patient:code", "near")
CODES = sorted({code for resource_type in TYPES for code in parameters_of(resource_type)})
names = st.sampled_from([*CODES, *CONTROLS, *LINKS]) | st.text(max_size=20)
modifiers = st.sampled_from(
    [
        "",
        ":missing",
        ":exact",
        ":contains",
        ":not",
        ":identifier",
        ":Patient",
        ":below",
        ":text",
        ":of-type",
        ":in",
        ":iterate",
    ]
)
pieces = st.sampled_from(
    [
        "gt",
        "ap",
        "2024",
        "-02",
        "-30",
        "T10:00",
        " eq ",
        " and ",
        "not (",
        ")",
        '"',
        "_id",
        "Z",
        "|",
        "$",
        ",",
        "\\",
        "1e5",
        "-0.0",
        "Patient/1",
        "true",
        "*",
        ":",
    ]
) | st.text(max_size=8)
values = st.lists(pieces, max_size=6).map("".join)
pairs = st.lists(st.tuples(st.builds("".join, st.tuples(names, modifiers)), values), max_size=5)


@given(st.sampled_from(TYPES), pairs, st.booleans(), st.sampled_from(REACHES))
@settings(deadline=None, max_examples=300)
def test_every_query_is_sql_or_a_fault(
    resource_type: str, asked: list[tuple[str, str]], strict: bool, reach: Reach
) -> None:
    try:
        query = parse_query(resource_type, asked, strict=strict, access=ACCESS)
        statements = [select_page(query, reach, AROUND, None), select_count(query, reach, AROUND)]
        statements += [
            prepared[0].select
            for include in query.includes
            if (
                prepared := prepare_included(
                    include, [1, 2], {"Patient": reach, "Device": reach}.get, 10, AROUND
                )
            )
            is not None
        ]
    except (InvalidSearch, UnsupportedSearch):
        return
    for statement in statements:
        for dialect in (sqlite.dialect(), postgresql.dialect()):
            compiled = str(statement.compile(dialect=dialect))
            assert ("fhir_compartment" in compiled) is (reach is not EVERYONE)


words = st.sampled_from(
    ["(", ")", "not", "and", "or", "eq", "ne", "co", "pr", "in", "sb", "gt", "true", "name", "subject.name",
     "patient:Patient.birthdate", "_id", '"', '"x y"', "\\", "%", "_", "urn:s|c", "2024", "["]
) | st.text(max_size=5)  # fmt: skip


@given(st.sampled_from(TYPES), st.lists(words, max_size=12))
@settings(deadline=None, max_examples=300)
def test_every_filter_is_sql_or_a_fault(resource_type: str, asked: list[str]) -> None:
    try:
        query = parse_query(resource_type, [("_filter", " ".join(asked))], access=ACCESS)
        statement = select_page(query, EVERYONE, AROUND, None)
    except (InvalidSearch, UnsupportedSearch):
        return
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        compiled = str(statement.compile(dialect=dialect))
        assert "fhir_resource.deleted" in compiled
        assert "x y" not in compiled  # a value is bound, never written


@given(st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_escaping_comes_back(texts: list[str]) -> None:
    escaped = [text.replace("\\", "\\\\").replace(",", "\\,") for text in texts]
    assert [unescape(part) for part in split_escaped(",".join(escaped), ",")] == texts


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_date_lies_within_its_shorter_forms(moment: object) -> None:
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")  # type: ignore[attr-defined]
    widths = []
    exact = parse_date(text, UTC)
    assert exact is not None
    for length in (10, 7, 4):
        wide = parse_date(text[:length], UTC)
        assert wide is not None
        assert wide.low_us <= exact.low_us < exact.high_us <= wide.high_us
        widths.append(wide.high_us - wide.low_us)
    assert widths == sorted(widths)


@pytest.mark.parametrize("resource_type", TYPES)
def test_every_parameter_can_be_asked(resource_type: str) -> None:
    sample = {
        SearchType.DATE: "2024",
        SearchType.NUMBER: "5",
        SearchType.QUANTITY: "5||mm",
        SearchType.REFERENCE: "Patient/1",
    }
    for parameter in parameters_of(resource_type).values():
        parts = parameter.components or (parameter,)
        value = "$".join(sample.get(part.type, "a") for part in parts)
        query = parse_query(resource_type, [(parameter.code, value), (f"{parameter.code}:missing", "false")])
        assert len(query.criteria) == 2
        str(select_page(query, EVERYONE, AROUND, None).compile(dialect=sqlite.dialect()))
