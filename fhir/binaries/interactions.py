"""read and vread of Binaries: the content in its own media type, or the resource (FHIR R4 binary.html)."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus

from fhir.binaries.content import (
    BINARY,
    MAX_BINARY_AS_JSON_BYTES,
    Part,
    RangeNotSatisfiable,
    headers_of,
    read_range,
    wants_resource,
    with_data,
)
from fhir.binaries.stored import find_content, read_bytes
from fhir.exchange import Answer, FhirRequest
from fhir.interactions import read as reading
from fhir.interactions.answers import answer_stored
from fhir.interactions.door import Door
from fhir.interactions.etag import is_unchanged, version_headers
from fhir.interactions.read import Deleted, Stored
from fhir.interactions.write import Written
from fhir.model.json_codec import decode_json
from fhir.negotiation import NotAcceptable


async def read_binary(door: Door, request: FhirRequest) -> Answer:
    """A Binary, current or at a version; reach and audit are those of every read.

    Raises:
        NotFound, Deleted: as of every read; Deleted also when the content of that version went.
        NotAcceptable: the resource is asked for, and its content is too large to stand in it.
    """
    assert request.resource_id is not None
    named = (door, request.access, BINARY, request.resource_id)
    if request.version_id is None:
        stored = await reading.read(*named)
    else:
        stored = await reading.vread(*named, request.version_id)
    asked_format = next((value for name, value in request.pairs if name == "_format"), None)
    if wants_resource(request.headers.get("accept"), asked_format):
        text = await _with_content(door, stored.id, stored.version_id, stored.text)
        return answer_stored(request, replace(stored, text=text))
    return await _answer_content(door, request, stored)


async def show_written(door: Door, request: FhirRequest, written: Written) -> Written:
    """What a write of a Binary answers: to a resource the resource, to bytes no body."""
    if request.content is not None:
        return replace(written, text=b"")
    return replace(written, text=await _with_content(door, written.id, written.version_id, written.text))


async def _with_content(door: Door, resource_id: str, version_id: int, text: bytes) -> bytes:
    async with door.services.database.read() as connection:
        content = await find_content(connection, resource_id, version_id)
        if content is None:
            raise Deleted("The content was deleted.")
    if not content.has_data:
        return text
    if content.length > MAX_BINARY_AS_JSON_BYTES:
        raise NotAcceptable("The content is too large for a resource; ask for its own media type.")
    whole = [piece async for piece in read_bytes(door.services.database, content, Part(0, content.length))]
    return with_data(text, b"".join(whole))


async def _answer_content(door: Door, request: FhirRequest, stored: Stored) -> Answer:
    resource = decode_json(stored.text)
    headers = {
        **version_headers(stored.version_id, stored.last_updated_us),
        **headers_of(resource["contentType"]),
    }
    if reference := resource.get("securityContext", {}).get("reference"):
        headers["X-Security-Context"] = reference
    if is_unchanged(request.headers, stored.version_id, stored.last_updated_us):
        return Answer(HTTPStatus.NOT_MODIFIED, b"", headers)
    async with door.services.database.read() as connection:
        content = await find_content(connection, stored.id, stored.version_id)
    if content is None:
        raise Deleted("The content was deleted.")
    try:
        part = read_range(_range_header(request.headers, headers), content.length)
    except RangeNotSatisfiable:
        unsatisfied = {"Content-Range": f"bytes */{content.length}", "Accept-Ranges": "bytes"}
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", unsatisfied)
    status = HTTPStatus.OK
    if part is None:
        part = Part(0, content.length)
    else:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {part.first}-{part.end - 1}/{content.length}"
    headers["Content-Length"] = str(part.end - part.first)
    return Answer(status, b"", headers, read_bytes(door.services.database, content, part))


def _range_header(asked: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """The Range, unless `If-Range` names another state; weak ETags never do (RFC 9110 §13.1.5)."""
    condition = asked.get("if-range")
    return asked.get("range") if condition in (None, headers["Last-Modified"]) else None
