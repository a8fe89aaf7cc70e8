"""The reference documents as text. Decisions are history and prove nothing about today."""

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="session")
def reference() -> dict[str, str]:
    """Every reference document, by its path below docs/."""
    found = sorted(path for path in DOCS.rglob("*.md") if "decisions" not in path.parts)
    return {path.relative_to(DOCS).as_posix(): path.read_text() for path in found}


@pytest.fixture(scope="session")
def lines(reference: dict[str, str]) -> list[str]:
    """Every line of every reference document: a row of a table is one."""
    return [line for text in reference.values() for line in text.splitlines()]
