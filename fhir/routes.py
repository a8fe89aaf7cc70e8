"""The HTTP face of the FHIR door (FHIR R4 http.html); mounted by the roof at `/fhir`.

A route reads its request into a `FhirRequest`, lets one interaction answer and sends the ready bytes; every
fault passes to the roof, whose exception handler answers with `fault_response`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from fhir.binaries.content import BINARY, MAX_BINARY_BYTES, is_raw
from fhir.binaries.receive import receive_content
from fhir.bundles.process import MAX_BUNDLE_BYTES, process_bundle
from fhir.capability import ServerFacts
from fhir.exchange import HEADERS_READ, Answer, FhirRequest, Interaction, Pairs
from fhir.interactions.body import MAX_RESOURCE_BYTES
from fhir.interactions.door import DEFAULT_POLICY, NO_DEFINITIONS, Definitions, DeletionGuard, Door, Policy
from fhir.interactions.etag import InvalidHeader
from fhir.interactions.history import history
from fhir.interactions.table import create, delete, patch, read, require_stored_type, search, update, vread
from fhir.model.json_codec import encode_json
from fhir.negotiation import require_form_body, require_json_accepted, require_json_body
from fhir.operations.operation import Operation, operate
from fhir.outcome import FHIR_JSON_UTF8, outcome_of
from fhir.search.query import MAX_PARAMETERS
from fhir.search.value import InvalidSearch
from fhir.terminology_capabilities import TerminologyStatement
from server.kernel.access import Permission, access_of
from server.kernel.clock import instant_text
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


@dataclass(frozen=True, slots=True)
class Offer:
    """What the roof hands to the door beside its services."""

    policy: Policy = DEFAULT_POLICY
    deletion_guards: Mapping[str, DeletionGuard] = field(default_factory=dict)
    operations: Sequence[Operation] = ()
    definitions: Definitions = NO_DEFINITIONS
    facts: ServerFacts | None = None  # for TerminologyCapabilities; None: only the base URL is known


class _TypeName(Convertor[str]):
    """A part of a path that can be nothing but the name of a type."""

    regex = "[A-Z][A-Za-z]+"

    def convert(self, value: str) -> str:
        """The name."""
        return value

    def to_string(self, value: str) -> str:
        """The name."""
        return value


class _Id(_TypeName):
    """The same of an id (FHIR R4 datatypes.html#id)."""

    regex = r"[A-Za-z0-9\-.]{1,64}"


class _OperationName(_TypeName):
    """The same of an operation, without the "$"."""

    regex = r"[a-z\-]+"


register_url_convertor("fhir_operation", _OperationName())
register_url_convertor("fhir_type", _TypeName())
register_url_convertor("fhir_id", _Id())


class _PlainRoute(APIRoute):
    """A route whose handler takes the request as it is: nothing is injected, nothing serialized."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


def fault_response(fault: Fault) -> Response:
    """The answer that tells of a fault: its status, an OperationOutcome, and what else the status demands."""
    return _json(encode_json(outcome_of(fault)), fault.status, dict(_HEADERS_OF.get(fault.kind, {})))


def build_router(
    services: Services, page_secret: bytes, metadata: Metadata, offer: Offer | None = None
) -> APIRouter:
    """The routes of the door; `metadata` renders the CapabilityStatement, `page_secret` signs page tokens."""
    offer = offer or Offer()
    door = Door(services, page_secret, offer.policy, offer.deletion_guards, offer.definitions)
    facts = offer.facts or ServerFacts(
        door.base_url, software_version="0", date=instant_text(services.clock())
    )
    statement = TerminologyStatement(facts, door.sources, services.clock)
    router = APIRouter(tags=["FHIR R4"], route_class=_PlainRoute)
    router.routes += _asked_most(door, offer.operations)
    for method, path, handler in _handlers(door, (metadata, statement), offer.operations):
        router.add_api_route(path, handler, methods=[method], response_class=Response, response_model=None)
    return router


def _asked_most(door: Door, operations: Sequence[Operation]) -> list[Route]:
    """What is asked for most is tried first, by paths that mean nothing else and without FastAPI's part.

    The same routes stand among the others, where they are described.
    """
    served, invoke = _Served(door), _operation(operations)
    one, every = "/{resource_type:fhir_type}/{resource_id:fhir_id}", "/{resource_type:fhir_type}"
    on_type = f"{every}/${{operation:fhir_operation}}"
    return [
        Route(path, handler, methods=[method], include_in_schema=False)
        for method, path, handler in (
            ("GET", one, served.plain(read)),
            ("GET", every, served.plain(search)),
            ("GET", on_type, served.operation(invoke)),
            ("POST", on_type, served.operation(invoke)),
            ("POST", every, served.body(create)),
            ("PUT", one, served.body(update)),
        )
    ]


def _handlers(
    door: Door, statements: tuple[Metadata, TerminologyStatement], operations: Sequence[Operation]
) -> Sequence[tuple[str, str, Handler]]:
    """In the order in which they are tried: what is literal before what may be anything."""
    served = _Served(door)

    async def capabilities(request: Request) -> Response:
        """The CapabilityStatement of this server, or its TerminologyCapabilities (http.html#capabilities)."""
        pairs = _query_pairs(request)
        _require_json(request, pairs)
        metadata, terminology = statements
        if ("mode", "terminology") in pairs:
            return _json(await terminology.text())
        return _json(metadata())

    async def bundle(_door: Door, request: FhirRequest) -> Answer:
        """A batch or a transaction (FHIR R4 http.html#transaction)."""
        return await process_bundle(door, operations, request)

    one, every = "/{resource_type}/{resource_id}", "/{resource_type}"
    levels = ("", every, one)
    return (
        ("GET", "/metadata", capabilities),
        *(
            (method, f"{at}/${{operation}}", served.operation(_operation(operations)))
            for at in levels
            for method in _CALLS
        ),
        *(("GET", f"{at}/_history", served.plain(history)) for at in levels),
        *(("POST", f"{at}/_search", served.form(search)) for at in ("", every, f"{one}/{{searched_type}}")),
        *(("GET", at, served.plain(search)) for at in ("", "/")),  # some clients end the base with a slash
        *(("POST", at, served.body(bundle, MAX_BUNDLE_BYTES)) for at in ("", "/")),
        ("GET", f"{one}/_history/{{version_id}}", served.plain(vread)),
        ("GET", f"{one}/{{searched_type}}", served.plain(search)),
        ("GET", one, served.plain(read)),
        ("GET", every, served.plain(search)),
        ("POST", every, served.body(create)),
        ("PUT", one, served.body(update)),
        ("PUT", every, served.body(update)),
        ("PATCH", one, served.patch(patch)),
        ("PATCH", every, served.patch(patch)),
        ("DELETE", one, served.plain(delete)),
        ("DELETE", every, served.plain(delete)),
    )


_CALLS = ("GET", "POST")


def _operation(operations: Sequence[Operation]) -> Interaction:
    async def operation(door: Door, request: FhirRequest) -> Answer:
        """An operation (FHIR R4 operations.html)."""
        return await operate(door, operations, request)

    return operation


class _Served:
    """Interactions as handlers of the framework; each way differs in what it reads of a body."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def plain(self, interaction: Interaction) -> Handler:
        """Without a body."""

        async def handle(request: Request) -> Response:
            return _response(await interaction(self._door, _asked(request)))

        return _named(handle, interaction)

    def body(self, interaction: Interaction, limit: int = MAX_RESOURCE_BYTES) -> Handler:
        """With a resource, or the content of a Binary."""

        async def handle(request: Request) -> Response:
            asked = _asked(request)
            content_type = request.headers.get("content-type")
            if is_raw(asked.resource_type, content_type):
                return _response(await interaction(self._door, await self._receive(request, asked)))
            require_json_body(content_type)
            text = await _body(request, limit)
            return _response(await interaction(self._door, replace(asked, body=text)))

        return _named(handle, interaction)

    async def _receive(self, request: Request, asked: FhirRequest) -> FhirRequest:
        """The content of a Binary, taken in only from who may write one."""
        permission = Permission.CREATE if asked.method == "POST" else Permission.UPDATE
        asked.access.reach(BINARY, permission)
        _require_length(request, MAX_BINARY_BYTES)
        received = await receive_content(self._door.services.database, request.stream())
        return replace(asked, content=received)

    def patch(self, interaction: Interaction) -> Handler:
        """With a patch, whose format the interaction judges."""

        async def handle(request: Request) -> Response:
            asked = _asked(request)
            if request.method != "GET":
                asked = replace(asked, body=await _body(request, MAX_RESOURCE_BYTES))
            return _response(await interaction(self._door, asked))

        return _named(handle, interaction)

    def operation(self, interaction: Interaction) -> Handler:
        """With Parameters, or nothing."""
        return self.patch(interaction)

    def form(self, interaction: Interaction) -> Handler:
        """With search parameters; those of the URL count too (FHIR R4 search.html#Introduction)."""

        async def handle(request: Request) -> Response:
            asked = _read(request)
            require_form_body(request.headers.get("content-type"))
            pairs = [*asked.pairs, *_pairs(await _body(request, MAX_FORM_BYTES))]
            _require_json(request, pairs)
            return _response(await interaction(self._door, replace(asked, pairs=pairs)))

        return _named(handle, interaction)


def _named(handler: Handler, interaction: Interaction) -> Handler:
    handler.__name__, handler.__doc__ = interaction.__name__, interaction.__doc__
    return handler


def _asked(request: Request) -> FhirRequest:
    """The request, whose answer may be JSON; its body is still to come."""
    asked = _read(request)
    is_whole_binary = asked.resource_id is not None or asked.method != "GET"
    if asked.resource_type != BINARY or not is_whole_binary:  # a Binary is given and taken in its own type
        _require_json(request, asked.pairs)
    return asked


def _read(request: Request) -> FhirRequest:
    access = access_of(request.scope)  # who may not come in learns nothing, not even which types there are
    path = request.path_params
    resource_type = path.get("resource_type")
    if resource_type is not None:
        require_stored_type(resource_type)
    return FhirRequest(
        request.method,
        access,
        resource_type,
        path.get("resource_id"),
        path.get("version_id"),
        path.get("operation"),
        _query_pairs(request),
        _headers(request),
        searched_type=path.get("searched_type"),
    )


def _headers(request: Request) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in request.scope["headers"]:
        known = name.decode("latin-1")
        if known in HEADERS_READ:
            text = value.decode("latin-1")
            found[known] = f"{found[known]}, {text}" if known in found else text
    return found


def _response(answer: Answer) -> Response:
    if answer.stream is not None:
        return StreamingResponse(answer.stream, answer.status, answer.headers)
    if not answer.text or "Content-Type" in answer.headers:
        return Response(answer.text, answer.status, answer.headers)
    return _json(answer.text, answer.status, answer.headers)


def _require_json(request: Request, pairs: Pairs) -> None:
    asked_format = next((value for name, value in pairs if name == "_format"), None)
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
    _require_length(request, limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _require_length(request: Request, limit: int) -> None:
    """Let pass a body that does not say that it is longer."""
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit():
        raise InvalidHeader("'Content-Length' is no number.")
    if len(declared) > 12 or int(declared) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.")


def _json(
    text: bytes, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(text, status, headers, FHIR_JSON_UTF8)
