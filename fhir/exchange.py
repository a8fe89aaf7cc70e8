"""One interaction as it is asked and as it is answered: over HTTP, or as an entry of a batch.

A request has been parsed as far as its URL; an answer has its bytes ready. Neither knows of a web framework,
so that a Bundle's entry takes the same way as a request of its own (FHIR R4 http.html).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from fhir.interactions.door import Door
from server.kernel.access import Access

Pairs = Sequence[tuple[str, str]]

# The request headers that an interaction may depend on; others are not handed on.
HEADERS_READ = frozenset(
    {
        "accept", "content-type", "if-match", "if-modified-since", "if-none-exist", "if-none-match", "prefer",
        "range", "if-range", "x-provenance", "x-security-context", "accept-language",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Received:
    """The content of a Binary as it was received: what did not fit `rest` lies in chunks already."""

    length: int
    rest: bytes  # its last bytes, or all of them
    upload: int | None = None  # number of the chunks; None: there are none yet


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """What is asked: path variables are None where the URL has none, `pairs` are its query parameters."""

    method: str
    access: Access
    resource_type: str | None = None
    resource_id: str | None = None
    version_id: str | None = None
    operation: str | None = None  # without the "$"
    pairs: Pairs = ()
    headers: Mapping[str, str] = field(
        default_factory=dict
    )  # names in lower case; repeated ones joined by ","
    body: bytes = b""
    searched_type: str | None = None  # below an id: what is searched in that compartment; "*": every type
    content: Received | None = None  # in place of `body`: of a Binary that is sent in its own media type


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; `text` is FHIR JSON unless `headers` say otherwise."""

    status: HTTPStatus = HTTPStatus.OK
    text: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None  # in place of `text`: too long for it


Interaction = Callable[[Door, FhirRequest], Awaitable[Answer]]
