"""Wild cards in SQL: GLOB and LIKE mean the same, and nothing of a value is SQL (PS3.4 C.2.2.2.4)."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import String, column, create_engine, literal, select
from sqlalchemy.dialects import postgresql

from dicomweb.attributes import Level
from dicomweb.search.query import parse_query
from dicomweb.search.sql import Wildcard, _like, select_matches
from server.kernel.access import EVERYONE
from server.kernel.rows import Row


def expected(pattern: str, text: str) -> bool:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def like(pattern: str, text: str) -> bool:
    """LIKE … ESCAPE '\\', as PostgreSQL has it."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    table = {"%": ".*", "_": "."}
    regex = "".join(table.get(p) or re.escape(p[-1]) for p in parts)
    return re.fullmatch(regex, text, re.DOTALL) is not None


ALPHABET = st.text("ab*?%_[]\\'^-", max_size=8)
ENGINE = create_engine("sqlite://")


@given(pattern=ALPHABET, text=ALPHABET)
def test_wildcards_mean_the_same_on_both_databases(pattern: str, text: str) -> None:
    with ENGINE.connect() as connection:
        on_sqlite = connection.scalar(select(Wildcard(literal(text), pattern)))
    assert bool(on_sqlite) == expected(pattern, text)
    assert like(_like(pattern), text) == expected(pattern, text)


@pytest.mark.parametrize("pattern", ["a'b*", "a%b*"])
def test_values_are_bound(pattern: str) -> None:
    compiled = Wildcard(column("name", String), pattern).compile(dialect=postgresql.dialect())
    assert pattern not in str(compiled)
    assert "LIKE" in str(compiled)
    assert "ESCAPE '\\'" in str(compiled)


def plan_of(**parameters: Any) -> list[str]:
    """How SQLite answers a search for studies."""
    statement = select_matches(parse_query(Level.STUDY, parameters.items()), EVERYONE)
    engine = create_engine("sqlite://")
    Row.metadata.create_all(engine)
    compiled = statement.compile(engine, compile_kwargs={"render_postcompile": True})
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)
        return [row.detail for row in rows]


@pytest.mark.parametrize("value", ["abc*", "a?c*", "abc^*", "abc^x"])
def test_name_is_looked_up_by_the_index_of_each_group(value: str) -> None:
    plan = "\n".join(plan_of(PatientName=value))
    for group in ("folded", "ideographic", "phonetic"):
        assert f"SEARCH study USING INDEX ix_study_patient_name_{group}" in plan
    assert "SCAN" not in plan


@pytest.mark.parametrize("key", ["PatientID", "AccessionNumber", "StudyID"])
def test_beginning_is_looked_up_by_index(key: str) -> None:
    assert any(step.startswith("SEARCH study USING INDEX ix_study_") for step in plan_of(**{key: "abc*"}))


def test_end_walks_through_the_studies_in_their_order() -> None:
    assert plan_of(PatientName="*abc") == ["SCAN study USING INDEX ix_study_study_date_id"]
