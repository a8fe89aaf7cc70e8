"""Wild cards in SQL: GLOB and LIKE mean the same, and nothing of a value is SQL (PS3.4 C.2.2.2.4)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import String, column, create_engine, literal, select
from sqlalchemy.dialects import postgresql

from dicomweb.search.sql import Wildcard, _like


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
