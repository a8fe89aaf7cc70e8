"""The HTTP face of the FHIR door (FHIR R4 http.html); mounted by the roof at `/fhir`.

Handlers read the request, call one interaction and answer with ready bytes; every fault passes to the roof,
whose exception handler answers with `fault_response`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from fhir.interactions.body import MAX_RESOURCE_BYTES
from fhir.interactions.create import create
from fhir.interactions.door import Door, UnknownType
from fhir.interactions.read import Stored, read, vread
from fhir.interactions.search_type import search_type
from fhir.interactions.update import InvalidHeader, update
from fhir.interactions.write import Written
from fhir.model.json_codec import encode_json
from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.negotiation import (
    Return,
    read_preferences,
    require_form_body,
    require_json_accepted,
    require_json_body,
)
from fhir.outcome import FHIR_JSON_UTF8, operation_outcome, outcome_of
from fhir.search.definitions import stored_types
from fhir.search.query import MAX_PARAMETERS
from fhir.search.value import InvalidSearch
from server.kernel.access import access_of
from server.kernel.clock import SECOND_US
from server.kernel.faults import Fault, FaultKind, TooLarge
from server.kernel.services import Services

MAX_FORM_BYTES = 1 << 20  # of a search by POST
RETRY_AFTER_S = "5"

_HEADERS_OF: Mapping[FaultKind, Mapping[str, str]] = {
    FaultKind.UNAUTHENTICATED: {"WWW-Authenticate": 'Bearer realm="isthmus"'},
    FaultKind.BUSY: {"Retry-After": RETRY_AFTER_S},
    FaultKind.TOO_MANY_REQUESTS: {"Retry-After": RETRY_AFTER_S},
    FaultKind.METHOD_NOT_ALLOWED: {"Allow": "GET, POST"},
}

Handler = Callable[..., Awaitable[Response]]
Metadata = Callable[[], bytes]  # the CapabilityStatement's JSON text


def fault_response(fault: Fault) -> Response:
    """The answer that tells of a fault: its status, an OperationOutcome, and what else the status demands."""
    return _json(encode_json(outcome_of(fault)), fault.status, dict(_HEADERS_OF.get(fault.kind, {})))


def build_router(
    services: Services, page_secret: bytes, metadata: Metadata, *, create_on_update: bool = False
) -> APIRouter:
    """The routes of the door; `metadata` renders the CapabilityStatement, `page_secret` signs page tokens."""
    door = Door(services, page_secret, create_on_update)
    router = APIRouter(tags=["FHIR R4"])
    for method, path, handler in _handlers(door, metadata):
        router.add_api_route(path, handler, methods=[method], response_class=Response, response_model=None)
    return router


def _handlers(door: Door, metadata: Metadata) -> Sequence[tuple[str, str, Handler]]:
    reading, writing = _Reading(door), _Writing(door)

    async def capabilities(request: Request) -> Response:
        """The CapabilityStatement of this server (FHIR R4 http.html#capabilities)."""
        _require_json(request)
        return _json(metadata())

    return (
        ("GET", "/metadata", capabilities),
        ("POST", "/{resource_type}/_search", reading.search_by_form),
        ("GET", "/{resource_type}/{resource_id}/_history/{version_id}", reading.vread),
        ("GET", "/{resource_type}/{resource_id}", reading.read),
        ("GET", "/{resource_type}", reading.search),
        ("POST", "/{resource_type}", writing.create),
        ("PUT", "/{resource_type}/{resource_id}", writing.update),
    )


class _Reading:
    def __init__(self, door: Door) -> None:
        self._door = door

    async def read(self, request: Request, resource_type: str, resource_id: str) -> Response:
        """The current version (FHIR R4 http.html#read)."""
        _check(request, resource_type)
        stored = await read(self._door, access_of(request.scope), resource_type, resource_id)
        headers = _version_headers(stored)
        if _names(request.headers.getlist("if-none-match"), headers["ETag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return _json(stored.text, headers=headers)

    async def vread(
        self, request: Request, resource_type: str, resource_id: str, version_id: str
    ) -> Response:
        """One version (FHIR R4 http.html#vread)."""
        _check(request, resource_type)
        stored = await vread(self._door, access_of(request.scope), resource_type, resource_id, version_id)
        return _json(stored.text, headers=_version_headers(stored))

    async def search(self, request: Request, resource_type: str) -> Response:
        """search-type by GET (FHIR R4 http.html#search)."""
        _check(request, resource_type)
        return await self._search(request, resource_type, _query_pairs(request))

    async def search_by_form(self, request: Request, resource_type: str) -> Response:
        """search-type by POST; parameters of the URL count too."""
        _check(request, resource_type)
        require_form_body(request.headers.get("content-type"))
        form = await _body(request, MAX_FORM_BYTES)
        pairs = [*_query_pairs(request), *_pairs(form)]
        _require_json(request, pairs)
        return await self._search(request, resource_type, pairs)

    async def _search(
        self, request: Request, resource_type: str, pairs: Sequence[tuple[str, str]]
    ) -> Response:
        strict = read_preferences(request.headers.getlist("prefer")).strict
        access = access_of(request.scope)
        return _json(await search_type(self._door, access, resource_type, pairs, strict=strict))


class _Writing:
    def __init__(self, door: Door) -> None:
        self._door = door

    async def create(self, request: Request, resource_type: str) -> Response:
        """create, with If-None-Exist conditional (FHIR R4 http.html#create)."""
        access = access_of(request.scope)
        text = await self._read_body(request, resource_type)
        condition = request.headers.get("if-none-exist")
        written = await create(self._door, access, resource_type, text, condition)
        status = HTTPStatus.CREATED if written.changed else HTTPStatus.OK
        return self._answer(request, resource_type, written, status)

    async def update(self, request: Request, resource_type: str, resource_id: str) -> Response:
        """update, with If-Match guarded (FHIR R4 http.html#update)."""
        access = access_of(request.scope)
        text = await self._read_body(request, resource_type)
        draft_of = (resource_id, text, request.headers.get("if-match"))
        written = await update(self._door, access, resource_type, draft_of)
        status = HTTPStatus.CREATED if written.version_id == 1 else HTTPStatus.OK
        return self._answer(request, resource_type, written, status)

    async def _read_body(self, request: Request, resource_type: str) -> bytes:
        _check(request, resource_type)
        require_json_body(request.headers.get("content-type"))
        return await _body(request, MAX_RESOURCE_BYTES)

    def _answer(self, request: Request, resource_type: str, written: Written, status: HTTPStatus) -> Response:
        headers = _version_headers(written)
        place = f"{self._door.base_url}/{resource_type}/{written.id}"
        headers["Location"] = f"{place}/_history/{written.version_id}"
        returned = read_preferences(request.headers.getlist("prefer")).returned
        if returned is Return.MINIMAL:
            return Response(status_code=status, headers=headers)
        if returned is Return.OPERATION_OUTCOME:
            said = "Stored." if written.changed else "One resource matches the condition already."
            note = Issue(Severity.INFORMATION, IssueType.INFORMATIONAL, said)
            return _json(encode_json(operation_outcome([note])), status, headers)
        return _json(written.text, status, headers)


def _check(request: Request, resource_type: str) -> None:
    access_of(request.scope)  # who may not come in learns nothing, not even which types there are
    if resource_type not in stored_types():
        raise UnknownType("The URL names no resource type that this server keeps.")
    _require_json(request)


def _require_json(request: Request, pairs: Sequence[tuple[str, str]] | None = None) -> None:
    stated = pairs if pairs is not None else _query_pairs(request)
    asked_format = next((value for name, value in stated if name == "_format"), None)
    require_json_accepted(request.headers.get("accept"), asked_format)


def _query_pairs(request: Request) -> list[tuple[str, str]]:
    return _pairs(request.scope["query_string"])


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    try:
        text = encoded.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=2 * MAX_PARAMETERS)
    except ValueError:  # UnicodeDecodeError is one
        raise InvalidSearch("The parameters are no URL-encoded UTF-8, or too many.") from None


async def _body(request: Request, limit: int) -> bytes:
    """The whole body, read no further than `limit`."""
    too_large = TooLarge(f"The body is larger than {limit} bytes.")
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit():
        raise InvalidHeader("'Content-Length' is no number.")
    if len(declared) > 12 or int(declared) > limit:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def _version_headers(version: Stored | Written) -> dict[str, str]:
    return {
        "ETag": f'W/"{version.version_id}"',
        "Last-Modified": formatdate(version.last_updated_us // SECOND_US, usegmt=True),
    }


def _names(if_none_match: Sequence[str], etag: str) -> bool:
    """Whether If-None-Match names this ETag, by weak comparison; `*` names every one (RFC 9110 §13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for line in if_none_match for tag in line.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def _json(text: bytes, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(text, status, headers, FHIR_JSON_UTF8)
