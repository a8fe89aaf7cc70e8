"""The configuration that OHIF reads before it starts, for a server at this place."""

import json
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

ROOT = "/ui/viewer/"
DICOMWEB = "/dicom-web"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",  # decoders are WebAssembly; segmentations use the library ndarray
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",  # OHIF's components write style elements
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "object-src 'self' blob:",  # a PDF, fetched before; its element has no address at first
        "frame-src blob:",  # the same, as a browser's own viewer shows it
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def viewer_root(public_base: str) -> str:
    """The viewer's path on its host, with a final slash."""
    return f"{urlsplit(public_base).path}{ROOT}"


def configuration(public_base: str, *, login: bool) -> str:
    """The script `app-config.js`; `login`: whether the server wants tokens."""
    prefix = urlsplit(public_base).path
    place = {
        "root": viewer_root(public_base),
        "dicomweb": f"{prefix}{DICOMWEB}",
        "public": f"{public_base}{DICOMWEB}",  # as answers name it
        "login": login,
    }
    return f"const place = {json.dumps(place)};\n{_script()}"


@cache
def _script() -> str:
    return Path(__file__).with_name("app-config.js").read_text()
