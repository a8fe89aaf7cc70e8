"""`$expand` (FHIR R4 valueset-operation-expand.html; HL7 terminology ecosystem)."""

from typing import Any

import pytest

from terminology.canonical import Canonical
from terminology.expand import MAX_NESTING
from terminology.issues import InvalidInput, NotKnown, NotSupported, TerminologyFault, TooCostly
from tests.conformance.fhir_r4.expanding import (
    ALL,
    FIRS,
    NOW,
    OAK,
    RARE,
    SOFT,
    TREES,
    WOODS,
    codes,
    entries,
    entry_of,
    expand_it,
    filtered,
    in_context,
    named,
    properties,
    shape,
    told,
    value_set,
)

Json = Any

EVERY = ["conifer", "fir", "yew", "oak", "cork-oak", "elm"]


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        pytest.param([{"system": TREES}], EVERY, id="a whole code system"),
        pytest.param([named("oak", "fir", "pear")], ["oak", "fir"], id="named codes, in their order"),
        pytest.param([filtered("concept", "is-a", "oak")], ["oak", "cork-oak"], id="is-a"),
        pytest.param([filtered("concept", "descendent-of", "oak")], ["cork-oak"], id="descendent-of"),
        pytest.param([filtered("concept", "child-of", "conifer")], ["fir", "yew"], id="child-of"),
        pytest.param([filtered("height", "=", "60")], ["fir"], id="a property"),
        pytest.param([filtered("height", "exists", "true")], ["fir", "oak"], id="exists"),
        pytest.param([filtered("code", "regex", ".*o.*k.*")], ["oak", "cork-oak"], id="regex"),
        pytest.param([{"valueSet": [SOFT]}], ["conifer", "fir", "yew"], id="an import"),
        pytest.param([{"valueSet": [SOFT, RARE]}], [], id="imports: what they have in common"),
        pytest.param([{"system": TREES, "valueSet": [SOFT]}], EVERY[:3], id="system and import"),
        pytest.param([named("yew", "oak", valueSet=[SOFT])], ["yew"], id="named codes and import"),
        pytest.param([named("oak"), {"valueSet": [OAK]}], ["oak"], id="each code once"),
        pytest.param([named("fir", "yew", valueSet=[FIRS])], ["fir"], id="an import with exclusions"),
        pytest.param([named("yew", "elm", valueSet=[RARE])], ["elm"], id="an import without inactive ones"),
        pytest.param([{"valueSet": [f"{OAK}|1"]}], ["oak", "cork-oak"], id="a version of an import"),
        pytest.param([{"valueSet": [RARE]}], ["elm"], id="an import without inactive codes"),
        pytest.param([{"system": TREES, "version": "1"}], EVERY[:5], id="a version of a system"),
    ],
)
async def test_compose_include(include: list[Json], expected: list[str]) -> None:
    answer = await expand_it({"include": include})
    assert codes(answer) == expected
    assert answer["expansion"]["total"] == len(expected)


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        pytest.param([named("oak", "pear")], ["conifer", "fir", "yew", "cork-oak", "elm"], id="named"),
        pytest.param([filtered("concept", "is-a", "conifer")], ["oak", "cork-oak", "elm"], id="filter"),
        pytest.param([{"valueSet": [SOFT]}], ["oak", "cork-oak", "elm"], id="import"),
        pytest.param([named("oak", "fir", valueSet=[SOFT])], [x for x in EVERY if x != "fir"], id="both"),
        pytest.param([{"valueSet": [SOFT]}, {"valueSet": [f"{OAK}|1"]}], ["elm"], id="several"),
        pytest.param([{"system": TREES}], [], id="everything"),
    ],
)
async def test_compose_exclude(exclude: list[Json], expected: list[str]) -> None:
    assert codes(await expand_it({**ALL, "exclude": exclude})) == expected


@pytest.mark.parametrize(("case_sensitive", "expected"), [(True, ["Oak", "fir"]), (False, ["fir"])])
async def test_codes_whose_case_does_not_count(case_sensitive: bool, expected: list[str]) -> None:
    loose = {
        "resourceType": "CodeSystem",
        "url": WOODS,
        "content": "complete",
        "caseSensitive": case_sensitive,
        "concept": [{"code": "Oak"}, {"code": "fir"}],
    }
    every = {"include": [{"system": WOODS}], "exclude": [{"system": WOODS, "concept": [{"code": "OAK"}]}]}
    assert codes(await expand_it(every, loose)) == expected
    one = {"include": [{"system": WOODS, "concept": [{"code": "FIR"}]}]}
    assert codes(await expand_it(one, loose)) == ([] if case_sensitive else ["fir"])


async def test_contained_value_sets_are_imported_by_their_id() -> None:
    within = {"resourceType": "ValueSet", "id": "here", "compose": {"include": [named("fir", "oak")]}}
    whole = value_set(
        "http://example.org/vs", {"include": [{"valueSet": ["#here", SOFT]}]}, contained=[within]
    )
    answer = await expand_it(whole)
    assert codes(answer) == ["fir"]
    assert told(answer)["used-valueset"] == [f"{SOFT}|1"]


async def test_a_value_set_that_imports_itself_is_refused() -> None:
    one, two = "http://example.org/one", "http://example.org/two"
    circle = (
        value_set(one, {"include": [named("oak")], "exclude": [{"valueSet": [two]}]}),
        value_set(two, {"include": [{"valueSet": [one]}]}),
    )
    with pytest.raises(TerminologyFault) as caught:
        await expand_it(one, *circle)
    (issue,) = caught.value.issues
    assert (issue.code, issue.tx and issue.tx.value) == ("processing", "vs-invalid")
    assert one in issue.text


async def test_imports_within_one_another_are_bounded() -> None:
    chain = [
        value_set(f"http://example.org/{at}", {"include": [{"valueSet": [f"http://example.org/{at + 1}"]}]})
        for at in range(40)
    ]
    with pytest.raises(TooCostly):
        await expand_it("http://example.org/0", *chain)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("http://example.org/nowhere", "http://example.org/nowhere"),
        (f"{OAK}|7", f"{OAK}|7"),
        ({"include": [{"valueSet": ["http://example.org/nowhere"]}]}, "http://example.org/nowhere"),
        ({"include": [{"valueSet": ["#nobody"]}]}, "#nobody"),
        ({"include": [{"system": "http://example.org/stones"}]}, "http://example.org/stones"),
        ({"include": [{"system": TREES, "version": "9"}]}, "'9' could not be found"),
    ],
)
async def test_what_is_not_known_is_named(wanted: Json, text: str) -> None:
    with pytest.raises(NotKnown) as caught:
        await expand_it(wanted)
    assert text in caught.value.issues[0].text
    assert caught.value.issues[0].code == "not-found"


async def test_a_value_set_is_given_or_named() -> None:
    for version in ({"valueSetVersion": "1"}, {}):
        answer = await expand_it(OAK, **version)
        assert codes(answer) == (["oak", "cork-oak"] if version else ["oak"])
        assert answer["version"] == ("1" if version else "2")
    with pytest.raises(InvalidInput):
        await expand_it(None)


@pytest.mark.parametrize("name", ["context", "contextDirection"])
async def test_context_is_refused(name: str) -> None:
    with pytest.raises(NotSupported):
        await expand_it(ALL, **{name: "Patient.gender"})


async def test_the_answer_is_made_for_this_request() -> None:
    answer = await expand_it(
        value_set("http://example.org/vs", ALL, id="x", text={"status": "empty"}, description="d"),
        date="2026",
    )
    assert answer["expansion"]["timestamp"] == NOW
    assert answer["expansion"]["identifier"].startswith("urn:uuid:")
    assert told(answer) == {"date": ["2026"], "used-codesystem": [f"{TREES}|2"]}
    assert set(answer) == {"resourceType", "id", "url", "status", "expansion"}


async def test_include_definition() -> None:
    answer = await expand_it(value_set("http://example.org/vs", ALL, description="d"), includeDefinition=True)
    assert (answer["compose"], answer["description"]) == (ALL, "d")
    assert told(answer)["includeDefinition"] == [True]


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, 2, EVERY[:2]),
        (2, 2, EVERY[2:4]),
        (5, 10, EVERY[5:]),
        (9, 3, []),
        (None, 0, []),
        (4, None, EVERY[4:]),
    ],
)
@pytest.mark.parametrize("compose", [ALL, {"include": [named(*EVERY)]}], ids=["filters", "named"])
async def test_count_and_offset(
    compose: Json, offset: int | None, count: int | None, expected: list[str]
) -> None:
    paging = {name: str(n) for name, n in (("offset", offset), ("count", count)) if n is not None}
    answer = await expand_it(compose, **paging)
    assert codes(answer) == expected
    assert (answer["expansion"]["total"], answer["expansion"]["offset"]) == (6, offset or 0)


@pytest.mark.parametrize(
    ("compose", "text", "expected"),
    [
        (ALL, "oak", ["oak", "cork-oak"]),
        (ALL, "OAK cor", ["cork-oak"]),
        (ALL, "eich", ["oak"]),
        (ALL, "pear", []),
        ({"include": [named("oak", "fir")]}, "fi", ["fir"]),
        (
            {"include": [{"system": TREES, "concept": [{"code": "fir", "display": "Tannë"}]}]},
            "tanne",
            ["fir"],
        ),
        (
            {"include": [{"system": TREES, "concept": [{"code": "oak", "display": "Elder"}]}]},
            "eld eic",
            ["oak"],
        ),
        ({"include": [named("oak", "elm")]}, "lm", []),
        ({"include": [{"valueSet": [SOFT]}]}, "y", ["yew"]),
        ({**ALL, "exclude": [named("oak")]}, "oak", ["cork-oak"]),
    ],
)
async def test_filter(compose: Json, text: str, expected: list[str]) -> None:
    answer = await expand_it(compose, filter=text)
    assert codes(answer) == expected
    assert told(answer)["filter"] == [text]


async def test_a_filter_has_an_end() -> None:
    assert codes(await expand_it(ALL, filter="oak " * 250)) == ["oak", "cork-oak"]
    with pytest.raises(InvalidInput) as caught:
        await expand_it(ALL, filter="oak " * 251)
    assert caught.value.issues[0].expression == "filter"


@pytest.mark.parametrize(
    ("inactive", "active_only", "there"),
    [(None, None, True), (None, False, True), (None, True, False), (False, False, False), (True, None, True)],
)
@pytest.mark.parametrize("include", [{"system": TREES}, named("yew", "oak"), {"valueSet": [SOFT]}])
async def test_inactive_codes(
    include: Json, inactive: bool | None, active_only: bool | None, there: bool
) -> None:
    compose = {"include": [include]} | ({} if inactive is None else {"inactive": inactive})
    answer = await expand_it(compose, **({} if active_only is None else {"activeOnly": active_only}))
    assert ("yew" in codes(answer)) == there
    if there:
        assert entry_of(answer, "yew")["inactive"] is True
        assert properties(entry_of(answer, "yew")) == {"status": "retired"}


async def test_what_is_deprecated_is_told_with_its_status_and_not_inactive() -> None:
    old = {
        "resourceType": "CodeSystem",
        "url": WOODS,
        "content": "complete",
        "concept": [{"code": "grove", "property": [{"code": "status", "valueCode": "deprecated"}]}],
    }
    (grove,) = entries(await expand_it({"include": [{"system": WOODS}]}, old, activeOnly=True))
    assert "inactive" not in grove
    assert properties(grove) == {"status": "deprecated"}


async def test_abstract_codes() -> None:
    assert entry_of(await expand_it(ALL), "conifer")["abstract"] is True
    assert codes(await expand_it(ALL, excludeNotForUI=True)) == EVERY[1:]


@pytest.mark.parametrize(
    ("compose", "parameters", "expected"),
    [
        (ALL, {}, [("conifer", ["fir", "yew"]), ("oak", ["cork-oak"]), "elm"]),
        (ALL, {"activeOnly": True}, [("conifer", ["fir"]), ("oak", ["cork-oak"]), "elm"]),
        (ALL, {"excludeNested": True}, EVERY),
        (ALL, {"count": 10}, EVERY),
        (ALL, {"filter": "oak"}, ["oak", "cork-oak"]),
        ({"include": [filtered("concept", "descendent-of", "conifer")]}, {}, ["fir", "yew"]),
        ({"include": [named("oak", "cork-oak")]}, {}, ["oak", "cork-oak"]),
        ({**ALL, "exclude": [named("elm")]}, {}, EVERY[:5]),
        ({"include": [{"valueSet": [SOFT]}]}, {}, EVERY[:3]),
    ],
)
async def test_nesting(compose: Json, parameters: Json, expected: list[Any]) -> None:
    answer = await expand_it(compose, **parameters)
    assert shape(answer["expansion"]["contains"]) == expected


@pytest.mark.parametrize(("levels", "nested"), [(MAX_NESTING, True), (MAX_NESTING + 2, False)])
async def test_what_is_too_deep_is_told_flat(levels: int, nested: bool) -> None:
    concept: Json = {"code": "c0"}
    for at in range(1, levels):
        concept = {"code": f"c{at}", "concept": [concept]}
    deep = {"resourceType": "CodeSystem", "url": WOODS, "content": "complete", "concept": [concept]}
    answer = await expand_it({"include": [{"system": WOODS}]}, deep)
    assert len(entries(answer)) == levels
    assert (len(answer["expansion"]["contains"]) == 1) == nested


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, None),
        ({"includeDesignations": False, "designation": "de"}, None),
        ({"includeDesignations": True}, ["Eiche", "Eich", "King of the wood"]),
        ({"includeDesignations": True, "designation": "urn:ietf:bcp:47|de"}, ["Eiche"]),
        ({"designation": ["urn:ietf:bcp:47|de-CH", f"{WOODS}|poetic"]}, ["Eich", "King of the wood"]),
        ({"designation": f"{WOODS}|"}, ["King of the wood"]),
        ({"designation": "urn:ietf:bcp:47|fr"}, None),
    ],
)
async def test_designations(parameters: Json, expected: list[str] | None) -> None:
    oak = entry_of(await expand_it(ALL, **parameters), "oak")
    assert (oak.get("designation") and [each["value"] for each in oak["designation"]]) == expected


@pytest.mark.parametrize(
    ("said", "display"),
    [
        ({}, "Oak"),
        ({"parameter": "de"}, "Eiche"),
        ({"header": "de-CH,de;q=0.9"}, "Eich"),
        ({"value_set": "de"}, "Eiche"),
        ({"language": "de"}, "Eiche"),
        ({"parameter": "en", "header": "de", "value_set": "de", "language": "de"}, "Oak"),
        ({"value_set": "en", "header": "de"}, "Oak"),
        ({"parameter": "fr"}, "Oak"),
        ({"parameter": "fr,*;q=0"}, None),
    ],
)
async def test_display_language(said: dict[str, str], display: str | None) -> None:
    asked = {
        "url": "http://hl7.org/fhir/StructureDefinition/valueset-expansion-parameter",
        "extension": [
            {"url": "name", "valueCode": "displayLanguage"},
            {"url": "value", "valueCode": said.get("value_set")},
        ],
    }
    compose = {**ALL, **({"extension": [asked]} if "value_set" in said else {})}
    language = {"language": said["language"]} if "language" in said else {}
    parameters = {"displayLanguage": said["parameter"]} if "parameter" in said else {}
    answer = await expand_it(
        value_set("http://example.org/vs", compose, **language),
        within=in_context(accept_language=said.get("header")),
        **parameters,
    )
    assert entry_of(answer, "oak").get("display") == display


async def test_the_display_that_is_not_shown_is_a_designation() -> None:
    oak = entry_of(await expand_it(ALL, displayLanguage="de", includeDesignations=True), "oak")
    assert oak["display"] == "Eiche"
    assert [(each.get("language"), each["value"]) for each in oak["designation"]] == [
        ("en", "Oak"),
        ("de-CH", "Eich"),
        (None, "King of the wood"),
    ]


async def test_a_value_set_has_names_of_its_own() -> None:
    concept = {
        "code": "oak",
        "display": "Big oak",
        "designation": [{"language": "de", "value": "Dicke Eiche"}],
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/valueset-label", "valueString": "a)"},
            {"url": "http://hl7.org/fhir/StructureDefinition/valueset-conceptOrder", "valueInteger": 3},
            {"url": "http://hl7.org/fhir/StructureDefinition/valueset-deprecated", "valueBoolean": True},
            {"url": "http://example.org/unknown", "valueBoolean": True},
        ],
    }
    compose = {"include": [{"system": TREES, "concept": [concept]}]}
    (oak,) = entries(await expand_it(compose))
    assert oak["display"] == "Big oak"
    assert properties(oak) == {"label": "a)", "order": 3}
    assert [each["url"].rpartition("/")[2] for each in oak["extension"]][:1] == ["valueset-deprecated"]
    assert len(oak["extension"]) == 3
    (oak,) = entries(await expand_it(compose, displayLanguage="de"))
    assert oak["display"] == "Dicke Eiche"


async def test_what_the_value_set_says_goes_before() -> None:
    base = "http://hl7.org/fhir/StructureDefinition/"

    def extensions(*pairs: tuple[str, str]) -> list[Json]:
        """Extensions with text."""
        return [{"url": base + name, "valueString": value} for name, value in pairs]

    own = extensions(("codesystem-label", "1."), ("rendering-style", "bold"), ("rendering-xhtml", "<b/>"))
    woods = {
        "resourceType": "CodeSystem",
        "url": WOODS,
        "content": "complete",
        "concept": [{"code": "grove", "extension": own}],
    }
    named_so = {
        "code": "grove",
        "extension": extensions(("valueset-label", "a)"), ("rendering-style", "thin")),
    }
    compose = {"include": [{"system": WOODS, "concept": [named_so]}]}
    (grove,) = entries(await expand_it(compose, woods))
    assert properties(grove) == {"label": "a)"}
    assert [each["valueString"] for each in grove["extension"] if "valueString" in each] == ["thin", "<b/>"]


async def test_properties_that_are_asked_for() -> None:
    answer = await expand_it(ALL, property=["height", "definition", "parent", "child", "colour"])
    assert properties(entry_of(answer, "oak")) == {
        "height": 40,
        "definition": "A tree with acorns",
        "child": "cork-oak",
    }
    assert properties(entry_of(answer, "fir")) == {"height": 60, "parent": "conifer"}
    assert properties(answer["expansion"]) == {
        "height": "http://example.org/height",
        "definition": "http://hl7.org/fhir/concept-properties#definition",
        "parent": "http://hl7.org/fhir/concept-properties#parent",
        "child": "http://hl7.org/fhir/concept-properties#child",
        "status": "http://hl7.org/fhir/concept-properties#status",
    }


@pytest.mark.parametrize("unwanted", [TREES, f"{TREES}|2"])
async def test_exclude_system(unwanted: str) -> None:
    answer = await expand_it(ALL, exclude_system=unwanted)
    assert codes(answer) == []
    assert told(answer)["exclude-system"] == [unwanted]
    assert codes(await expand_it(ALL, exclude_system=f"{TREES}|1")) == EVERY


@pytest.mark.parametrize(
    ("stated", "parameters", "version", "rule"),
    [
        (None, {}, "2", None),
        (None, {"system_version": f"{TREES}|1"}, "1", "system-version"),
        ("2", {"system_version": f"{TREES}|1"}, "2", None),
        ("2", {"force_system_version": f"{TREES}|1"}, "1", "force-system-version"),
        (None, {"check_system_version": f"{TREES}|1"}, "1", "check-system-version"),
        ("1", {"check_system_version": f"{TREES}|1"}, "1", None),
    ],
)
async def test_versions(stated: str | None, parameters: Json, version: str, rule: str | None) -> None:
    include = {"system": TREES} | ({} if stated is None else {"version": stated})
    answer = await expand_it({"include": [include]}, **parameters)
    assert told(answer)["used-codesystem"] == [f"{TREES}|{version}"]
    assert [name for name in told(answer) if name.endswith("-version")] == ([] if rule is None else [rule])
    assert all("version" not in each for each in entries(answer))


async def test_a_version_that_a_check_forbids() -> None:
    with pytest.raises(TerminologyFault) as caught:
        await expand_it({"include": [{"system": TREES, "version": "2"}]}, check_system_version=f"{TREES}|1")
    assert caught.value.issues[0].tx is not None
    assert caught.value.issues[0].tx.value == "version-error"


BOTH = [named("oak", "elm", version="2"), named("oak", "fir", version="1")]


@pytest.mark.parametrize(
    ("compose", "match", "expected", "merged"),
    [
        pytest.param({"include": BOTH}, None, ["oak|2", "elm|2", "oak|1", "fir|1"], False, id="side by side"),
        pytest.param({"include": BOTH}, True, ["oak|2", "elm|2", "fir|1"], True, id="as one"),
        pytest.param(
            {"include": BOTH[::-1]}, True, ["oak|2", "fir|1", "elm|2"], True, id="the newest as one"
        ),
        pytest.param(
            {"include": BOTH, "exclude": [named("oak", version="1")]},
            None,
            ["oak|2", "elm|2", "fir|1"],
            False,
            id="one version excluded",
        ),
        pytest.param(
            {"include": BOTH[:1], "exclude": [named("oak", version="1")]}, None, ["elm|2"], True, id="another"
        ),
        pytest.param(
            {"include": BOTH[:1], "exclude": [named("oak", version="1")]},
            False,
            ["oak|2", "elm|2"],
            False,
            id="another, told apart",
        ),
    ],
)
async def test_versions_side_by_side(
    compose: Json, match: bool | None, expected: list[str], merged: bool
) -> None:
    answer = await expand_it(compose, **({} if match is None else {"versionsMatch": match}))
    assert [str(Canonical(each["code"], each["version"])) for each in entries(answer)] == expected
    assert ("versionsMatch" in told(answer)) == merged


async def test_default_value_set_version() -> None:
    answer = await expand_it({"include": [{"valueSet": [OAK]}]}, default_valueset_version=f"{OAK}|1")
    assert codes(answer) == ["oak", "cork-oak"]
    assert told(answer)["used-valueset"] == told(answer)["default-valueset-version"] == [f"{OAK}|1"]
    answer = await expand_it({"include": [{"valueSet": [f"{OAK}|2"]}]}, default_valueset_version=f"{OAK}|1")
    assert told(answer)["used-valueset"] == [f"{OAK}|2"]
    assert "default-valueset-version" not in told(answer)


async def test_too_many_codes() -> None:
    narrow = in_context(max_expansion=5)
    for compose in (ALL, {"include": [named(*EVERY)]}):
        with pytest.raises(TooCostly) as caught:
            await expand_it(compose, within=narrow)
        assert caught.value.issues[0].code == "too-costly"
        assert len(codes(await expand_it(compose, within=narrow, count=6))) == 6
        answer = await expand_it(compose, within=narrow, limitedExpansion=True)
        assert codes(answer) == EVERY[:5]
        assert answer["expansion"]["extension"][0]["url"].endswith("/valueset-toocostly")


async def test_a_page_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminology.expand.MAX_PAGE", 3)
    assert (
        len(codes(await expand_it(ALL, count=3))) == len(codes(await expand_it(ALL, count=9, offset=3))) == 3
    )
    with pytest.raises(TooCostly):
        await expand_it(ALL, count=4)


@pytest.mark.parametrize(("name", "value", "heard"), [("activeOnly", "true", True), ("count", "1", False)])
async def test_parameters_of_the_value_set(name: str, value: str, heard: bool) -> None:
    asked = {
        "url": "http://hl7.org/fhir/StructureDefinition/valueset-expansion-parameter",
        "extension": [{"url": "name", "valueCode": name}, {"url": "value", "valueString": value}],
    }
    answer = await expand_it({**ALL, "extension": [asked]})
    assert (codes(answer) != EVERY) == (name in told(answer)) == heard
    assert codes(await expand_it({**ALL, "extension": [asked]}, activeOnly=False)) == EVERY


async def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminology.included.MAX_LOOKED_AT", 8)
    compose = {"include": [{"system": TREES}, {"system": TREES, "version": "1"}]}
    with pytest.raises(TooCostly):
        await expand_it(compose)
    answer = await expand_it(compose, count=3)
    assert codes(answer) == EVERY[:3]
    assert "total" not in answer["expansion"]
    with pytest.raises(TooCostly):
        await expand_it(compose, count=3, offset=7)


async def test_an_expansion_without_definition_is_used_as_it_is() -> None:
    whole = {
        "resourceType": "ValueSet",
        "url": "http://example.org/kept",
        "expansion": {
            "timestamp": NOW,
            "contains": [
                {
                    "system": TREES,
                    "version": "1",
                    "code": "oak",
                    "display": "Oak",
                    "contains": [{"system": TREES, "code": "fir", "display": "Fir", "inactive": True}],
                },
                {"display": "A group", "contains": [{"system": WOODS, "code": "grove"}]},
            ],
        },
    }
    answer = await expand_it(whole)
    assert [(each["system"], each["code"]) for each in entries(answer)] == [
        (TREES, "oak"),
        (TREES, "fir"),
        (WOODS, "grove"),
    ]
    assert codes(await expand_it(whole, activeOnly=True, filter="oak")) == ["oak"]
    assert codes(await expand_it({"include": [{"valueSet": [whole["url"], SOFT]}]}, whole)) == ["fir"]


async def test_a_fragment_says_that_it_is_one() -> None:
    part = {"resourceType": "CodeSystem", "url": WOODS, "content": "fragment", "concept": [{"code": "grove"}]}
    answer = await expand_it({"include": [{"system": WOODS}]}, part)
    assert told(answer)["used-fragment"] == [WOODS]
    assert [each["url"].rpartition("/")[2] for each in answer["expansion"]["extension"]] == [
        "valueset-unclosed",
        "valueset-unclosed-reason",
    ]


@pytest.mark.parametrize("content", ["not-present", "example"])
async def test_content_that_is_not_here_is_not_expanded(content: str) -> None:
    empty = {"resourceType": "CodeSystem", "url": WOODS, "content": content}
    with pytest.raises(NotKnown):
        await expand_it({"include": [{"system": WOODS}]}, empty)


STANDARDS_STATUS = "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status"


@pytest.mark.parametrize(
    ("states", "own", "warning"),
    [
        ({"status": "draft"}, {}, "warning-draft"),
        ({"status": "draft"}, {"status": "draft"}, None),
        ({"status": "retired"}, {}, "warning-retired"),
        ({"experimental": True}, {}, "warning-experimental"),
        ({"experimental": True}, {"experimental": True}, None),
        ({"extension": [{"url": STANDARDS_STATUS, "valueCode": "withdrawn"}]}, {}, "warning-withdrawn"),
        ({"extension": [{"url": STANDARDS_STATUS, "valueCode": "deprecated"}]}, {}, "warning-deprecated"),
        ({}, {}, None),
    ],
)
async def test_the_status_of_what_is_used(states: Json, own: Json, warning: str | None) -> None:
    used = {
        "resourceType": "CodeSystem",
        "url": WOODS,
        "status": "active",
        "content": "complete",
        "concept": [{"code": "grove"}],
        **states,
    }
    compose = {"include": [{"system": WOODS}]}
    answer = await expand_it(value_set("http://example.org/vs", compose, **own), used)
    warnings = {name: told(answer)[name] for name in told(answer) if name.startswith("warning-")}
    assert warnings == ({} if warning is None else {warning: [WOODS]})


SUPPLEMENT = {
    "resourceType": "CodeSystem",
    "url": "http://example.org/trees-in-french",
    "version": "3",
    "content": "supplement",
    "supplements": TREES,
    "concept": [{"code": "oak", "designation": [{"language": "fr", "value": "Chêne"}]}],
}


@pytest.mark.parametrize("by", ["value set", "request"])
async def test_supplements_are_used_where_they_are_asked_for(by: str) -> None:
    extension = {
        "url": "http://hl7.org/fhir/StructureDefinition/valueset-supplement",
        "valueCanonical": SUPPLEMENT["url"],
    }
    whole = value_set(
        "http://example.org/vs", ALL, **({"extension": [extension]} if by == "value set" else {})
    )
    asked = {"useSupplement": SUPPLEMENT["url"]} if by == "request" else {}
    answer = await expand_it(whole, SUPPLEMENT, displayLanguage="fr", filter="chen", **asked)
    assert [(each["code"], each["display"]) for each in entries(answer)] == [("oak", "Chêne")]
    assert told(answer)["used-supplement"] == [f"{SUPPLEMENT['url']}|3"]
    assert entry_of(await expand_it(ALL, SUPPLEMENT, displayLanguage="fr"), "oak")["display"] == "Oak"
    with pytest.raises(NotKnown, match="Required supplement not found"):
        await expand_it(whole, useSupplement="http://example.org/none")


async def test_a_filter_without_value_is_refused_with_its_place() -> None:
    with pytest.raises(TerminologyFault) as caught:
        await expand_it({"include": [{"system": TREES, "filter": [{"property": "concept", "op": "is-a"}]}]})
    assert caught.value.issues[0].expression == "ValueSet.compose.include[0].filter[0]"


def _ways(at: int) -> Json:
    """A value set that imports the next one 20 times; the last is an expansion without codes."""
    if at == 8:
        return {**value_set(f"{SOFT}-8", {}), "compose": None, "expansion": {"contains": []}}
    return value_set(f"{SOFT}-{at}", {"include": [{"valueSet": [f"{SOFT}-{at + 1}"]}] * 20})


_NONE_OF_THEM = {"system": TREES, "filter": [{"property": "display", "op": "=", "value": "none"}]}


@pytest.mark.parametrize(
    ("wanted", "definitions"),
    [
        pytest.param(
            f"{SOFT}-0",
            [{k: v for k, v in _ways(at).items() if v is not None} for at in range(9)],
            id="imports by many ways",
        ),
        pytest.param({"include": [_NONE_OF_THEM] * 2_000}, [], id="includes that find nothing"),
    ],
)
async def test_work_without_a_code_is_bounded(
    wanted: Json, definitions: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminology.effort.MAX_STEPS", 5_000)
    with pytest.raises(TooCostly):
        await expand_it(wanted, *definitions)


_WORST = (
    "([ab]*a[ab]{900})+"  # no automaton of it can be kept: all of its states are followed at each character
)


def _of_long_names(characters: int) -> Json:
    concepts = [{"code": f"c{at}", "display": ("ab" * characters)[:characters]} for at in range(20)]
    return {
        "resourceType": "CodeSystem",
        "url": "http://example.org/long",
        "content": "complete",
        "concept": concepts,
    }


@pytest.mark.parametrize(
    ("times", "characters"),
    [
        pytest.param(3, 1_000, id="patterns over all"),
        pytest.param(1, 10_001, id="one text"),
    ],
)
async def test_patterns_count_by_the_characters_they_look_at(
    times: int, characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminology.effort.MAX_STEPS", 40_000)
    asked = {"property": "display", "op": "regex", "value": _WORST if times > 1 else "a.*"}
    compose = {"include": [{"system": "http://example.org/long", "filter": [asked]}] * times}
    with pytest.raises(TooCostly):
        await expand_it(compose, _of_long_names(characters))


async def test_filters_of_one_include_are_bounded() -> None:
    asked = {"property": "display", "op": "=", "value": "none"}
    with pytest.raises(TooCostly) as caught:
        await expand_it({"include": [{"system": TREES, "filter": [asked] * 101}]})
    assert caught.value.issues[0].expression == "ValueSet.compose.include[0]"
