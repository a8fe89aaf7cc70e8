"""What ships, stored as resources for clients that read and search (terminology ecosystem guide)."""

from itertools import islice

import httpx
import pytest

from server.kernel.services import Services
from server.workflows import packages
from server.workflows.packages import publish_shipped
from terminology.shipped import Row, shipped
from tests.conftest import sqlite_first

URL = "http://hl7.org/fhir/ValueSet/administrative-gender"

pytestmark = sqlite_first


class _Few:
    """Some of what ships: every definition takes a while to store."""

    resource = shipped().resource

    def rows(self) -> list[Row]:
        rows = list(shipped().rows())
        wanted = [row for row in rows if row.url == URL or row.content == "fragment"]
        return [*wanted, *islice(rows, 20)]


async def test_what_is_published_is_found_and_stays_as_it_is(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "shipped", _Few)
    first = await publish_shipped(services.database)
    assert (first.refused, first.unchanged) == ([], 0)
    found = (await client.get("/ValueSet", params={"url": URL, "_summary": "true"})).json()
    assert [entry["resource"]["url"] for entry in found["entry"]] == [URL]
    assert (await client.get("/CodeSystem", params={"url": "http://snomed.info/sct"})).json()["total"] == 0
    again = await publish_shipped(services.database)
    assert (again.written, again.unchanged) == (0, first.written)


@pytest.mark.slow
async def test_all_of_it_is_valid(services: Services) -> None:
    assert (await publish_shipped(services.database)).refused == []
