"""What a search must answer whatever is asked (FHIR R4 search.html#errors, http.html#status)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn

LONG = "a" * 60_000
STEEP = "x://" + "/a" * 240  # a URI with as many beginnings


@asked_in_turn(
    ("resource_type", "form", "status"),
    [
        ("Patient", {"name:contains": LONG}, 400),  # SQLite takes no such pattern
        ("Patient", {"name": LONG}, 400),
        ("ValueSet", {"url:above": STEEP}, 200),  # a tree deeper than SQLite takes
        ("ValueSet", {"url:above": ",".join(f"{STEEP}{n}" for n in range(400))}, 400),
        ("Patient", {"_sort": ["family,given,birthdate,gender", "name,active"]}, 400),
        ("Observation", {"code-value-quantity": ",".join(["a$5"] * 201)}, 400),  # each a subquery: costly
        ("Patient", {"_filter": [" or ".join(["name co a"] * 100)] * 3}, 400),
        ("Patient", {"birthdate": "٢٠٢٠"}, 400),
        ("Patient", {"birthdate": "2016-12-31T23:59:61Z"}, 400),
        ("Patient", {"birthdate": "2016-12-31T23:59:60Z"}, 200),
        ("RiskAssessment", {"probability": "٢"}, 400),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_search_is_answered_or_refused(
    client: httpx.AsyncClient, resource_type: str, form: dict[str, Any], status: int
) -> None:
    answer = await client.post(f"/{resource_type}/_search", data=form)
    assert answer.status_code == status, answer.text[:300]
    if status == 400:
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Patient/$everything?_count=²", 400),
        ("Observation/$lastn?patient=a&code=b&max=99999999999999999999", 200),  # beyond int32
    ],
)
async def test_numbers_that_operations_take(client: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await client.get(f"/{path}")).status_code == status


@asked_in_turn(
    ("search", "expected"),
    [
        ("9999-12-31", ["last"]),
        ("9999-12", ["last"]),
        ("9999", ["last"]),
        ("lt9999-12-31", ["first"]),
        ("le9999-12-31", ["first", "last"]),
        ("ge9999-12-31", ["last"]),
        ("ap9999-12-31", ["last"]),
        ("gt9999-12-30", ["last"]),
        ("0001-01-01", ["first"]),
    ],
)
async def test_the_first_and_the_last_day(
    client: httpx.AsyncClient, search: str, expected: list[str]
) -> None:
    for name, day in (("first", "0001-01-01"), ("last", "9999-12-31")):
        patient = {"resourceType": "Patient", "id": name, "birthDate": day}
        assert (await client.put(f"/Patient/{name}", json=patient)).is_success
    bundle = (await client.get(f"/Patient?birthdate={search}&_sort=_id")).json()
    assert [entry["resource"]["id"] for entry in bundle.get("entry", [])] == expected


async def test_the_last_day_as_an_end(create: Callable[..., Any], ids: Callable[..., Any]) -> None:
    encounter = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    made = await create({**encounter, "period": {"end": "9999-12-31"}})
    assert await ids("/Encounter?date:missing=false") == [made]
