"""`near` of Location (FHIR R4 location.html#positional)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conformance.fhir_r4.searching import check

PLACES = {
    "bern": (46.948, 7.447),
    "zurich": (47.377, 8.542),  # 95 km from Bern
    "fiji": (-17.7, 178.0),
    "taveuni": (-16.85, -179.98),  # 234 km from it, across the 180th meridian
    "pole": (89.9, 0.0),
    "beyond": (89.9, 180.0),  # 22 km from it, 35 on the plane
}


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    made = {"nowhere": await create({"resourceType": "Location", "name": "nowhere"})}
    for name, (latitude, longitude) in PLACES.items():
        position = {"latitude": latitude, "longitude": longitude}
        made[name] = await create({"resourceType": "Location", "name": name, "position": position})
    at_bern = [{"location": {"reference": f"Location/{made['bern']}"}}]
    made["visit"] = await create(
        {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "location": at_bern}
    )
    return made


async def test_near(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/Location?near=46.948|7.447", "bern"),
            ("/Location?near=46.9|7.4|7|km", "bern"),
            ("/Location?near=46.9|7.4|5|km", ""),
            ("/Location?near=46.948|7.447|94|km", "bern"),
            ("/Location?near=46.948|7.447|97", "bern zurich"),
            ("/Location?near=46.948|7.447|97000|m", "bern zurich"),
            ("/Location?near=46.948|7.447|60|[mi_i]", "bern zurich"),
            ("/Location?near=46.948|7.447|58|[mi_i]", "bern"),
            ("/Location?near=-17.7|178|240|km", "fiji taveuni"),
            ("/Location?near=-16.85|-179.98|240|km", "fiji taveuni"),
            ("/Location?near=89.9|0|40|km", "beyond pole"),
            ("/Location?near=46.948|7.447,47.377|8.542", "bern zurich"),
            ("/Location?near=46.948|7.447|97&name=zur", "zurich"),
            ("/Location?near=46.948|7.447|97&_sort=-name&_total=accurate", "bern zurich"),
            ("/Encounter?location.near=46.948|7.447", "visit"),
            ("/Location?near=46.948", "400 value"),
            ("/Location?near=91|0", "400 value"),
            ("/Location?near=0|181", "400 value"),
            ("/Location?near=nan|0", "400 value"),
            ("/Location?near=0|0|-1", "400 value"),
            ("/Location?near=0|0|1e9", "400 value"),
            ("/Location?near=0|0|1|parsec", "400 value"),
            ("/Location?near:missing=true", "400 not-supported"),
            ("/Patient?near=0|0", "400 not-supported"),
        ],
    )
