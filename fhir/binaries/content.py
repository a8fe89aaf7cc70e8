"""The content of a Binary as bytes: media type, parts, and its place in JSON (FHIR R4 binary.html). Pure.

What somebody uploads may be a page with a script in it. So a browser is told not to guess, to run it in no
origin at all, and to save instead of show all but a few types that cannot act.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from fhir.interactions.body import with_members
from fhir.model.validation.issue import InvalidResource, IssueType, error
from fhir.negotiation import media_type_of
from fhir.outcome import READS_AS_FHIR_JSON
from server.kernel.faults import Fault, FaultKind

BINARY = "Binary"
CHUNK_BYTES = 512 << 10  # of a row
MAX_BINARY_BYTES = 64 << 20  # larger content belongs into DICOM storage
MAX_BINARY_AS_JSON_BYTES = 12 << 20  # what base64 makes a resource of the usual limit of

# RFC 9110 §8.3.1: type/subtype and parameters, printable ASCII only.
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}(?:\s?;[\x20-\x7e]{1,200})?", re.ASCII)
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")
_SPACE = re.compile(r"\s+")

# Bodies that are a Binary resource; what is not JSON of these is not read (R4 binary.html#rest).
RESOURCES = READS_AS_FHIR_JSON | {"application/fhir+xml", "application/xml+fhir", "application/fhir+turtle"}

# What a browser can show and what cannot act there; all else it is to save.
SHOWN = frozenset(
    {
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/bmp",
        "text/plain",
        "audio/mpeg",
        "video/mp4",
    }
)
_GUARDS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}


class RangeNotSatisfiable(Fault):
    """The range lies behind the end (RFC 9110 §15.5.17)."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `first` to before `end` of a content."""

    first: int
    end: int


def require_media_type(text: str) -> str:
    """A media type that can stand in a header as it is.

    Raises:
        InvalidResource: it is none.
    """
    if not _MEDIA_TYPE.fullmatch(text):
        raise InvalidResource([error(IssueType.VALUE, "It is no media type.", "Binary.contentType")])
    return text


def decode_data(data: str) -> bytes:
    """The bytes that `Binary.data` writes.

    Raises:
        InvalidResource: it is no base64.
    """
    try:
        return base64.b64decode(_SPACE.sub("", data), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidResource([error(IssueType.VALUE, "It is no base64.", "Binary.data")]) from None


def with_data(text: bytes, content: bytes) -> bytes:
    """The resource's text with its data."""
    return with_members(text, {"data": orjson.dumps(base64.b64encode(content).decode())})


def chunks_of(content: bytes) -> Iterator[bytes]:
    """The content in rows."""
    for at in range(0, len(content), CHUNK_BYTES):
        yield content[at : at + CHUNK_BYTES]


def read_range(header: str | None, length: int) -> Part | None:
    """The one range that a request asks for; None: the whole content (also for several, RFC 9110 §14.2).

    Raises:
        RangeNotSatisfiable: it begins behind the end.
    """
    found = _RANGE.fullmatch((header or "").replace(" ", "").lower())
    if found is None or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return None
    if found[3] is not None:
        first, end = max(0, length - int(found[3])), length
    else:
        first, end = int(found[1]), int(found[2]) + 1 if found[2] else length
    if first >= length or first >= end:
        raise RangeNotSatisfiable("The range lies behind the end of the content.")
    return Part(first, min(end, length))


def headers_of(content_type: str) -> dict[str, str]:
    """What is said of a content that is given as bytes."""
    shown = media_type_of(content_type) in SHOWN
    disposition = {} if shown else {"Content-Disposition": "attachment"}
    return {"Content-Type": content_type, "Accept-Ranges": "bytes", **_GUARDS, **disposition}


def wants_resource(accept: str | None, asked_format: str | None) -> bool:
    """Whether the resource is asked for, and not its content: by a media type of FHIR (R4 binary.html#rest).

    Without any word it is the resource too: so ask entries of a Bundle.
    """
    if asked_format is not None:
        return "json" in asked_format.lower()
    if accept is None:
        return True
    ranges = (item.partition(";") for item in accept.lower().split(","))
    return any(name.strip() in READS_AS_FHIR_JSON and rest.strip() != "q=0" for name, _, rest in ranges)


def is_raw(resource_type: str | None, content_type: str | None) -> bool:
    """Whether a body is the content of a Binary itself, and no resource."""
    return (
        resource_type == BINARY and content_type is not None and media_type_of(content_type) not in RESOURCES
    )
