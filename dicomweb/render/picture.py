"""Gray or RGB pixels as a picture: region, size, shutter, graphics, text (PS3.4 N.2). In the child."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicomweb.render.values import Drawing, Placement, Recipe, Shutter

ROTATIONS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns the other way round
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
REDUCING_GAP = 2.0  # how much larger than the result the first, coarse step of shrinking leaves it
TEXT_HEIGHT = 1 / 40  # of the picture
MIN_TEXT_PIXELS, MAX_TEXT_PIXELS = 11, 32
MARGIN = 4
POINT_RADIUS = 3
_SCALARS = 2  # a colour pixel's array has one dimension more


def shut(pixels: NDArray[np.uint8], shutter: Shutter) -> NDArray[np.uint8]:
    """Cover what lies outside of any of the shutter's shapes (PS3.3 C.7.6.11.1)."""
    rows, columns = pixels.shape[:2]
    y, x = np.ogrid[:rows, :columns]
    shown = np.ones((rows, columns), bool)
    if shutter.rectangle is not None:
        left, top, right, bottom = shutter.rectangle
        shown &= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    if shutter.circle is not None:
        center_x, center_y, radius = shutter.circle
        shown &= (x - center_x) ** 2 + (y - center_y) ** 2 <= radius**2
    if shutter.polygon:
        mask = Image.new("L", (columns, rows), 0)
        ImageDraw.Draw(mask).polygon(shutter.polygon, fill=1)
        shown &= np.asarray(mask, bool)
    covered = pixels.copy()
    covered[~shown] = shutter.gray
    return covered


def compose(pixels: NDArray[np.uint8], recipe: Recipe) -> Image.Image:
    """The picture of a frame, mode L or RGB."""
    if recipe.shutter is not None:
        pixels = shut(pixels, recipe.shutter)
    image = arrange(pixels, recipe.placement)
    for drawing in recipe.drawings:
        _draw(image, drawing)
    _write(image, recipe.top_lines, recipe.bottom_lines)
    return image


def arrange(pixels: NDArray[np.uint8], placement: Placement) -> Image.Image:
    """Crop, turn, flip and scale, in this order."""
    left, top, right, bottom = placement.region
    image = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    if placement.rotation:
        image = image.transpose(ROTATIONS[placement.rotation])
    size = placement.width, placement.height
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
    if placement.flip_horizontally:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if placement.flip_vertically:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _font(image: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    height = min(max(int(image.height * TEXT_HEIGHT), MIN_TEXT_PIXELS), MAX_TEXT_PIXELS)
    return ImageFont.load_default(height)


def _ink(image: Image.Image, gray: int) -> int | tuple[int, int, int]:
    return gray if image.mode == "L" else (gray, gray, gray)


def _text(image: Image.Image, place: tuple[float, float], text: str, anchor: str) -> None:
    """White with a black border: to be read on any ground."""
    ImageDraw.Draw(image).text(
        place,
        text,
        fill=_ink(image, 255),
        font=_font(image),
        anchor=anchor,
        stroke_width=1,
        stroke_fill=_ink(image, 0),
    )


def _write(image: Image.Image, top: tuple[str, ...], bottom: tuple[str, ...]) -> None:
    """Burn lines in at the left (PS3.18 §8.3.5.1.1)."""
    if not top and not bottom:
        return
    step = int(_font(image).getbbox("Ag")[3]) + 2
    for number, line in enumerate(top):
        _text(image, (MARGIN, MARGIN + number * step), line, "la")
    for number, line in enumerate(reversed(bottom)):
        _text(image, (MARGIN, image.height - MARGIN - number * step), line, "ld")


def _draw(image: Image.Image, drawing: Drawing) -> None:
    """One graphic or text object (PS3.3 C.10.5.1)."""
    points = [(x * image.width, y * image.height) for x, y in drawing.points]
    canvas = ImageDraw.Draw(image)
    ink = _ink(image, 255)
    if drawing.kind == "TEXT":
        for number, line in enumerate(drawing.text.splitlines()):
            x, y = points[0]
            _text(image, (x, y + number * (int(_font(image).getbbox("Ag")[3]) + 2)), line, "la")
    elif drawing.kind == "POINT":
        for x, y in points:
            canvas.ellipse((x - POINT_RADIUS, y - POINT_RADIUS, x + POINT_RADIUS, y + POINT_RADIUS), ink)
    elif drawing.is_filled and len(points) > _SCALARS:
        canvas.polygon(points, fill=ink)
    elif len(points) > 1:
        canvas.line(points, fill=ink, width=max(1, image.height // 512))
