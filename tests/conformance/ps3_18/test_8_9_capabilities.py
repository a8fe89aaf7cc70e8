"""Retrieve Capabilities, PS3.18 §8.9."""

import re
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI, Request, Response

import dicomweb.capabilities.routes
import dicomweb.routes
import dicomweb.wado_uri.routes
import dicomweb.worklist.routes
from dicomweb.capabilities.description import NAMESPACE, WADL
from dicomweb.capabilities.media_types import PAYLOADS
from server.kernel.access import Access
from server.kernel.faults import Fault
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import Injected, granted
from tests.conftest import sqlite_first
from tests.services.routers import add_router

pytestmark = sqlite_first  # documents only


@pytest.fixture
async def anyone(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose token opens nothing."""
    routers = [
        dicomweb.routes.build_router(services),
        dicomweb.wado_uri.routes.build_router(services),
        dicomweb.worklist.routes.build_router(services),
    ]
    capabilities = dicomweb.capabilities.routes.build_router(services.public_base, routers)
    app = FastAPI()
    for router in (*routers, capabilities):
        add_router(app, router, "/dicom-web")

    @app.exception_handler(Fault)
    async def answer(_: Request, fault: Fault) -> Response:
        return dicomweb.routes.fault_response(fault)

    nothing: dict[str, Access] = {"some": granted("Basic", "r")}
    transport = httpx.ASGITransport(Injected(app, nothing))
    headers = {"Authorization": "Bearer some"}
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as http:
        yield http


@pytest.mark.parametrize("path", ["/dicom-web", "/dicom-web/"])
async def test_root_describes_every_resource_as_wadl(anyone: httpx.AsyncClient, path: str) -> None:
    answer = await anyone.options(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, WADL)
    assert answer.headers["allow"] == "OPTIONS"
    application = ElementTree.fromstring(answer.content)
    assert application.tag == f"{{{NAMESPACE}}}application"
    (resources,) = application
    assert resources.get("base") == "http://testserver/dicom-web/"
    methods = {
        (method.get("name"), resource.get("path"))
        for resource in resources
        for method in resource.findall(f"{{{NAMESPACE}}}method")
    }
    assert ("GET", "studies/{study}/series/{series}/instances/{instance}") in methods
    assert ("POST", "studies") in methods
    assert ("GET", "workitems") in methods


async def test_description_has_the_keys_of_a_search(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.options("/dicom-web/workitems", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    described = answer.json()
    (workitems,) = described["resources"]
    assert workitems["path"] == "/workitems"
    (search,) = [each for each in workitems["methods"] if each["name"] == "GET"]
    assert search["description"] == "Search for Workitems (PS3.18 §11.9)."
    assert {"ProcedureStepState", "ScheduledProcedureStepStartDateTime", "limit"} <= set(search["query"])


async def test_methods_say_what_they_take_and_answer(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.options("/dicom-web/studies")
    found = {
        (method.get("name"), side): [
            each.get("mediaType") for each in method.iterfind(f"{{*}}{side}/{{*}}representation")
        ]
        for method in ElementTree.fromstring(answer.content).iterfind(".//{*}method")
        for side in ("request", "response")
    }
    assert {"application/dicom", "application/dicom+json", "multipart/related"} <= set(
        found["POST", "request"]
    )
    assert found["GET", "request"] == []
    assert "application/dicom+xml" in found["GET", "response"]
    described = (await anyone.options("/dicom-web/wado", headers={"Accept": "application/json"})).json()
    (wado,) = described["resources"][0]["methods"]
    assert {"application/dicom", "image/jpeg"} <= set(wado["answers"])


async def test_every_route_is_in_the_table_of_media_types(anyone: httpx.AsyncClient) -> None:
    described = (await anyone.options("/dicom-web", headers={"Accept": "application/json"})).json()
    ids = {method["id"] for resource in described["resources"] for method in resource["methods"]}
    patterns = [re.compile(pattern) for pattern in PAYLOADS]
    assert {name for name in ids if not any(each.fullmatch(name) for each in patterns)} == set()
    assert {each.pattern for each in patterns if not any(each.fullmatch(name) for name in ids)} <= {
        BY_THE_ROOF
    }


BY_THE_ROOF = next(pattern for pattern in PAYLOADS if "delete" in pattern)  # and the worklist's events


@asked_in_turn(
    ("path", "allow"),
    [
        ("/studies", "GET, HEAD, OPTIONS, POST"),
        ("/studies/1.2", "GET, HEAD, OPTIONS, POST"),
        ("/studies/1.2/series/1.3/instances/1.4/frames/1", "GET, HEAD, OPTIONS"),
        ("/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010/0", "GET, HEAD, OPTIONS"),
        ("/wado", "GET, HEAD, OPTIONS"),
        ("/workitems/1.2/cancelrequest", "OPTIONS, POST"),
    ],
)
async def test_allow_names_the_methods_of_the_resource(
    anyone: httpx.AsyncClient, path: str, allow: str
) -> None:
    answer = await anyone.options(f"/dicom-web{path}")
    assert (answer.status_code, answer.headers["allow"]) == (200, allow)


async def test_other_media_types_and_paths(anyone: httpx.AsyncClient) -> None:
    refused = await anyone.options("/dicom-web", headers={"Accept": "text/html"})
    assert refused.status_code == 406
    assert (await anyone.options("/dicom-web/patients")).status_code == 404
    assert (await anyone.options("/dicom-web", headers={"Authorization": ""})).status_code == 401


@pytest.mark.parametrize("accept", ["application/dicom+json", "text/html, application/*;q=0.1", "*/*"])
async def test_accept(anyone: httpx.AsyncClient, accept: str) -> None:
    answer = await anyone.options("/dicom-web", headers={"Accept": accept})
    expected = accept if accept == "application/dicom+json" else WADL
    assert (answer.status_code, answer.headers["content-type"]) == (200, expected)
