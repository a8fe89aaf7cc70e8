"""Value sets made up: expansion and validation tell exactly what the composition says (R4 valueset.html).

Code systems of eight concepts that lie below one another somehow; value sets over them that import those made
before. What is expected is worked out with sets, as the standard words it.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from terminology.canonical import Canonical
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.context import Context
from terminology.expand import expand
from terminology.in_request import GivenDefinitions
from terminology.library import Library
from terminology.listed import ListedCodeSystem
from terminology.membership import membership
from terminology.validate_code import validate_in_value_set

Json = Any

SYSTEM = "http://example.org/made-up"
CODES = [f"c{at}" for at in range(8)]
CONTEXT = Context(lambda: "2026-01-01T00:00:00Z", lambda: "urn:uuid:0")

code = st.sampled_from(CODES)
filters = st.one_of(
    st.builds(
        lambda op, value: {"property": "concept", "op": op, "value": value},
        st.sampled_from(["is-a", "descendent-of", "is-not-a", "generalizes", "child-of", "descendent-leaf"]),
        code,
    ),
    st.builds(
        lambda op, value: {"property": "size", "op": op, "value": value},
        st.sampled_from(["=", "in", "not-in"]),
        st.sampled_from(["0", "1", "0,1"]),
    ),
    st.builds(
        lambda value: {"property": "size", "op": "exists", "value": value}, st.sampled_from(["true", "false"])
    ),
)


@st.composite
def code_systems(draw: st.DrawFn) -> Json:
    """A code system: each concept may lie below some of those before it."""
    concepts = []
    for at, each in enumerate(CODES):
        above = draw(st.sets(st.sampled_from(CODES[:at]), max_size=2)) if at else set()
        properties = [{"code": "parent", "valueCode": parent} for parent in sorted(above)]
        if (size := draw(st.sampled_from([None, 0, 1]))) is not None:
            properties.append({"code": "size", "valueInteger": size})
        if draw(st.booleans()):
            properties.append({"code": "status", "valueCode": "retired"})
        concepts.append({"code": each, "display": f"Word {each}", "property": properties})
    return {"resourceType": "CodeSystem", "url": SYSTEM, "content": "complete", "concept": concepts}


@st.composite
def value_sets(draw: st.DrawFn) -> Sequence[Json]:
    """Value sets, each of which imports only those before it."""
    made: list[Json] = []
    for at in range(draw(st.integers(1, 4))):
        include = st.builds(_include, *_parts([each["url"] for each in made]))
        compose = {
            "include": draw(st.lists(include, min_size=1, max_size=3)),
            "exclude": draw(st.lists(include, max_size=2)),
            "inactive": draw(st.booleans()),
        }
        made.append({"resourceType": "ValueSet", "url": f"http://example.org/{at}", "compose": compose})
    return made


def _parts(urls: Sequence[str]) -> Sequence[st.SearchStrategy[Any]]:
    named = st.one_of(st.none(), st.lists(code, min_size=1, max_size=4, unique=True))
    asked = st.lists(filters, max_size=2)
    imports = st.lists(st.sampled_from(urls), max_size=2, unique=True) if urls else st.just([])
    return named, asked, imports, st.booleans()


def _include(named: list[str] | None, asked: list[Json], imports: list[str], only_imports: bool) -> Json:
    if imports and only_imports:
        return {"valueSet": imports}
    entry: Json = {"system": SYSTEM}
    if named is not None:
        entry["concept"] = [{"code": each} for each in named]
    elif asked:
        entry["filter"] = asked
    return entry | ({"valueSet": imports} if imports else {})


class Model:
    """What a composition says, worked out with sets."""

    def __init__(self, code_system: Json, made: Sequence[Json]) -> None:
        self.concepts = {each["code"]: each for each in code_system["concept"]}
        self.value_sets = {each["url"]: each for each in made}

    def codes(self, url: str) -> set[str]:
        """The codes of a value set."""
        compose = self.value_sets[url]["compose"]
        found = set().union(*(self._part(each) for each in compose["include"]))
        for each in compose["exclude"]:
            found -= self._part(each)
        return found if compose["inactive"] else {each for each in found if not self.inactive(each)}

    def inactive(self, each: str) -> bool:
        """Whether a code is retired."""
        return self._value(each, "status") == "retired"

    def _part(self, include: Json) -> set[str]:
        sets = [self.codes(url) for url in include.get("valueSet", ())]
        if "concept" in include:
            sets.append({each["code"] for each in include["concept"]})
        elif "system" in include:
            sets.append(
                {each for each in CODES if all(self.holds(f, each) for f in include.get("filter", ()))}
            )
        return set.intersection(*sets)

    def holds(self, asked: Json, each: str) -> bool:
        """Whether a filter lets a code through."""
        value, size = asked["value"], self._value(each, "size")
        if asked["property"] == "concept":
            above = self.above(each)
            leaf = not any(each in self._parents(c) for c in CODES)
            return {
                "is-a": each == value or value in above,
                "descendent-of": value in above,
                "is-not-a": each != value and value not in above,
                "generalizes": each == value or each in self.above(value),
                "child-of": value in self._parents(each),
                "descendent-leaf": value in above and leaf,
            }[asked["op"]]
        if asked["op"] == "exists":
            return (size is not None) == (value == "true")
        if asked["op"] == "=":
            return str(size) == value
        return (str(size) in value.split(",")) == (asked["op"] == "in")

    def above(self, each: str) -> set[str]:
        """All above a code."""
        parents = self._parents(each)
        return parents.union(*(self.above(parent) for parent in parents))

    def _parents(self, each: str) -> set[str]:
        return {p["valueCode"] for p in self.concepts[each]["property"] if p["code"] == "parent"}

    def _value(self, each: str, name: str) -> Any:
        for known in self.concepts[each]["property"]:
            if known["code"] == name:
                return next(value for key, value in known.items() if key.startswith("value"))
        return None


@settings(max_examples=25, deadline=None)
@given(code_system=code_systems(), made=value_sets(), active_only=st.booleans())
async def test_expansion_and_validation_tell_what_the_composition_says(
    code_system: Json, made: Sequence[Json], active_only: bool
) -> None:
    library, model = Library([GivenDefinitions([code_system, *made])]), Model(code_system, made)
    for each in made:
        asked = {"url": [each["url"]], "excludeNested": [True], "activeOnly": [active_only]}
        answer = await expand(asked, library, CONTEXT)
        told = [entry["code"] for entry in answer["expansion"].get("contains", ())]
        wanted = model.codes(each["url"])
        assert set(told) == {c for c in wanted if not (active_only and model.inactive(c))}
        assert len(told) == len(set(told)) == answer["expansion"]["total"]
        for at in CODES:
            assert await membership(library, Canonical(each["url"]), SYSTEM, at) == (at in wanted)


@settings(max_examples=25, deadline=None)
@given(code_system=code_systems(), made=value_sets(), text=st.sampled_from(["c", "word c1", "c7", "x"]))
async def test_pages_and_filters_tell_parts_of_the_same(
    code_system: Json, made: Sequence[Json], text: str
) -> None:
    library = Library([GivenDefinitions([code_system, *made])])
    asked = {"url": [made[-1]["url"]], "excludeNested": [True]}

    async def told(**more: Json) -> list[str]:
        """The codes of an expansion."""
        answer = await expand({**asked, **more}, library, CONTEXT)
        return [entry["code"] for entry in answer["expansion"].get("contains", ())]

    whole = await told()
    pages = [await told(offset=[at], count=[3]) for at in range(0, len(whole) + 1, 3)]
    assert [each for page in pages for each in page] == whole
    last = text.rpartition(" ")[2]
    assert await told(filter=[text]) == [each for each in whole if each.startswith(last)]


@settings(max_examples=25, deadline=None)
@given(code_system=code_systems(), asked=st.lists(filters, max_size=3))
async def test_what_is_selected_is_what_filters_let_through(code_system: Json, asked: list[Json]) -> None:
    system, model = ListedCodeSystem(code_system), Model(code_system, ())
    wanted = [Filter(each["property"], FilterOperator(each["op"]), each["value"]) for each in asked]
    expected = [each for each in CODES if all(model.holds(f, each) for f in asked)]
    assert [each.code for each in (await system.select(Selection(wanted))).concepts] == expected
    assert [each for each in CODES if await system.lets_through(each, wanted)] == expected


@settings(max_examples=25, deadline=None)
@given(code_system=code_systems(), made=value_sets(), active_only=st.booleans())
async def test_validation_agrees_with_membership(
    code_system: Json, made: Sequence[Json], active_only: bool
) -> None:
    library, model = Library([GivenDefinitions([code_system, *made])]), Model(code_system, made)
    wanted = model.codes(made[-1]["url"])
    for each in [*CODES, "c9"]:
        coding = {"system": SYSTEM, "code": each}
        inputs = {"url": [made[-1]["url"]], "coding": [coding], "activeOnly": [active_only]}
        answer = await validate_in_value_set(inputs, library, CONTEXT)
        result = next(p["valueBoolean"] for p in answer["parameter"] if p["name"] == "result")
        assert result is (each in wanted and not (active_only and model.inactive(each)))
