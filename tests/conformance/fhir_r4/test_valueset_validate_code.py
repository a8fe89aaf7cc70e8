"""ValueSet $validate-code (FHIR R4 valueset-operation-validate-code.html; terminology ecosystem guide)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from terminology.concept import Concept
from terminology.expand import expand
from terminology.in_request import GivenDefinitions, edition_of
from terminology.issues import TerminologyFault, TooCostly
from terminology.library import Edition, Kind, Library
from terminology.listed import ListedCodeSystem
from terminology.validate_code import MAX_VALIDATIONS, validate_batch, validate_in_value_set
from tests.conformance.fhir_r4.colours import (
    COLOURS,
    FEW,
    NOW,
    SETS,
    SHADES,
    SUPPLEMENT,
    UNKNOWN,
    code_system,
    imported,
    issues_of,
    library,
    of,
    told,
    value_set,
)

Json = Any

ERROR, WARNING, INFORMATION = "error", "warning", "information"
NONE_OF_THE_CODES = "None_of_the_provided_codes_are_in_the_value_set_one"
NOT_IN = (ERROR, "code-invalid", "not-in-vs", "Coding.code")
INVALID = (ERROR, "code-invalid", "invalid-code", "Coding.code")
NOT_FOUND = (ERROR, "not-found", "not-found", "Coding.system")


async def ask(name: str, code: str | None = None, system: str | None = COLOURS, **parameters: Json) -> Json:
    """The answer about a Coding; other parameters by name, `_` for `-`, with a single value each."""
    coding = {"system": system, "code": code} | {
        each: parameters.pop(each) for each in ("version", "display") if each in parameters
    }
    inputs = {key.replace("_", "-"): [value] for key, value in parameters.items()}
    if code is not None:
        inputs["coding"] = [{key: value for key, value in coding.items() if value is not None}]
    return await validate_in_value_set({"url": [SETS + name], **inputs}, library(), NOW)


@pytest.mark.parametrize(
    ("name", "code", "member"),
    [
        pytest.param("all", "red", True, id="a whole code system"),
        pytest.param("all", "grey", False, id="a code that is not in it"),
        pytest.param("warm", "warm", True, id="a filter, the concept itself"),
        pytest.param("warm", "orange", True, id="a filter, one below"),
        pytest.param("warm", "blue", False, id="a filter, one beside"),
        pytest.param("named", "blue", True, id="a concept that is named"),
        pytest.param("named", "orange", False, id="one that is not"),
        pytest.param("named", "grey", False, id="one that is named, but not in the code system"),
        pytest.param("both", "red", True, id="in both of the value sets of an include"),
        pytest.param("both", "orange", False, id="in one of them"),
        pytest.param("either", "orange", True, id="in the value set of one of the includes"),
        pytest.param("without", "red", False, id="excluded"),
        pytest.param("without", "blue", True, id="not excluded"),
        pytest.param("active", "puce", False, id="inactive, where the value set has no inactive ones"),
        pytest.param("active", "blue", True, id="active"),
        pytest.param("expanded", "red", True, id="a value set of which only the expansion is known"),
        pytest.param("expanded", "blue", False, id="not in that expansion"),
        pytest.param("expanded", "warm", True, id="abstract in that expansion"),
    ],
)
async def test_membership(name: str, code: str, member: bool) -> None:
    answer = told(await ask(name, code))
    assert answer["result"] is member
    assert (answer["system"], answer["code"]) == (COLOURS, code)


async def test_what_is_told_of_a_member() -> None:
    answer = await ask("all", "red")
    assert told(answer) == {
        "result": True,
        "system": COLOURS,
        "code": "red",
        "version": "2.0.0",
        "display": "Red",
    }
    assert not issues_of(answer)


@pytest.mark.parametrize(
    ("name", "code", "issues"),
    [
        pytest.param("all", "grey", [INVALID, NOT_IN], id="an unknown code"),
        pytest.param("named", "orange", [NOT_IN], id="another code"),
        pytest.param("named", "grey", [INVALID, NOT_IN], id="an unknown code that is named"),
        pytest.param(
            "active",
            "puce",
            [
                (ERROR, "business-rule", "code-rule", "Coding.code"),
                NOT_IN,
                (WARNING, "business-rule", "code-comment", "Coding"),
            ],
            id="an inactive code that is not wanted",
        ),
        pytest.param(
            "all",
            "mauve",
            [(WARNING, "business-rule", "code-comment", "Coding")],
            id="an inactive code that is",
        ),
    ],
)
async def test_why_not(name: str, code: str, issues: Sequence[Json]) -> None:
    assert issues_of(await ask(name, code)) == sorted(issues)


@pytest.mark.parametrize(
    ("name", "code", "system", "identifiers"),
    [
        ("all", "grey", COLOURS, [NONE_OF_THE_CODES, "Unknown_Code_in_Version"]),
        ("shades", "grey", SHADES, [NONE_OF_THE_CODES, "Unknown_Code_in"]),
        ("of-unknown", "x", UNKNOWN, ["UNKNOWN_CODESYSTEM"]),
        ("few", "two", FEW, ["UNKNOWN_CODE_IN_FRAGMENT"]),
    ],
)
async def test_issues_bear_the_identifiers_that_validators_know(
    name: str, code: str, system: str, identifiers: Sequence[str]
) -> None:
    outcome = (await ask(name, code, system))["parameter"][-1]["resource"]
    assert sorted(each["extension"][0]["valueString"] for each in outcome["issue"]) == identifiers


@pytest.mark.parametrize(
    ("code", "told_so", "words"),
    [
        ("mauve", {"inactive": True, "status": "retired"}, "has a status of retired and inactive"),
        ("puce", {"inactive": True}, "has a status of inactive"),
        ("taupe", {"inactive": True}, "has a status of inactive"),
        ("ochre", {"status": "deprecated"}, "is deprecated"),
    ],
)
async def test_the_state_of_a_code_is_told(code: str, told_so: Json, words: str) -> None:
    answer = told(await ask("all", code))
    assert answer["result"] is True
    assert {name: answer[name] for name in ("inactive", "status") if name in answer} == told_so
    assert words in answer["message"]


@pytest.mark.parametrize(("abstract", "member"), [(None, True), (True, True), (False, False)])
async def test_abstract_codes(abstract: bool | None, member: bool) -> None:
    parameters = {} if abstract is None else {"abstract": abstract}
    assert told(await ask("all", "warm", **parameters))["result"] is member


@pytest.mark.parametrize("value", ["true", True])
async def test_active_only(value: Json) -> None:
    assert told(await ask("all", "puce", activeOnly=value))["result"] is False
    assert told(await ask("all", "red", activeOnly=value))["result"] is True


@pytest.mark.parametrize(
    ("display", "languages", "severity"),
    [
        pytest.param("Red", None, None, id="the display"),
        pytest.param("RED", None, None, id="in other case"),
        pytest.param("Ruddy", None, None, id="another name"),
        pytest.param("Rot", None, None, id="of any language"),
        pytest.param("Rot", "de", None, id="of the language that is asked for"),
        pytest.param("Rot", "de-CH", None, id="of a region"),
        pytest.param("Ruddy", "de", None, id="of a language nobody states"),
        pytest.param("Red", "de", ERROR, id="of another language"),
        pytest.param("Red", "de, *", None, id="of another language, which will do"),
        pytest.param("Rott", "de", ERROR, id="of none"),
        pytest.param("Re d", None, ERROR, id="with a space"),
        pytest.param("Blue", None, ERROR, id="of another concept"),
        pytest.param("Gules", None, WARNING, id="that is no longer used"),
    ],
)
async def test_displays(display: str, languages: str | None, severity: str | None) -> None:
    parameters = {"displayLanguage": languages} if languages else {}
    answer = await ask("all", "red", display=display, **parameters)
    assert [(each[0], each[3]) for each in issues_of(answer)] == (
        [(severity, "Coding.display")] if severity else []
    )
    assert told(answer)["result"] is (severity != ERROR)


@pytest.mark.parametrize(
    ("display", "severity"), [("Blue", INFORMATION), ("Azure", ERROR)], ids=["right elsewhere", "wrong"]
)
async def test_displays_where_the_language_has_none(display: str, severity: str) -> None:
    answer = await ask("all", "blue", display=display, displayLanguage="de")
    assert [each[0] for each in issues_of(answer)] == [severity]


async def test_a_wrong_display_where_the_language_has_only_other_names_is_a_warning() -> None:
    answer = await ask("all", "ochre", display="Yellow", displayLanguage="fr")
    assert (WARNING, "invalid", "invalid-display", "Coding.display") in issues_of(answer)
    assert told(answer)["result"] is True
    assert "'Ocre jaune' (fr)" in told(answer)["message"]


async def test_a_display_where_none_is_known() -> None:
    answer = await ask("all", "nameless", display="x")
    assert (told(answer)["result"], [each[0] for each in issues_of(answer)]) == (True, [WARNING])


async def test_a_display_with_other_spaces_is_said_to_be_so() -> None:
    assert "whitespace" in told(await ask("all", "warm", display="Warm  colour"))["message"]


async def test_lenient_display_validation() -> None:
    answer = await ask("all", "red", display="Blue", lenient_display_validation=True)
    assert told(answer)["result"] is True
    assert [each[0] for each in issues_of(answer)] == [WARNING]


@pytest.mark.parametrize(
    ("languages", "display"), [(None, "Red"), ("de", "Rot"), ("de-AT", "Rot (Österreich)"), ("fr", "Red")]
)
async def test_the_display_that_is_told(languages: str | None, display: str) -> None:
    parameters = {"displayLanguage": languages} if languages else {}
    assert told(await ask("all", "red", **parameters))["display"] == display


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("all", {"useSupplement": SUPPLEMENT}), ("welsh", {})],
    ids=["asked for by the request", "asked for by the value set"],
)
async def test_supplements(name: str, parameters: Json) -> None:
    assert told(await ask(name, "red", display="Coch", **parameters))["result"] is True
    assert told(await ask("all", "red", display="Coch"))["result"] is False


@pytest.mark.parametrize("kind", ["lang-pack", "other"])
async def test_a_language_pack_that_is_brought_along_need_not_be_asked_for(kind: str) -> None:
    pack = {
        **code_system("http://example.org/pack", "1", [{"code": "red", "display": "Rosso"}]),
        "content": "supplement",
        "supplements": COLOURS,
        "language": "it",
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/codesystem-supplement-type",
                "valueCode": kind,
            }
        ],
    }
    coding = {"system": COLOURS, "code": "red", "display": "Rosso"}
    inputs = {"url": [SETS + "all"], "tx-resource": [pack], "coding": [coding]}
    answer = await validate_in_value_set(inputs, library(), NOW)
    assert told(answer)["result"] is (kind == "lang-pack")
    one = {"parameter": [{"name": "coding", "valueCoding": coding}]}
    batch = {"url": [SETS + "all"], "tx-resource": [pack], "validation": [one]}
    answer = await validate_batch(batch, library(), NOW)
    assert told(answer["parameter"][0]["resource"])["result"] is (kind == "lang-pack")


async def test_a_supplement_that_is_not_known() -> None:
    with pytest.raises(TerminologyFault, match="Required supplement not found"):
        await ask("all", "red", useSupplement="http://example.org/other")


async def _opened(system: ListedCodeSystem) -> ListedCodeSystem:
    return system


class TestSystems:
    """What is said of code systems that are not known, or are none."""

    @pytest.mark.parametrize(
        ("name", "system", "issues"),
        [
            pytest.param("all", UNKNOWN, [NOT_FOUND, NOT_IN], id="of the coding"),
            pytest.param("of-unknown", UNKNOWN, [NOT_FOUND], id="of the coding and the value set"),
            pytest.param("named-of-unknown", UNKNOWN, [NOT_FOUND], id="whose codes are named"),
            pytest.param(
                "all",
                SETS + "all",
                [(ERROR, "invalid", "invalid-data", "Coding.system"), NOT_IN],
                id="a value set",
            ),
            pytest.param(
                "all",
                SUPPLEMENT,
                [(ERROR, "invalid", "invalid-data", "Coding.system"), NOT_IN],
                id="a supplement",
            ),
            pytest.param(
                "all",
                "colours",
                [(ERROR, "invalid", "invalid-data", "Coding.system"), NOT_FOUND, NOT_IN],
                id="not an absolute URL",
            ),
            pytest.param(
                "all", None, [NOT_IN, (WARNING, "invalid", "invalid-data", "Coding")], id="none at all"
            ),
        ],
    )
    async def test_system(self, name: str, system: str | None, issues: Sequence[Json]) -> None:
        answer = await ask(name, "x", system)
        assert told(answer)["result"] is False
        assert issues_of(answer) == sorted(issues)

    @pytest.mark.parametrize(
        ("name", "parameter"), [("all", "x-unknown-system"), ("of-unknown", "x-caused-by-unknown-system")]
    )
    async def test_unknown_system_is_named(self, name: str, parameter: str) -> None:
        assert told(await ask(name, "x", UNKNOWN))[parameter] == UNKNOWN

    async def test_a_fragment_does_not_tell(self) -> None:
        answer = await ask("few", "two", FEW)
        assert told(answer)["result"] is True
        assert issues_of(answer) == [(WARNING, "code-invalid", "invalid-code", "Coding.code")]

    @pytest.mark.parametrize(("code", "normal"), [("Dark", None), ("dark", "Dark"), ("DARK", "Dark")])
    async def test_case(self, code: str, normal: str | None) -> None:
        answer = await ask("shades", code, SHADES)
        assert told(answer)["result"] is True
        assert told(answer).get("normalized-code") == normal
        assert ("by case" in str(answer)) is (normal is not None)

    async def test_a_code_that_is_written_otherwise(self) -> None:
        class Spaceless(ListedCodeSystem):
            """A code system of a grammar that does not care for spaces."""

            async def locate(self, code: str) -> Concept | None:
                return Concept(code.replace(" ", ""))

        system = code_system("urn:oid:1.2.6", "1", [])
        edition = replace(edition_of(system), open=partial(_opened, Spaceless(system)))

        class Source(GivenDefinitions):
            """A source of it."""

            async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
                return [edition] if (kind, url) == (Kind.CODE_SYSTEM, "urn:oid:1.2.6") else []

        inputs = {
            "valueSet": [value_set("m", of("urn:oid:1.2.6"))],
            "coding": [{"system": "urn:oid:1.2.6", "code": "a b"}],
        }
        answer = await validate_in_value_set(inputs, Library([Source([])]), NOW)
        assert told(answer)["normalized-code"] == "ab"
        assert issues_of(answer) == [(INFORMATION, "business-rule", "code-rule", "Coding.code")]
        assert "by case" not in str(answer)

    async def test_case_of_named_codes(self) -> None:
        """What a value set names in another case than its code system is the same code; `$expand` agrees."""
        for name in ("dark", "DARK", "Dark"):
            of_named = value_set("named-shades", of(SHADES, None, name))
            for code in ("dark", "DARK"):
                inputs = {"valueSet": [of_named], "coding": [{"system": SHADES, "code": code}]}
                assert told(await validate_in_value_set(inputs, library(), NOW))["result"] is True

    async def test_a_version_that_is_needed(self) -> None:
        needy = code_system("urn:oid:1.2.3", "1", ["a"], versionNeeded=True)
        inputs = {"valueSet": [value_set("needy", of("urn:oid:1.2.3"))]}
        for version, result in ((None, False), ("1", True)):
            coding = {"system": "urn:oid:1.2.3", "code": "a"} | ({"version": version} if version else {})
            answer = await validate_in_value_set({**inputs, "coding": [coding]}, library(needy), NOW)
            assert told(answer)["result"] is result

    async def test_an_expression_that_is_not_understood(self) -> None:
        grammar = code_system("urn:oid:1.2.4", "1", ["a"], compositional=True)
        coding = {"system": "urn:oid:1.2.4", "code": "a : b = c"}
        inputs = {"valueSet": [value_set("g", of("urn:oid:1.2.4"))], "coding": [coding]}
        answer = await validate_in_value_set(inputs, library(grammar), NOW)
        assert (INFORMATION, "informational", "process-note", "Coding.code") in issues_of(answer)


class TestVersions:
    """Which version counts (R4: "version rules"; ecosystem: system-version and its like)."""

    @pytest.mark.parametrize(
        ("name", "version", "used", "result"),
        [
            pytest.param("all", None, "2.0.0", True, id="the newest"),
            pytest.param("all", "1.0.0", "1.0.0", True, id="that of the coding"),
            pytest.param("all", "3", "2.0.0", False, id="one that is not known"),
            pytest.param("pinned", None, "1.0.0", True, id="that of the value set"),
            pytest.param("pinned", "1.0.0", "1.0.0", True, id="of both"),
            pytest.param("pinned", "2.0.0", "1.0.0", False, id="of the value set against that of the coding"),
            pytest.param("pattern", None, "1.0.0", True, id="a pattern"),
            pytest.param("pattern", "1.0.0", "1.0.0", True, id="a pattern that leaves room"),
            pytest.param("pattern", "2.0.0", "1.0.0", False, id="a pattern that does not"),
            pytest.param("of-missing-version", None, None, False, id="of the value set, not known"),
            pytest.param("versions", None, "2.0.0", True, id="the newest of two"),
            pytest.param("versions", "1.0.0", "1.0.0", True, id="the one of two"),
        ],
    )
    async def test_version(self, name: str, version: str | None, used: str | None, result: bool) -> None:
        answer = told(await ask(name, "red", version=version))
        assert answer["result"] is result
        assert answer.get("version") == used

    @pytest.mark.parametrize(
        ("code", "display", "used"),
        [
            ("green", None, "1.0.0"),
            ("blue", None, "2.0.0"),
            ("red", "Scarlet", "1.0.0"),
            ("red", "Red", "2.0.0"),
        ],
    )
    async def test_of_two_versions_the_one_that_has_it(
        self, code: str, display: str | None, used: str
    ) -> None:
        answer = told(await ask("versions", code, display=display))
        assert (answer["result"], answer["version"]) == (True, used)

    @pytest.mark.parametrize(
        ("rule", "name", "used"),
        [
            ("system-version", "all", "1.0.0"),
            ("check-system-version", "all", "1.0.0"),
            ("force-system-version", "versions", "1.0.0"),
        ],
    )
    async def test_rules(self, rule: str, name: str, used: str) -> None:
        answer = told(await ask(name, "red", **{rule: f"{COLOURS}|1.0.0"}))
        assert (answer["result"], answer["version"]) == (True, used)

    async def test_a_check_that_is_not_met(self) -> None:
        answer = await ask("all", "red", version="2.0.0", **{"check-system-version": f"{COLOURS}|1.0.0"})
        assert told(answer)["result"] is False

    @pytest.mark.parametrize(
        ("parameters", "found"),
        [({}, True), ({"valueSetVersion": "3"}, True), ({"valueSetVersion": "4"}, False)],
    )
    async def test_of_the_value_set(self, parameters: Json, found: bool) -> None:
        if found:
            assert told(await ask("named", "red", **parameters))["result"] is True
        else:
            with pytest.raises(TerminologyFault, match=r"named\|4' could not be found"):
                await ask("named", "red", **parameters)

    async def test_versions_that_are_known_are_told(self) -> None:
        message = told(await ask("of-missing-version", "red"))["message"]
        assert "Valid versions: 1.0.0 or 2.0.0" in message

    async def test_both_a_wrong_version_and_a_wrong_code_are_told(self) -> None:
        answer = await ask("pinned", "orange", version="2.0.0")
        assert (ERROR, "invalid", "vs-invalid", "Coding.version") in issues_of(answer)
        assert NOT_IN in issues_of(answer)

    async def test_a_version_by_a_rule_is_told_to_be_so(self) -> None:
        rule = {"force-system-version": f"{COLOURS}|1.0.0"}
        message = told(await ask("versions", "red", version="2.0.0", **rule))["message"]
        assert "version '1.0.0' resulting from the version '2.0.0'" in message

    @pytest.mark.parametrize("version", [None, "2.0.0"])
    async def test_what_is_excluded_is_so_in_every_version(self, version: str | None) -> None:
        given = value_set("less", of(COLOURS, "2.0.0"), exclude=[of(COLOURS, "1.0.0")])
        for code, result in (("red", False), ("blue", True)):
            coding = {"system": COLOURS, "code": code} | ({"version": version} if version else {})
            inputs = {"valueSet": [given], "coding": [coding]}
            assert told(await validate_in_value_set(inputs, library(), NOW))["result"] is result

    async def test_an_exclude_of_an_unknown_version(self) -> None:
        given = value_set("less", of(), exclude=[of(COLOURS, "9")])
        inputs = {"valueSet": [given], "coding": [{"system": COLOURS, "code": "red"}]}
        answer = await validate_in_value_set(inputs, library(), NOW)
        assert told(answer)["x-caused-by-unknown-system"] == f"{COLOURS}|9"
        assert issues_of(answer) == [NOT_FOUND]


class TestForms:
    """code and system, Coding, CodeableConcept."""

    async def test_code(self) -> None:
        inputs = {"url": [SETS + "named"], "code": ["orange"], "system": [COLOURS], "display": ["Red"]}
        answer = await validate_in_value_set(inputs, library(), NOW)
        assert [each[3] for each in issues_of(answer)] == ["code", "display"]

    @pytest.mark.parametrize(
        ("code", "system"), [("blue", COLOURS), ("Dark", SHADES), ("red", None), ("grey", None)]
    )
    async def test_infer_system(self, code: str, system: str | None) -> None:
        inputs = {"url": [SETS + "of-two"], "code": [code], "inferSystem": ["true"]}
        answer = told(await validate_in_value_set(inputs, library(), NOW))
        assert answer["result"] is (system is not None)
        assert answer.get("system") == system

    @pytest.mark.parametrize(
        ("codes", "result", "code"),
        [
            (["red"], True, "red"),
            (["orange", "red"], True, "red"),
            (["red", "blue"], True, "red"),
            (["orange"], False, None),
            (["grey", "red"], False, "red"),
            ([], False, None),
        ],
        ids=["one", "the second", "the first of two", "none", "one beside an unknown code", "no coding"],
    )
    async def test_codeable_concept(self, codes: Sequence[str], result: bool, code: str | None) -> None:
        concept = {"coding": [{"system": COLOURS, "code": each} for each in codes], "text": "a colour"}
        inputs = {"url": [SETS + "named"], "codeableConcept": [concept]}
        answer = told(await validate_in_value_set(inputs, library(), NOW))
        assert (answer["result"], answer.get("code")) == (result, code)
        assert answer["codeableConcept"] == concept

    async def test_each_coding_of_a_codeable_concept_has_its_path(self) -> None:
        concept = {"coding": [{"system": COLOURS, "code": each} for each in ("red", "orange", "grey")]}
        answer = await validate_in_value_set(
            {"url": [SETS + "named"], "codeableConcept": [concept]}, library(), NOW
        )
        assert issues_of(answer) == [
            (ERROR, "code-invalid", "invalid-code", "CodeableConcept.coding[2].code"),
            (INFORMATION, "code-invalid", "this-code-not-in-vs", "CodeableConcept.coding[1].code"),
            (INFORMATION, "code-invalid", "this-code-not-in-vs", "CodeableConcept.coding[2].code"),
        ]

    async def test_a_coding_of_an_unknown_system_beside_a_right_one_is_a_warning(self) -> None:
        concept = {"coding": [{"system": UNKNOWN, "code": "x"}, {"system": COLOURS, "code": "red"}]}
        answer = await validate_in_value_set(
            {"url": [SETS + "named"], "codeableConcept": [concept]}, library(), NOW
        )
        assert told(answer)["result"] is True
        assert (WARNING, "not-found", "not-found", "CodeableConcept.coding[0].system") in issues_of(answer)

    async def test_an_unknown_system_is_told_once(self) -> None:
        concept = {"coding": [{"system": UNKNOWN, "code": each} for each in "xy"]}
        inputs = {"url": [SETS + "named"], "codeableConcept": [concept]}
        answer = await validate_in_value_set(inputs, library(), NOW)
        assert [each[2] for each in issues_of(answer)].count("not-found") == 1

    @pytest.mark.parametrize(
        ("parameters", "result", "path"),
        [
            ({"coding": {"system": COLOURS, "display": "Red"}}, False, "Coding"),
            (
                {"codeableConcept": {"coding": [{"display": "x"}, {"system": COLOURS, "code": "red"}]}},
                True,
                "CodeableConcept.coding[0]",
            ),
        ],
        ids=["alone", "beside one with a code"],
    )
    async def test_a_coding_without_code(self, parameters: Json, result: bool, path: str) -> None:
        inputs = {"url": [SETS + "named"], **{name: [value] for name, value in parameters.items()}}
        answer = await validate_in_value_set(inputs, library(), NOW)
        assert told(answer)["result"] is result
        assert issues_of(answer) == [(WARNING, "invalid", "invalid-data", path)]

    async def test_membership_only(self) -> None:
        inputs = {"valueset-membership-only": ["true"]}
        answer = await ask("named", "grey", **{each: value[0] for each, value in inputs.items()})
        assert issues_of(answer) == [NOT_IN]
        answer = await ask("named-of-unknown", "x", UNKNOWN, **{"valueset-membership-only": True})
        assert told(answer)["result"] is True

    async def test_no_membership_check(self) -> None:
        assert told(await ask("named", "orange", valueSetMode="NO_MEMBERSHIP_CHECK"))["result"] is True
        assert told(await ask("named", "grey", valueSetMode="NO_MEMBERSHIP_CHECK"))["result"] is False


class TestValueSets:
    """What a value set says, and value sets that make no sense."""

    async def test_given_whole_with_one_that_is_contained(self) -> None:
        given = value_set(
            "x",
            {"valueSet": ["#inner", SETS + "warm"]},
            contained=[{**value_set("inner", of(COLOURS, None, "red", "blue")), "id": "inner"}],
        )
        for code, result in (("red", True), ("blue", False)):
            inputs = {"valueSet": [given], "coding": [{"system": COLOURS, "code": code}]}
            assert told(await validate_in_value_set(inputs, library(), NOW))["result"] is result

    @pytest.mark.parametrize(
        ("name", "code", "tx"),
        [("nowhere", "not-found", "not-found"), ("circle", "processing", "vs-invalid"),
         ("no-filter-value", "invalid", "vs-invalid")],
    )  # fmt: skip
    async def test_value_sets_that_fail_the_request(self, name: str, code: str, tx: str) -> None:
        with pytest.raises(TerminologyFault) as raised:
            await ask(name, "red")
        assert [(each.code, each.tx) for each in raised.value.issues] == [(code, tx)]

    async def test_an_import_that_is_not_known_is_an_answer(self) -> None:
        answer = await ask("imports-unknown", "red")
        assert told(answer)["result"] is False
        assert issues_of(answer) == [(ERROR, "not-found", "not-found", "")]

    async def test_imports_without_end(self) -> None:
        chain = [value_set(str(at), imported(str(at + 1))) for at in range(100)]
        inputs = {"url": [SETS + "0"], "coding": [{"system": COLOURS, "code": "red"}]}
        with pytest.raises(TerminologyFault, match="within one another"):
            await validate_in_value_set(inputs, library(*chain), NOW)

    @pytest.mark.parametrize("role", ["include", "exclude"])
    async def test_imports_that_meet_again_and_again_are_asked_once(self, role: str) -> None:
        """Eighteen levels, each of which names the next one twice."""
        levels = []
        for at in range(18):
            both = [imported(str(at + 1)), imported(str(at + 1))]
            levels.append(
                value_set(str(at), *both) if role == "include" else value_set(str(at), of(), exclude=both)
            )
        levels.append(value_set("18", of(COLOURS, None, "blue")))
        inputs = {"url": [SETS + "0"], "code": ["red"], "system": [COLOURS]}
        assert "result" in told(await validate_in_value_set(inputs, library(*levels), NOW))
        inputs = {"url": [SETS + "0"], "code": ["red"], "inferSystem": [True]}
        assert "result" in told(await validate_in_value_set(inputs, library(*levels), NOW))

    @pytest.mark.parametrize(
        ("elements", "word"),
        [
            ({"status": "retired"}, "retired"),
            ({"status": "draft"}, "draft"),
            ({"experimental": True}, "experimental"),
        ],
    )
    async def test_the_state_of_a_code_system(self, elements: Json, word: str) -> None:
        system = code_system("urn:oid:1.2.5", "1", ["a"], **elements)
        inputs = {
            "valueSet": [value_set("s", of("urn:oid:1.2.5"))],
            "coding": [{"system": "urn:oid:1.2.5", "code": "a"}],
        }
        answer = await validate_in_value_set(inputs, library(system), NOW)
        assert issues_of(answer) == [(INFORMATION, "business-rule", "status-check", "")]
        assert word in str(answer)

    async def test_a_concept_that_the_value_set_keeps_only_for_a_while(self) -> None:
        extension = {
            "url": "http://hl7.org/fhir/StructureDefinition/valueset-deprecated",
            "valueBoolean": True,
        }
        given = value_set("d", of(concept=[{"code": "red", "extension": [extension]}]))
        inputs = {"valueSet": [given], "coding": [{"system": COLOURS, "code": "red"}]}
        answer = await validate_in_value_set(inputs, library(), NOW)
        assert issues_of(answer) == [(WARNING, "business-rule", "code-comment", "Coding.code")]

    @pytest.mark.parametrize(
        ("name", "value", "display", "result"),
        [
            ("displayLanguage", {"valueCode": "de"}, "Red", False),
            ("system-version", {"valueCanonical": f"{COLOURS}|1.0.0"}, "Scarlet", True),
            ("lenient-display-validation", {"valueBoolean": True}, "Pink", True),
        ],
    )
    async def test_parameters_of_a_value_set(
        self, name: str, value: Json, display: str, result: bool
    ) -> None:
        extension = {
            "url": "http://hl7.org/fhir/StructureDefinition/valueset-expansion-parameter",
            "extension": [{"url": "name", "valueCode": name}, {"url": "value", **value}],
        }
        given = value_set("p", of(), compose={"extension": [extension]})
        inputs = {"valueSet": [given], "coding": [{"system": COLOURS, "code": "red", "display": display}]}
        assert told(await validate_in_value_set(inputs, library(), NOW))["result"] is result

    async def test_the_language_of_a_value_set_is_asked_for(self) -> None:
        given = value_set("l", of(), language="de")
        inputs = {"valueSet": [given], "coding": [{"system": COLOURS, "code": "red", "display": "Red"}]}
        assert told(await validate_in_value_set(inputs, library(), NOW))["result"] is False

    async def test_a_display_of_the_value_set_will_do(self) -> None:
        given = value_set("w", of(concept=[{"code": "red", "display": "Stop"}]))
        inputs = {"valueSet": [given], "coding": [{"system": COLOURS, "code": "red", "display": "Stop"}]}
        assert told(await validate_in_value_set(inputs, library(), NOW))["result"] is True


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"url": [SETS + "all"]}, id="nothing to validate"),
        pytest.param({"url": [SETS + "all"], "code": ["red"]}, id="a code without system"),
        pytest.param({"code": ["red"], "system": [COLOURS]}, id="no value set"),
        pytest.param({"url": [SETS + "all"], "coding": ["red"]}, id="a Coding that is text"),
        pytest.param({"url": [SETS + "all"], "coding": [{"code": 1, "system": COLOURS}]}, id="a number"),
        pytest.param({"url": [SETS + "all"], "codeableConcept": [{"coding": "red"}]}, id="codings as text"),
        pytest.param({"context": ["x"], "code": ["red"], "system": [COLOURS]}, id="a context"),
        pytest.param(
            {"url": [SETS + "all"], "code": ["red"], "system": [COLOURS], "displayLanguage": ["-"]},
            id="a language that is none",
        ),
        pytest.param(
            {"url": [SETS + "all"], "codeableConcept": [{"coding": [{"code": "red"}] * 1000}]},
            id="too many codings",
        ),
    ],
)
async def test_requests_that_make_no_sense(inputs: Json) -> None:
    with pytest.raises(TerminologyFault):
        await validate_in_value_set(inputs, library(), NOW)


class TestBatch:
    """$batch-validate-code."""

    async def test_each_has_its_answer(self) -> None:
        def one(**parameters: Json) -> Json:
            return {
                "resourceType": "Parameters",
                "parameter": [{"name": name, **value} for name, value in parameters.items()],
            }

        red = {"valueCoding": {"system": COLOURS, "code": "red", "display": "Blue"}}
        inputs = {
            "url": [SETS + "named"],
            "lenient-display-validation": [True],
            "validation": [
                one(coding=red),
                one(coding=red, **{"lenient-display-validation": {"valueBoolean": False}}),
                one(coding=red, url={"valueUri": SETS + "nowhere"}),
                one(coding=red, url={"valueUri": COLOURS}),
                one(),
            ],
        }
        answer = await validate_batch(inputs, library(), NOW)
        resources = [each["resource"] for each in answer["parameter"]]
        assert [each["resourceType"] for each in resources] == [
            "Parameters",
            "Parameters",
            "OperationOutcome",
            "Parameters",
            "OperationOutcome",
        ]
        assert [told(resources[at])["result"] for at in (0, 1, 3)] == [True, False, True]

    @pytest.mark.parametrize(
        "validation",
        [
            "x",
            {},
            {"parameter": "x"},
            {"parameter": [1]},
            {"parameter": [{"name": "valueSet", "resource": {"resourceType": "ValueSet", "compose": 1}}]},
        ],
    )
    async def test_a_validation_that_is_malformed_has_its_outcome(self, validation: Json) -> None:
        answer = await validate_batch({"validation": [validation]}, library(), NOW)
        assert answer["parameter"][0]["resource"]["resourceType"] == "OperationOutcome"

    @pytest.mark.parametrize("validations", [[], [{"parameter": []}] * (MAX_VALIDATIONS + 1)])
    async def test_batches_that_make_no_sense(self, validations: Sequence[Json]) -> None:
        with pytest.raises(TerminologyFault):
            await validate_batch({"validation": validations}, library(), NOW)


async def test_includes_that_are_asked_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminology.effort.MAX_STEPS", 5_000)
    many = value_set("many", *[of(COLOURS, None, "blue") for _ in range(1_000)])
    inputs = {"valueSet": [many], "coding": [{"system": COLOURS, "code": "red"}]}
    with pytest.raises(TooCostly):
        await validate_in_value_set(inputs, library(), NOW)


async def test_validations_of_a_batch_share_what_may_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminology.effort.MAX_STEPS_OF_BATCH", 5_000)
    many = value_set("many", *[of(COLOURS, None, "blue") for _ in range(100)])
    shared = {"valueSet": [many], "coding": [{"system": COLOURS, "code": "red"}]}
    asked = [{"parameter": []}] * 5 + [
        {"parameter": [{"name": "valueSet", "resource": value_set("few", of(COLOURS))}]}
    ]
    answer = await validate_batch({**shared, "validation": asked}, library(), NOW)
    answers = [each["resource"] for each in answer["parameter"]]
    assert [each["resourceType"] for each in answers] == ["Parameters"] * 2 + ["OperationOutcome"] * 4
    assert {each["issue"][0]["code"] for each in answers[2:]} == {"too-costly"}


_ENTRIES = [
    {"system": UNKNOWN, "code": "plain"},
    {"system": UNKNOWN, "code": "abstract", "abstract": True, "contains": [{"display": "heading"}]},
    {"system": UNKNOWN, "code": "inactive", "inactive": True},
    {"system": COLOURS, "code": "warm", "abstract": True},
]


@pytest.mark.parametrize(
    ("of_expansion", "of_validation", "members"),
    [
        pytest.param({}, {}, {"plain", "abstract", "inactive", "warm"}, id="all"),
        pytest.param(
            {"excludeNotForUI": [True]}, {"abstract": [False]}, {"plain", "inactive"}, id="to choose"
        ),
        pytest.param(
            {"activeOnly": [True]}, {"activeOnly": [True]}, {"plain", "abstract", "warm"}, id="active"
        ),
    ],
)
async def test_an_expansion_that_is_kept_is_told_and_valid_alike(
    of_expansion: Json, of_validation: Json, members: set[str]
) -> None:
    kept = {"resourceType": "ValueSet", "status": "active", "expansion": {"contains": _ENTRIES}}
    answer = await expand({"valueSet": [kept], **of_expansion}, library(), NOW)
    assert {each["code"] for each in answer["expansion"]["contains"]} == members
    for each in _ENTRIES:
        inputs = {"valueSet": [kept], "coding": [{"system": each["system"], "code": each["code"]}]}
        only = {"valueset-membership-only": [True]}
        found = told(await validate_in_value_set({**inputs, **only, **of_validation}, library(), NOW))
        assert found["result"] == (each["code"] in members), each
