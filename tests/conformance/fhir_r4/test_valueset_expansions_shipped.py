"""Expansions of the value sets that ship, beside the published ones (FHIR R4 valueset.html#expansion)."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from fhir.model.validation.definitions import _file, codes_by_system
from server.kernel.faults import Fault
from terminology.code_systems import GrammarSystems
from terminology.context import Context
from terminology.expand import expand
from terminology.issues import NotKnown, NotSupported, TerminologyFault
from terminology.library import Kind, Library
from terminology.shipped import shipped
from terminology.validate_code import validate_in_value_set
from tests.conformance.fhir_r4.unexpandable import UNEXPANDABLE

Json = Any

LIBRARY = Library([GrammarSystems(), shipped()])
CONTEXT = Context(lambda: "2026-11-26T07:00:00Z", lambda: "urn:uuid:0", max_expansion=100_000)
R4 = "http://hl7.org/fhir/ValueSet/"
THO = "http://terminology.hl7.org/ValueSet/"
CID = "http://dicom.nema.org/medical/dicom/current/output/chtml/part16/sect_CID_{}.html"
SNOMED_CT = "http://snomed.info/sct"


async def expansion_of(url: str, *, selectable: bool = False) -> list[tuple[str, str]]:
    """The (system, code) of each member, sorted."""
    found = await expand({"url": [url]}, LIBRARY, CONTEXT)
    return sorted(members(found["expansion"].get("contains", ()), selectable=selectable))


def members(contains: Iterable[Json], *, selectable: bool = False) -> Iterator[tuple[str, str]]:
    for each in contains:
        if "code" in each and not (selectable and each.get("abstract")):
            yield each.get("system", ""), each["code"]
        yield from members(each.get("contains", ()), selectable=selectable)


async def published(name: str) -> list[tuple[str, str]]:
    """The expansion that HL7 published with a value set of R4."""
    (edition,) = await shipped().editions(Kind.VALUE_SET, R4 + name)
    return sorted(members((await edition.open())["expansion"]["contains"]))


def test_four_value_sets_of_r4_have_a_published_expansion() -> None:
    rows = [row for row in shipped().rows() if row.url.startswith(R4)]
    found = {row.url.removeprefix(R4) for row in rows if "expansion" in shipped().resource(row)}
    assert found == {"yesnodontknow", "inactive", "example-expansion", "example-hierarchical"}


async def test_an_expansion_is_the_published_one() -> None:
    assert await expansion_of(R4 + "yesnodontknow") == await published("yesnodontknow")


async def test_the_published_expansion_of_an_older_code_system_has_fewer_codes() -> None:
    """`inactive` was expanded in 2017; ActMood of 2018, which ships, has criteria of each mood too."""
    ours, theirs = await expansion_of(R4 + "inactive"), await published("inactive")
    assert set(theirs) < set(ours)
    added = {code for _, code in set(ours) - set(theirs)}
    assert added == {f"{mood}.CRT" for mood in ("EVN", "GOL", "INT", "PRMS", "RQO", "RSK")}


@pytest.mark.parametrize(
    ("name", "fault", "why"),
    [
        ("example-expansion", NotSupported, "fragment of 'http://loinc.org'"),
        ("example-hierarchical", NotKnown, "#hacked"),
    ],
)
async def test_what_cannot_be_expanded_here_says_why(name: str, fault: type[Fault], why: str) -> None:
    with pytest.raises(fault, match=why):
        await expansion_of(R4 + name)


SAMPLE = [
    (R4 + "administrative-gender", 4, "b5c4e6f1fee26a83"),
    (R4 + "observation-status", 8, "d5574549aab85795"),
    (R4 + "bundle-type", 9, "cc3da9cdc2ef4955"),
    (R4 + "imagingstudy-status", 5, "ccf83f314a2bda4b"),
    (R4 + "diagnostic-report-status", 10, "b25a5b170917b652"),
    (R4 + "condition-clinical", 6, "6bbd8e5ffa687569"),
    (R4 + "iso3166-1-2", 249, "37ee374ef105f29b"),
    (R4 + "iso3166-1-3", 249, "53aa1af1a60a2560"),
    (R4 + "iso3166-1-N", 249, "035124570c033209"),
    (R4 + "currencies", 179, "074f31b3d62662e2"),
    (R4 + "languages", 56, "3bc181c8fc3e3a1e"),
    (R4 + "ucum-common", 1357, "e65d6dac6c2e6a8c"),
    (R4 + "c80-doc-typecodes", 6401, "e51fabbc5a2b928c"),
    (R4 + "media-modality", 59, "0c92cb6383cf3bf1"),
    (R4 + "dicom-dcim", 4755, "dde455f80691c39e"),
    (R4 + "all-types", 213, "604c4d4cfb90c9ce"),
    (R4 + "resource-types", 148, "a1319abb3e8bca75"),
    (R4 + "security-labels", 217, "e6b92b3bbe565386"),
    (R4 + "service-place", 17, "e0c68d3e0da9ce19"),
    (R4 + "observation-category", 9, "6c9662d096b8a84d"),
    (R4 + "identifier-type", 18, "def56d5cc8bc2c0e"),
    (THO + "v3-ConfidentialityClassification", 6, "bf185e23a5c77aa5"),
    (THO + "v3-NullFlavor", 17, "1f2139008759bdf1"),
    (THO + "v3-ActMood", 28, "743e6ee9446d2f3c"),
    (THO + "v3-ServiceDeliveryLocationRoleType", 127, "78189adfc001d6c9"),
    (THO + "v3-PurposeOfUse", 60, "9e21b6b899e6d1b7"),
    (THO + "v3-MaritalStatus", 10, "ac717a0ad80c7719"),
    (THO + "v2-0203", 127, "147fec4384bc6de6"),
    (THO + "v2-0001", 6, "a56cbacaeb515e16"),
    (THO + "v2-0074", 45, "7e293a735babfdc5"),
    (THO + "v2-2.6-0391", 140, "88ef1c543954362e"),
    (THO + "v3-ActCode", 1116, "6b21176a328f763b"),
    (THO + "v3-FamilyMember", 105, "1f2107ed8dc23ad5"),
    (CID.format(29), 51, "68a60d67286a74b5"),
    (CID.format(4031), 114, "9e7d575ba8f75fe6"),
    (CID.format(4), 343, "f385b99660b3215b"),
    (CID.format(7150), 8, "bd65ea9a05a250ad"),
    (CID.format(244), 4, "f8888a79a26999de"),
    (CID.format(7181), 60, "c8db2291543ce957"),
]


@pytest.mark.parametrize(("url", "number", "digest"), SAMPLE)
async def test_a_value_set_has_these_codes(url: str, number: int, digest: str) -> None:
    """Numbers looked through once; a change of content or of expansion shows here."""
    found = await expansion_of(url)
    assert (len(found), hashlib.sha256(repr(found).encode()).hexdigest()[:16]) == (number, digest)


async def test_value_sets_of_bindings_have_the_codes_that_validation_knows() -> None:
    """Those of required and extensible bindings were expanded by other code (tools/)."""
    compared = 0
    for url in _file().value_sets:
        known = codes_by_system(url) or {}
        wanted = sorted((system, code) for system, codes in known.items() for code in codes)
        assert await expansion_of(url, selectable=True) == wanted, url
        compared += 1
    assert compared > 280


@pytest.mark.slow
async def test_all_others_can_be_expanded() -> None:
    """Each value set that cannot is known by name, with the reason."""
    failed = set()
    for edition in await LIBRARY.listing(Kind.VALUE_SET):
        try:
            await expansion_of(str(edition.canonical))
        except TerminologyFault:
            failed.add(edition.url)
    known = [name for names in UNEXPANDABLE.values() for name in names]
    assert failed == {R4 + name for name in known}


@pytest.mark.slow
async def test_codes_of_expansions_are_valid_in_their_value_sets() -> None:
    """The first, the last and one in the middle of each value set."""
    for edition in await LIBRARY.listing(Kind.VALUE_SET):
        url = str(edition.canonical)
        try:
            found = await expansion_of(url)
        except TerminologyFault:
            continue
        for system, code in {found[at] for at in (0, len(found) // 2, -1)} if found else ():
            coding = {"system": system, "code": code}
            answer = await validate_in_value_set({"url": [url], "coding": [coding]}, LIBRARY, CONTEXT)
            assert {"name": "result", "valueBoolean": True} in answer["parameter"], (url, coding)
