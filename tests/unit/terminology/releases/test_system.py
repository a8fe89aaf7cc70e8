"""A release answers as the same code system in memory does."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import literal, select

from server.kernel.database import Database
from server.kernel.database_limits import DatabaseLimits
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.concept import Concept
from terminology.effort import Effort
from terminology.issues import InvalidFilter, TooCostly
from terminology.library import Kind
from terminology.listed import ListedCodeSystem
from terminology.releases import find, patterns
from terminology.releases.conditions import Condition, among
from terminology.releases.draft import ReleaseDraft
from terminology.releases.removal import remove_release
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.releases.writer import write_release

URL = "http://example.org/made-up"
WORDS = ("heart", "hearing", "Lung", "left", "right", "Crème", "x-ray", "fracture", "of", "the")


def made_up(seed: int, size: int = 40, **header: Any) -> dict[str, Any]:
    """A CodeSystem with several parents a concept."""
    chance = random.Random(seed)
    concepts: list[dict[str, Any]] = []
    for at in range(size):
        above = chance.sample(range(at), min(at, chance.choice([0, 1, 1, 2, 3])))
        said: list[dict[str, Any]] = [{"code": "parent", "valueCode": f"C{each}"} for each in above]
        said.append({"code": "inactive", "valueBoolean": chance.random() < 0.2})
        if chance.random() < 0.7:
            said.append({"code": "colour", "valueString": chance.choice(["red", "green, dark", "blue"])})
        said += [{"code": "size", "valueDecimal": each} for each in chance.sample(range(4), 2)]
        concepts.append(
            {
                "code": f"C{at}",
                "display": " ".join(chance.sample(WORDS, chance.randint(1, 4))),
                **({"definition": f"The {WORDS[at % 3]}, of all"} if at % 4 else {}),
                "designation": [{"language": "de", "value": chance.choice(["Herz", "Lunge", "Röntgen"])}],
                "property": said,
            }
        )
    return {"resourceType": "CodeSystem", "url": URL, "content": "complete", "concept": concepts, **header}


def draft_of(resource: dict[str, Any]) -> ReleaseDraft:
    draft = ReleaseDraft(resource)
    for entry in resource["concept"]:
        said = {each["code"]: each for each in entry["property"]}
        draft.add_concept(
            entry,
            parents=[each["valueCode"] for each in entry["property"] if each["code"] == "parent"],
            active=not said["inactive"]["valueBoolean"],
        )
    return draft


async def released(database: Database, resource: dict[str, Any]) -> ReleasedCodeSystem:
    with draft_of(resource) as draft:
        await write_release(database, draft, grace_s=0)
    (edition,) = await Releases(database, {}).editions(Kind.CODE_SYSTEM, URL)
    system = await edition.open()
    assert isinstance(system, ReleasedCodeSystem)
    return system


@pytest.fixture
def resource() -> dict[str, Any]:
    return made_up(1)


@pytest.fixture
def listed(resource: dict[str, Any]) -> ListedCodeSystem:
    return ListedCodeSystem(resource)


@pytest.fixture
async def system(database: Database, resource: dict[str, Any]) -> ReleasedCodeSystem:
    return await released(database, resource)


def codes(concepts: Sequence[Concept]) -> set[str]:
    return {each.code for each in concepts}


async def test_concepts_are_the_same(system: ReleasedCodeSystem, listed: ListedCodeSystem) -> None:
    asked = [*listed.hierarchy.entries, "C999", "c1"]
    for code in asked:
        assert await system.locate(code) == await listed.locate(code)
        assert set(await system.parents(code)) == set(await listed.parents(code))
        assert set(await system.children(code)) == set(await listed.children(code))
    assert set(await system.children(None)) == set(await listed.children(None))
    assert await system.locate_all(asked) == await listed.locate_all(asked)
    assert await system.locate_all([]) == {}


async def test_subsumption_is_the_same(system: ReleasedCodeSystem, listed: ListedCodeSystem) -> None:
    asked = [*list(listed.hierarchy.entries)[:9], "C999"]
    for first in asked:
        for second in asked:
            assert await system.subsumes(first, second) == await listed.subsumes(first, second)


FILTERS = [
    *(
        Filter("concept", operator, code)
        for operator in (
            FilterOperator.IS_A,
            FilterOperator.DESCENDENT_OF,
            FilterOperator.IS_NOT_A,
            FilterOperator.GENERALIZES,
            FilterOperator.CHILD_OF,
            FilterOperator.DESCENDENT_LEAF,
        )
        for code in ("C0", "C2", "C5", "C39", "C999")
    ),
    Filter("code", FilterOperator.EQUALS, "C3"),
    Filter("code", FilterOperator.IN, "C3,C4, C5"),
    Filter("code", FilterOperator.NOT_IN, "C3,C4"),
    Filter("code", FilterOperator.REGEX, "C[12].?"),
    Filter("code", FilterOperator.EXISTS, "true"),
    Filter("code", FilterOperator.EXISTS, "false"),
    Filter("display", FilterOperator.REGEX, ".*eart.*"),
    Filter("colour", FilterOperator.EQUALS, "green, dark"),
    Filter("colour", FilterOperator.IN, "red,blue"),
    Filter("colour", FilterOperator.NOT_IN, "red,blue"),
    Filter("colour", FilterOperator.EXISTS, "true"),
    Filter("colour", FilterOperator.EXISTS, "false"),
    Filter("colour", FilterOperator.REGEX, "r.*|b.*"),
    Filter("size", FilterOperator.IN, "1,3"),
    Filter("inactive", FilterOperator.EQUALS, "true"),
    Filter("definition", FilterOperator.EQUALS, "The heart, of all"),
    Filter("definition", FilterOperator.IN, "The heart, of all"),
    Filter("definition", FilterOperator.NOT_IN, "The heart, of all"),
    Filter("definition", FilterOperator.REGEX, ".*L?ung.*"),
    Filter("definition", FilterOperator.EXISTS, "true"),
    Filter("definition", FilterOperator.EXISTS, "false"),
    Filter("unknown", FilterOperator.EQUALS, "x"),
    Filter("unknown", FilterOperator.NOT_IN, "x"),
]


async def test_filters_let_the_same_through(system: ReleasedCodeSystem, listed: ListedCodeSystem) -> None:
    for each in FILTERS:
        selection = Selection([each])
        wanted = await listed.select(selection)
        found = await system.select(selection)
        assert codes(found.concepts) == codes(wanted.concepts), each
        assert (len(found.concepts), found.total) == (wanted.total, wanted.total), each
        for code in list(listed.hierarchy.entries)[::9]:
            let = await system.lets_through(code, [each])
            assert let == (code in codes(wanted.concepts)), (each, code)
    assert not await system.lets_through("C999", [])


async def test_filters_together(system: ReleasedCodeSystem, listed: ListedCodeSystem) -> None:
    assert await selections_that_differ(system, listed) == []


async def test_large_conditions_are_looked_up_and_small_ones_gone_through(
    system: ReleasedCodeSystem, listed: ListedCodeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "FEW", 0)
    assert await selections_that_differ(system, listed) == []


async def selections_that_differ(system: ReleasedCodeSystem, listed: ListedCodeSystem) -> list[Selection]:
    """Of forty by chance, those of which a release says something else than the code system in memory."""
    differing = []
    chance = random.Random(2)
    for _ in range(40):
        filters = chance.sample(FILTERS, 2)
        text = chance.choice([None, "he", "lun", "of the", "CREME", "röntgen", "c1", "x ray", "nothing", "-"])
        selection = Selection(filters[: chance.randint(0, 2)], text, chance.random() < 0.5)
        wanted, found = await listed.select(selection), await system.select(selection)
        told = codes(found.concepts), len(found.concepts), found.total
        if told != (codes(wanted.concepts), wanted.total, wanted.total):
            differing.append(selection)
    return differing


async def test_pages_follow_each_other(system: ReleasedCodeSystem) -> None:
    for filters, text in ([], None), ([], "h"), ([FILTERS[0]], None), ([FILTERS[0]], "h"):
        whole = await system.select(Selection(filters, text))
        pages = [
            await system.select(Selection(filters, text, offset=at, limit=3))
            for at in range(0, len(whole.concepts) + 3, 3)
        ]
        assert [c for page in pages for c in page.concepts] == list(whole.concepts)
        assert {page.total for page in pages} == {whole.total}
        assert (await system.select(Selection(filters, text, limit=0))).total == whole.total


async def test_short_names_come_first(system: ReleasedCodeSystem) -> None:
    found = await system.select(Selection(text="h", active_only=True))
    lengths = [len(each.display or "") for each in found.concepts]
    assert lengths == sorted(lengths)
    assert not any(each.inactive for each in found.concepts)


async def test_more_matches_than_are_counted_have_no_total(
    system: ReleasedCodeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "COUNTED", 5)
    found = await system.select(Selection(text="c", limit=2))
    assert (len(found.concepts), found.total) == (2, None)


async def test_case_does_not_count_where_it_is_not_to(database: Database) -> None:
    resource = made_up(1, caseSensitive=False)
    system, listed = await released(database, resource), ListedCodeSystem(resource)
    for code in ("C7", "c7"):
        assert await system.locate(code) == await listed.locate(code)
    assert await system.locate_all(["c7"]) == await listed.locate_all(["c7"])


async def test_a_code_in_other_case_is_the_same_code(database: Database) -> None:
    resource = {**made_up(1), "caseSensitive": False}
    listed = ListedCodeSystem(resource)
    for system in (await released(database, resource), listed):
        assert await system.subsumes("c1", "C1")
        assert await system.lets_through("C1", [Filter("concept", FilterOperator.IS_A, "c1")])
        for code in ("C0", "C9"):
            for below in await listed.children(code):
                assert await system.subsumes(code.lower(), below.lower())
            assert set(await system.children(code.lower())) == set(await listed.children(code))
            assert set(await system.parents(code.lower())) == set(await listed.parents(code))
        for each in FILTERS:
            if each.property in ("code", "concept") and each.operator is not FilterOperator.REGEX:
                wanted = codes((await listed.select(Selection([each]))).concepts)
                asked = Selection([replace(each, value=each.value.lower())])
                assert codes((await system.select(asked)).concepts) == wanted, each


async def test_displays_exist(system: ReleasedCodeSystem) -> None:
    for value, count in (("true", system.concepts), ("false", 0)):
        found = await system.select(Selection([Filter("display", FilterOperator.EXISTS, value)]))
        assert len(found.concepts) == count


async def test_too_much_is_too_costly(system: ReleasedCodeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "MAX_AT_ONCE", 10)
    for selection in (
        Selection(),
        Selection(limit=11),
        Selection(text="c"),
        Selection([Filter("concept", FilterOperator.IS_NOT_A, "C0")]),
    ):
        with pytest.raises(TooCostly):
            await system.select(selection)
    few = await system.select(Selection([Filter("code", FilterOperator.EQUALS, "C7")], limit=50_000))
    assert [each.code for each in few.concepts] == ["C7"]
    monkeypatch.setattr(patterns, "MAX_VALUES", 2)
    with pytest.raises(TooCostly, match="hold the pattern"):
        await system.condition(Filter("colour", FilterOperator.REGEX, "re.*d"))
    monkeypatch.setattr(patterns, "MAX_VALUES", 100)
    monkeypatch.setattr(patterns, "MAX_MATCHES", 2)
    with pytest.raises(TooCostly, match="matches more"):
        await system.condition(Filter("code", FilterOperator.REGEX, "C.*"))
    monkeypatch.setattr(patterns, "MAX_STEPS", 5)
    with pytest.raises(TooCostly, match="too large"):
        await system.condition(Filter("display", FilterOperator.REGEX, "(.*e.{40})+"))


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(Filter("colour", FilterOperator.EXISTS, "perhaps"), id="neither true nor false"),
        pytest.param(Filter("colour", FilterOperator.REGEX, "("), id="no pattern"),
    ],
)
async def test_filters_that_make_no_sense(system: ReleasedCodeSystem, asked: Filter) -> None:
    with pytest.raises(InvalidFilter):
        await system.select(Selection([asked]))


async def test_a_release_is_seen_within_a_second(database: Database) -> None:
    now = [1_000_000_000]
    source = Releases(database, {}, lambda: now[0])
    assert await source.listing(Kind.CODE_SYSTEM) == []
    with draft_of(made_up(1, version="1")) as draft:
        written = await write_release(database, draft)
    assert await source.listing(Kind.CODE_SYSTEM) == []
    now[0] += 1_000_000
    (edition,) = await source.editions(Kind.CODE_SYSTEM, URL)
    assert (edition.version, edition.content) == ("1", "complete")
    assert await edition.open() is await edition.open()
    assert await source.editions(Kind.CODE_SYSTEM, "http://example.org/other") == []
    assert await source.supplements(URL) == []
    assert await source.listing(Kind.VALUE_SET) == ()
    await remove_release(database, written.release_id)
    now[0] += 1_000_000
    assert await source.listing(Kind.CODE_SYSTEM) == []


async def test_what_takes_the_database_too_long_is_too_costly(database: Database, database_url: str) -> None:
    """Also asked of one code: an expression constraint may be absurd (R4 valueset-operation-expand.html)."""
    known = await released(database, made_up(1))
    endless = select(literal(1).label("number")).cte(recursive=True)
    endless = endless.union_all(select(endless.c.number + 1))
    hurried = Database(database_url, DatabaseLimits(statement_timeout_s=0.05))

    async def rule(system: ReleasedCodeSystem, asked: Filter) -> Condition:
        return among(select(endless.c.number))

    system = ReleasedCodeSystem(hurried, known.release_id, known.header, counts=(40, 40), rule=rule)
    asked = [Filter("constraint", FilterOperator.EQUALS, "*")]
    for question in (
        system.select(Selection(asked)),
        system.codes(asked, active_only=False, limit=10**9),
        system.lets_through("C1", [*asked, Filter("constraint", FilterOperator.EQUALS, "* MINUS *")]),
    ):
        with pytest.raises(TooCostly, match="longer"):
            await question
    await hurried.close()


async def test_the_time_of_a_database_is_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=6.0)
    monkeypatch.setattr("terminology.effort.perf_counter", lambda: next(seconds))
    effort = Effort()
    for _ in range(4):
        assert await effort.timed(asyncio.sleep(0, "told")) == "told"
    with pytest.raises(TooCostly):
        await effort.timed(asyncio.sleep(0))
