"""Frames and bulk data of an instance as stored (PS3.18 10.4.1.1.5, 10.4.1.1.6, 8.7.3.3)."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import orjson

from dicomweb.retrieve.byte_range import cut
from dicomweb.retrieve.content import Body, read_ranges
from dicomweb.retrieve.inflated import InflatedFiles, SpooledFile
from dicomweb.retrieve.locate import InstanceDetail, Located
from dicomweb.retrieve.request import Archive, RetrieveRequest
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.file_meta import DEFLATED
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import Representation
from dicomweb.wire.pixel_data import PixelLayout, decode_layout
from server.kernel.faults import Fault, NotFound
from server.kernel.object_store import READ_CHUNK_BYTES, ObjectStore

MAX_FRAMES_LISTED = 10_000  # of one request
MAX_WHOLE_FRAME_BYTES = 16 << 20  # a longer frame is read and sent piece by piece
PIXEL_DATA = key_of("PixelData")
FRAMES_OF_VALUE = "/frames/"  # behind the path of a bulk value, as Content-Location names its frames
_FRAME_LIST = re.compile(r"[1-9][0-9]{0,8}(?:,[1-9][0-9]{0,8})*")


class InvalidFrameList(Fault):
    """The frame list of the resource path is not one (PS3.18 10.4.1.1.6)."""


def parse_frame_list(text: str) -> tuple[int, ...]:
    """Frame numbers from 1, in the order asked for.

    No number twice: so no answer is longer than the instance.

    Raises:
        InvalidFrameList: not a list of different positive integers, or a very long one.
    """
    if not _FRAME_LIST.fullmatch(text):
        raise InvalidFrameList("The frame list must be positive integers, separated by commas.")
    numbers = tuple(map(int, text.split(",")))
    if len(numbers) > MAX_FRAMES_LISTED:
        raise InvalidFrameList("The frame list is too long.")
    if len(set(numbers)) < len(numbers):
        raise InvalidFrameList("The frame list names a frame twice.")
    return numbers


def layout_of(detail: InstanceDetail) -> PixelLayout:
    """Where the frames lie.

    Raises:
        NotFound: the instance has no pixel data, or its frames cannot be told apart.
    """
    if detail.pixel_layout is None:
        raise NotFound("The instance has no frames.")
    layout = decode_layout(detail.pixel_layout)
    if not layout.frames_known:
        raise NotFound("The frames of the instance cannot be told apart.")
    return layout


def require_frames(layout: PixelLayout, numbers: Sequence[int]) -> None:
    """Check the numbers before anything is read.

    Raises:
        NotFound: the instance has no such frame.
    """
    if max(numbers) > layout.number_of_frames:
        raise NotFound(f"The instance has {layout.number_of_frames} frames only.")


def frame_heads(
    layout: PixelLayout, numbers: Sequence[int], representation: Representation
) -> list[PartHead]:
    """The part headers of these frames."""
    head = representation.content_type()
    return [PartHead(head, frame_length_of(layout, number)) for number in numbers]


def frame_length_of(layout: PixelLayout, number: int) -> int:
    """Bytes of one frame as it is answered when nothing is done to it."""
    if not layout.encapsulated:
        return layout.frame_length
    return sum(length for _, length in layout.frame_ranges(number))


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads ranges of an instance's file, inflated when it is a deflated one."""

    objects: ObjectStore
    located: Located
    inflated: SpooledFile | None = None

    async def read(self, ranges: Sequence[tuple[int, int]]) -> bytes:
        """The bytes of (offset, length) ranges, joined."""
        if self.inflated is not None:
            return await asyncio.to_thread(self.inflated.read, ranges)
        stored = [self.located.stored.part(offset, length) for offset, length in ranges]
        return await read_ranges(self.objects, stored)

    async def content(self, ranges: Sequence[tuple[int, int]]) -> Body:
        """The same, piece by piece when it is long."""
        if sum(length for _, length in ranges) > READ_CHUNK_BYTES:
            return self._pieces(ranges)
        return await self.read(ranges)

    async def _pieces(self, ranges: Sequence[tuple[int, int]]) -> AsyncIterator[bytes]:
        for start, length in ranges:
            for at in range(0, length, READ_CHUNK_BYTES):
                yield await self.read([(start + at, min(READ_CHUNK_BYTES, length - at))])


async def open_file(objects: ObjectStore, inflated: InflatedFiles, located: Located) -> FileReader:
    """A reader in which the offsets of the layout and of the bulk values count."""
    if located.transfer_syntax_uid not in DEFLATED:
        return FileReader(objects, located)
    return FileReader(objects, located, await inflated.open(located))


async def archive_reader(archive: Archive, request: RetrieveRequest, located: Located) -> FileReader:
    """The same; for HEAD, which reads nothing, no file is inflated."""
    objects = archive.services.objects
    if request.is_head:
        return FileReader(objects, located)
    return await open_file(objects, archive.inflated, located)


async def frame_content(reader: FileReader, layout: PixelLayout, number: int) -> Body:
    """One frame as stored, native one-bit frames from bit 0; a long one piece by piece."""
    if frame_length_of(layout, number) > MAX_WHOLE_FRAME_BYTES:
        if layout.is_byte_aligned:
            return await reader.content(layout.frame_ranges(number))
        return _shifted_pieces(reader, layout, number)
    return layout.align_frame(number, await reader.read(layout.frame_ranges(number)))


def has_parts(layout: PixelLayout, number: int) -> bool:
    """Whether `frame_part` can be asked: not of a long frame whose bits must be moved."""
    return layout.is_byte_aligned or frame_length_of(layout, number) <= MAX_WHOLE_FRAME_BYTES


async def frame_part(reader: FileReader, layout: PixelLayout, number: int, start: int, count: int) -> Body:
    """`count` bytes from `start` of one frame."""
    ranges = layout.frame_ranges(number)
    if layout.is_byte_aligned:
        return await reader.content(cut(ranges, start, count))
    return layout.align_frame(number, await reader.read(ranges))[start : start + count]


async def _shifted_pieces(reader: FileReader, layout: PixelLayout, number: int) -> AsyncIterator[bytes]:
    ((start, length),) = layout.frame_ranges(number)
    for at in range(0, layout.frame_length, READ_CHUNK_BYTES):
        # One byte more than a piece: where the frame begins within a byte, its last bits are there.
        stored = await reader.read([(start + at, min(READ_CHUNK_BYTES + 1, length - at))])
        yield layout.align_bits(number, stored, min(READ_CHUNK_BYTES * 8, layout.frame_bits - at * 8))


async def frame_parts(
    reader: FileReader, layout: PixelLayout, numbers: Sequence[int], heads: Sequence[PartHead]
) -> AsyncIterator[Part]:
    """The parts of a frame list, read one after another."""
    for number, head in zip(numbers, heads, strict=True):
        yield Part(head, await frame_content(reader, layout, number))


def bulk_values(detail: InstanceDetail) -> list[tuple[str, int, int]]:
    """(path, offset, length) of every bulk value of an instance."""
    found = orjson.loads(detail.bulk_values or "[]")
    return [(path, offset, length) for path, offset, length in found]


def bulk_range(detail: InstanceDetail, path: str) -> tuple[int, int]:
    """(offset, length) of a bulk value by the path of its URI.

    Raises:
        NotFound: the instance has no bulk value there.
    """
    for known, offset, length in bulk_values(detail):
        if known == path:
            return offset, length
    raise NotFound("The instance has no bulk data there.")


def coded_layout(detail: InstanceDetail, path: str) -> PixelLayout | None:
    """The layout of a value that goes frame by frame: encapsulated pixel data. None: it goes as it is."""
    if path != PIXEL_DATA or detail.pixel_layout is None:
        return None
    layout = decode_layout(detail.pixel_layout)
    return layout if layout.encapsulated and layout.frames_known else None
