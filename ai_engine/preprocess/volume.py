"""The instances of one series as one volume, or a refusal that says why (PS3.3 A.3, C.7.6.2)."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from ai_engine.geometry import Geometry
from ai_engine.preprocess.decoding import BY_PYDICOM, Decoding
from ai_engine.preprocess.encoded import UNREADABLE
from ai_engine.preprocess.frames import SourceImage, images_of
from ai_engine.preprocess.plane import Plane, numbers_of, read_plane
from ai_engine.preprocess.projections import choose_views, read_projections
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused, require_voxels
from ai_engine.preprocess.separate import one_volume
from ai_engine.preprocess.stack import LeftOut, Stack, arrange
from ai_engine.preprocess.values import decode_stack, is_ct
from ai_engine.projection import ProjectionImage
from ai_engine.slice_names import slice_names
from ai_engine.wants import Units, Wants

OF_ONE_SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "Modality")


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One series as a volume.

    `voxels` has axes (slice, row, column) in `geometry`'s order: int16 if in Hounsfield units, else float32.
    `slices[i]` is the header of the source image of `voxels[i]`, in the words of a single-frame image, and
    `frame_numbers[i]` which frame (from 1) of its instance that is; None: it is a single-frame instance.
    `left_out` names the images of the series that are no part of it.
    """

    voxels: NDArray[np.generic]
    geometry: Geometry
    slices: tuple[Dataset, ...]
    frame_numbers: tuple[int | None, ...]
    left_out: tuple[LeftOut, ...]
    slice_thickness_mm: float | None  # the largest stated; None: no slice states one
    images: tuple[ProjectionImage, ...] = ()  # of radiographs: each by itself, without what fills its row

    @property
    def sop_instance_uids(self) -> tuple[str, ...]:
        """The SOP Instance UID of each slice along axis 0; frames of one instance share theirs."""
        return tuple(str(dataset.SOPInstanceUID) for dataset in self.slices)

    @property
    def slice_names(self) -> tuple[str, ...]:
        """What to call each slice in words."""
        return slice_names(self.slices, self.frame_numbers)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the results should know about the input, in sentences."""
        count_of_reason = Counter(each.reason for each in self.left_out)
        return tuple(
            f"Left out of the analysis: {count} image(s), {reason}."
            for reason, count in sorted(count_of_reason.items())
        )


def build_volume(datasets: Sequence[Dataset], wants: Wants, decoding: Decoding = BY_PYDICOM) -> Volume:
    """The volume that the instances of one series form; or radiographs, where the model wants these.

    Radiographs are float32, axes (image, row, column), each filled up with 0 to the size of the largest, and
    have no place in the patient: their geometry is that of the array.

    Args:
        datasets: instances with Pixel Data and file meta information, in any order.
        wants: which of them may take part, in which units, and the limits on the whole.
        decoding: how compressed images are decoded, and how many side by side.

    Raises:
        SeriesRefused: the series is no volume, or not one that is wanted; the text names the attribute.
    """
    try:
        return _built(datasets, wants, decoding)
    except UNREADABLE as error:  # of a sloppy header; another attempt finds it again
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE, f"an attribute cannot be read ({type(error).__name__})"
        ) from error


def _built(datasets: Sequence[Dataset], wants: Wants, decoding: Decoding) -> Volume:
    images, left_out = select_images(datasets, wants)
    if wants.input == "projections":
        return _of_projections(images, left_out, wants, decoding)
    check_alike([image.header for image in images])
    if len(images) < wants.minimum_slices:
        raise _too_few(len(images), wants)
    planes, others = one_volume([read_plane(image) for image in images], wants)
    stack = arrange(planes)
    if len(stack.planes) < wants.minimum_slices:
        raise _too_few(len(stack.planes), wants)
    thickness = slice_thickness_mm(stack.planes)
    check_limits(stack, thickness, wants)
    return Volume(
        voxels=decode_stack(stack.planes, units_of(stack.planes[0].dataset, wants), decoding),
        geometry=stack.geometry,
        slices=tuple(plane.dataset for plane in stack.planes),
        frame_numbers=tuple(plane.image.frame_number for plane in stack.planes),
        left_out=(*left_out, *others, *stack.left_out),
        slice_thickness_mm=thickness,
    )


def _of_projections(
    images: Sequence[SourceImage], left_out: Sequence[LeftOut], wants: Wants, decoding: Decoding
) -> Volume:
    check_alike([image.header for image in images], ("StudyInstanceUID",))
    chosen, others = choose_views(images, wants)
    pixels, pictures = read_projections(chosen, decoding)
    count, rows, columns = pixels.shape
    return Volume(
        voxels=pixels,
        geometry=Geometry((count, rows, columns), np.eye(4), ""),
        slices=tuple(image.header for image in chosen),
        frame_numbers=tuple(image.frame_number for image in chosen),
        left_out=(*left_out, *others),
        slice_thickness_mm=None,
        images=pictures,
    )


def select_images(datasets: Sequence[Dataset], wants: Wants) -> tuple[list[SourceImage], list[LeftOut]]:
    """The images that may form the volume, and those that may not by their kind."""
    if not datasets:
        raise SeriesRefused(RefusalReason.NO_IMAGES, "the series has no instances")
    wanted_classes = wants.sop_class_uids()
    images: list[SourceImage] = []
    left_out: list[LeftOut] = []
    for dataset in datasets:
        uid = str(dataset.get("SOPInstanceUID") or "")
        if wanted_classes and str(dataset.get("SOPClassUID") or "") not in wanted_classes:
            left_out.append(LeftOut(uid, "not of a SOP Class that the model reads"))
            continue
        for image in images_of(dataset):
            if reason := unwanted(image.header, wants):
                left_out.append(LeftOut(uid, reason, image.frame_number))
            else:
                images.append(image)
    if not images:
        reasons = "; ".join(sorted({each.reason for each in left_out}))
        raise SeriesRefused(RefusalReason.NOT_WANTED, f"no image of the series can be used: {reasons}")
    return images, left_out


def unwanted(header: Dataset, wants: Wants) -> str | None:
    """Why the model does not take an image with these attributes; None: it does."""
    if not wants.accepts_image_type(_values(header, "ImageType")):
        return "of an excluded Image Type such as a localizer"
    unmet = wants.unmet({keyword: _values(header, keyword) for keyword in wants.asked})
    return None if unmet is None else unmet.removeprefix("is ")


def units_of(header: Dataset, wants: Wants) -> Units:
    """The unit of the voxels: as the model wants; else Hounsfield units for CT, rescaled for others."""
    if wants.units is not None:
        return wants.units
    known = is_ct(header)
    return "hounsfield" if (set(wants.modalities) == {"CT"} if known is None else known) else "rescaled"


def check_alike(images: Sequence[Dataset], keywords: Sequence[str] = OF_ONE_SERIES) -> None:
    """Refuse images that differ in one of these attributes: by default, those of more than one series."""
    for keyword in keywords:
        if len({str(dataset.get(keyword) or "") for dataset in images}) > 1:
            raise SeriesRefused(RefusalReason.MIXED_SERIES, f"{keyword} differs between slices")


def check_limits(stack: Stack, thickness_mm: float | None, wants: Wants) -> None:
    """Refuse a stack outside the limits of `wants`."""
    require_voxels(math.prod(stack.geometry.shape))
    slice_spacing, row_spacing, column_spacing = stack.geometry.spacing_mm
    at_most = (
        ("the distance between slices", slice_spacing, wants.maximum_slice_spacing_mm),
        ("SliceThickness", thickness_mm, wants.maximum_slice_thickness_mm),
        ("PixelSpacing", max(row_spacing, column_spacing), wants.maximum_pixel_spacing_mm),
    )
    for name, value, limit in at_most:
        if value is not None and limit is not None and value > limit:
            raise SeriesRefused(
                RefusalReason.LIMIT_EXCEEDED, f"{name} is {value:g} mm; the model takes up to {limit:g} mm"
            )
    tilt, steepest = stack.geometry.tilt_degrees, wants.maximum_tilt_degrees
    if steepest is not None and tilt > steepest:
        raise SeriesRefused(
            RefusalReason.LIMIT_EXCEEDED,
            f"the gantry was tilted by {tilt:.3g} degrees; the model takes up to {steepest:g}",
        )
    extent = slice_spacing * len(stack.planes)
    if wants.minimum_extent_mm is not None and extent < wants.minimum_extent_mm:
        raise SeriesRefused(
            RefusalReason.LIMIT_EXCEEDED,
            f"the slices cover {extent:g} mm; the model needs at least {wants.minimum_extent_mm:g} mm",
        )


def slice_thickness_mm(planes: Sequence[Plane]) -> float | None:
    """The largest Slice Thickness that a slice states, or None."""
    stated = [
        numbers_of(plane.dataset, "SliceThickness", 1)[0]
        for plane in planes
        if plane.dataset.get("SliceThickness") not in (None, "")
    ]
    return max(stated, default=None)


def _values(dataset: Dataset, keyword: str) -> tuple[str | float, ...]:
    """The values of an attribute, numbers as numbers; () when it states none."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str | int | float) else value
    return tuple(float(each) if isinstance(each, int | float) else str(each) for each in values)


def _too_few(count: int, wants: Wants) -> SeriesRefused:
    return SeriesRefused(
        RefusalReason.TOO_FEW_SLICES,
        f"the series has {count} usable slice(s); the model needs at least {wants.minimum_slices}",
    )
