"""What an instance's metadata says of how to render it (PS3.3 C.7.6.3, C.11.1, C.11.2, C.7.6.16.2). Pure.

Attributes of multi-frame functional groups stand before those of the data set, those of one frame before the
shared ones (PS3.3 C.7.6.16.1).
"""

import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from struct import pack
from typing import Any

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat
from dicomweb.render.values import Grayscale, LookupTable, Window, WindowFunction
from dicomweb.wire.dicom_json import items_of, text_of, values_of
from dicomweb.wire.dictionary import key_of

Json = Any
DicomJson = Mapping[str, Json]
BulkData = Callable[[str], bytes]  # the value of a bulk data URI, little endian

COLOURS = ("Red", "Green", "Blue")
FUNCTION_OF: Mapping[str, WindowFunction] = {
    "LINEAR": WindowFunction.LINEAR,
    "LINEAR_EXACT": WindowFunction.LINEAR_EXACT,
    "SIGMOID": WindowFunction.SIGMOID,
}
MAX_TABLES = 64  # of one sequence
DEFAULT_FRAME_TIME_MS = 100.0
FASTEST_FRAME_MS, SLOWEST_FRAME_MS = 20.0, 2000.0  # browsers show faster ones slowly


@dataclass(frozen=True, slots=True)
class Source:
    """One instance: its metadata, and how to get at values that stand outside of it."""

    dicom_json: DicomJson
    fmt: PixelFormat
    bulk: BulkData


def number(dicom_json: DicomJson, keyword: str, index: int = 0) -> float | None:
    """A value of a numeric attribute, also where it was kept as text; None: there is no finite one."""
    values = values_of(dicom_json, keyword)
    try:
        found = float(values[index])
    except (IndexError, TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def functional_group(dicom_json: DicomJson, keyword: str, frame: int) -> DicomJson | None:
    """The item of a functional group for a frame from 1; None: the object has none."""
    per_frame = items_of(dicom_json, "PerFrameFunctionalGroupsSequence")
    groups = per_frame[frame - 1 : frame] + items_of(dicom_json, "SharedFunctionalGroupsSequence")[:1]
    for group in groups:
        if items := items_of(group, keyword):
            return items[0]
    return None


def grayscale_of(source: Source, frame: int) -> Grayscale:
    """The transformations of one frame, from 1, as the instance itself states them."""
    rescale = functional_group(source.dicom_json, "PixelValueTransformationSequence", frame)
    voi = functional_group(source.dicom_json, "FrameVOILUTSequence", frame)
    slope, intercept, modality_lut = modality_of(rescale or source.dicom_json, source)
    window, voi_lut = voi_of(voi or source.dicom_json, source, is_signed=intercept < 0)
    return Grayscale(
        slope=slope,
        intercept=intercept,
        modality_lut=modality_lut,
        window=window,
        voi_lut=None if window else voi_lut,
        value_range=_segmentation_range(source),
        inverse=is_inverse(source.dicom_json, source.fmt.photometric_interpretation),
        padding=_padding(source),
    )


def modality_of(dicom_json: DicomJson, source: Source) -> tuple[float, float, LookupTable | None]:
    """Rescale Slope and Intercept, and the Modality LUT where there is one (PS3.3 C.11.1)."""
    if items := items_of(dicom_json, "ModalityLUTSequence"):
        return 1.0, 0.0, lookup_table(items[0], source)
    slope, intercept = number(dicom_json, "RescaleSlope"), number(dicom_json, "RescaleIntercept")
    return slope or 1.0, intercept or 0.0, None


def voi_of(
    dicom_json: DicomJson, source: Source, *, is_signed: bool = False
) -> tuple[Window | None, LookupTable | None]:
    """The first window and the first VOI LUT (PS3.3 C.11.2); one that cannot be meant is none.

    `is_signed`: the values may be negative though the stored ones are not, and so is the first one mapped.
    """
    center, width = number(dicom_json, "WindowCenter"), number(dicom_json, "WindowWidth")
    function = FUNCTION_OF.get(text_of(dicom_json, "VOILUTFunction"), WindowFunction.LINEAR)
    if function is WindowFunction.LINEAR and source.fmt.is_float:
        function = (
            WindowFunction.LINEAR_EXACT
        )  # LINEAR counts in whole numbers; who writes 0.5, 1 means 0 to 1
    smallest = 1.0 if function is WindowFunction.LINEAR else 0.0
    window = None
    if center is not None and width is not None and width >= smallest and width > 0:
        window = Window(center, width, function)
    items = items_of(dicom_json, "VOILUTSequence")
    table = lookup_table(items[0], source, is_signed=is_signed) if items and window is None else None
    return window, table


def is_inverse(dicom_json: DicomJson, photometric: str) -> bool:
    """Whether the smallest value is white (PS3.3 C.7.6.3.1.2, C.11.6.1.2); a shape that is there says it."""
    shape = text_of(dicom_json, "PresentationLUTShape")
    return shape == "INVERSE" if shape in ("INVERSE", "IDENTITY") else photometric == "MONOCHROME1"


def _segmentation_range(source: Source) -> tuple[float, float] | None:
    """A segmentation's frames are shown alike, whatever is in them (PS3.3 C.8.20.2)."""
    if source.fmt.bits_allocated == 1:
        return 0.0, 1.0
    if text_of(source.dicom_json, "SegmentationType") == "LABELMAP":
        segments = items_of(source.dicom_json, "SegmentSequence")
        return 0.0, max([number(each, "SegmentNumber") or 0.0 for each in segments], default=0.0) or 1.0
    largest = number(source.dicom_json, "MaximumFractionalValue")
    return (0.0, largest) if largest else None


def _padding(source: Source) -> tuple[float, float] | None:
    """Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2), signed as the pixels are."""
    if source.fmt.is_float:
        return _float_padding(source.dicom_json)
    first = number(source.dicom_json, "PixelPaddingValue")
    if first is None:
        return None
    limit = number(source.dicom_json, "PixelPaddingRangeLimit")
    ends = [_stored(int(each), source.fmt) for each in (first, first if limit is None else limit)]
    return min(ends), max(ends)


def _float_padding(dicom_json: DicomJson) -> tuple[float, float] | None:
    """Float and Double Float Pixel Padding Value and Range Limit (PS3.3 C.7.6.24, C.7.6.25)."""
    for kind in ("Float", "DoubleFloat"):
        first = number(dicom_json, f"{kind}PixelPaddingValue")
        if first is not None:
            limit = number(dicom_json, f"{kind}PixelPaddingRangeLimit")
            ends = (first, first if limit is None else limit)
            return min(ends), max(ends)
    return None


def _stored(value: int, fmt: PixelFormat) -> int:
    """A stored value read with the sign that the pixels have."""
    value &= (1 << fmt.bits_stored) - 1 if value >= 0 or not fmt.pixel_representation else -1
    if fmt.pixel_representation and value >= 1 << (fmt.bits_stored - 1):
        return value - (1 << fmt.bits_stored)
    return value


def lookup_table(item: DicomJson, source: Source, *, is_signed: bool = False) -> LookupTable:
    """The table of a LUT sequence's item (PS3.3 C.11.1.1).

    Raises:
        PixelsUnreadable: it has no descriptor of three numbers, or no data.
    """
    data = _words(item, "LUTData", source)
    found = _table(values_of(item, "LUTDescriptor"), data, source, is_segmented=False)
    return replace(found, first=found.first - 0x10000) if is_signed and found.first > 0x7FFF else found


def palette_of(source: Source) -> tuple[LookupTable, LookupTable, LookupTable] | None:
    """The three tables of PALETTE COLOR (PS3.3 C.7.9), plain or segmented; None: there are none."""
    if not values_of(source.dicom_json, "RedPaletteColorLookupTableDescriptor"):
        return None
    red, green, blue = (_colour_table(colour, source) for colour in COLOURS)
    return red, green, blue


def _colour_table(colour: str, source: Source) -> LookupTable:
    descriptor = values_of(source.dicom_json, f"{colour}PaletteColorLookupTableDescriptor")
    segmented = f"Segmented{colour}PaletteColorLookupTableData"
    is_segmented = key_of(segmented) in source.dicom_json
    name = segmented if is_segmented else f"{colour}PaletteColorLookupTableData"
    data = _words(source.dicom_json, name, source)
    return _table(descriptor, data, source, is_segmented=is_segmented)


def _table(descriptor: list[Json], data: bytes, source: Source, *, is_segmented: bool) -> LookupTable:
    try:
        entries, first, bits = (int(value) for value in descriptor)
    except (TypeError, ValueError) as error:
        raise PixelsUnreadable("A LUT Descriptor does not have three numbers.") from error
    entries = (entries & 0xFFFF) or 65536
    if not 1 <= bits <= 16 or not data:
        raise PixelsUnreadable("A lookup table has no entries, or of more bits than tables have.")
    if source.fmt.pixel_representation and first > 0x7FFF:
        first -= 0x10000
    return LookupTable(entries, first, bits, data, is_segmented)


def _words(dicom_json: DicomJson, keyword: str, source: Source) -> bytes:
    """The data of a table as little endian words, however DICOM JSON carries them (PS3.18 F.2.7)."""
    found = dicom_json.get(key_of(keyword), {})
    if "InlineBinary" in found:
        return b64decode(found["InlineBinary"])
    if "BulkDataURI" in found:
        return source.bulk(found["BulkDataURI"])
    values = [value & 0xFFFF for value in found.get("Value", ()) if isinstance(value, int)]
    return pack(f"<{len(values)}H", *values)


def bulk_uris(dicom_json: DicomJson, *, with_profile: bool) -> list[str]:
    """The bulk data that rendering needs: tables, and the colour profile where it is wanted."""
    items = [dicom_json]
    for item in items:  # what is found is looked through as well: a Softcopy VOI LUT holds VOI LUTs
        items += (each for keyword in _SEQUENCES for each in items_of(item, keyword)[:MAX_TABLES])
    keys = (*_TABLE_KEYS, key_of("ICCProfile")) if with_profile else _TABLE_KEYS
    found = (item.get(key, {}).get("BulkDataURI") for item in items for key in keys)
    return [uri for uri in found if uri]


_SEQUENCES = (
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SoftcopyVOILUTSequence",
    "PresentationLUTSequence",
    "OpticalPathSequence",
)
_TABLE_KEYS = (
    key_of("LUTData"),
    *(key_of(f"{colour}PaletteColorLookupTableData") for colour in COLOURS),
    *(key_of(f"Segmented{colour}PaletteColorLookupTableData") for colour in COLOURS),
)


def icc_profile_of(source: Source) -> bytes | None:
    """The ICC Profile of colour pixels (PS3.3 C.11.15), None: there is none."""
    for item in (source.dicom_json, *items_of(source.dicom_json, "OpticalPathSequence")[:1]):
        if key_of("ICCProfile") in item:
            return _words(item, "ICCProfile", source) or None
    return None


def aspect_of(dicom_json: DicomJson, frame: int) -> float:
    """How tall a pixel is in terms of its width (PS3.3 C.7.6.3.1.7, 10.7.1.3); 1 where nothing says."""
    measures = functional_group(dicom_json, "PixelMeasuresSequence", frame)
    for item, keyword in (
        (dicom_json, "PixelAspectRatio"),
        (measures or {}, "PixelSpacing"),
        (dicom_json, "PixelSpacing"),
        (dicom_json, "ImagerPixelSpacing"),
        (dicom_json, "NominalScannedPixelSpacing"),
    ):
        vertical, horizontal = number(item, keyword, 0), number(item, keyword, 1)
        if vertical and horizontal and vertical > 0 and horizontal > 0:
            return vertical / horizontal
    return 1.0


def frame_time_ms(dicom_json: DicomJson) -> int:
    """How long a frame of a cine is shown (PS3.3 C.7.6.5), within what players do."""
    rate = number(dicom_json, "RecommendedDisplayFrameRate") or number(dicom_json, "CineRate")
    time_ms = 1000 / rate if rate and rate > 0 else number(dicom_json, "FrameTime")
    return round(min(max(time_ms or DEFAULT_FRAME_TIME_MS, FASTEST_FRAME_MS), SLOWEST_FRAME_MS))
