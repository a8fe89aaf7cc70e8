"""An entry as the interaction that it asks for, a request as it would be by itself (http.html#transaction).

`Bundle.entry.request.url` is relative to the base; the elements beside it are headers of a request.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from enum import IntEnum
from urllib.parse import parse_qsl, unquote

from fhir.bundles.faults import invalid_entry
from fhir.bundles.read import Asked
from fhir.exchange import FhirRequest, Pairs
from fhir.interactions.body import MAX_RESOURCE_BYTES
from fhir.interactions.table import require_stored_type
from fhir.model.json_codec import InvalidJson, Json, decode_json
from fhir.model.validation.issue import IssueType
from fhir.outcome import FHIR_JSON
from fhir.search.place import EVERY_TYPE
from fhir.search.query import MAX_PARAMETERS
from server.kernel.faults import TooLarge

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_HISTORY = "_history"


class Rank(IntEnum):
    """The order in which a transaction is processed (FHIR R4 http.html#trules)."""

    DELETE = 0
    CREATE = 1
    UPDATE = 2
    PATCH = 3
    READ = 4


RANK_OF: Mapping[str, Rank] = {
    "DELETE": Rank.DELETE,
    "POST": Rank.CREATE,
    "PUT": Rank.UPDATE,
    "PATCH": Rank.PATCH,
    "GET": Rank.READ,
    "HEAD": Rank.READ,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One entry, understood; `request` has no body yet."""

    number: int
    rank: Rank
    kind: str  # of a read: "read", "vread", "history", "search", "operation"; else ""
    asked: Asked
    request: FhirRequest

    def decoded(self) -> Json:
        """The entry's resource.

        Raises:
            EntryFailed: it is no JSON object.
        """
        try:
            return decode_json(self.asked.text)
        except InvalidJson as fault:
            raise invalid_entry(self.number, str(fault), "resource") from None


def step_of(asked: Asked, around: FhirRequest, base_url: str) -> Step:
    """What an entry asks for; `around` is the request that brought the Bundle.

    Raises:
        EntryFailed: nothing that this server does in a Bundle.
        UnknownType: a type that it does not keep.
        TooLarge: a resource beyond what a request by itself may hold.
    """
    rank = RANK_OF[asked.method]
    if asked.size > MAX_RESOURCE_BYTES:
        raise TooLarge(f"A resource is larger than {MAX_RESOURCE_BYTES} bytes.")
    path, pairs = _split(asked, base_url)
    if rank is Rank.CREATE and path and path[-1].startswith("$"):
        rank = Rank.READ  # an operation: those by which something changes are refused when they are found
    if rank in (Rank.CREATE, Rank.UPDATE, Rank.PATCH) and asked.resource is None:
        raise invalid_entry(asked.number, "This element is required.", "resource", IssueType.REQUIRED)
    kind, named = _read_path(path) if rank is Rank.READ else _write_path(rank, path, pairs)
    if kind is None:
        text = f"A Bundle cannot ask for this by {asked.method}."
        raise invalid_entry(asked.number, text, "request.url", IssueType.NOT_SUPPORTED)
    if (resource_type := named.get("resource_type")) is not None:
        require_stored_type(resource_type)
    request = FhirRequest(
        asked.method,
        around.access,
        resource_type,
        named.get("resource_id"),
        named.get("version_id"),
        named.get("operation"),
        pairs,
        _headers(asked, around),
        searched_type=named.get("searched_type"),
    )
    return Step(asked.number, rank, kind, asked, request)


def with_body(step: Step, text: bytes) -> FhirRequest:
    """The request with this text of the entry's resource; a patch comes out of its envelope.

    A JSON Patch is the data of a Binary, a FHIRPath Patch is Parameters (FHIR R4 http.html#patch).

    Raises:
        EntryFailed: a Binary that holds nothing that could be one.
    """
    content_type, body = FHIR_JSON, text
    if step.rank is Rank.PATCH:
        content_type, body = _patch(step, text)
    headers = {**step.request.headers, "content-type": content_type}
    return replace(step.request, headers=headers, body=body)


def _patch(step: Step, text: bytes) -> tuple[str, bytes]:
    resource = step.decoded()
    if resource.get("resourceType") != "Binary":
        return FHIR_JSON, text
    content_type, data = resource.get("contentType"), resource.get("data")
    if not isinstance(content_type, str) or not isinstance(data, str):
        raise invalid_entry(step.number, "A patch is the data of a Binary with its contentType.", "resource")
    try:
        return content_type, b64decode("".join(data.split()), validate=True)
    except NotBase64:
        raise invalid_entry(
            step.number, "This is no base64Binary.", "resource.data", IssueType.VALUE
        ) from None


def _split(asked: Asked, base_url: str) -> tuple[list[str], Pairs]:
    url = asked.url.removeprefix(base_url)
    if _SCHEME.match(url) or url.startswith("//"):
        raise invalid_entry(asked.number, "The URL is of another server.", "request.url", IssueType.VALUE)
    path, question, query = url.partition("?")
    if "#" in url:
        raise invalid_entry(asked.number, "The URL has a fragment.", "request.url", IssueType.VALUE)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=2 * MAX_PARAMETERS)
    except ValueError:
        text = "The parameters are no URL-encoded UTF-8, or too many."
        raise invalid_entry(asked.number, text, "request.url", IssueType.VALUE) from None
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    if any("\x00" in part for part in parts):  # PostgreSQL's text holds none (server/http/path_text.py)
        raise invalid_entry(asked.number, "The URL holds NUL.", "request.url", IssueType.VALUE)
    return parts, pairs if question else ()


_Named = dict[str, str]


def _write_path(rank: Rank, path: list[str], pairs: Pairs) -> tuple[str | None, _Named]:
    if len(path) == 1 and not path[0].startswith(("$", "_")) and (rank is Rank.CREATE or pairs):
        return "", {"resource_type": path[0]}
    if len(path) == 2 and rank is not Rank.CREATE and _ID.fullmatch(path[1]):
        return "", {"resource_type": path[0], "resource_id": path[1]}
    return None, {}


def _read_path(path: list[str]) -> tuple[str | None, _Named]:
    names = ("resource_type", "resource_id")
    *above, last = path or [""]
    named = dict(zip(names, above, strict=False))
    if last.startswith("$") and len(above) <= 2:
        return "operation", {**named, "operation": last[1:]}
    if last == _HISTORY and len(above) <= 2:
        return "history", named
    match path:
        case [] | [_]:
            return "search", dict(zip(names, path, strict=False))
        case [_, _]:
            return "read", dict(zip(names, path, strict=True))
        case [_, _, str(searched)] if searched == EVERY_TYPE or searched[:1].isupper():
            return "search", {**named, "searched_type": searched}
        case [kind, resource_id, "_history", version_id]:
            return "vread", {"resource_type": kind, "resource_id": resource_id, "version_id": version_id}
    return None, {}


_HEADER_OF = {"ifMatch": "if-match", "ifNoneMatch": "if-none-match", "ifNoneExist": "if-none-exist"}


def _headers(asked: Asked, around: FhirRequest) -> Mapping[str, str]:
    headers = {_HEADER_OF[name]: value for name, value in asked.conditions.items() if name in _HEADER_OF}
    if (since := asked.conditions.get("ifModifiedSince")) is not None:
        try:
            headers["if-modified-since"] = format_datetime(datetime.fromisoformat(since))
        except ValueError:
            text = "This is no instant."
            raise invalid_entry(asked.number, text, "request.ifModifiedSince", IssueType.VALUE) from None
    if (prefer := around.headers.get("prefer")) is not None:
        headers["prefer"] = prefer
    return headers
