"""`/ui/viewer`: the page, its configuration, OHIF's files. Open to everyone: nothing stored is told there.

OHIF's own addresses (`/ui/viewer/viewer?StudyInstanceUIDs=…`) get the page, which knows what to do with them.
"""

import hashlib
import mimetypes
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from server.kernel.faults import NotFound
from server.viewer.configuration import CONTENT_SECURITY_POLICY, configuration, viewer_root
from server.viewer.installed import Installed, Shelf
from server.viewer.page import OWN, PAGE, front_page, missing_page

COMMON = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",  # with the opener policy: SharedArrayBuffer
    "Cross-Origin-Resource-Policy": "same-origin",
}
REVALIDATED = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"  # RFC 8246: the name changes with the content
_HASHED = re.compile(r"(?:^|\.)[0-9a-f]{16,64}\.(?:js|css|wasm|woff2)$")
MEDIA_TYPES = {  # by suffix, where the system's table may say otherwise or nothing
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class ViewerSite:
    """Where the viewer is, and what it is told of the server."""

    folder: Path
    public_base: str
    login: bool  # whether the server wants tokens


def build_router(site: ViewerSite) -> APIRouter:
    """The routes of the viewer."""
    router = APIRouter(tags=["pages"])
    shelf, root = Shelf(site.folder), viewer_root(site.public_base)
    own = configuration(site.public_base, login=site.login)

    def answer(request: Request, path: str) -> Response:
        installed = shelf.look()
        if installed is None:
            return Response(
                missing_page(), HTTPStatus.NOT_FOUND, COMMON | {"Cache-Control": "no-store"}, "text/html"
            )
        if path in installed.files:
            return _file(request, installed, path)
        if path == OWN:
            return _text(request, own, MEDIA_TYPES[".js"])
        if path == PAGE or "." not in path.rpartition("/")[2]:
            return _text(request, front_page(installed.entry, root), MEDIA_TYPES[".html"])
        raise NotFound("The viewer has no such file.")

    @router.get("/ui/viewer")
    async def viewer_without_slash(request: Request) -> Response:
        """The viewer's page."""
        return answer(request, PAGE)

    @router.get("/ui/viewer/{path:path}")
    async def viewer(request: Request, path: str) -> Response:
        """A file of the viewer; its page for every address of the application itself."""
        return answer(request, path)

    return router


def _text(request: Request, text: str, media_type: str) -> Response:
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = COMMON | {"Cache-Control": REVALIDATED, "ETag": tag}
    if _has(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def _file(request: Request, installed: Installed, path: str) -> Response:
    file = installed.files[path]
    is_packed = file.gzip_size is not None and _accepts_gzip(request)
    tag = f'"{file.sha256[:32]}{"-gz" if is_packed else ""}"'
    headers = {
        **COMMON,
        "Cache-Control": IMMUTABLE if _HASHED.search(path) else REVALIDATED,
        "ETag": tag,
        **({"Vary": "Accept-Encoding"} if file.gzip_size is not None else {}),
    }
    if _has(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    media_type = _media_type(path)
    return FileResponse(
        installed.folder / (f"{path}.gz" if is_packed else path), headers=headers, media_type=media_type
    )


def _media_type(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return MEDIA_TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _has(request: Request, tag: str) -> bool:
    """Whether the client has this already (RFC 9110 §13.1.2, weak comparison)."""
    told = request.headers.get("if-none-match", "")
    return told == "*" or tag in {each.strip().removeprefix("W/") for each in told.split(",")}


def _accepts_gzip(request: Request) -> bool:
    """Whether Accept-Encoding names gzip without refusing it (RFC 9110 §12.5.3)."""
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False
