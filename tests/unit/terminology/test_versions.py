"""Which version is meant (HL7 terminology ecosystem guide: system-version, check-, force-system-version)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from terminology.canonical import Canonical, accepts
from terminology.in_request import GivenDefinitions
from terminology.issues import InvalidInput, TerminologyFault, VersionConflict
from terminology.library import Library
from terminology.messages import VALIDATED
from terminology.versions import (
    VersionRules,
    code_systems,
    find_code_system,
    find_value_set,
    list_versions,
    read_version_rules,
    unknown_code_system,
)

URL = "urn:example:colours"
SCT = "http://snomed.info/sct/900000000000207008"


def library(*versions: str | None, content: str = "complete") -> Library:
    """A library with these versions of one code system, and of a value set."""
    return Library(
        [
            GivenDefinitions(
                [
                    {"resourceType": kind, "url": URL, "content": content}
                    | ({} if version is None else {"version": version})
                    for version in versions
                    for kind in ("CodeSystem", "ValueSet")
                ]
            )
        ]
    )


@pytest.mark.parametrize(
    ("wanted", "version", "accepted"),
    [
        (None, "1.0.0", True),
        ("1.0.0", "1.0.0", True),
        ("1", "1.0.0", False),
        ("1.x", "1.2.0", True),
        ("1.x.x", "1.2.0", True),
        ("1.0.x", "1.2.0", False),
        ("*", None, False),
        ("*", f"{SCT}/version/20260101", True),
        (SCT, f"{SCT}/version/20260101", True),
        (SCT, "http://snomed.info/sct/11000172109/version/20260101", False),
    ],
)
def test_a_version_that_is_wanted(wanted: str | None, version: str | None, accepted: bool) -> None:
    assert accepts(wanted, version) is accepted


@pytest.mark.parametrize(
    ("rules", "stated", "found"),
    [
        pytest.param({}, None, "1.2.0", id="the newest"),
        pytest.param({}, "1.0.0", "1.0.0", id="as stated"),
        pytest.param({}, "2.4.0", None, id="one that is not there"),
        pytest.param({"system-version": "1.0.0"}, None, "1.0.0", id="a default, where none is stated"),
        pytest.param({"system-version": "1.0.0"}, "1.2.0", "1.2.0", id="no default against what is stated"),
        pytest.param({"check-system-version": "1.0.x"}, None, "1.0.0", id="a check chooses too"),
        pytest.param({"check-system-version": "1.0.x"}, "1.2.0", "1.2.0", id="a check changes nothing"),
        pytest.param({"force-system-version": "1.0.x"}, "1.2.0", "1.0.0", id="force goes before all"),
        pytest.param(
            {"force-system-version": "1.2.0", "system-version": "1.0.0"}, None, "1.2.0", id="and a default"
        ),
    ],
)
async def test_the_code_system_that_is_meant(
    rules: Mapping[str, str], stated: str | None, found: str | None
) -> None:
    read = read_version_rules({name: [f"{URL}|{version}"] for name, version in rules.items()})
    edition = await find_code_system(library("1.0.0", "1.2.0"), read, URL, stated)
    assert (edition and edition.version) == found


async def test_rules_speak_of_one_system_only() -> None:
    rules = read_version_rules({"force-system-version": ["urn:example:other|9"]})
    edition = await find_code_system(library("1.0.0"), rules, URL, None)
    assert edition is not None


@pytest.mark.parametrize(
    ("default", "found"), [({}, "2.0.0"), ({"default-valueset-version": "1.0.0"}, "1.0.0")]
)
async def test_the_value_set_that_is_meant(default: Mapping[str, str], found: str) -> None:
    rules = read_version_rules({name: [f"{URL}|{version}"] for name, version in default.items()})
    edition = await find_value_set(library("1.0.0", "2.0.0"), rules, Canonical(URL))
    assert edition is not None
    assert edition.version == found


@pytest.mark.parametrize("content", ["not-present", "example", "supplement"])
async def test_codes_are_not_told_from(content: str) -> None:
    assert not await code_systems(library("1.0.0", content=content), URL)


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ({"system-version": [URL]}, InvalidInput),
        ({"force-system-version": [f"{URL}|1", f"{URL}|2"]}, VersionConflict),
    ],
)
def test_rules_that_make_no_sense(inputs: Mapping[str, Sequence[Any]], fault: type[TerminologyFault]) -> None:
    with pytest.raises(fault):
        read_version_rules(inputs)


async def test_a_check_that_is_not_met() -> None:
    rules = VersionRules(checks={URL: "1.0.x"})
    newest, oldest = await code_systems(library("1.0.0", "1.2.0"), URL)
    assert rules.objection(oldest) is None
    objection = rules.objection(newest, "Coding.version")
    assert objection is not None
    assert "1.0.x" in objection.text
    assert objection.expression == "Coding.version"


@pytest.mark.parametrize(
    ("known", "wanted", "text"),
    [
        ((), None, "could not be found, so"),
        ((), "1", "No versions of this code system are known"),
        (("1.10", "1.9"), "1", "Valid versions: 1.9 or 1.10"),
    ],
)
async def test_what_is_said_of_an_unknown_version(
    known: Sequence[str], wanted: str | None, text: str
) -> None:
    editions = await code_systems(library(*known), URL)
    assert text in unknown_code_system(editions, Canonical(URL, wanted), VALIDATED).text


@pytest.mark.parametrize(
    ("versions", "text"), [(["1"], "1"), (["2", "1"], "1 or 2"), (["3", "2", "1"], "1, 2 and 3")]
)
def test_versions_in_a_sentence(versions: Sequence[str], text: str) -> None:
    assert list_versions(versions) == text
