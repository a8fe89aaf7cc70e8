"""Parameters of the pages and of the authorization endpoint, bounded (RFC 6749 Appendix B)."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request

from server.auth.authorize.asked import NotAnswerable
from server.kernel.faults import TooLarge

MAX_FORM_BYTES = 64 << 10
MAX_FIELDS = 100

Fields = Mapping[str, Sequence[str]]


async def read_fields(request: Request) -> Fields:
    """The parameters of a request, each as often as it came.

    Raises:
        NotAnswerable: they cannot be read, or are too many.
        TooLarge: the form is.
    """
    encoded = request.scope["query_string"] if request.method == "GET" else await _body(request)
    try:
        text = encoded.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise NotAnswerable("The request cannot be read.") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLarge(f"A form may have {MAX_FORM_BYTES} bytes.")
    return bytes(body)


def one(fields: Fields, name: str) -> str:
    """A field that came once; "" where it did not."""
    values = fields.get(name, ())
    return values[0] if len(values) == 1 else ""
