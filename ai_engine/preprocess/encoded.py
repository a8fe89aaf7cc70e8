"""The encoded frames of a multi-frame instance, one by one (PS3.5 8, A.4)."""

import struct
from collections.abc import Sequence
from functools import cached_property

from pydicom import DataElement, Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused

IMAGE_PIXEL = (  # what decoding needs (PS3.3 C.7.6.3), and what tells padding
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
# What reading an attribute raises that is not what the standard says; struct.error is none of the others.
UNREADABLE = (
    *(ValueError, TypeError, AttributeError, NotImplementedError, LookupError),
    *(ArithmeticError, EOFError, struct.error),
)


class EncodedFrames:
    """The encoded frames of a multi-frame instance."""

    def __init__(self, instance: Dataset) -> None:
        self._instance = instance

    def image(self, number: int) -> Dataset:
        """What decoding one frame needs (counted from 1), as a single-frame image has it."""
        encoded = self._encoded
        if number > len(encoded):
            raise SeriesRefused(
                RefusalReason.PIXEL_DATA_UNREADABLE, "PixelData holds fewer frames than NumberOfFrames"
            )
        image = Dataset(dict(self._described))
        stream = encoded[number - 1]
        image.PixelData = encapsulate([stream]) if self._is_encapsulated else stream
        image["PixelData"].VR = "OB" if self._is_encapsulated else "OW"
        if meta := getattr(self._instance, "file_meta", None):
            image.file_meta = meta
        return image

    @cached_property
    def _described(self) -> dict[BaseTag, DataElement]:
        """The Image Pixel attributes, without the number of frames."""
        instance = self._instance
        return {
            instance[keyword].tag: instance[keyword]
            for keyword in IMAGE_PIXEL
            if instance.get(keyword) is not None
        }

    @property
    def _is_encapsulated(self) -> bool:
        return transfer_syntax_of(self._instance).is_encapsulated

    @cached_property
    def _encoded(self) -> Sequence[bytes]:
        """The bytes of each frame; fewer than there should be when Pixel Data is too short."""
        data = self._instance.get("PixelData")
        if not data:
            raise SeriesRefused(RefusalReason.MISSING_ATTRIBUTE, "PixelData is missing or empty")
        if self._is_encapsulated:
            return self._fragments(data)
        size = native_frame_bytes(self._instance)
        return [data[at : at + size] for at in range(0, len(data) - size + 1, size)]

    def _fragments(self, data: bytes) -> Sequence[bytes]:
        """Frames by the offset tables, or by the ends of the streams (PS3.5 A.4)."""
        tables = [self._instance.get(each) for each in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        try:
            return list(
                generate_frames(
                    data,
                    number_of_frames=int(self._instance.NumberOfFrames),
                    extended_offsets=(tables[0], tables[1]) if all(tables) else None,
                )
            )
        except UNREADABLE as error:
            raise SeriesRefused(
                RefusalReason.PIXEL_DATA_UNREADABLE, "PixelData cannot be parted into its frames"
            ) from error


def transfer_syntax_of(instance: Dataset) -> UID:
    """The transfer syntax of the file meta information; native little endian where there is none."""
    meta = getattr(instance, "file_meta", None)
    return (
        UID(str(meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian)) if meta else ExplicitVRLittleEndian
    )


def native_frame_bytes(instance: Dataset) -> int:
    """The length of one frame of uncompressed Pixel Data."""
    try:
        samples = int(instance.get("SamplesPerPixel") or 1)
        bits = int(instance.Rows) * int(instance.Columns) * samples * int(instance.BitsAllocated)
    except (TypeError, ValueError, AttributeError) as error:
        raise SeriesRefused(
            RefusalReason.MISSING_ATTRIBUTE, "Rows, Columns or BitsAllocated is missing or empty"
        ) from error
    if bits <= 0 or bits % 8:
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE, "BitsAllocated does not give frames of whole bytes"
        )
    return bits // 8
