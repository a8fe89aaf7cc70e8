"""CodeSystem/$subsumes at the door (FHIR R4 codesystem-operation-subsumes.html)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn

from .terms import STONES, parameters, stones, told

Json = Any


@pytest.fixture
async def stored(create: Callable[..., Any]) -> str:
    """The code system lies in the record."""
    return str(await create(stones()))


@asked_in_turn(
    ("a", "b", "outcome"),
    [
        ("granite", "granite", "equivalent"),
        ("igneous", "granite", "subsumes"),
        ("igneous", "pegmatite", "subsumes"),
        ("pegmatite", "igneous", "subsumed-by"),
        ("granite", "basalt", "not-subsumed"),
        ("slate", "igneous", "not-subsumed"),
    ],
)
async def test_outcomes(client: httpx.AsyncClient, stored: str, a: str, b: str, outcome: str) -> None:
    answers = [
        await client.get(f"/CodeSystem/$subsumes?system={STONES}&codeA={a}&codeB={b}"),
        await client.get(f"/CodeSystem/{stored}/$subsumes?codeA={a}&codeB={b}"),
        await client.post(
            "/CodeSystem/$subsumes",
            json=parameters(
                codingA_Coding={"system": STONES, "code": a},
                codingB_Coding={"system": STONES, "code": b, "version": "2"},
            ),
        ),
    ]
    assert [told(answer.json()) for answer in answers] == [{"outcome": outcome}] * 3


async def test_parts_are_no_kinds(client: httpx.AsyncClient) -> None:
    whole = stones(hierarchyMeaning="part-of")
    body = parameters(tx0resource=whole, system_Uri=STONES, codeA_Code="igneous", codeB_Code="granite")
    answer = await client.post("/CodeSystem/$subsumes", json=body)
    assert told(answer.json()) == {"outcome": "not-subsumed"}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (f"system={STONES}&codeA=granite&codeB=marble", 404),
        ("system=http://example.org/none&codeA=granite&codeB=marble", 404),
        (f"system={STONES}&codeA=granite", 400),
        ("codeA=granite&codeB=slate", 400),
    ],
)
async def test_refused(client: httpx.AsyncClient, stored: str, asked: str, status: int) -> None:
    assert (await client.get(f"/CodeSystem/$subsumes?{asked}")).status_code == status


async def test_two_systems_and_two_versions(client: httpx.AsyncClient, stored: str) -> None:
    one = {"system": STONES, "code": "granite", "version": "2"}
    for other in ({**one, "system": "http://example.org/none"}, {**one, "version": "3"}):
        body = parameters(codingA_Coding=one, codingB_Coding=other)
        assert (await client.post("/CodeSystem/$subsumes", json=body)).status_code == 400


async def test_an_instance_is_what_it_is(client: httpx.AsyncClient, stored: str, create: Any) -> None:
    await create(stones("3", concept=[{"code": "granite"}, {"code": "igneous"}]))
    path = "$subsumes?codeA=igneous&codeB=granite"
    assert told((await client.get(f"/CodeSystem/{stored}/{path}")).json()) == {"outcome": "subsumes"}
    newest = await client.get(f"/CodeSystem/{path}&system={STONES}")
    assert told(newest.json()) == {"outcome": "not-subsumed"}
    other = await client.get(f"/CodeSystem/{stored}/{path}&system=http://example.org/none")
    assert other.status_code == 400
