"""PNG images to native pixels (ISO/IEC 15948; PS3.18 8.7.3.3)."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dicomweb.pixels import png
from dicomweb.pixels.faults import PixelsUnreadable

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
RGB = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
GREY_16 = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)


def saved(picture: Image.Image, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG", **options)
    return target.getvalue()


def told(samples: int, bits: int) -> dict[str, int]:
    return {"rows": 3, "columns": 4, "samples": samples, "bits": bits}


@pytest.mark.parametrize(
    ("body", "header", "pixels"),
    [
        (saved(Image.fromarray(GREY)), told(1, 8), GREY.tobytes()),
        (saved(Image.fromarray(RGB)), told(3, 8), RGB.tobytes()),
        (saved(Image.fromarray(GREY_16)), told(1, 16), GREY_16.astype("<u2").tobytes()),
        (saved(Image.fromarray(GREY > 5)), told(1, 8), ((GREY > 5) * 255).astype(np.uint8).tobytes()),
        (saved(Image.fromarray(RGB).convert("RGBA")), told(3, 8), RGB.tobytes()),
        (saved(Image.new("P", (4, 3))), told(3, 8), bytes(36)),
    ],
    ids=["grey", "RGB", "16 bits", "1 bit", "opaque", "palette"],
)
def test_what_is_read(body: bytes, header: dict[str, int], pixels: bytes) -> None:
    assert png.read_png({}, body) == (header, pixels)


COLOUR_16 = bytearray(saved(Image.fromarray(RGB)))
COLOUR_16[24] = 16


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xd8\xff",
        saved(Image.fromarray(RGB))[:48],
        saved(Image.fromarray(RGB).convert("RGBA").rotate(45)),
        saved(Image.new("P", (4, 3)), transparency=0),
        bytes(COLOUR_16),
    ],
    ids=["empty", "JPEG", "cut off", "transparent", "transparent palette", "16 bits in colour"],
)
def test_what_is_refused(body: bytes) -> None:
    with pytest.raises(PixelsUnreadable):
        png.read_png({}, body)


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MAX_PNG_PIXELS", 11)
    with pytest.raises(PixelsUnreadable):
        png.read_png({}, saved(Image.fromarray(GREY)))
