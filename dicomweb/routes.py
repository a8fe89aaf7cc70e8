"""The DICOMweb studies service: routes and faults (PS3.18 10, §8.5). Mounted by the roof at `/dicom-web`."""

from collections.abc import Iterable
from http import HTTPStatus

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from dicomweb.answer import Answer
from dicomweb.attributes import Level
from dicomweb.response_codes import RETRY_AFTER_S
from dicomweb.retrieve.byte_range import RangeNotSatisfiable
from dicomweb.retrieve.frames import parse_frame_list
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.locate import Resource
from dicomweb.retrieve.retrieve import (
    Archive,
    RetrieveRequest,
    retrieve_bulk_data,
    retrieve_files,
    retrieve_frames,
    retrieve_metadata,
)
from dicomweb.search.keys import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Key
from dicomweb.search.query import parse_query
from dicomweb.search.search import search
from dicomweb.store.request import read_request
from dicomweb.store.response import store_response
from dicomweb.store.service import StoreRequest, StoreService
from dicomweb.wire.media_types import MediaRange, parse_accept
from dicomweb.wire.negotiation import DICOM_JSON, select_metadata
from server.kernel.access import Permission, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import Busy, Fault, FaultKind, Unauthenticated
from server.kernel.services import Services

WARN_CODE_AND_AGENT = "299 isthmus"  # Warning: warn-code, warn-agent (PS3.18 8.3.4, RFC 7234 §5.5)
TOTAL_COUNT = "X-Total-Count"  # beyond the standard: how many matches all pages have together
MAX_WARNINGS = 10  # of one answer; a long header would be refused on its way
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; for the log


def build_router(services: Services) -> APIRouter:
    """Every route of the studies service."""
    router = APIRouter(default_response_class=Response, tags=["DICOMweb"])
    _add_store(router, services)
    _add_search(router, services)
    _add_retrieve(router, services)
    _add_instance_parts(router, services)
    return router


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


def _add_store(router: APIRouter, services: Services) -> None:
    service = StoreService(services)

    async def store(request: Request, study: str | None) -> Response:
        select_metadata(_accept(request))
        store_request = StoreRequest(access_of(request.scope), study)
        parts = read_request(request.headers.get("content-type"), request.stream(), service.new_part)
        try:
            results = await service.store(store_request, parts)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        answer = store_response(results, services.public_base)
        return Response(answer.body, answer.status, media_type=DICOM_JSON)

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
        representation = select_metadata(_accept(request))
        access = access_of(request.scope)
        reach = access.reach("ImagingStudy", Permission.SEARCH)
        query = parse_query(level, request.query_params.multi_items(), target)
        study = next((uid for key, uid in target if key is STUDY_INSTANCE_UID), None)
        patient_id = reach.audited_patient_id
        await services.read_audit.record_retrieval(
            AuditEntry(access.principal, Action.EXECUTE, "qido", "ImagingStudy", study, patient_id)
        )
        found = await search(services.database, query, reach, services.public_base)
        response = Response(found.body, media_type=representation.media_type)
        _warn(response, found.warnings)
        if found.total is not None:
            response.headers[TOTAL_COUNT] = str(found.total)
        return response

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


def _add_retrieve(router: APIRouter, services: Services) -> None:
    async def files(request: Request, resource: Resource) -> Response:
        return _response(await retrieve_files(services, _retrieve_request(request), resource))

    async def metadata(request: Request, resource: Resource) -> Response:
        return _response(await retrieve_metadata(services, _retrieve_request(request), resource))

    @router.get("/studies/{study}")
    async def retrieve_study(request: Request, study: str) -> Response:
        """Retrieve the instances of a study (PS3.18 10.4.1.1.1)."""
        return await files(request, Resource(study))

    @router.get("/studies/{study}/series/{series}")
    async def retrieve_series(request: Request, study: str, series: str) -> Response:
        """Retrieve the instances of a series (PS3.18 10.4.1.1.2)."""
        return await files(request, Resource(study, series))

    @router.get("/studies/{study}/series/{series}/instances/{instance}")
    async def retrieve_instance(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve an instance (PS3.18 10.4.1.1.3)."""
        return await files(request, Resource(study, series, instance))

    @router.get("/studies/{study}/metadata")
    async def study_metadata(request: Request, study: str) -> Response:
        """Retrieve the metadata of a study (PS3.18 10.4.1.1.4)."""
        return await metadata(request, Resource(study))

    @router.get("/studies/{study}/series/{series}/metadata")
    async def series_metadata(request: Request, study: str, series: str) -> Response:
        """Retrieve the metadata of a series (PS3.18 10.4.1.1.4)."""
        return await metadata(request, Resource(study, series))

    @router.get("/studies/{study}/series/{series}/instances/{instance}/metadata")
    async def instance_metadata(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve the metadata of an instance (PS3.18 10.4.1.1.4)."""
        return await metadata(request, Resource(study, series, instance))


def _add_instance_parts(router: APIRouter, services: Services) -> None:
    archive = Archive(services, InflatedFiles(services.objects))

    @router.get("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}")
    async def instance_frames(
        request: Request, study: str, series: str, instance: str, frames: str
    ) -> Response:
        """Retrieve frames of an instance (PS3.18 10.4.1.1.6)."""
        asked = _retrieve_request(request)
        numbers = parse_frame_list(frames)
        return _response(await retrieve_frames(archive, asked, Resource(study, series, instance), numbers))

    @router.get("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}")
    async def instance_bulk_data(
        request: Request, study: str, series: str, instance: str, path: str
    ) -> Response:
        """Retrieve a bulk value of an instance by the URI that its metadata gives (PS3.18 10.4.1.1.5)."""
        asked = _retrieve_request(request)
        return _response(await retrieve_bulk_data(archive, asked, Resource(study, series, instance), path))


def _accept(request: Request) -> tuple[MediaRange, ...]:
    return parse_accept(request.headers.getlist("accept"), request.query_params.get("accept"))


def _retrieve_request(request: Request) -> RetrieveRequest:
    headers = request.headers
    return RetrieveRequest(
        access_of(request.scope), _accept(request), headers.get("if-none-match"), headers.get("range")
    )


def _response(answer: Answer) -> Response:
    headers = {
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization",
        "X-Content-Type-Options": "nosniff",
        **answer.headers,
    }
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, headers)
    return StreamingResponse(answer.body, answer.status, headers)


def _warn(response: Response, warnings: Iterable[str]) -> None:
    for text in list(warnings)[:MAX_WARNINGS]:
        response.headers.append("Warning", f'{WARN_CODE_AND_AGENT} "{text}"')
