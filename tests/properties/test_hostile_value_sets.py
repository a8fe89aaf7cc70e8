"""Definitions with something strange at any place: an expansion is told or refused, never a defect."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernel.faults import Fault
from terminology.context import Context
from terminology.expand import expand
from terminology.in_request import GivenDefinitions
from terminology.library import Library
from terminology.structure import require_definition
from terminology.validate_code import validate_in_code_system, validate_in_value_set

Json = Any

SYSTEM, LIST, SUPPLEMENT = "http://example.org/s", "http://example.org/l", "http://example.org/p"
EXTENSIONS = "http://hl7.org/fhir/StructureDefinition/"
STATUS = "structuredefinition-standards-status"
ALL: Json = {"include": [{"system": SYSTEM}]}
CONTEXT = Context(lambda: "2026-01-01T00:00:00Z", lambda: "urn:uuid:0", "de")


def extension(name: str, **value: Json) -> Json:
    """An extension that is heard."""
    return {"url": EXTENSIONS + name, **value}


DEFINITIONS: Sequence[Json] = (
    {
        "resourceType": "CodeSystem",
        "url": SYSTEM,
        "version": "1",
        "content": "complete",
        "language": "en",
        "property": [{"code": "size", "uri": "http://example.org/size", "type": "code"}],
        "extension": [extension("structuredefinition-standards-status", valueCode="draft")],
        "concept": [
            {
                "code": "a",
                "display": "A",
                "designation": [
                    {
                        "language": "de",
                        "value": "Ah",
                        "use": {"system": "x", "code": "y"},
                        "extension": [extension("structuredefinition-standards-status", valueCode="draft")],
                    }
                ],
                "extension": [
                    extension("structuredefinition-standards-status", valueCode="deprecated"),
                    extension("codesystem-conceptOrder", valueInteger=1),
                ],
                "property": [{"code": "size", "valueCode": "big"}, {"code": "parent", "valueCode": "b"}],
                "concept": [{"code": "b", "display": "B"}],
            }
        ],
    },
    {
        "resourceType": "CodeSystem",
        "url": SUPPLEMENT,
        "content": "supplement",
        "supplements": SYSTEM,
        "concept": [{"code": "b", "designation": [{"language": "de", "value": "Beh"}]}],
    },
    {
        "resourceType": "ValueSet",
        "url": LIST,
        "status": "active",
        "language": "de",
        "extension": [extension("valueset-supplement", valueCanonical=SUPPLEMENT)],
        "contained": [{"resourceType": "ValueSet", "id": "c", "compose": {"include": [{"system": SYSTEM}]}}],
        "compose": {
            "inactive": True,
            "extension": [
                extension(
                    "valueset-expansion-parameter",
                    extension=[
                        {"url": "name", "valueCode": "property"},
                        {"url": "value", "valueCode": "size"},
                    ],
                )
            ],
            "include": [
                {"system": SYSTEM, "filter": [{"property": "size", "op": "exists", "value": "true"}]},
                {
                    "system": SYSTEM,
                    "version": "1",
                    "concept": [{"code": "b", "designation": [{"value": "Bee", "language": "en"}]}],
                    "valueSet": ["#c"],
                },
            ],
            "exclude": [{"valueSet": ["http://example.org/e"]}],
        },
    },
    {
        "resourceType": "ValueSet",
        "url": "http://example.org/e",
        "expansion": {"contains": [{"system": SYSTEM, "code": "z", "contains": [{"code": "y"}]}]},
    },
)

strange = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        ["", "a", "b", "#c", "#", SYSTEM, LIST, f"{SYSTEM}|9", "is-a", "regex", "(", "\x00", "é" * 99]
    ),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just({"code": []}),
    st.just([["a"]]),
)


def places(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that lies within."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield (*path, key)
        yield from places(each, (*path, key))


PLACES = list(places(list(DEFINITIONS)))


Changes = Sequence[tuple[tuple[Any, ...], Json]]


def changed(value: Json, changes: Changes) -> Any:
    """A copy with other values at some places."""
    made = copy.deepcopy(value)
    for path, other in changes:
        try:
            place: Any = made
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = copy.deepcopy(other)
        except (KeyError, IndexError, TypeError):
            continue
    return made


def changes_at(where: Sequence[tuple[Any, ...]]) -> st.SearchStrategy[Any]:
    """Some of them."""
    return st.lists(st.tuples(st.sampled_from(where), strange), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(changes=changes_at(PLACES))
async def test_strange_definitions_are_expanded_or_refused(changes: Changes) -> None:
    definitions = changed(list(DEFINITIONS), changes)
    try:
        for each in definitions:
            require_definition(each, "tx-resource")
        library = Library([GivenDefinitions(definitions)])
        asked = {"url": [LIST], "includeDesignations": [True], "property": ["size", "definition"]}
        answers = [
            await expand(asked, library, CONTEXT),
            await expand({**asked, "filter": ["a b"], "count": ["2"]}, library, CONTEXT),
        ]
    except Fault as fault:
        refused, answers = fault.status, []
    else:
        refused = None
    assert refused is None or 400 <= refused < 500
    assert all(each["resourceType"] == "ValueSet" and "timestamp" in each["expansion"] for each in answers)
    assert all(len(each["expansion"].get("contains", ())) <= 2 for each in answers[1:])


async def test_the_definitions_themselves_are_expanded() -> None:
    answer = await expand({"url": [LIST]}, Library([GivenDefinitions(DEFINITIONS)]), CONTEXT)
    assert [(each["code"], each["display"]) for each in answer["expansion"]["contains"]] == [
        ("a", "Ah"),
        ("b", "Beh"),
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"contained": 5},
        {"contained": None},
        {"contained": [5]},
        {"concept": [{"code": "a", "property": [{"code": "size", "value": "big"}]}]},
        {"concept": [{"code": "a", "extension": [extension(STATUS, valueCode=[])]}]},
        {"concept": [{"code": "a", "extension": [extension(STATUS, valueCode={"a": 1})]}]},
    ],
)
async def test_code_systems_that_are_no_r4_are_read_or_refused(more: Json) -> None:
    definition = {**DEFINITIONS[0], **more}
    try:
        require_definition(definition, "tx-resource")
        library = Library([GivenDefinitions([definition])])
        answer = await expand({"valueSet": [{"resourceType": "ValueSet", "compose": ALL}]}, library, CONTEXT)
    except Fault as fault:
        told: Json = int(fault.status)
    else:
        told = answer["expansion"]["contains"][0]["code"]
    assert told == "a" or 400 <= told < 500


CODED: Json = {
    "coding": [{"system": SYSTEM, "code": "a", "version": "1", "display": "Ah"}],
    "codeableConcept": [{"coding": [{"system": SYSTEM, "code": "b"}, {"code": "z"}], "text": "x"}],
    "code": ["a"],
    "inferSystem": [True],
    "display": ["Beh"],
    "abstract": ["false"],
    "activeOnly": [True],
    "displayLanguage": ["de, en;q=0.5"],
    "system-version": [f"{SYSTEM}|1"],
    "valueSetMode": ["NO_MEMBERSHIP_CHECK"],
}


@settings(max_examples=150, deadline=None)
@given(
    changes=changes_at(PLACES),
    others=changes_at(list(places(CODED))),
    left_out=st.sets(st.sampled_from(sorted(CODED))),
    url=st.sampled_from([LIST, SYSTEM, "http://example.org/e"]),
)
async def test_strange_codes_are_validated_or_refused(
    changes: Changes, others: Changes, left_out: set[str], url: str
) -> None:
    """Against definitions as they are, and against strange ones."""
    given_inputs = {name: value for name, value in CODED.items() if name not in left_out}
    inputs = {"url": [url], **changed(given_inputs, others)}
    inputs = {name: values for name, values in inputs.items() if isinstance(values, list)}
    for definitions in (DEFINITIONS, changed(list(DEFINITIONS), changes)):
        for perform in (validate_in_value_set, validate_in_code_system):
            try:
                for each in definitions:
                    require_definition(each, "tx-resource")
                answer = await perform(inputs, Library([GivenDefinitions(definitions)]), CONTEXT)
            except Fault:
                continue
            assert {"name", "valueBoolean"} == answer["parameter"][0].keys()
