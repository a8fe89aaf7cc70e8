"""The source of the definitions that ship: found by URL, opened when asked for, kept within a bound."""

from pathlib import Path

import pytest

from terminology.canonical import Canonical
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.issues import NotSupported
from terminology.kept import KeptDefinitions
from terminology.library import Kind, Library
from terminology.shipped import ShippedDefinitions, shipped

LIBRARY = Library([shipped()])
GENDER = "http://hl7.org/fhir/administrative-gender"
SNOMED_CT = "http://snomed.info/sct"


async def opened(kind: Kind, url: str, version: str | None = None):
    edition = await LIBRARY.find(kind, Canonical(url, version))
    assert edition is not None, url
    return await edition.open()


async def test_a_code_system_is_opened_by_its_url() -> None:
    gender = await opened(Kind.CODE_SYSTEM, GENDER)
    assert gender.header.version == "4.0.1"
    assert (await gender.locate("female")).display == "Female"
    assert gender is await opened(Kind.CODE_SYSTEM, GENDER)


async def test_versions_stand_side_by_side() -> None:
    table = "http://terminology.hl7.org/CodeSystem/v2-0360"
    editions = await LIBRARY.editions(Kind.CODE_SYSTEM, table)
    assert [each.version for each in editions] == ["2.7", "2.3.1"]
    assert (await opened(Kind.CODE_SYSTEM, table, "2.3.1")).header.version == "2.3.1"


@pytest.mark.parametrize(
    ("url", "code", "display"),
    [
        ("http://dicom.nema.org/resources/ontology/DCM", "CT", "Computed Tomography"),
        ("http://dicom.nema.org/resources/ontology/DCM", "AU", "Audio"),
        (SNOMED_CT, "39607008", "Lung"),
        ("http://loinc.org", "11369-6", "History of Immunization"),
        ("urn:iso:std:iso:3166", "DE", "Germany"),
        ("urn:iso:std:iso:3166", "DEU", "Germany"),
        ("urn:iso:std:iso:3166", "276", "Germany"),
        ("urn:iso:std:iso:3166:-2", "US-CA", "California"),
        ("urn:iso:std:iso:4217", "EUR", "Euro"),
        ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB", "ambulatory"),
        ("http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "Medical record number"),
    ],
)
async def test_displays_are_those_of_the_standard(url: str, code: str, display: str) -> None:
    assert (await (await opened(Kind.CODE_SYSTEM, url)).locate(code)).display == display


async def test_what_r4_calls_abstract_is_not_selectable() -> None:
    meaning = await opened(Kind.CODE_SYSTEM, "http://terminology.hl7.org/CodeSystem/referencerange-meaning")
    assert (await meaning.locate("type")).abstract
    assert not (await meaning.locate("normal")).abstract


async def test_what_context_groups_call_differently_is_a_designation() -> None:
    chamber = await (await opened(Kind.CODE_SYSTEM, SNOMED_CT)).locate("31636006")
    assert chamber.display == "Anterior chamber of eye"
    assert [(each.value, each.use["display"]) for each in chamber.designations] == [
        ("Anterior Chamber", "Synonym"),
        ("Anterior chamber of eye structure (body structure)", "Fully specified name"),
    ]


async def test_a_context_group_is_a_value_set_by_the_url_of_its_page() -> None:
    url = "http://dicom.nema.org/medical/dicom/current/output/chtml/part16/sect_CID_{}.html"
    modality = await opened(Kind.VALUE_SET, url.format(29))
    (include,) = modality["compose"]["include"]
    assert modality["title"] == "CID 29: Acquisition Modality"
    assert {"code": "MR", "display": "Magnetic Resonance"} in include["concept"]
    alias = await opened(Kind.VALUE_SET, "http://hl7.org/fhir/ValueSet/dicom-cid29")
    assert alias["compose"] == {"include": [{"valueSet": [url.format(29)]}]}


async def test_the_value_set_of_all_codes_needs_no_resource() -> None:
    """CodeSystem.valueSet (FHIR R4 codesystem.html#CodeSystem.valueSet)."""
    everything = await opened(Kind.VALUE_SET, "http://hl7.org/fhir/ValueSet/dicom-dcim")
    dicom = "http://dicom.nema.org/resources/ontology/DCM"
    assert everything["compose"] == {"include": [{"system": dicom, "version": "01"}]}
    assert everything["url"] in {each.url for each in await LIBRARY.listing(Kind.VALUE_SET)}


async def test_a_value_set_that_ships_goes_before_that_of_all_codes() -> None:
    found = await LIBRARY.editions(Kind.VALUE_SET, "http://hl7.org/fhir/ValueSet/administrative-gender")
    assert [each.version for each in found] == ["4.0.1"]
    assert "description" in await found[0].open()


async def test_a_supplement_is_found_by_what_it_supplements() -> None:
    (found,) = await LIBRARY.supplements("http://hl7.org/fhir/CodeSystem/example")
    assert found.url == "http://hl7.org/fhir/CodeSystem/example-supplement"
    assert found.content == "supplement"


async def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    """Starting a server reads no definitions."""
    source = ShippedDefinitions(tmp_path)
    with pytest.raises(FileNotFoundError):
        await source.editions(Kind.CODE_SYSTEM, GENDER)


async def test_what_is_not_there_is_not_found() -> None:
    assert await LIBRARY.find(Kind.CODE_SYSTEM, Canonical("urn:none")) is None
    assert await LIBRARY.find(Kind.CODE_SYSTEM, Canonical(GENDER, "3.0.1")) is None
    assert await LIBRARY.find(Kind.VALUE_SET, Canonical(GENDER)) is None


async def test_opened_definitions_are_kept_within_the_bound() -> None:
    source = ShippedDefinitions(max_kept_concepts=3_000)
    for edition in (await source.listing(Kind.CODE_SYSTEM))[:300]:
        await edition.open()
        assert source._kept.concepts <= 3_000
    assert source._kept.concepts > 1_000


def test_the_definition_used_last_stays() -> None:
    kept, made = KeptDefinitions(10), []

    def get(name: str, concepts: int) -> None:
        kept.get(name, concepts, lambda: made.append(name) or name)

    for name in ("a", "b", "a", "c", "a", "b", "d"):
        get(name, 3)
    assert made == ["a", "b", "c", "b", "d"]
    get("huge", 50)
    get("huge", 50)
    assert made[5:] == ["huge", "huge"]
    get("d", 3)
    assert made[7:] == []


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (SNOMED_CT, Filter("concept", FilterOperator.IS_A, "123037004")),
        (SNOMED_CT, Filter("concept", FilterOperator.IS_NOT_A, "123037004")),
        (SNOMED_CT, Filter("constraint", FilterOperator.EQUALS, "< 123037004")),
        ("http://loinc.org", Filter("SCALE_TYP", FilterOperator.EQUALS, "DOC")),
    ],
)
async def test_a_fragment_refuses_what_it_cannot_tell(url: str, asked: Filter) -> None:
    """An empty answer would look like one."""
    fragment = await opened(Kind.CODE_SYSTEM, url)
    with pytest.raises(NotSupported, match="fragment"):
        await fragment.select(Selection((asked,)))
    with pytest.raises(NotSupported, match="fragment"):
        await fragment.lets_through("39607008", (asked,))


async def test_a_fragment_does_not_guess_what_lies_below_what() -> None:
    fragment = await opened(Kind.CODE_SYSTEM, SNOMED_CT)
    assert await fragment.subsumes("39607008", "39607008")
    with pytest.raises(NotSupported, match="hierarchy"):
        await fragment.subsumes("39607008", "3341006")


async def test_a_fragment_tells_what_it_has() -> None:
    fragment = await opened(Kind.CODE_SYSTEM, SNOMED_CT)
    asked = Filter("code", FilterOperator.IN, "39607008,24028007,1")
    assert [each.code for each in (await fragment.select(Selection((asked,)))).concepts] == [
        "24028007",
        "39607008",
    ]
