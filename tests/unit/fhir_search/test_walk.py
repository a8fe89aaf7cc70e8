"""A page that is walked to is the page that is collected, whatever the order and wherever it begins."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from fhir.search import matches, walk
from tests.unit.fhir_door import conftest

client, create, confine = conftest.client, conftest.create, conftest.confine
services, rights, offer = conftest.services, conftest.rights, conftest.offer

SEARCHES = (
    "Patient?_count=3&_sort=birthdate",
    "Patient?_count=3&_sort=-birthdate",
    "Patient?_count=2&_sort=family",
    "Patient?_count=2&_sort=-family",
    "Patient?_count=3&gender=male",
    "Patient?_count=3&gender=male&_sort=-birthdate",
    "Patient?_count=3&gender=male&active=true&_sort=-birthdate",
    "Patient?_count=3&gender=male&_sort=-_lastUpdated",
    "Patient?_count=3&gender=male&_sort=_id",
    "Patient?_count=4&birthdate=ge1970&_sort=gender",
    "Patient?_count=4&birthdate=le1985",
    "Patient?_count=4&gender=unknown&_sort=birthdate",
    "Patient?_count=20&gender=male&_sort=birthdate",
    "Patient?_count=2&gender=male&family=fb&_sort=-birthdate",
    "Patient?_count=2&gender:not=male&_sort=-birthdate",
    "Patient?_count=3&_sort=_lastUpdated",
    "Patient?_count=3&_sort=-_lastUpdated",
    "Patient?_count=3&_sort=-_id",
    "Patient?_count=3&_sort=gender,-_lastUpdated",
    "?_count=3&_tag=t&_type=Patient,Device",
    "?_count=3&_tag=t&_sort=-_lastUpdated",
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Walks that begin early and end soon; how many there were."""
    monkeypatch.setattr(walk, "MANY", 2)
    monkeypatch.setattr(walk, "WALKED", 7)
    kept = (matches._probe, matches._end, matches._walked)  # statements with the limits of before
    for each in kept:
        each.cache_clear()
    walks = []

    async def counted(*asked: Any) -> Any:
        rows = await original(*asked)
        walks.append(rows is not None)
        return rows

    original = matches._walk
    monkeypatch.setattr(matches, "_walk", counted)
    yield lambda: sum(walks)
    for each in kept:
        each.cache_clear()


@pytest.fixture
async def patients(create: Callable[..., Any]) -> None:
    for at in range(24):
        names = [{"family": f"F{'abc'[(at + n) % 3]}"} for n in range(1 + at % 2)]
        born = {} if at % 5 == 4 else {"birthDate": f"19{70 + at % 20}"}
        gender = {} if at % 7 == 6 else {"gender": ("male", "female")[at % 2]}
        tag = {"meta": {"tag": [{"code": "t"}]}}
        await create(
            {"resourceType": "Patient", "active": at % 3 == 0, "name": names, **born, **gender, **tag}
        )
    await create({"resourceType": "Device", **tag})


async def pages(client: httpx.AsyncClient, url: str) -> list[list[str]]:
    found, following = [], f"http://fhir.test/fhir/{url}".replace("/?", "?")
    while following:
        bundle = (await client.get(following)).json()
        found.append([entry["resource"]["id"] for entry in bundle.get("entry", [])])
        following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return found


async def test_walks_find_what_is_collected(
    client: httpx.AsyncClient, patients: None, short: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    walked = {url: await pages(client, url) for url in SEARCHES}
    assert short() > len(SEARCHES) / 2  # pages that were walked to
    monkeypatch.setattr(matches, "may_walk", lambda *_: False)
    collected = {url: await pages(client, url) for url in SEARCHES}
    assert {url: walked[url] for url in SEARCHES if walked[url] != collected[url]} == {}
    for url, found in collected.items():
        together = [one for page in found for one in page]
        assert len(together) == len(set(together)), url
    up, down = (collected[f"Patient?_count=3&_sort={sign}_lastUpdated"] for sign in ("", "-"))
    assert [one for page in up for one in page] == [one for page in reversed(down) for one in reversed(page)]
