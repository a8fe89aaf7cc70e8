"""Routes of the Retrieve transaction (PS3.18 10.4.1.1), and how request and answer pass the framework."""

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from dicomweb.answer import Answer
from dicomweb.retrieve.bulk_data import retrieve_all_bulk_data
from dicomweb.retrieve.frames import parse_frame_list
from dicomweb.retrieve.included import parse_include_fields
from dicomweb.retrieve.locate import Resource
from dicomweb.retrieve.metadata import retrieve_metadata
from dicomweb.retrieve.request import Archive, RetrieveRequest
from dicomweb.retrieve.retrieve import retrieve_bulk_data, retrieve_files, retrieve_frames
from dicomweb.wire.media_types import MediaRange, parse_accept
from server.kernel.access import access_of
from server.kernel.request import is_head
from server.kernel.services import Services
from server.kernel.turns import Turns

WARN_CODE_AND_AGENT = "299 isthmus"  # Warning: warn-code, warn-agent (PS3.18 8.3.4, RFC 7234 §5.5)
_TURNS = Turns()  # of all answers of this process
MAX_WARNINGS = 10  # of one answer; a long header would be refused on its way

STUDY = "/studies/{study}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{instance}}"


def acceptable(request: Request) -> tuple[MediaRange, ...]:
    """The media types that the client accepts, best first (PS3.18 §8.3.3.1, §8.7.5)."""
    return parse_accept(request.headers.getlist("accept"), request.query_params.get("accept"))


def known_tags(request: Request) -> str | None:
    """The tags of If-None-Match, which may come as several fields (RFC 9110 §5.3); None: there are none."""
    return ", ".join(request.headers.getlist("if-none-match")) or None


def retrieve_request(request: Request) -> RetrieveRequest:
    """What a retrieval needs to know of a request."""
    headers = request.headers
    return RetrieveRequest(
        access=access_of(request.scope),
        accept=acceptable(request),
        if_none_match=known_tags(request),
        range=headers.get("range"),
        if_range=headers.get("if-range"),
        accept_encoding=headers.getlist("accept-encoding"),
        is_head=is_head(request.scope),
    )


def response_of(answer: Answer, warnings: Iterable[str] = ()) -> Response:
    """An answer as the framework sends it; no cache of others may keep it."""
    headers = {
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization",
        "X-Content-Type-Options": "nosniff",
        **answer.headers,
    }
    if isinstance(answer.body, bytes):
        response = Response(answer.body, answer.status, headers)
    else:
        response = StreamingResponse(_TURNS.pieces(answer.body), answer.status, headers)
    warn(response, warnings)
    return response


def warn(response: Response, warnings: Iterable[str]) -> None:
    """Add Warning header fields (PS3.18 8.3.4)."""
    for text in list(warnings)[:MAX_WARNINGS]:
        response.headers.append("Warning", f'{WARN_CODE_AND_AGENT} "{text}"')


def add_routes(router: APIRouter, archive: Archive) -> None:
    """Every route of the Retrieve transaction, those that are asked for most first."""
    _add_instance_parts(router, archive)
    _add_files(router, archive)
    _add_metadata(router, archive.services)
    _add_bulk_data(router, archive)
    _add_pixel_data(router, archive)


def _add_files(router: APIRouter, archive: Archive) -> None:
    async def files(request: Request, resource: Resource) -> Response:
        return response_of(await retrieve_files(archive, retrieve_request(request), resource))

    @router.get(STUDY)
    async def retrieve_study(request: Request, study: str) -> Response:
        """Retrieve the instances of a study (PS3.18 10.4.1.1.1)."""
        return await files(request, Resource(study))

    @router.get(SERIES)
    async def retrieve_series(request: Request, study: str, series: str) -> Response:
        """Retrieve the instances of a series (PS3.18 10.4.1.1.1)."""
        return await files(request, Resource(study, series))

    @router.get(INSTANCE)
    async def retrieve_instance(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve an instance (PS3.18 10.4.1.1.1)."""
        return await files(request, Resource(study, series, instance))


def _add_metadata(router: APIRouter, services: Services) -> None:
    async def metadata(request: Request, resource: Resource) -> Response:
        included = parse_include_fields(request.query_params.getlist("includefield"))
        answer = await retrieve_metadata(services, retrieve_request(request), resource, included)
        return response_of(answer, included.warnings)

    @router.get(f"{STUDY}/metadata")
    async def study_metadata(request: Request, study: str) -> Response:
        """Retrieve the metadata of a study (PS3.18 10.4.1.1.2)."""
        return await metadata(request, Resource(study))

    @router.get(f"{SERIES}/metadata")
    async def series_metadata(request: Request, study: str, series: str) -> Response:
        """Retrieve the metadata of a series (PS3.18 10.4.1.1.2)."""
        return await metadata(request, Resource(study, series))

    @router.get(f"{INSTANCE}/metadata")
    async def instance_metadata(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve the metadata of an instance (PS3.18 10.4.1.1.2)."""
        return await metadata(request, Resource(study, series, instance))


def _add_bulk_data(router: APIRouter, archive: Archive) -> None:
    async def bulk_data(request: Request, resource: Resource) -> Response:
        asked = retrieve_request(request)
        return response_of(await retrieve_all_bulk_data(archive, asked, resource, only_pixels=False))

    @router.get(f"{STUDY}/bulkdata")
    async def study_bulk_data(request: Request, study: str) -> Response:
        """Retrieve all bulk data of a study (PS3.18 10.4.1.1.5)."""
        return await bulk_data(request, Resource(study))

    @router.get(f"{SERIES}/bulkdata")
    async def series_bulk_data(request: Request, study: str, series: str) -> Response:
        """Retrieve all bulk data of a series (PS3.18 10.4.1.1.5)."""
        return await bulk_data(request, Resource(study, series))

    @router.get(f"{INSTANCE}/bulkdata")
    async def instance_bulk_data(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve all bulk data of an instance (PS3.18 10.4.1.1.5)."""
        return await bulk_data(request, Resource(study, series, instance))


def _add_pixel_data(router: APIRouter, archive: Archive) -> None:
    async def pixel_data(request: Request, resource: Resource) -> Response:
        asked = retrieve_request(request)
        return response_of(await retrieve_all_bulk_data(archive, asked, resource, only_pixels=True))

    @router.get(f"{STUDY}/pixeldata")
    async def study_pixel_data(request: Request, study: str) -> Response:
        """Retrieve the pixel data of a study (PS3.18 10.4.1.1.6)."""
        return await pixel_data(request, Resource(study))

    @router.get(f"{SERIES}/pixeldata")
    async def series_pixel_data(request: Request, study: str, series: str) -> Response:
        """Retrieve the pixel data of a series (PS3.18 10.4.1.1.6)."""
        return await pixel_data(request, Resource(study, series))

    @router.get(f"{INSTANCE}/pixeldata")
    async def instance_pixel_data(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve the pixel data of an instance (PS3.18 10.4.1.1.6)."""
        return await pixel_data(request, Resource(study, series, instance))


def _add_instance_parts(router: APIRouter, archive: Archive) -> None:
    @router.get(f"{INSTANCE}/frames/{{frames}}")
    async def instance_frames(
        request: Request, study: str, series: str, instance: str, frames: str
    ) -> Response:
        """Retrieve frames of an instance (PS3.18 10.4.1.1.6)."""
        asked = retrieve_request(request)
        numbers = parse_frame_list(frames)
        resource = Resource(study, series, instance)
        return response_of(await retrieve_frames(archive, asked, resource, numbers))

    @router.get(f"{INSTANCE}/bulkdata/{{path:path}}")
    async def bulk_value(request: Request, study: str, series: str, instance: str, path: str) -> Response:
        """Retrieve a bulk value of an instance by the URI that its metadata gives (PS3.18 10.4.1.1.5)."""
        asked = retrieve_request(request)
        resource = Resource(study, series, instance)
        return response_of(await retrieve_bulk_data(archive, asked, resource, path))
