"""What headers ask of the FHIR door: format, preferences (FHIR R4 http.html#mime-type, RFC 7240)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from fhir.outcome import FORM_URLENCODED, READS_AS_FHIR_JSON
from server.kernel.faults import Fault, FaultKind

_FORMAT_NAMES = READS_AS_FHIR_JSON | {"json"}
_RANGES_WITH_JSON = READS_AS_FHIR_JSON | {"*/*", "application/*", "text/*"}


class NotAcceptable(Fault):
    """The client takes no JSON."""

    kind = FaultKind.NOT_ACCEPTABLE


class UnsupportedMediaType(Fault):
    """The body is in a format this server does not read."""

    kind = FaultKind.UNSUPPORTED_MEDIA_TYPE


class Return(Enum):
    """`Prefer: return=…` of a write (FHIR R4 http.html#ops)."""

    MINIMAL = "minimal"
    REPRESENTATION = "representation"
    OPERATION_OUTCOME = "OperationOutcome"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What `Prefer` headers ask for."""

    returned: Return = Return.REPRESENTATION
    strict: bool = False  # handling=strict


def read_preferences(headers: Iterable[str]) -> Preferences:
    """The preferences that this server knows; others do not count (RFC 7240 §2)."""
    stated: dict[str, str] = {}
    for token in (part for header in headers for part in header.replace(";", ",").split(",")):
        name, _, value = token.partition("=")
        stated.setdefault(name.strip().lower(), value.strip().strip('"'))
    returned = _RETURN_OF.get(stated.get("return", ""), Return.REPRESENTATION)
    return Preferences(returned, stated.get("handling") == "strict")


_RETURN_OF: Mapping[str, Return] = {value.value: value for value in Return}


def require_json_accepted(accept: str | None, asked_format: str | None) -> None:
    """Let pass who takes JSON; `_format` wins over Accept (FHIR R4 http.html#parameters).

    Raises:
        NotAcceptable: only other formats will do.
    """
    if asked_format is not None:
        # A "+" that a client forgot to encode arrives as a space.
        if asked_format.partition(";")[0].strip().replace(" ", "+").lower() not in _FORMAT_NAMES:
            raise NotAcceptable("This server answers in JSON only.")
        return
    if accept is None or accept in _RANGES_WITH_JSON or not accept.strip():
        return
    if not any(_takes_json(item) for item in accept.lower().split(",")):
        raise NotAcceptable("This server answers in JSON only.")


def _takes_json(media_range: str) -> bool:
    media_type, *parameters = (part.strip() for part in media_range.split(";"))
    return media_type in _RANGES_WITH_JSON and not any(p.replace(" ", "") in _REFUSED for p in parameters)


_REFUSED = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})


def require_json_body(content_type: str | None) -> None:
    """Let pass a body of JSON in UTF-8.

    Raises:
        UnsupportedMediaType: anything else.
    """
    media_type, charset = _media_type(content_type)
    if media_type not in READS_AS_FHIR_JSON or charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("This server reads application/fhir+json in UTF-8 only.")


def require_form_body(content_type: str | None) -> None:
    """Let pass a form.

    Raises:
        UnsupportedMediaType: anything else.
    """
    if _media_type(content_type)[0] != FORM_URLENCODED:
        raise UnsupportedMediaType(f"A search by POST is {FORM_URLENCODED}.")


def media_type_of(content_type: str | None) -> str:
    """The media type of a `Content-Type`, in lower case, without parameters."""
    return _media_type(content_type)[0]


def _media_type(content_type: str | None) -> tuple[str, str]:
    media_type, _, parameters = (content_type or "").lower().partition(";")
    named = dict(part.strip().partition("=")[::2] for part in parameters.split(";"))
    return media_type.strip(), named.get("charset", "").strip('" ')
