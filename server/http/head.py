"""HEAD is GET without the body (RFC 9110 §9.3.2), for every route that answers GET.

A handler may ask `is_head` and spare itself the reading of a body that nobody gets.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.kernel.request import HEAD_KEY


class HeadAsGet:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; of the answer to a HEAD only the head leaves."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET", HEAD_KEY: True}, receive, send_head)
