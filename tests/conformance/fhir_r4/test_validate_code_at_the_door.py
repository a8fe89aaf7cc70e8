"""$validate-code and $batch-validate-code at the door (FHIR R4 operations.html#executing)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .colours import COLOURS, COLOURS_2, SETS, filtered, told, value_set
from .terms import parameters

Json = Any
WARM = SETS + "warm"


@pytest.fixture
async def stored(create: Callable[..., Any]) -> tuple[str, str]:
    """A code system and a value set of it lie in the record; their ids."""
    of_warm = value_set("warm", filtered("is-a", "warm"))
    return str(await create(COLOURS_2)), str(await create(of_warm))


async def test_by_url_and_by_instance(client: httpx.AsyncClient, stored: tuple[str, str]) -> None:
    code_system, of_warm = stored
    for path, result in (
        (f"/ValueSet/$validate-code?url={WARM}&system={COLOURS}&code=red", True),
        (f"/ValueSet/$validate-code?url={WARM}&system={COLOURS}&code=blue", False),
        (f"/ValueSet/{of_warm}/$validate-code?system={COLOURS}&code=red&display=Red", True),
        (f"/ValueSet/{of_warm}/$validate-code?code=red&inferSystem=true", True),
        (f"/CodeSystem/$validate-code?url={COLOURS}&code=blue", True),
        (f"/CodeSystem/{code_system}/$validate-code?code=grey", False),
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        assert told(answer.json())["result"] is result, path


async def test_accept_language(client: httpx.AsyncClient, stored: tuple[str, str]) -> None:
    path = f"/ValueSet/$validate-code?url={WARM}&system={COLOURS}&code=red"
    answer = await client.get(path, headers={"accept-language": "de"})
    assert told(answer.json())["display"] == "Rot"


async def test_given_whole(client: httpx.AsyncClient, stored: tuple[str, str]) -> None:
    body = parameters(
        valueSet=value_set("one", {"valueSet": [WARM]}),
        coding_Coding={"system": COLOURS, "code": "orange"},
    )
    answer = await client.post("/ValueSet/$validate-code", json=body)
    assert told(answer.json())["result"] is True


@pytest.mark.parametrize("path", ["/ValueSet/$batch-validate-code", "/$batch-validate-code"])
async def test_batch(client: httpx.AsyncClient, stored: tuple[str, str], path: str) -> None:
    one = {
        "resourceType": "Parameters",
        "parameter": [{"name": "coding", "valueCoding": {"system": COLOURS, "code": "red"}}],
    }
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "url", "valueUri": WARM},
            {"name": "validation", "resource": one},
            {"name": "validation", "part": one["parameter"]},
        ],
    }
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    resources = [each["resource"] for each in answer.json()["parameter"]]
    assert [told(each)["result"] for each in resources] == [True, True]


async def test_refused(client: httpx.AsyncClient, stored: tuple[str, str]) -> None:
    for path, status in (
        ("/ValueSet/$validate-code", 400),
        (f"/ValueSet/$validate-code?url={WARM}", 400),
        (f"/ValueSet/$validate-code?url={WARM}-none&system={COLOURS}&code=red", 404),
        ("/CodeSystem/$validate-code?code=red", 400),
        ("/ValueSet/$batch-validate-code", 400),
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome"), path
