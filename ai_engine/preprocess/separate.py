"""One volume out of a series that holds several: echoes, b values, points in time, stacks, kernels, scouts.

Only what must be parted is: a series whose images lie each at a place of its own is one volume, whatever its
attributes say.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, isfinite

from ai_engine.preprocess.plane import Plane
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.stack import SAME_PLACE_MM, LeftOut, place, same_image
from ai_engine.wants import Wants

# What two images at one place may differ in, the first that tells them apart being taken
DISTINGUISHING = (
    *("TemporalPositionIdentifier", "EchoTime", "EchoNumbers", "InversionTime", "FlipAngle"),
    *("DiffusionBValue", "DiffusionGradientOrientation", "NominalCardiacTriggerDelayTime"),
    *("ComplexImageComponent", "ImageType", "ConvolutionKernel", "ContrastBolusAgent", "AcquisitionNumber"),
)
SCOUT_COSINE = 0.5  # |cosine| between normals below which an image lies across the others: 60 degrees
LISTED_VALUES = 5  # in the text of a refusal

_Key = tuple[str, ...]


def one_volume(planes: Sequence[Plane], wants: Wants) -> tuple[list[Plane], list[LeftOut]]:
    """The planes of the one volume that the model is to get, and what is left out.

    Raises:
        SeriesRefused: there are several that would do, and the model does not say which.
    """
    kept, left_out = _without_scouts(planes, wants.minimum_slices)
    while keywords := _parting(kept):
        volumes = _parted(kept, keywords)
        chosen = _chosen(volumes, keywords, wants)
        reason = f"of another volume of the series by {' and '.join(keywords)}"
        others = [plane for key, volume in volumes.items() if key != chosen for plane in volume]
        left_out += [_left_out(plane, reason) for plane in others]
        kept = volumes[chosen]
    return kept, left_out


def _parting(planes: Sequence[Plane]) -> _Key:
    """The attributes that part the planes next: stacks first; () for none.

    Neighbours at one place may differ in one attribute and hide that others at it differ in another; so what
    is left of a parting may have to be parted again.
    """
    stacks = {_value(plane, "StackID") for plane in planes}
    return ("StackID",) if len(stacks) > 1 else _telling_apart(planes)


def _without_scouts(planes: Sequence[Plane], minimum: int) -> tuple[list[Plane], list[LeftOut]]:
    """The planes without the few that lie across the many; all of them where that is not clear."""
    first = planes[0].normal
    groups: tuple[list[Plane], list[Plane]] = ([], [])
    for plane in planes:
        groups[abs(float(plane.normal @ first)) < SCOUT_COSINE].append(plane)
    few, many = sorted(groups, key=len)
    if len(few) >= minimum or len(many) < minimum:
        return list(planes), []
    return many, [_left_out(plane, "lying across the others, as a localizer does") for plane in few]


def _telling_apart(planes: Sequence[Plane]) -> _Key:
    """The attributes that part the planes so that no two different images lie at one place; () for none."""
    pairs = _conflicts(planes)
    keywords = []
    for keyword in (*DISTINGUISHING, "SOPInstanceUID"):
        left = [pair for pair in pairs if not _differ(pair, keyword)]
        if len(left) < len(pairs):
            keywords.append(keyword)
        pairs = left
    return () if pairs else tuple(keywords)


def _conflicts(planes: Sequence[Plane]) -> list[tuple[Plane, Plane]]:
    """Neighbours along the normal that are different images at one place."""
    normal = planes[0].normal
    ordered = sorted(planes, key=lambda plane: (place(plane, normal), plane.order))
    return [
        (one, other)
        for one, other in pairwise(ordered)
        if place(other, normal) - place(one, normal) <= SAME_PLACE_MM and not same_image(one, other)
    ]


def _differ(pair: tuple[Plane, Plane], keyword: str) -> bool:
    one, other = pair
    if keyword == "SOPInstanceUID" and (one.image.frame_number is None or other.image.frame_number is None):
        return False  # instances part frames; a slice sent twice with other pixels is a contradiction
    return _value(one, keyword) != _value(other, keyword)


def _value(plane: Plane, keyword: str) -> str:
    """The value as text; "" when it is not stated."""
    value = plane.dataset.get(keyword)
    if isinstance(value, int | float):
        return f"{value:.9g}"
    return "" if value is None else str(value)


def _parted(planes: Iterable[Plane], keywords: _Key) -> dict[_Key, list[Plane]]:
    volumes: dict[_Key, list[Plane]] = {}
    for plane in planes:
        volumes.setdefault(tuple(_value(plane, keyword) for keyword in keywords), []).append(plane)
    return volumes


def _chosen(volumes: dict[_Key, list[Plane]], keywords: _Key, wants: Wants) -> _Key:
    """The key of the only volume with enough slices; of the first of several, where the model says so."""
    enough = [key for key, volume in volumes.items() if len(volume) >= wants.minimum_slices]
    if len(enough) > 1 and wants.several_volumes == "refuse":
        raise SeriesRefused(
            RefusalReason.SEVERAL_VOLUMES,
            f"the series holds {len(enough)} volumes that differ in {' and '.join(keywords)}"
            f"{_listed(enough)}; the model does not say which it wants",
        )
    return min(enough, key=lambda key: [_natural(each) for each in key]) if enough else _largest(volumes)


def _listed(keys: Sequence[_Key]) -> str:
    """The values in brackets, where they are single numbers: text could tell of the patient."""
    numbers = sorted({_natural(key[0])[0] for key in keys})
    if len(keys[0]) > 1 or not all(map(isfinite, numbers)):
        return ""
    more = ", …" if len(numbers) > LISTED_VALUES else ""
    return f" ({', '.join(f'{number:g}' for number in numbers[:LISTED_VALUES])}{more})"


def _largest(volumes: dict[_Key, list[Plane]]) -> _Key:
    return max(volumes, key=lambda key: len(volumes[key]))


def _natural(value: str) -> tuple[float, str]:
    """The order of numbers for numbers, of text for text."""
    try:
        return float(value), ""
    except ValueError:
        return inf, value


def _left_out(plane: Plane, reason: str) -> LeftOut:
    return LeftOut(plane.sop_instance_uid, reason, plane.image.frame_number)
