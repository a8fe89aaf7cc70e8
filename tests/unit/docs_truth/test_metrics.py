"""docs/settings.md names every metric, and none that is not there."""

import re
from pathlib import Path

import httpx
import pytest

from server.app import build_app, build_services, close_services
from server.migrations import upgrade
from server.settings import Settings

MADE_BY_THE_LIBRARY = "_created"  # the time at which a counter began


@pytest.fixture
async def metrics(tmp_path: Path) -> set[str]:
    settings = Settings(data=tmp_path, worker=False)
    await upgrade(settings.database)
    services = build_services(settings)
    transport = httpx.ASGITransport(build_app(settings, services))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        text = (await http.get("/metrics")).text
    await close_services(services)
    found = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    return {name for name in found if not name.endswith(MADE_BY_THE_LIBRARY)}


async def test_metrics_of_the_page_are_those_of_the_server(
    metrics: set[str], reference: dict[str, str]
) -> None:
    told = set(re.findall(r"^\| `(isthmus_\w+)` \|", reference["settings.md"], re.MULTILINE))
    assert told == metrics
