"""Facts of the request being served: identifier and address, for logs and audit; whether its body is sent."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

HEAD_KEY = "isthmus.head"  # in the ASGI scope of a HEAD that is served as GET


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request, as logs and audit name it."""

    id: str
    address: str | None = None  # the IP address it came from; None: its transport has none


_served: ContextVar[ServedRequest | None] = ContextVar("served", default=None)


def current_request() -> ServedRequest | None:
    """The request being served; None outside a request."""
    return _served.get()


def set_request(served: ServedRequest | None) -> None:
    """Name the request that the current task serves."""
    _served.set(served)


def current_request_id() -> str | None:
    """The identifier of the request being served; None outside a request."""
    served = _served.get()
    return None if served is None else served.id


def current_address() -> str | None:
    """Where the request being served came from; None: from nowhere that is known."""
    served = _served.get()
    return None if served is None else served.address


def is_head(scope: Mapping[str, Any]) -> bool:
    """Whether the answer's body will not be sent (RFC 9110 §9.3.2)."""
    return HEAD_KEY in scope
