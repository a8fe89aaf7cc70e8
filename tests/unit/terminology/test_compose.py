"""How much work an expansion is, over code systems that are too large for memory."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from terminology.code_system import Filter, Header, Selected, Selection
from terminology.concept import Concept
from terminology.context import Context
from terminology.expand import expand
from terminology.in_request import GivenDefinitions
from terminology.issues import InvalidFilter, TerminologyFault, TooCostly
from terminology.library import Edition, Kind, Library

Json = Any

NUMBERS = "http://example.org/numbers"
CONTEXT = Context(lambda: "2026-01-01T00:00:00Z", lambda: "urn:uuid:0")


class Numbers:
    """A code system of the numbers below `size`, which counts what it is asked; it has one filter."""

    def __init__(self, size: int, *, counts: bool = True) -> None:
        self.header = Header(NUMBERS)
        self._size, self._counts = size, counts
        self.selections: list[Selection] = []
        self.questions = 0

    async def locate(self, code: str) -> Concept | None:
        """A number below the size."""
        self.questions += 1
        return Concept(code) if int(code) < self._size else None

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """Numbers below the size."""
        return {code: Concept(code) for code in codes if int(code) < self._size}

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Only itself."""
        return ancestor == descendant

    async def parents(self, code: str) -> Sequence[str]:
        """None."""
        assert code
        return ()

    async def children(self, code: str | None) -> Sequence[str]:
        """None."""
        assert code is None or code
        return ()

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether a number is below those that the filters name."""
        self.questions += 1
        return all(int(code) < int(each.value) for each in filters)

    async def select(self, selection: Selection) -> Selected:
        """The numbers in order."""
        for each in selection.filters:
            if each.property != "below":
                raise InvalidFilter(f"'{each.property}' is not understood.")
        self.selections.append(selection)
        end = min([self._size, *(int(each.value) for each in selection.filters)])
        last = end if selection.limit is None else min(end, selection.offset + selection.limit)
        told = [Concept(str(at)) for at in range(selection.offset, last)]
        return Selected(told, end if self._counts else None)

    @property
    def told(self) -> int:
        """How many concepts were selected."""
        return sum(each.limit or 0 for each in self.selections)


class Kept:
    """A source of one code system."""

    def __init__(self, system: Numbers) -> None:
        self._system = system

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """The one edition."""

        async def open_it() -> Numbers:
            """The code system."""
            return self._system

        return [Edition(kind, url, None, open_it)] if (kind, url) == (Kind.CODE_SYSTEM, NUMBERS) else []

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """None."""
        assert system_url
        return ()

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything."""
        return await self.editions(kind, NUMBERS)


def below(number: int, **more: Json) -> Json:
    """An include of the numbers below one."""
    return {
        "system": NUMBERS,
        "filter": [{"property": "below", "op": "=", "value": str(number)}],
        **more,
    }


def named(*numbers: int) -> Json:
    """An include that names numbers."""
    return {"system": NUMBERS, "concept": [{"code": str(each)} for each in numbers]}


def value_set(url: str, *include: Json, exclude: Sequence[Json] = ()) -> Json:
    """A value set."""
    compose = {"include": list(include), "exclude": list(exclude)}
    return {"resourceType": "ValueSet", "url": url, "compose": compose}


ALL = value_set("http://example.org/all", {"system": NUMBERS})
FEW = value_set("http://example.org/few", named(1, 2, 500_000))


async def codes_of(system: Numbers, wanted: Json, **parameters: Json) -> tuple[list[str], int | None]:
    """The codes of an expansion, and its total."""
    library = Library([GivenDefinitions([ALL, FEW]), Kept(system)])
    inputs = {"valueSet": [wanted], **{name: [value] for name, value in parameters.items()}}
    expansion = (await expand(inputs, library, CONTEXT))["expansion"]
    return [each["code"] for each in expansion.get("contains", ())], expansion.get("total")


async def test_one_include_is_left_to_the_code_system() -> None:
    system = Numbers(350_000)
    wanted = value_set("http://example.org/x", {"valueSet": [ALL["url"]]})
    codes, total = await codes_of(system, wanted, count=20, offset=300_000, filter="3")
    assert (codes[0], len(codes), total) == ("300000", 20, 350_000)
    assert system.selections == [Selection((), "3", False, 300_000, 20)]


@pytest.mark.parametrize("counts", [True, False])
async def test_exclusions_are_asked_of_what_is_told_only(counts: bool) -> None:
    system = Numbers(350_000, counts=counts)
    wanted = value_set("http://example.org/x", {"system": NUMBERS}, exclude=[named(0, 3)])
    codes, total = await codes_of(system, wanted, count=4)
    assert (codes, total) == (["1", "2", "4", "5"], None)
    assert system.told <= 1_001


async def test_parts_grow_until_there_are_enough() -> None:
    system = Numbers(350_000)
    wanted = value_set("http://example.org/x", {"system": NUMBERS}, exclude=[named(*range(3_000))])
    codes, _ = await codes_of(system, wanted, count=2)
    assert codes == ["3000", "3001"]
    assert [each.limit for each in system.selections] == [1_000, 4_000]


async def test_more_than_is_looked_at_is_too_costly() -> None:
    system = Numbers(350_000)
    wanted = value_set("http://example.org/x", {"system": NUMBERS}, exclude=[below(100_000)])
    with pytest.raises(TooCostly):
        await codes_of(system, wanted, count=2)
    assert system.told <= 50_000
    assert system.questions <= 5_000


async def test_an_exclusion_that_is_asked_often_is_found_at_once() -> None:
    system = Numbers(10_000)
    wanted = value_set("http://example.org/x", {"system": NUMBERS}, exclude=[below(4_000)])
    codes, total = await codes_of(system, wanted, count=10_000)
    assert (len(codes), total) == (6_000, 6_000)
    assert system.questions == 50


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        pytest.param({"valueSet": [ALL["url"], FEW["url"]]}, ["1", "2"], id="the import that names codes"),
        pytest.param({"system": NUMBERS, "valueSet": [FEW["url"]]}, ["1", "2"], id="an import"),
        pytest.param(below(200_000, valueSet=[FEW["url"]]), ["1", "2"], id="an import rather than filters"),
        pytest.param(below(3, valueSet=[ALL["url"]]), ["0", "1", "2"], id="filters rather than an import"),
    ],
)
async def test_what_is_small_is_looked_through(include: Json, expected: list[str]) -> None:
    system = Numbers(350_000)
    assert await codes_of(system, value_set("http://example.org/x", include)) == (expected, len(expected))
    assert system.told <= 1_001


async def test_a_filter_that_is_not_understood_is_told_with_its_place() -> None:
    asked = {"system": NUMBERS, "filter": [{"property": "above", "op": "=", "value": "1"}]}
    for wanted in (value_set("http://example.org/x", asked), value_set("http://example.org/x", asked, asked)):
        with pytest.raises(TerminologyFault) as caught:
            await codes_of(Numbers(9), wanted)
        assert caught.value.issues[0].expression == "ValueSet.compose.include[0]"


async def test_others_have_their_turn_however_deep_value_sets_lie() -> None:
    """Each level passes on each code; none of that waits for anything."""
    deep = [
        {"resourceType": "ValueSet", "url": f"http://x.test/{at}", "status": "active", "compose": compose}
        for at in range(15)
        for compose in ({"include": [{"valueSet": [f"http://x.test/{at + 1}"]}, named(1)]},)
    ]
    last = {**deep[0], "url": "http://x.test/15", "compose": {"include": [below(4_000), named(1)]}}
    library = Library([GivenDefinitions([*deep, last]), Kept(Numbers(10_000))])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    answer = await expand({"url": ["http://x.test/0"], "count": [10]}, library, CONTEXT)
    counting.cancel()
    assert len(answer["expansion"]["contains"]) == 10
    assert turns >= 4_000 * 15 // 1_000
