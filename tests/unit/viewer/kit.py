"""A made-up viewer package, as npm would pack it."""

import base64
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from server.viewer.install import install
from server.viewer.release import Release

SCRIPT = "app.bundle.0123456789abcdef0123.js"
PAGE = f"""<!doctype html><html><head>
<script>window.PUBLIC_URL = '/';</script>
<script type="text/javascript" src="/app-config.js"></script>
<script type="module" src="/init-service-worker.js"></script>
<link href="https://fonts.example.org/css?family=Inter" rel="stylesheet">
<script defer="defer" src="/{SCRIPT}"></script>
<link href="/app.bundle.css" rel="stylesheet">
</head><body><div id="root"></div></body></html>"""
FILES: Mapping[str, bytes] = {
    "dist/index.html": PAGE.encode(),
    "dist/app-config.js": b"window.config = {};",
    "dist/init-service-worker.js": b"import 'https://cdn.example.org/workbox.js';",
    f"dist/{SCRIPT}": b'__webpack_require__.p = "/";' + b"console.log('viewer');" * 200,
    f"dist/{SCRIPT}.map": b"{}",
    "dist/app.bundle.css": b"@font-face{src:url(/a.woff2)}",
    "dist/codec.wasm": b"\x00asm" + bytes(5000),
    "dist/assets/favicon.ico": b"\x00\x00\x01\x00",
}


def entry(name: str, content: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


def packed(entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass(frozen=True)
class Package:
    """A tarball in a file, and the release whose digest it has."""

    path: Path
    release: Release


MakePackage = Callable[..., Package]


def no_progress(done: int, total: int | None) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Site:
    """A server, and the folder in which its viewer is looked for."""

    http: httpx.AsyncClient
    folder: Path
    make_package: MakePackage

    def install(self, package: Package | None = None) -> None:
        package = package or self.make_package()
        install(self.folder, package.release, str(package.path), no_progress)


def digest_of(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
