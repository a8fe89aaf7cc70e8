"""Facts of the request being served: its identifier, for logs and audit; whether its body will be sent."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

HEAD_KEY = "isthmus.head"  # in the ASGI scope of a HEAD that is served as GET

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """The identifier of the request being served; None outside a request."""
    return _request_id.get()


def set_request_id(request_id: str | None) -> None:
    """Name the request that the current task serves."""
    _request_id.set(request_id)


def is_head(scope: Mapping[str, Any]) -> bool:
    """Whether the answer's body will not be sent (RFC 9110 §9.3.2)."""
    return HEAD_KEY in scope
