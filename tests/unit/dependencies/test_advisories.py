"""tools/audit-dependencies: a version with a known hole fails, unless it is accepted, and until when."""

import runpy
import tomllib
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

TOOL = Path(__file__).parents[3] / "tools/audit-dependencies"
TODAY = date(2026, 11, 26)


@pytest.fixture(scope="module")
def tool() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


@pytest.fixture(scope="module")
def advisories() -> list[dict[str, Any]]:
    return tomllib.loads((TOOL.parent / "advisories.toml").read_text())["advisory"]


def found(tool: SimpleNamespace, advisories: list[dict[str, Any]], package: str, version: str) -> set[str]:
    return {find.id for find in tool.find_pinned([(package, version, "installed")], advisories)}


@pytest.mark.parametrize(
    ("package", "version", "ids"),
    [
        ("pydicom", "3.0.1", {"CVE-2026-32711"}),
        ("pydicom", "2.4.5", set()),
        ("pydicom", "3.0.2", set()),
        ("authlib", "1.6.10", {"CVE-2026-41425", "CVE-2026-44681"}),
        ("starlette", "1.3.0", {"CVE-2026-54283"}),
        ("python-multipart", "0.0.26", {"CVE-2026-42561"}),
        ("pillow", "12.2.0", {"CVE-2026-55798", *(f"CVE-2026-5919{n}" for n in (7, 8, 9)), "CVE-2026-59200"}),
        ("nobody-knows", "1.0", set()),
    ],
)  # fmt: skip
def test_version_with_a_hole_is_found(
    tool: SimpleNamespace, advisories: list[dict[str, Any]], package: str, version: str, ids: set[str]
) -> None:
    assert found(tool, advisories, package, version) == ids


def test_find_fails_unless_it_is_accepted_for_now(tool: SimpleNamespace) -> None:
    find = tool.Find("pillow", "12.2.0", "CVE-1", "…")
    accepted = {"package": "Pillow", "id": "CVE-1", "reason": "never called", "until": TODAY}
    cases: list[tuple[list[Any], list[dict[str, Any]], str]] = [
        ([], [], ""),
        ([find], [], "pillow 12.2.0: CVE-1: …"),
        ([find], [accepted], ""),
        ([find], [{**accepted, "until": date(2026, 11, 25)}], "which is over"),
        ([find], [{**accepted, "reason": " "}], "needs a reason"),
        ([], [accepted], "accepted and not found"),
    ]
    for finds, acceptances, said in cases:
        wrong = tool.judge(finds, acceptances, TODAY)
        assert bool(wrong) == bool(said)
        assert said in "".join(wrong)


def test_every_advisory_says_all_of_it_and_is_about_what_it_fixes(
    tool: SimpleNamespace, advisories: list[dict[str, Any]]
) -> None:
    assert len(advisories) > 80
    for each in advisories:
        assert set(each) == {"package", "id", "affected", "fixed", "what"}
        assert each["id"] not in found(tool, advisories, each["package"], each["fixed"]), each
    keys = [(each["package"], each["id"]) for each in advisories]
    assert len(keys) == len(set(keys))


def test_oldest_versions_that_the_project_allows_are_asked_too(
    tool: SimpleNamespace, advisories: list[dict[str, Any]]
) -> None:
    project = {"dependencies": ["Pillow>=11,<13"], "optional-dependencies": {"x": ["pydicom>=3.0.2"]}}
    assert list(tool.allowed(project)) == [
        ("pillow", "11", "allowed by pyproject.toml"),
        ("pydicom", "3.0.2", "allowed by pyproject.toml"),
    ]
