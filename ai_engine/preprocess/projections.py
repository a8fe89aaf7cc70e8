"""Radiographs (DX, CR, MG) chosen from a study and made ready (PS3.3 A.26, C.8.11, C.11.2; CID 4014, 4015).

Of each view the best image is taken; spot compressions, magnifications and views with displaced implants are
no views of the whole. The pixels are as they are meant to be shown, with white for what absorbs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from ai_engine.preprocess.decoding import SHOWN, Decoding
from ai_engine.preprocess.frames import SourceImage
from ai_engine.preprocess.plane import count_of, numbers_of, order_number
from ai_engine.preprocess.presented import presented
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused, require_voxels
from ai_engine.preprocess.stack import LeftOut
from ai_engine.projection import MAMMOGRAPHY_VIEWS, ProjectionImage
from ai_engine.wants import Wants

MOST_IMAGES = 32  # of one run; a screening study has four
OF_THE_WHOLE = frozenset({codes.cid4015.NippleInProfile.value, codes.cid4015.InfraMammaryFold.value})
LARGEST_MAGNIFICATION = 1.4  # of a view that is none of a part; contact views have about 1.1


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    image: SourceImage
    view: str
    laterality: str

    @property
    def name(self) -> str:
        return "-".join(part for part in (self.laterality, self.view) if part)

    @property
    def rank(self) -> tuple[bool, bool, int, float, str]:
        """Which of several images of a view is taken, smallest first: the whole, acquired, largest, last."""
        header = self.image.header
        return (
            str(header.get("PartialView") or "NO") == "YES",
            "ORIGINAL" not in str(header.get("ImageType") or ""),
            -count_of(header, "Rows") * count_of(header, "Columns"),
            -number if isfinite(number := order_number(header, "InstanceNumber")) else 0.0,
            str(header.get("SOPInstanceUID") or ""),
        )


def choose_views(images: Sequence[SourceImage], wants: Wants) -> tuple[list[SourceImage], list[LeftOut]]:
    """The images that the model gets, in the order of `wants.views`, and what is left out.

    Raises:
        SeriesRefused: views that the model needs are not there, or there are too many images.
    """
    candidates = [_Candidate(each, view_of(each.header), laterality_of(each.header)) for each in images]
    if not wants.views:
        chosen = sorted(candidates, key=lambda each: (each.name, each.rank))
    else:
        ranked = sorted(candidates, key=lambda each: each.rank, reverse=True)
        best = {each.name: each for each in ranked if shows_the_whole(each.image.header)}
        chosen = [best[name] for name in wants.views if name in best]
    _check_count(chosen, wants)
    others = [_left_out(each, wants) for each in candidates if each not in chosen]
    return [each.image for each in chosen], others


def _check_count(chosen: Sequence[_Candidate], wants: Wants) -> None:
    if len(chosen) < wants.minimum_slices:
        absent = sorted(set(wants.views) - {each.name for each in chosen})
        views = f"; there is no {', '.join(absent)}" if absent else ""
        raise SeriesRefused(
            RefusalReason.MISSING_VIEWS,
            f"the study has {len(chosen)} usable image(s); the model needs at least "
            f"{wants.minimum_slices}{views}",
        )
    if len(chosen) > MOST_IMAGES:
        raise SeriesRefused(
            RefusalReason.LIMIT_EXCEEDED, f"the study has {len(chosen)} images; a model takes {MOST_IMAGES}"
        )


def view_of(header: Dataset) -> str:
    """The view, from View Code Sequence for mammography, else View Position; "": not stated or not known."""
    items = header.get("ViewCodeSequence") or ()
    for item in items:
        if name := MAMMOGRAPHY_VIEWS.get(str(item.get("CodeValue") or "")):
            return name
    return str(header.get("ViewPosition") or "").strip().upper()


def laterality_of(header: Dataset) -> str:
    """The side: Image Laterality, Laterality or that of a frame; "": not stated."""
    for keyword in ("ImageLaterality", "FrameLaterality", "Laterality"):
        if side := str(header.get(keyword) or "").strip().upper():
            return side
    return ""


def shows_the_whole(header: Dataset) -> bool:
    """Whether an image is a view of the whole breast or body part, by its modifiers and magnification."""
    modifiers = {
        str(modifier.get("CodeValue") or "")
        for view in header.get("ViewCodeSequence") or ()
        for modifier in view.get("ViewModifierCodeSequence") or ()
    }
    magnification = header.get("EstimatedRadiographicMagnificationFactor")
    return modifiers <= OF_THE_WHOLE and (
        magnification in (None, "") or float(magnification) <= LARGEST_MAGNIFICATION
    )


def spacing_mm_of(header: Dataset) -> tuple[float, float] | None:
    """The distance between rows and columns at the patient (PS3.3 10.7.1.3); None: not stated.

    Pixel Spacing is taken where it was corrected or calibrated: where it differs from that of the detector.
    """
    pixel, imager = _spacing(header, "PixelSpacing"), _spacing(header, "ImagerPixelSpacing")
    if pixel and pixel != imager:
        return pixel
    if not imager:
        return None
    factor = header.get("EstimatedRadiographicMagnificationFactor")
    magnification = float(factor) if factor not in (None, "") and float(factor) >= 1 else 1.0
    return imager[0] / magnification, imager[1] / magnification


def _spacing(header: Dataset, keyword: str) -> tuple[float, float] | None:
    """A spacing of rows and columns; None: not stated, or zero, as some readers of plates write."""
    if header.get(keyword) in (None, "", []):
        return None
    row, column = numbers_of(header, keyword, 2)
    return (row, column) if min(row, column) > 0 else None


def read_projections(
    images: Sequence[SourceImage], decoding: Decoding
) -> tuple[NDArray[np.float32], tuple[ProjectionImage, ...]]:
    """The images decoded into one array (image, row, column), each in its corner, and each by itself."""
    headers = [each.header for each in images]
    rows, columns = (max(count_of(header, name) for header in headers) for name in ("Rows", "Columns"))
    require_voxels(len(images) * rows * columns)
    stack = np.zeros((len(images), rows, columns), np.float32)

    def fill(at: int) -> None:
        pixels = presented(headers[at], decoding.stored(images[at], SHOWN))
        stack[at, : pixels.shape[0], : pixels.shape[1]] = pixels

    decoding.each(fill, len(images))
    return stack, tuple(_projection(header, stack[at]) for at, header in enumerate(headers))


def _projection(header: Dataset, pixels: NDArray[np.float32]) -> ProjectionImage:
    return ProjectionImage(
        pixels[: count_of(header, "Rows"), : count_of(header, "Columns")],
        spacing_mm_of(header),
        view_of(header),
        laterality_of(header),
        str(header.get("SOPInstanceUID") or ""),
    )


def _left_out(candidate: _Candidate, wants: Wants) -> LeftOut:
    header = candidate.image.header
    if not shows_the_whole(header):
        reason = "a view of a part or with a displaced implant"
    elif candidate.name in wants.views:
        reason = "of a view of which another image is taken"
    else:
        reason = "of a view that the model does not read"
    return LeftOut(str(header.get("SOPInstanceUID") or ""), reason, candidate.image.frame_number)
