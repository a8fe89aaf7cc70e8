"""The DICOMweb studies service: routes and faults (PS3.18 10, §8.5). Mounted by the roof at `/dicom-web`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from dicomweb.answer import names_tag, not_modified
from dicomweb.attributes import Level
from dicomweb.coded import VARY
from dicomweb.data_sets import data_set_answer, data_sets_answer, data_sets_tag
from dicomweb.pixels.service import Pixels
from dicomweb.reach import study_reach
from dicomweb.render.routes import add_rendered
from dicomweb.response_codes import RETRY_AFTER_S
from dicomweb.retrieve.byte_range import RangeNotSatisfiable
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.request import Archive
from dicomweb.retrieve.routes import acceptable, add_routes, known_tags, response_of
from dicomweb.search.keys import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Key
from dicomweb.search.query import parse_query
from dicomweb.search.search import SearchAnswer, search
from dicomweb.store.request import read_request
from dicomweb.store.response import store_response
from dicomweb.store.service import StoreRequest, StoreService
from dicomweb.wire.content_coding import Coding, select_coding
from dicomweb.wire.negotiation import Representation, select_metadata
from server.kernel.access import Permission, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import Busy, Fault, FaultKind, Unauthenticated
from server.kernel.services import Services

TOTAL_COUNT = "X-Total-Count"  # beyond the standard: how many matches all pages have together
MAX_INLINE_RESULTS = 200  # of a Store response made on the event loop: 5 ms; more go to a thread
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; for the log


def open_archive(services: Services) -> Archive:
    """What reads stored instances and decodes their pixels; one per process."""
    return Archive(services, InflatedFiles(services.objects), Pixels())


def build_router(services: Services, archive: Archive | None = None) -> APIRouter:
    """Every route of the studies service; `archive`: the process's, which ends with this router."""
    archive = archive or open_archive(services)
    store = StoreService(services, archive.pixels.pool)
    router = APIRouter(
        default_response_class=Response, tags=["DICOMweb"], lifespan=_closing(store, archive.pixels)
    )
    add_routes(router, archive)  # what is asked for most comes first: routes are tried in turn
    add_rendered(router, archive, archive.pixels)
    _add_search(router, services)
    _add_store(router, services, store)
    return router


def _closing(store: StoreService, pixels: Pixels) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Lets what is being stored end with the application, and ends the children, also those at work."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await store.close()
            await asyncio.to_thread(pixels.pool.close)

    return lifespan


def fault_response(fault: Fault) -> Response:
    """A fault as an answer: status, and JSON that says what is wrong (PS3.18 §8.5)."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(fault, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(fault, Busy) or fault.kind is FaultKind.TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    status = fault.status
    if isinstance(fault, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{fault.total}"
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    body = orjson.dumps({"error": str(fault)})
    return Response(body, status, headers, "application/json")


def _add_store(router: APIRouter, services: Services, service: StoreService) -> None:
    async def store(request: Request, study: str | None) -> Response:
        representation = select_metadata(acceptable(request), many=False)
        store_request = StoreRequest(access_of(request.scope), study)
        content_type = request.headers.get("content-type")
        parts = read_request(content_type, request.stream(), service.new_part, service.read_png)
        try:
            results = await service.store(store_request, parts)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        if len(results) > MAX_INLINE_RESULTS:
            answer = await asyncio.to_thread(store_response, results, services.public_base)
        else:
            answer = store_response(results, services.public_base)
        shown = await data_set_answer(answer.body, representation)
        return Response(shown.body, answer.status, shown.headers)

    @router.post("/studies")
    async def store_instances(request: Request) -> Response:
        """Store instances of any study (PS3.18 10.5.1)."""
        return await store(request, None)

    @router.post("/studies/{study}")
    async def store_instances_of_study(request: Request, study: str) -> Response:
        """Store instances of this study; others are refused (PS3.18 10.5.1)."""
        return await store(request, study)


def _add_search(router: APIRouter, services: Services) -> None:
    async def answer(request: Request, level: Level, *target: tuple[Key, str]) -> Response:
        representation = select_metadata(acceptable(request))
        coding = select_coding(request.headers.getlist("accept-encoding"))
        access = access_of(request.scope)
        reach = study_reach(services, access, Permission.SEARCH)
        query = parse_query(level, request.query_params.multi_items(), target)
        study = next((uid for key, uid in target if key is STUDY_INSTANCE_UID), None)
        patient_id = reach.audited_patient_id
        await services.read_audit.record_retrieval(
            AuditEntry(access.principal, Action.EXECUTE, "qido", "ImagingStudy", study, patient_id)
        )
        found = await search(services.database, query, reach, services.public_base)
        return await _found(request, found, representation, coding)

    @router.get("/studies")
    async def search_studies(request: Request) -> Response:
        """Search for studies (PS3.18 Table 10.6.1-1, All Studies)."""
        return await answer(request, Level.STUDY)

    @router.get("/series")
    async def search_series(request: Request) -> Response:
        """Search for series of every study (All Series)."""
        return await answer(request, Level.SERIES)

    @router.get("/instances")
    async def search_instances(request: Request) -> Response:
        """Search for instances of every study (All Instances)."""
        return await answer(request, Level.INSTANCE)

    @router.get("/studies/{study}/series")
    async def search_series_of_study(request: Request, study: str) -> Response:
        """Search for series of a study (Study's Series)."""
        return await answer(request, Level.SERIES, (STUDY_INSTANCE_UID, study))

    @router.get("/studies/{study}/instances")
    async def search_instances_of_study(request: Request, study: str) -> Response:
        """Search for instances of a study (Study's Instances)."""
        return await answer(request, Level.INSTANCE, (STUDY_INSTANCE_UID, study))

    @router.get("/studies/{study}/series/{series}/instances")
    async def search_instances_of_series_of_study(request: Request, study: str, series: str) -> Response:
        """Search for instances of a series (Study's Series' Instances)."""
        return await answer(
            request, Level.INSTANCE, (STUDY_INSTANCE_UID, study), (SERIES_INSTANCE_UID, series)
        )

    @router.get("/series/{series}/instances")
    async def search_instances_of_series(request: Request, series: str) -> Response:
        """Search for instances of a series whose study is not named."""
        return await answer(request, Level.INSTANCE, (SERIES_INSTANCE_UID, series))


async def _found(
    request: Request, found: SearchAnswer, representation: Representation, coding: Coding
) -> Response:
    """What was found, unless the client has it."""
    tag = await data_sets_tag(found.body, representation, coding)
    if names_tag(known_tags(request), tag):
        response = response_of(not_modified(tag, VARY), found.warnings)
    else:
        response = response_of(await data_sets_answer(found.body, representation, coding), found.warnings)
        response.headers["ETag"] = tag
    if found.total is not None:
        response.headers[TOTAL_COUNT] = str(found.total)
    return response
