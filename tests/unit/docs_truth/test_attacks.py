"""Each test that a document names by file and name is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_tests_that_documents_name_are_there() -> None:
    named = {match for path in (ROOT / "docs").rglob("*.md") for match in _NAMED.findall(path.read_text())}
    assert named
    missing = [
        f"{file}::{name}"
        for file, name in sorted(named)
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text()
    ]
    assert missing == []


def test_threats_and_attacks_name_what_shows_the_answer() -> None:
    """A row of a table with a column "shown by" has a test there, or says where they are."""
    lines = (ROOT / "docs/security.md").read_text().splitlines()
    shown_by, bare, rows = None, [], 0
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if "shown by" in cells:
            shown_by = cells.index("shown by")
        elif not cells:
            shown_by = None
        elif shown_by is not None and set(cells[0]) - {"-"} | set(cells[1]) - {"-"}:
            rows += 1
            if not _NAMED.search(cells[shown_by]) and "section" not in cells[shown_by]:
                bare.append(line)
    assert bare == []
    assert rows > 80
