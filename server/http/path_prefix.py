"""The path of the public base, behind a proxy that serves the installation below a path of its own.

Such a proxy either takes its prefix off before it passes a request on, or leaves it on. Everything within
sees paths without it: of each path there is one spelling, on which a check of access and the router agree.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """Pure ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        """`prefix`: the path of the public base, without a final slash; "" when it has none."""
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as if there were no prefix."""
        prefix = scope.get("root_path") or self._prefix
        if prefix and scope["type"] in ("http", "websocket"):
            path = without_prefix(scope["path"], prefix)
            scope = {**scope, "path": path, "root_path": _root_path(path, prefix)}
        await self._app(scope, receive, send)


def without_prefix(path: str, prefix: str) -> str:
    """A path as it is without the prefix; as it is when the proxy has taken that off."""
    if path == prefix:
        return "/"
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _root_path(path: str, prefix: str) -> str:
    """What links of pages get before them; "" where a router would take it off a path that has it too."""
    return "" if path.startswith(prefix) else prefix
