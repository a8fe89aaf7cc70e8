"""torch is a gigabyte: `make test` does without, `make test-all` installs one version of those we admit."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]


def test_what_needs_torch_is_slow(request: pytest.FixtureRequest) -> None:
    hasty = [
        item.nodeid
        for item in request.session.items
        if item.get_closest_marker("torch") and not item.get_closest_marker("slow")
    ]
    assert hasty == []


def test_the_torch_of_test_all_is_one_that_we_admit() -> None:
    found = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    pinned = Requirement(found[1])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (admitted,) = (Requirement(each) for each in extras["torch"] if each.startswith("torch"))
    (pin,) = pinned.specifier
    assert (pinned.name, pin.operator) == (admitted.name, "==")
    assert admitted.specifier.contains(pin.version)
