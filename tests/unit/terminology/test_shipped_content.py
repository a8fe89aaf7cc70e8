"""What ships is what the pinned sources give, and what R4 and DICOM need of it is there."""

import hashlib
from typing import Any

import orjson
import pytest
import zstandard

from terminology.library import Kind
from terminology.shipped import DEFINITIONS, shipped
from tools import generate_terminology as generator
from tools import pinned, terminology_dicom, terminology_hl7

INDEX = orjson.loads(zstandard.decompress((DEFINITIONS / "shipped_index.json.zst").read_bytes()))


def test_nobody_changed_the_files_by_hand() -> None:
    for name, digest in INDEX["sha256"].items():
        assert hashlib.sha256((DEFINITIONS / name).read_bytes()).hexdigest() == digest, name
    assert INDEX["sources"] == {each.name: each.integrity for each in generator.SOURCES}


def test_all_of_it_is_small() -> None:
    assert sum(file.stat().st_size for file in DEFINITIONS.glob("*.zst")) < 4 * 2**20


def test_a_source_that_differs_from_its_pin_is_refused(tmp_path: Any) -> None:
    (tmp_path / terminology_hl7.SOURCE.name).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="digest differs"):
        pinned.read(terminology_hl7.SOURCE, tmp_path)


def of_kind(kind: Kind) -> dict[tuple[str, str | None], Any]:
    return {(row.url, row.version): row for row in shipped().rows() if row.kind is kind}


def test_dicom_is_what_the_installed_pydicom_gives() -> None:
    value_sets = of_kind(Kind.VALUE_SET)
    for made in terminology_dicom.context_groups():
        assert shipped().resource(value_sets[made["url"], None]) == made


def test_all_is_what_the_pinned_sources_give_where_they_are_at_hand() -> None:
    """A source is fetched by the generator only; the digests above say the same of the committed files."""
    if all(pinned.is_cached(source) for source in generator.SOURCES):
        made = generator.resources(pinned.CACHE)
        rows = list(shipped().rows())
        assert len(made) == len(rows)
        known = {(row.kind, row.url, row.version): row for row in rows}
        for each in made:
            row = known[each["resourceType"], each["url"], each.get("version")]
            assert shipped().resource(row) == each
            assert row.concepts == sum(1 for _ in generator.concepts_of(each))


@pytest.mark.parametrize(
    ("kind", "least"), [(Kind.CODE_SYSTEM, 1_060), (Kind.VALUE_SET, 2_390), (Kind.CONCEPT_MAP, 19)]
)
def test_it_has_all_of_r4_v3_v2_and_dicom(kind: Kind, least: int) -> None:
    assert len(of_kind(kind)) >= least


def test_nothing_of_r5_slipped_in() -> None:
    assert not [row.url for row in shipped().rows() if row.version == "5.0.0"]
    assert ("http://hl7.org/fhir/detectedissue-status", "5.0.0") not in of_kind(Kind.CODE_SYSTEM)


def test_no_url_holds_a_version() -> None:
    """`…/v2-0391|2.6` is what the package writes; no canonical could find it."""
    assert not [row.url for row in shipped().rows() if "|" in row.url]
    table = "http://terminology.hl7.org/CodeSystem/v2-0391"
    assert {version for url, version in of_kind(Kind.CODE_SYSTEM) if url == table} == {"2.4", "2.6"}


def codes_of_hl7(system: str) -> set[str]:
    """What the value sets that ship name of a code system; those of DICOM left out."""
    return {
        concept["code"]
        for row in shipped().rows()
        if row.kind is Kind.VALUE_SET and "dicom.nema.org" not in row.url
        for include in shipped().resource(row).get("compose", {}).get("include", ())
        if include.get("system") == system
        for concept in include.get("concept", ())
    }


def test_what_needs_a_licence_is_what_we_may_ship() -> None:
    """LOINC as far as HL7's value sets name it; of DICOM only context groups without further code systems."""
    loinc = shipped().resource(of_kind(Kind.CODE_SYSTEM)["http://loinc.org", None])
    assert {concept["code"] for concept in loinc["concept"]} == codes_of_hl7("http://loinc.org")
    assert "loinc.org/license" in loinc["copyright"]
    systems = {
        include["system"]
        for made in terminology_dicom.context_groups()
        for include in made["compose"]["include"]
    }
    assert systems == set(terminology_dicom.SYSTEMS.values())


def test_snomed_ct_has_the_concepts_of_dicom_and_hl7_and_nothing_else() -> None:
    system = "http://snomed.info/sct"
    of_groups = {
        code for code, meanings in terminology_dicom.meanings_of("SCT").items() if any(meanings.values())
    }
    resource = shipped().resource(of_kind(Kind.CODE_SYSTEM)[system, None])
    assert {concept["code"] for concept in resource["concept"]} == of_groups | codes_of_hl7(system)
    assert resource["content"] == "fragment"
    assert "licence" in resource["copyright"]


def test_narratives_are_left_out_and_every_concept_has_a_code() -> None:
    for row in shipped().rows():
        resource = shipped().resource(row)
        assert "text" not in resource, row.url
        if row.kind is not Kind.CONCEPT_MAP:
            named = [each for each in generator.concepts_of(resource) if "display" in each]
            assert all(each["code"] == each["code"].strip() != "" for each in named), row.url
