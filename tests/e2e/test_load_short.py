"""The peak hour in small: mixed traffic on real processes, then everything that was acknowledged is there.

Nothing here asserts a time; `make test-all` runs the hour itself (`tests/load/peak_hour.py`).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--minutes", "0.3", "--rate", "1", "--slices", "60", "--side", "192", "--analysed-every", "3")
SHAPES = {
    "sqlite": ("--database", "sqlite"),
    "postgresql": ("--database", "postgresql", "--servers", "2"),
}
EVERYBODY = {
    "store, 1 a request",
    "store, 10 a request",
    "search studies",
    "metadata of a series",
    "frame",
    "search DiagnosticReport",
    "read Patient",
    "create ServiceRequest",
    "search studies by patient",
}


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("shape", list(SHAPES))
def test_nothing_fails_or_is_lost_in_mixed_traffic(shape: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, ROOT / "tests/load/peak_hour.py", *SMALL, *SHAPES[shape], "--result", result]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(result.read_text())
    assert found["failures"] == {}
    assert set(found["names"]) >= EVERYBODY
    stored = sum(each["requests"] for name, each in found["names"].items() if "store, 1 a" in name)
    assert found["proof"]["instances compared bit by bit"] >= stored + 3 * 60
    assert found["proof"]["reports"] >= 1
