"""A PNG image to native pixels: the task `read_png` of the child process (PS3.18 8.7.3.3, ISO/IEC 15948)."""

import io
from typing import Any

from PIL import Image, UnidentifiedImageError

from dicomweb.pixels.faults import PixelsUnreadable

Json = Any
MAX_PNG_PIXELS = 32 << 20  # 96 MiB in colour; more than a scanned page has
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WIDTH, _HEIGHT, _DEPTH_AT, _COLOUR_AT = slice(16, 20), slice(20, 24), 24, 25  # of the IHDR chunk
_GREY = 0
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "LA": "L", "I;16": "I;16"}


def read_png(_header: dict[str, Json], body: bytes) -> tuple[dict[str, Json], bytes]:
    """Rows, columns, samples and bits of the image, and its samples, pixel by pixel, little endian.

    Raises:
        PixelsUnreadable: no PNG, too large, transparent, or of colours of 16 bits.
    """
    if not body.startswith(_SIGNATURE) or len(body) <= _COLOUR_AT:
        raise PixelsUnreadable("The part is no PNG image.")
    if body[_DEPTH_AT] == 16 and body[_COLOUR_AT] != _GREY:
        raise PixelsUnreadable("PNG images in colours of 16 bits are not taken.")
    if int.from_bytes(body[_WIDTH]) * int.from_bytes(body[_HEIGHT]) > MAX_PNG_PIXELS:
        raise PixelsUnreadable("The PNG image is larger than this server takes.")
    try:
        with Image.open(io.BytesIO(body), formats=("PNG",)) as image:
            return _described(image), _samples(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PixelsUnreadable("The PNG image cannot be read.") from error


def _described(image: Image.Image) -> dict[str, Json]:
    mode = _MODES.get(image.mode)
    if mode is None:
        raise PixelsUnreadable("The PNG image is of a kind that is not taken.")
    return {
        "rows": image.height,
        "columns": image.width,
        "samples": 3 if mode == "RGB" else 1,
        "bits": 16 if mode == "I;16" else 8,
    }


def _samples(image: Image.Image) -> bytes:
    mode = _MODES[image.mode]
    if "transparency" in image.info or image.mode in ("LA", "RGBA"):
        opaque = image.convert("RGBA").getchannel("A").getextrema()
        if opaque != (255, 255):
            raise PixelsUnreadable("Transparent PNG images are not taken.")
    return (image if image.mode == mode else image.convert(mode)).tobytes()
