"""What another coding of the pixels changes in the attributes (PS3.3 C.7.6.1.1.5, C.7.6.3; PS3.5 §8.2).

The SOP Instance UID stays, also when something is lost: the answer is a representation of the resource whose
UID is asked for, made only for who names a lossy syntax, and it says itself that it is lossy
(docs/decisions/0018-pixel-codecs.md).
"""

from collections.abc import Iterator

from dicomweb.pixels.syntaxes import ALWAYS_LOSSY, ENCODABLE, LOSSY_METHOD
from dicomweb.transcode.description import Description
from dicomweb.wire.rewrite import Changes, element

IMAGE_TYPE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION = 0x00080008, 0x00280004, 0x00280006
LOSSY, LOSSY_RATIO, LOSSY_METHOD_USED = 0x00282110, 0x00282112, 0x00282114


def changes_of(
    description: Description, stored: str, target: str, colour: str, ratio: float | None
) -> Changes:
    """The changed attributes of an instance whose pixels were decoded to `colour` and coded as `target`.

    `ratio`: how many times shorter the coded pixels are; None: nothing was lost by it.
    """
    changes: dict[int, bytes | None] = {}
    if description.pixels.samples_per_pixel > 1:
        named = ENCODABLE[target].rgb_becomes if colour == "RGB" else colour
        changes[PHOTOMETRIC_INTERPRETATION] = element(
            PHOTOMETRIC_INTERPRETATION, b"CS", named.encode("ascii", "replace")
        )
        changes[PLANAR_CONFIGURATION] = element(PLANAR_CONFIGURATION, b"US", bytes(2))
    if ratio is not None:
        changes |= dict(_lossy(description, target, ratio))
    elif stored in ALWAYS_LOSSY and description.lossy != "01":
        changes[LOSSY] = element(LOSSY, b"CS", b"01")
    return changes


def _lossy(description: Description, target: str, ratio: float) -> Iterator[tuple[int, bytes]]:
    """What was lost before, and what now, in the order in which it happened (PS3.3 C.7.6.1.1.5)."""
    yield LOSSY, element(LOSSY, b"CS", b"01")
    ratios = [*description.lossy_ratios, f"{ratio:.4g}"]
    yield LOSSY_RATIO, element(LOSSY_RATIO, b"DS", "\\".join(ratios).encode("ascii", "replace"))
    methods = [*description.lossy_methods, LOSSY_METHOD[target]]
    yield LOSSY_METHOD_USED, element(LOSSY_METHOD_USED, b"CS", "\\".join(methods).encode("ascii", "replace"))
    if not description.image_type:  # it may be absent, but then have no single value (PS3.3 C.7.6.1.1.2)
        return
    image_type = ("DERIVED", *description.image_type[1:])
    yield IMAGE_TYPE, element(IMAGE_TYPE, b"CS", "\\".join(image_type).encode("ascii", "replace"))
