"""Filters, value sets and maps of a SNOMED CT release (terminology.hl7.org/SNOMEDCT.html)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server.kernel.database import Database
from server.kernel.rows import table_of
from terminology.canonical import Canonical, parse_canonical
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.context import Context
from terminology.issues import InvalidFilter
from terminology.library import Kind, Library
from terminology.loading.rf2 import read_release
from terminology.releases.kinds import RULES
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.releases.writer import write_release
from terminology.sctid import check_digit
from terminology.snomed.implicit import SNOMED_CT, ImplicitDefinitions
from terminology.tables import TerminologyConcept, TerminologyMember, TerminologyRelation
from terminology.translate import translate
from tests.benchmarks.made_up_rf2 import (
    CORE_MODULE,
    DATE,
    METADATA,
    SAME_AS,
    MadeUpRelease,
    add_concepts,
    sctid,
    write_refset,
    write_rf2,
)

SIZE = 80
NOW = Context(lambda: "2026-01-01T00:00:00Z", lambda: "urn:uuid:0")
VERSION = f"{SNOMED_CT}/{CORE_MODULE}/version/{DATE}"
UNKNOWN = "10200010" + check_digit("10200010")
CONCEPT, MEMBER = table_of(TerminologyConcept), table_of(TerminologyMember)
RELATION = table_of(TerminologyRelation)


@dataclass
class Loaded:
    """A made-up release, and what it was made of."""

    made: MadeUpRelease
    releases: Releases
    system: ReleasedCodeSystem
    database: Database

    def below(self, at: int) -> set[str]:
        """The codes below a concept."""
        found: set[int] = set()
        for other, parents in enumerate(self.made.parents):  # parents come before their children
            if at in parents or found & set(parents):
                found.add(other)
        return {self.made.codes[other] for other in found}

    async def selected(self, name: str, operator: str, value: str) -> set[str]:
        """The codes that a filter lets through; asked for at once, and for one concept after the other."""
        asked = Filter(name, FilterOperator(operator), value)
        found = await self.system.select(Selection([asked]))
        codes = {each.code for each in found.concepts}
        assert len(found.concepts) == len(codes) == found.total
        for code in (*self.made.codes[:12], *self.made.codes[-12:]):
            assert await self.system.lets_through(code, [asked]) == (code in codes), code
        return codes


@pytest.fixture
async def loaded(database: Database, tmp_path: Path) -> Loaded:
    made = write_rf2(tmp_path, SIZE)
    with read_release(tmp_path) as draft:
        await write_release(database, draft)
    releases = Releases(database, RULES)
    (system,) = await releases.systems()
    return Loaded(made, releases, system, database)


async def test_filters(loaded: Loaded) -> None:
    made, codes = loaded.made, loaded.made.codes
    top = codes[1]
    everything = {*codes, *METADATA}
    inactive = {codes[at] for at in made.inactive}
    below = loaded.below(1)
    assert below
    children = {codes[at] for at, parents in enumerate(made.parents) if 1 in parents}
    expected = {
        ("concept", "is-a", top): below | {top},
        ("concept", "descendent-of", top): below,
        ("concept", "child-of", top): children,
        ("parent", "=", top): children,
        ("child", "=", codes[-1]): {codes[at] for at in made.parents[-1]},
        ("concept", "is-not-a", top): everything - below - {top},
        ("concept", "=", top): {top},
        ("concept", "in", codes[made.refsets[0]]): await _members(loaded, made.refsets[0]),
        ("constraint", "=", f"<< {top} |A name|"): below | {top},
        ("expression", "=", f"< {top} MINUS <! {top}"): below - children,
        ("expressions", "=", "false"): everything,
        ("inactive", "=", "true"): inactive,
        ("inactive", "=", "false"): everything - inactive,
        ("moduleId", "=", CORE_MODULE): everything,
        ("moduleId", "not-in", CORE_MODULE): set(),
        ("effectiveTime", "=", DATE): everything,
        ("effectiveTime", "=", "20200101"): set(),
        ("semanticTag", "=", "procedure"): {codes[at] for at in range(SIZE) if made.tag(at) == "procedure"},
        ("display", "=", made.names[-1]): {
            code for code, name in zip(codes, made.names, strict=True) if name == made.names[-1]
        },
    }
    for (name, operator, value), wanted in expected.items():
        assert await loaded.selected(name, operator, value) == wanted, (name, operator, value)
    defined = await loaded.selected("sufficientlyDefined", "=", "true")
    assert defined | await loaded.selected("sufficientlyDefined", "=", "false") == everything
    assert 0 < len(defined) < len(everything)


async def _members(loaded: Loaded, refset: int) -> set[str]:
    number = await loaded.system.number(loaded.made.codes[refset])
    rows = select(CONCEPT.c.code).join(MEMBER, MEMBER.c.concept == CONCEPT.c.number)
    async with loaded.database.read() as connection:
        return set(await connection.scalars(rows.where(MEMBER.c.refset == number)))


async def test_filters_on_attributes(loaded: Loaded) -> None:
    source, target, attribute = CONCEPT.alias(), CONCEPT.alias(), CONCEPT.alias()
    rows = (
        select(source.c.code, attribute.c.code, target.c.code)
        .join(RELATION, RELATION.c.source == source.c.number)
        .join(target, RELATION.c.target == target.c.number)
        .join(attribute, RELATION.c.attribute == attribute.c.number)
    )
    async with loaded.database.read() as connection:
        found = [tuple(row) for row in (await connection.execute(rows)).all()]
    assert found
    _, name, value = found[0]
    assert await loaded.selected(name, "=", value) == {s for s, a, t in found if (a, t) == (name, value)}
    values = f"{value}, {found[1][2]}"
    wanted = {s for s, a, t in found if a == name and t in (value, found[1][2])}
    assert await loaded.selected(name, "in", values) == wanted
    assert await loaded.selected(name, "exists", "true") == {s for s, a, _ in found if a == name}
    below = loaded.below(1) | {loaded.made.codes[1]}
    wanted = {s for s, a, t in found if a == name and t in below}
    assert await loaded.selected(name, "is-a", loaded.made.codes[1]) == wanted


NONSENSE = [
    ("concept", "is-a", "x", "no SNOMED CT concept"),  # no identifier
    ("concept", "is-a", UNKNOWN, "unknown"),  # an unknown concept
    ("concept", "in", "123456", "check digit"),  # a wrong check digit
    ("constraint", "=", "<< ", "character 4"),  # no expression
    ("constraint", "is-a", "<< 123456", "operator"),  # an operator that says nothing
    ("inactive", "=", "yes", "'true' or 'false'"),  # neither true nor false
    ("effectiveTime", "=", "2025", "YYYYMMDD"),  # no date
    ("moduleId", "regex", "9.*", "operator"),  # a pattern of modules
    (SAME_AS, "regex", "9.*", "operator"),  # a pattern of attribute values
]


async def test_filters_that_make_no_sense(loaded: Loaded) -> None:
    for name, operator, value, what in NONSENSE:
        asked = Filter(name, FilterOperator(operator), value)
        with pytest.raises(InvalidFilter, match=what):
            await loaded.system.select(Selection([asked]))


async def test_implicit_value_sets(loaded: Loaded) -> None:
    codes, source = loaded.made.codes, ImplicitDefinitions(loaded.releases)
    refset = codes[loaded.made.refsets[0]]
    expected = {
        "?fhir_vs": None,
        f"?fhir_vs=isa/{codes[1]}": ("concept", "is-a", codes[1]),
        "?fhir_vs=refset": ("concept", "descendent-of", "900000000000455006"),
        f"?fhir_vs=refset/{refset}": ("concept", "in", refset),
        f"?fhir_vs=ecl/%3C%3C%20{codes[1]}": ("constraint", "=", f"<< {codes[1]}"),
        f"?fhir_vs=ecl/< {codes[1]} |A name|": ("constraint", "=", f"< {codes[1]} |A name|"),
    }
    for query, asked in expected.items():
        for base in (SNOMED_CT, f"{SNOMED_CT}/{CORE_MODULE}", VERSION):
            (found,) = await source.editions(Kind.VALUE_SET, base + query)
            value_set = await found.open()
            assert value_set["url"] == base + query
            (include,) = value_set["compose"]["include"]
            assert include["system"] == SNOMED_CT
            assert include.get("version") == (None if base == SNOMED_CT else VERSION)
            filters = [(each["property"], each["op"], each["value"]) for each in include.get("filter", ())]
            assert filters == ([] if asked is None else [asked])


async def test_implicit_value_sets_of_what_is_not_there(loaded: Loaded) -> None:
    source = ImplicitDefinitions(loaded.releases)
    for url in (
        f"{SNOMED_CT}?fhir_vs=isa/{UNKNOWN}",
        f"{SNOMED_CT}?fhir_vs=isa/x",
        f"{SNOMED_CT}?fhir_vs=refset/{loaded.made.codes[1]}",
        f"{SNOMED_CT}?fhir_vs=other",
        f"{SNOMED_CT}/{CORE_MODULE}/version/20200101?fhir_vs",
        f"{SNOMED_CT}/731000124108?fhir_vs",
        SNOMED_CT,
        "http://loinc.org?fhir_vs",
    ):
        assert not await source.editions(Kind.VALUE_SET, url), url


async def test_implicit_concept_maps(loaded: Loaded) -> None:
    made, url = loaded.made, f"{SNOMED_CT}?fhir_cm={SAME_AS}"
    target: set[str] = set()
    for at in made.inactive:
        (match,) = matches(await translated(loaded.releases, url, code=made.codes[at]))
        assert (match["equivalence"], match["source"]) == ("equal", url)
        concept = match["concept"]
        assert (concept["system"], concept["version"]) == (SNOMED_CT, VERSION)
        back = await translated(loaded.releases, url, code=concept["code"], reverse=True)
        assert made.codes[at] in {each["concept"]["code"] for each in matches(back)}
        target.add(concept["code"])
    assert target
    assert told(await translated(loaded.releases, url, code=UNKNOWN))["result"] is False
    source = ImplicitDefinitions(loaded.releases)
    for other in (UNKNOWN, made.codes[made.refsets[0]], "x"):
        assert not await source.editions(Kind.CONCEPT_MAP, f"{SNOMED_CT}?fhir_cm={other}")


ICD_10, OTHER_MAP = "447562003", sctid(700_000, "10")
MAP_COLUMNS = "refsetId referencedComponentId mapGroup mapPriority mapRule mapAdvice mapTarget correlationId"
UNSPECIFIED, BROADER = "447561005", "447558009"


def write_maps(folder: Path, codes: Sequence[str]) -> None:
    """An extended map to ICD-10, and a simple one to a code system that nobody knows."""
    add_concepts(folder, [ICD_10, OTHER_MAP])
    rule = f"IFA {codes[3]} | Over 5 |"
    extended = [
        (ICD_10, codes[1], 1, 2, "OTHERWISE TRUE", "ALWAYS J45.9", "J45.9", UNSPECIFIED, SAME_AS),
        (ICD_10, codes[1], 1, 1, rule, "IF OVER 5 CHOOSE J45.0", "J45.0", BROADER, SAME_AS),
        (ICD_10, codes[2], 1, 1, "TRUE", "ALWAYS J45.9", "J45.9", "447557004", SAME_AS),
        (ICD_10, codes[3], 1, 1, "TRUE", "CANNOT BE CLASSIFIED", "", UNSPECIFIED, SAME_AS),
    ]
    write_refset(folder, "der2_iisssccRefset_ExtendedMapSnapshot", f"{MAP_COLUMNS} mapCategoryId", extended)
    simple = [(OTHER_MAP, codes[1], "x-1"), (OTHER_MAP, codes[2], "x-1")]
    columns = "refsetId referencedComponentId mapTarget"
    write_refset(folder, "der2_sRefset_SimpleMapSnapshot", columns, simple)


@pytest.fixture
async def mapped(database: Database, tmp_path: Path) -> Loaded:
    made = write_rf2(tmp_path, SIZE)
    write_maps(tmp_path, made.codes)
    with read_release(tmp_path) as draft:
        await write_release(database, draft)
    releases = Releases(database, RULES)
    (system,) = await releases.systems()
    return Loaded(made, releases, system, database)


async def test_map_reference_sets_are_concept_maps(mapped: Loaded) -> None:
    codes = mapped.made.codes
    url = f"{SNOMED_CT}?fhir_cm={ICD_10}"
    icd_10 = "http://hl7.org/fhir/sid/icd-10"
    answer = await translated(mapped.releases, url, code=codes[1])
    assert told(answer)["result"] is True
    assert [(each["equivalence"], each["concept"]) for each in matches(answer)] == [
        ("wider", {"system": icd_10, "code": "J45.0"}),
        ("relatedto", {"system": icd_10, "code": "J45.9"}),
    ]
    first, second = told(answer)["message"].split("; J45.9: ")
    assert first.startswith(f"J45.0: group 1, priority 1, rule IFA {codes[3]} | Over 5 |; IF OVER 5")
    assert second == "group 1, priority 2, rule OTHERWISE TRUE; ALWAYS J45.9"
    answer = await translated(mapped.releases, url, code=codes[3])
    assert (told(answer)["result"], matches(answer)[0]["equivalence"]) == (False, "unmatched")
    answer = await translated(mapped.releases, url, code="J45.9", system=icd_10, reverse=True)
    assert {(each["equivalence"], each["concept"]["code"]) for each in matches(answer)} == {
        ("relatedto", codes[1]),
        ("equivalent", codes[2]),
    }
    assert matches(answer)[0]["concept"]["display"]
    assert not matches(await translated(mapped.releases, url, code=codes[1], targetsystem=SNOMED_CT))


async def test_a_map_to_a_code_system_that_is_not_known(mapped: Loaded) -> None:
    url = f"{SNOMED_CT}?fhir_cm={OTHER_MAP}"
    answer = await translated(mapped.releases, url, code=mapped.made.codes[2])
    assert [each["concept"] for each in matches(answer)] == [{"code": "x-1"}]
    assert "message" not in told(answer)


async def test_a_map_is_found_by_its_target(mapped: Loaded) -> None:
    code, icd_10 = mapped.made.codes[2], "http://hl7.org/fhir/sid/icd-10"
    answer = await translated(mapped.releases, None, code=code, targetsystem=icd_10)
    assert [each["concept"]["code"] for each in matches(answer)] == ["J45.9"]
    answer = await translated(mapped.releases, None, code="J45.9", system=icd_10, reverse=True)
    assert {each["concept"]["code"] for each in matches(answer)} == {code, mapped.made.codes[1]}
    answer = await translated(mapped.releases, None, code=code)
    assert {each["source"] for each in matches(answer)} == {
        f"{SNOMED_CT}?fhir_cm={each}" for each in (ICD_10, OTHER_MAP)
    }


async def translated(releases: Releases, url: str | None, **parameters: Any) -> Any:
    """What `$translate` answers, of a code of SNOMED CT if nothing else is said."""
    given = {"system": SNOMED_CT, **parameters, "url": url}
    inputs = {name: [value] for name, value in given.items() if value is not None}
    return await translate(inputs, Library([ImplicitDefinitions(releases)]), NOW)


def told(answer: Any) -> dict[str, Any]:
    return {
        each["name"]: next(value for name, value in each.items() if name.startswith("value"))
        for each in answer["parameter"]
        if "part" not in each
    }


def matches(answer: Any) -> list[dict[str, Any]]:
    return [told({"parameter": each["part"]}) for each in answer["parameter"] if each["name"] == "match"]


def test_a_term_in_an_expression_is_no_version() -> None:
    url = f"{SNOMED_CT}?fhir_vs=ecl/<< 138875005 |Everything|"
    assert parse_canonical(url) == Canonical(url)
