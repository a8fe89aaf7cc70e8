"""Pictures as image/jpeg, image/png and image/gif (PS3.18 Table 8.7.4-1). Runs in the child process."""

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageCms

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.render.media import GIF, PNG
from dicomweb.render.values import Coding

PNG_LEVEL = 3  # of zlib: a CT is 1 % larger than at 6, in a third of the time
SUBSAMPLING = 0  # 4:4:4: thin coloured lines keep their colour


def encode(pictures: Sequence[Image.Image], coding: Coding) -> bytes:
    """One picture, or the animation of several.

    Raises:
        PixelsUnreadable: the colour profile of the object is none.
    """
    if not coding.wants_profile or coding.media_type == GIF:
        return _save(pictures, coding, None)
    image, profile = _with_profile(pictures[0], coding)
    return _save([image], coding, profile)


def _save(images: Sequence[Image.Image], coding: Coding, profile: bytes | None) -> bytes:
    target = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": profile} if profile else {}
    if coding.media_type == PNG:
        images[0].save(target, "PNG", compress_level=PNG_LEVEL, **options)
    elif coding.media_type == GIF:
        frames = [_indexed(each) for each in images]
        if len(frames) > 1:
            options = {"save_all": True, "append_images": frames[1:], "loop": 0}
            options |= {"duration": coding.frame_time_ms, "disposal": 1, "optimize": False}
        frames[0].save(target, "GIF", **options)
    else:
        quality = {"quality": coding.quality, "subsampling": SUBSAMPLING}
        images[0].save(target, "JPEG", **quality, **options)
    return target.getvalue()


def _indexed(image: Image.Image) -> Image.Image:
    """At most 256 colours, as GIF has them; gray stays as it is."""
    return image if image.mode == "L" else image.quantize(256, dither=Image.Dither.NONE)


def _with_profile(image: Image.Image, coding: Coding) -> tuple[Image.Image, bytes]:
    """The picture in RGB with the profile to embed: the object's own, else sRGB (PS3.18 §8.3.5.1.5)."""
    if image.mode == "L":
        return image.convert("RGB"), srgb_profile()
    if coding.icc_profile is None:
        return image, srgb_profile()
    if not coding.wants_srgb:
        return image, coding.icc_profile
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(coding.icc_profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError) as error:
        raise PixelsUnreadable("The ICC profile of the object cannot be read.") from error
    if converted is None:
        raise PixelsUnreadable("The ICC profile of the object is not one of RGB.")
    return converted, srgb_profile()


@cache
def srgb_profile() -> bytes:
    """The profile of sRGB (IEC 61966-2-1)."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
