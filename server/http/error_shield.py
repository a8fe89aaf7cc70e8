"""The outermost net: what nobody expected becomes a 500 with a number, and a log entry under that number.

The client learns the number only. A fault that no handler took is answered as what it is.
"""

import uuid

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.problem import Answer
from server.http.route_template import route_template
from server.kernel.faults import Fault, FaultKind

_log = structlog.get_logger("isthmus.errors")


class InternalError(Fault):
    """A defect of ours; the message holds the number under which the log knows it."""

    kind = FaultKind.INTERNAL


class ErrorShield:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; nothing but an answer comes out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return  # nobody is there to be answered; the access log has it as 499
        except Exception as error:  # the outermost layer
            fault = error if isinstance(error, Fault) else report(scope, error)
            if started:
                raise ResponseCut from error  # too late for an answer: the server must break the connection
            await self._answer(scope, fault)(scope, receive, send)


class ResponseCut(Exception):
    """The answer had begun when something failed; closing the connection is how the client learns of it."""


def report(scope: Scope, error: Exception) -> InternalError:
    """Log an unexpected error; returns the fault that names its number."""
    error_id = uuid.uuid4().hex[:12]
    _log.error("unexpected error", error_id=error_id, route=route_template(scope), exc_info=error)
    return InternalError(f"Internal error {error_id}; the server's log has it under this number.")
