"""The identifier of the request being served, for logs and audit."""

from contextvars import ContextVar

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """The identifier of the request being served; None outside a request."""
    return _request_id.get()


def set_request_id(request_id: str | None) -> None:
    """Name the request that the current task serves."""
    _request_id.set(request_id)
