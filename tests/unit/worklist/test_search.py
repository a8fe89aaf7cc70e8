from datetime import UTC
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from dicomweb.search.conditions import InvalidQuery
from dicomweb.worklist.dicom_json import DicomJson, attribute, item
from dicomweb.worklist.keys import key_rows
from dicomweb.worklist.search import (
    FUZZY_NOT_APPLIED,
    MAX_LIMIT,
    MAX_PARAMETERS,
    WorkitemQuery,
    parse_query,
    select_workitems,
)
from server.kernel.access import EVERYONE
from server.kernel.database import Database

REQUEST = "ReferencedRequestSequence"


def test_no_parameters_ask_for_everything() -> None:
    assert parse_query([]) == WorkitemQuery(())


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ProcedureStepState", "ProcedureStepState"),
        ("00741000", "ProcedureStepState"),
        ("00404021.0020000D", "InputInformationSequence.StudyInstanceUID"),
        ("InputInformationSequence.0020000d", "InputInformationSequence.StudyInstanceUID"),
    ],
)
def test_key_is_a_keyword_a_tag_or_a_path(name: str, path: str) -> None:
    assert parse_query([(name, "1.2")]).matches == ((path, "1.2"),)


def test_key_without_value_matches_everything() -> None:
    assert parse_query([("ProcedureStepState", "")]) == WorkitemQuery(())


def test_key_that_is_not_matched_on_is_said() -> None:
    query = parse_query([("PatientAge", "030Y"), ('x"\r\nSet-Cookie', "1"), ("fuzzymatching", "true")])
    assert query.matches == ()
    assert query.warnings == (
        "The query parameter PatientAge is not supported and was ignored.",
        "The query parameter xSet-Cookie is not supported and was ignored.",
        FUZZY_NOT_APPLIED,
    )


def test_limit_and_offset() -> None:
    query = parse_query([("limit", "5"), ("offset", "10")])
    assert (query.limit, query.offset) == (5, 10)
    assert parse_query([("limit", "9999")]).limit == MAX_LIMIT


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "", "٣", "99999999999"])
def test_limit_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        parse_query([("limit", value)])


def test_limit_given_twice_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        parse_query([("limit", "1"), ("limit", "2")])


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(InvalidQuery):
        parse_query([("PatientID", "1")] * (MAX_PARAMETERS + 1))


def test_too_many_uids_are_refused() -> None:
    with pytest.raises(InvalidQuery):
        select_workitems(parse_query([("StudyInstanceUID", "1," * 2000)]), EVERYONE)


@pytest.mark.parametrize(
    ("key", "value"),
    [("StudyInstanceUID", "a"), ("ScheduledProcedureStepStartDateTime", "soon"), ("PatientBirthDate", "1")],
)
def test_value_that_the_vr_does_not_allow_is_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidQuery, match=key):
        parse_query([(key, value)])


@pytest.mark.parametrize("field", ["all", "InputInformationSequence", "PatientID,00404021"])
def test_instances_are_named_when_asked_for(field: str) -> None:
    assert parse_query([("includefield", field)]).instances
    assert not parse_query([("includefield", "PatientID")]).instances


@pytest.mark.parametrize(
    "keys",
    [
        {"SOPInstanceUID": "1.2"},
        {"StudyInstanceUID": "1.2"},
        {"InputInformationSequence.StudyInstanceUID": "1.2"},
        {
            "ReferencedRequestSequence.AccessionNumber": "A",
            "ReferencedRequestSequence.RequestedProcedureID": "R",
        },
        {"PatientID": "MRN-1"},
        {"PatientName": "Doe^Jane"},
        {"ProcedureStepState": "SCHEDULED", "WorklistLabel": "Reading"},
    ],
)
async def test_search_reads_no_more_than_it_must(new_sqlite: Any, keys: dict[str, str]) -> None:
    """Workitems stay for ever, so there are as many as studies: what names few must not read all."""
    database = Database(new_sqlite(True))
    query = select_workitems(parse_query(keys.items()), EVERYONE)
    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with database.read() as connection:
        plan = [row[3] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    await database.close()
    assert [step for step in plan if step.startswith(("SCAN workitem", "SCAN study"))] == []


def test_nul_in_a_value_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="NUL"):
        parse_query([("PatientID", "a\0b")])


def test_items_of_nested_sequences_are_told_apart() -> None:
    """Item 1001 of the first was item 1 of the second."""

    def performer(name: str, *values: str) -> DicomJson:
        codes = [item(attribute("CodeValue", value)) for value in values]
        return item(
            attribute("HumanPerformerOrganization", name), attribute("HumanPerformerCodeSequence", *codes)
        )

    performers = [performer("A", *map(str, range(1001))), performer("B", "last")]
    rows = key_rows(attribute("ScheduledHumanPerformersSequence", *performers), UTC)
    numbers = {row["value"]: row["item"] for row in rows}
    assert len({numbers["1000"], numbers["last"], numbers["A"], numbers["B"]}) == 4
