"""Membership without Parameters (FHIR R4 terminologies.html#binding)."""

import pytest

from terminology.canonical import Canonical
from terminology.membership import membership
from tests.conformance.fhir_r4.colours import COLOURS, FEW, SETS, SHADES, UNKNOWN, library


@pytest.mark.parametrize(
    ("name", "system", "code", "member"),
    [
        ("all", COLOURS, "red", True),
        ("all", COLOURS, "grey", False),
        ("all", SHADES, "Dark", False),
        ("warm", COLOURS, "orange", True),
        ("both", COLOURS, "orange", False),
        ("without", COLOURS, "red", False),
        ("active", COLOURS, "puce", False),
        ("expanded", UNKNOWN, "x", True),
        ("few", FEW, "two", True),
        ("named-of-unknown", UNKNOWN, "x", True),
        ("named-of-unknown", UNKNOWN, "y", False),
        ("of-unknown", UNKNOWN, "x", None),
        ("nowhere", COLOURS, "red", None),
        ("circle", COLOURS, "red", None),
    ],
)
async def test_membership(name: str, system: str, code: str, member: bool | None) -> None:
    assert await membership(library(), Canonical(SETS + name), system, code) is member


@pytest.mark.parametrize(("version", "member"), [(None, True), ("1.0.0", True), ("2.0.0", True)])
async def test_membership_of_a_version(version: str | None, member: bool) -> None:
    assert await membership(library(), Canonical(SETS + "versions"), COLOURS, "red", version) is member
