"""CodeSystem $validate-code (FHIR R4 codesystem-operation-validate-code.html)."""

from collections.abc import Sequence
from typing import Any

import pytest

from terminology.issues import TerminologyFault
from terminology.validate_code import validate_in_code_system
from tests.conformance.fhir_r4.colours import (
    COLOURS,
    COLOURS_1,
    FEW,
    NOW,
    SETS,
    SHADES,
    SUPPLEMENT,
    UNKNOWN,
    issues_of,
    library,
    told,
)

Json = Any


async def ask(**parameters: Json) -> Json:
    inputs = {name: [value] for name, value in parameters.items()}
    return await validate_in_code_system(inputs, library(), NOW)


@pytest.mark.parametrize(
    ("parameters", "result", "version"),
    [
        pytest.param({"url": COLOURS, "code": "red"}, True, "2.0.0", id="a code"),
        pytest.param({"system": COLOURS, "code": "red"}, True, "2.0.0", id="a code, its system so called"),
        pytest.param({"url": COLOURS, "code": "green"}, False, "2.0.0", id="a code of another version"),
        pytest.param({"url": COLOURS, "code": "green", "version": "1.0.0"}, True, "1.0.0", id="a version"),
        pytest.param({"url": COLOURS, "code": "green", "version": "1.x"}, True, "1.0.0", id="a pattern"),
        pytest.param({"coding": {"system": COLOURS, "code": "red"}}, True, "2.0.0", id="a Coding"),
        pytest.param(
            {"coding": {"system": COLOURS, "version": "1.0.0", "code": "green"}},
            True,
            "1.0.0",
            id="of a version",
        ),
        pytest.param(
            {"url": COLOURS, "coding": {"system": SHADES, "code": "Dark"}},
            False,
            None,
            id="of another system",
        ),
        pytest.param(
            {"codeSystem": COLOURS_1, "code": "green", "url": COLOURS}, True, "1.0.0", id="given whole"
        ),
    ],
)
async def test_code(parameters: Json, result: bool, version: str | None) -> None:
    answer = told(await ask(**parameters))
    assert answer["result"] is result
    assert answer.get("version") == version


@pytest.mark.parametrize(
    ("parameters", "issues"),
    [
        pytest.param(
            {"url": COLOURS, "code": "grey"}, [("error", "code-invalid", "invalid-code", "code")], id="a code"
        ),
        pytest.param(
            {"url": COLOURS, "code": "red", "display": "Blue"},
            [("error", "invalid", "invalid-display", "display")],
            id="a display",
        ),
        pytest.param(
            {"url": FEW, "code": "two"},
            [("warning", "code-invalid", "invalid-code", "code")],
            id="a code of a fragment",
        ),
        pytest.param(
            {"url": UNKNOWN, "code": "x"}, [("error", "not-found", "not-found", "system")], id="a system"
        ),
        pytest.param(
            {"coding": {"system": COLOURS, "version": "7", "code": "red"}},
            [("error", "not-found", "not-found", "Coding.system")],
            id="a version",
        ),
        pytest.param(
            {"coding": {"code": "red"}}, [("warning", "invalid", "invalid-data", "Coding")], id="no system"
        ),
        pytest.param(
            {"url": SUPPLEMENT, "code": "red"},
            [("error", "invalid", "invalid-data", "system")],
            id="a supplement",
        ),
        pytest.param(
            {"url": SETS + "all", "code": "red"},
            [("error", "invalid", "invalid-data", "system")],
            id="a value set",
        ),
        pytest.param(
            {"codeableConcept": {"coding": [{"system": COLOURS, "code": "grey"}]}},
            [("error", "code-invalid", "invalid-code", "CodeableConcept.coding[0].code")],
            id="of a CodeableConcept",
        ),
        pytest.param(
            {"url": COLOURS, "coding": {"system": SHADES, "code": "Dark"}},
            [("error", "code-invalid", "invalid-code", "Coding.system")],
            id="of another system",
        ),
        pytest.param(
            {"url": COLOURS, "code": "mauve"},
            [("warning", "business-rule", "code-comment", "code")],
            id="an inactive code",
        ),
        pytest.param({"url": COLOURS, "code": "red"}, [], id="nothing"),
    ],
)
async def test_what_is_wrong(parameters: Json, issues: Sequence[Json]) -> None:
    assert issues_of(await ask(**parameters)) == issues


async def test_a_code_system_that_is_not_known_is_named() -> None:
    assert told(await ask(url=UNKNOWN, code="x"))["x-caused-by-unknown-system"] == UNKNOWN


async def test_supplements() -> None:
    answer = await ask(url=COLOURS, code="red", display="Coch", useSupplement=SUPPLEMENT)
    assert told(answer)["result"] is True


@pytest.mark.parametrize("parameters", [{}, {"url": COLOURS}, {"code": "red"}])
async def test_requests_that_make_no_sense(parameters: Json) -> None:
    with pytest.raises(TerminologyFault):
        await ask(**parameters)
