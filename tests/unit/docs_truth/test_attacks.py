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
