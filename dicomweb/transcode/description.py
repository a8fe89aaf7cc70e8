"""What transcoding needs to know of an instance, from its DICOM JSON (PS3.3 C.7.6.1, C.7.6.3)."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb.metadata import parse_metadata
from dicomweb.pixels.format import PixelFormat, pixel_format
from dicomweb.pixels.syntaxes import BYTES, EXPLICIT_FILES, can_encode
from dicomweb.retrieve.locate import Located, read_packed_metadata
from dicomweb.wire.dictionary import key_of
from server.kernel.database import Database

Json = Any

MAX_DESCRIPTIONS = 4096  # kept by one process; each is some hundred bytes
PIXEL_DATA = key_of("PixelData")
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


@dataclass(frozen=True, slots=True)
class Description:
    """The pixels of an instance, and what is said of their history."""

    pixels: PixelFormat
    pixel_vr: bytes
    image_type: tuple[str, ...]
    lossy: str  # Lossy Image Compression: "00", "01", or "" where it is not said
    lossy_ratios: tuple[str, ...]
    lossy_methods: tuple[str, ...]
    has_overlay_in_pixels: bool  # in bits beside the stored ones (retired): no coding but bytes keeps them

    def fits(self, transfer_syntax: str) -> bool:
        """Whether the pixels can be put into a transfer syntax."""
        keeps_all_bits = transfer_syntax in EXPLICIT_FILES | BYTES
        return can_encode(transfer_syntax, self.pixels) and (keeps_all_bits or not self.has_overlay_in_pixels)


def describe(dicom_json: Mapping[str, Json]) -> Description:
    """The description of an instance.

    Raises:
        PixelsUnreadable: its pixel attributes are absent or impossible.
    """
    pixels = pixel_format(dicom_json)
    vrs = [dicom_json[key]["vr"] for key in _PIXEL_KEYS if key in dicom_json]
    return Description(
        pixels=pixels,
        pixel_vr=str(vrs[0] if vrs else "OW").encode("ascii"),
        image_type=_texts(dicom_json, "ImageType"),
        lossy="".join(_texts(dicom_json, "LossyImageCompression")[:1]),
        lossy_ratios=_texts(dicom_json, "LossyImageCompressionRatio"),
        lossy_methods=_texts(dicom_json, "LossyImageCompressionMethod"),
        has_overlay_in_pixels=any(_is_in_pixels(dicom_json, group) for group in _OVERLAY_GROUPS),
    )


_PIXEL_KEYS = (PIXEL_DATA, key_of("FloatPixelData"), key_of("DoubleFloatPixelData"))


def _texts(dicom_json: Mapping[str, Json], keyword: str) -> tuple[str, ...]:
    values = dicom_json.get(key_of(keyword), {}).get("Value", ())
    return tuple("" if value is None else str(value) for value in values)


def _is_in_pixels(dicom_json: Mapping[str, Json], group: int) -> bool:
    """An overlay without data of its own (PS3.3 C.9.2)."""
    return f"{group:04X}0102" in dicom_json and f"{group:04X}3000" not in dicom_json


class Descriptions:
    """Descriptions by the digest of the file, so that a frame does not read the metadata each time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Description] = OrderedDict()

    async def of(self, database: Database, located: Located) -> Description:
        """The description of an instance; raises as `describe`."""
        found = self._kept.get(located.file_sha256)
        if found is None:
            packed = (await read_packed_metadata(database, [located.key]))[located.key]
            found = describe(await parse_metadata(packed))
            self._kept[located.file_sha256] = found
            if len(self._kept) > MAX_DESCRIPTIONS:
                self._kept.popitem(last=False)
        return found
