"""What supplements say more of concepts (FHIR R4 codesystem.html#supplements)."""

from collections.abc import Sequence
from typing import Any

import pytest

from terminology.canonical import Canonical
from terminology.code_system import CodeSystem, Filter, FilterOperator, Selection
from terminology.in_request import GivenDefinitions
from terminology.issues import NotKnown
from terminology.library import Library
from terminology.listed import ListedCodeSystem
from terminology.supplements import apply_supplements, open_supplements

Json = Any

SHAPES: Json = {
    "resourceType": "CodeSystem",
    "url": "http://example.org/shapes",
    "version": "2",
    "content": "complete",
    "concept": [
        {"code": "round", "display": "Round", "concept": [{"code": "ring", "display": "Ring"}]},
        {"code": "square", "display": "Square"},
    ],
}
NAMES: Json = {
    "resourceType": "CodeSystem",
    "url": "http://example.org/shape-names",
    "version": "1",
    "language": "de",
    "content": "supplement",
    "supplements": "http://example.org/shapes|2",
    "property": [{"code": "corners", "type": "integer"}],
    "concept": [
        {"code": "round", "display": "Rund", "property": [{"code": "corners", "valueInteger": 0}]},
        {
            "code": "square",
            "designation": [{"language": "fr", "value": "Carré"}],
            "property": [{"code": "corners", "valueInteger": 4}],
        },
        {"code": "star", "display": "Stern"},
    ],
}


def system() -> CodeSystem:
    """Shapes with their names."""
    return apply_supplements(ListedCodeSystem(SHAPES), [ListedCodeSystem(NAMES)])


async def test_names_and_properties_are_added() -> None:
    found = await system().locate_all(["round", "square", "star"])
    assert list(found) == ["round", "square"]
    assert [(each.language, each.value) for each in found["round"].designations] == [("de", "Rund")]
    assert [(each.language, each.value) for each in found["square"].designations] == [("fr", "Carré")]
    assert [(each.code, each.value) for each in found["square"].properties] == [("corners", 4)]
    assert "corners" in system().header.properties


@pytest.mark.parametrize(
    ("selection", "codes"),
    [
        (Selection(), ["round", "ring", "square"]),
        (Selection(text="carre"), ["square"]),
        (Selection(text="r"), ["round", "ring"]),
        (Selection(text="ru"), ["round"]),
        (Selection(text="s", offset=1), []),
        (Selection(filters=[Filter("corners", FilterOperator.EQUALS, "4")]), ["square"]),
        (Selection(filters=[Filter("corners", FilterOperator.EXISTS, "false")]), ["ring"]),
        (
            Selection(
                filters=[
                    Filter("corners", FilterOperator.EXISTS, "true"),
                    Filter("concept", FilterOperator.IS_A, "round"),
                ]
            ),
            ["round"],
        ),
        (Selection(filters=[Filter("corners", FilterOperator.REGEX, "[0-3]")], text="rund"), ["round"]),
        (Selection(filters=[Filter("corners", FilterOperator.REGEX, "[0-3]")], text="square"), []),
    ],
)
async def test_concepts_are_selected_by_what_is_added(selection: Selection, codes: Sequence[str]) -> None:
    found = await system().select(selection)
    assert [each.code for each in found.concepts] == list(codes)
    for each in found.concepts:
        assert await system().lets_through(each.code, selection.filters)


@pytest.mark.parametrize(
    ("offset", "limit", "codes"), [(0, 1, ["ring"]), (1, 1, ["round"]), (0, 9, ["ring", "round"]), (2, 9, [])]
)
async def test_what_only_a_supplement_matches_comes_last(offset: int, limit: int, codes: list[str]) -> None:
    more = {
        **NAMES,
        "concept": [{"code": "round", "designation": [{"value": "Ringlike"}]}],
    }
    both = apply_supplements(ListedCodeSystem(SHAPES), [ListedCodeSystem(more)])
    found = await both.select(Selection(text="ring", offset=offset, limit=limit))
    assert found.total == 2
    assert [each.code for each in found.concepts] == codes


async def test_another_version_is_not_supplemented() -> None:
    plain = ListedCodeSystem({**SHAPES, "version": "3"})
    assert apply_supplements(plain, [ListedCodeSystem(NAMES)]) is plain


@pytest.mark.parametrize("url", ["http://example.org/none", "http://example.org/shapes"])
async def test_a_supplement_that_is_none_is_refused(url: str) -> None:
    library = Library([GivenDefinitions([SHAPES, NAMES])])
    assert len(await open_supplements(library, [Canonical(NAMES["url"]), Canonical(NAMES["url"], "1")])) == 1
    with pytest.raises(NotKnown, match=f"Required supplement not found: {url}"):
        await open_supplements(library, [Canonical(url)])
