"""A stored file as a file of another transfer syntax, frame by frame (PS3.5 Annex A, PS3.10 §7).

The data set is rewritten as Explicit VR Little Endian. Native pixels stay as they are but for their byte
order; others are decoded and coded in a child, a few frames ahead of who reads. What lies around the pixels
is in memory, and bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.service import Pixels
from dicomweb.pixels.syntaxes import EXPLICIT_FILES, LOSSY_METHOD, NATIVE
from dicomweb.transcode.changes import changes_of
from dicomweb.transcode.coding import FrameCoding
from dicomweb.transcode.description import Description
from dicomweb.transcode.source import FrameSource, RangeReader
from dicomweb.transcode.values import (
    ITEM,
    SEQUENCE_END,
    Streamed,
    after,
    deflated,
    encapsulated_value,
    native_value,
)
from dicomweb.wire.file_meta import read_file_meta
from dicomweb.wire.instance import SYNTAXES
from dicomweb.wire.overlay import Overlay
from dicomweb.wire.pixel_data import PixelLayout
from dicomweb.wire.rewrite import Changes, PixelElement, element_head, rewrite, rewrite_file_meta
from dicomweb.wire.splice import Around, splice
from dicomweb.wire.walk import EXPLICIT_LITTLE, UNDEFINED, Syntax
from server.kernel.object_store import READ_CHUNK_BYTES

MAX_AROUND_BYTES = 64 << 20  # before the pixels, and behind; the largest enhanced objects have 20 MB
MAX_UNUSED_FRAGMENTS = 1000  # behind the last frame


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An instance as it is stored; of a deflated one, inflated."""

    digest: bytes
    transfer_syntax: str
    length: int
    layout: PixelLayout | None  # None: no pixel data
    reader: RangeReader
    describe: Callable[[], Awaitable[Description]]
    overlay: Overlay | None = None  # what lies over it

    @property
    def syntax(self) -> Syntax:
        """How its elements are written."""
        return SYNTAXES.get(self.transfer_syntax, EXPLICIT_LITTLE)


@dataclass(frozen=True, slots=True)
class TranscodedFile:
    """A file of another transfer syntax; its first frame is there already."""

    transfer_syntax: str
    length: int | None  # None: not known before the last frame
    chunks: AsyncIterator[bytes]


async def transcode_file(stored: StoredFile, target: str, pixels: Pixels) -> TranscodedFile:
    """The file in the transfer syntax `target`; without pixels, as Explicit VR Little Endian at most.

    Raises:
        PixelsUnreadable: its pixels cannot be decoded, or not be coded so.
        Busy: too many frames are waiting.
    """
    if stored.layout is None:
        target = target_without_pixels(target)
    elif not stored.layout.frames_known and not _keeps_pixels(stored, target):
        raise PixelsUnreadable("The frames of the instance cannot be told apart.")
    head = await _read_around(stored, 0, _head_end(stored))
    offset = read_file_meta(head).data_set_offset
    meta = rewrite_file_meta(head, offset, target)
    made = await _data_set(stored, (head, offset), target, pixels)
    if target == ts.DeflatedExplicitVRLittleEndian:
        return TranscodedFile(target, None, deflated(meta, made.chunks))
    length = None if made.length is None else len(meta) + made.length
    return TranscodedFile(target, length, after(meta, made.chunks))


def target_without_pixels(target: str) -> str:
    """What a file without pixels is put into where `target` is asked for: no coding of pixels."""
    return target if target in EXPLICIT_FILES else ts.ExplicitVRLittleEndian


async def _data_set(stored: StoredFile, head: tuple[bytes, int], target: str, pixels: Pixels) -> Streamed:
    if stored.layout is None:
        whole, _ = await _rewritten(stored, head, {})
        whole, _ = await _shown(stored, whole, b"")
        return Streamed(len(whole), after(whole, None))
    if _keeps_pixels(stored, target):
        return await _native(stored, head)
    description = await stored.describe()
    if not description.fits(target):
        raise PixelsUnreadable("The pixels do not fit the transfer syntax that is asked for.")
    frames = FrameSource(stored.digest, stored.transfer_syntax, description, stored.layout, stored.reader)
    return await _coded(stored, head, FrameCoding(frames, target, pixels))


def _keeps_pixels(stored: StoredFile, target: str) -> bool:
    """Whether native pixels stay native."""
    return stored.transfer_syntax in NATIVE and target in EXPLICIT_FILES


def _head_end(stored: StoredFile) -> int:
    """Where what describes the pixels ends: behind the head of the pixel data, at the latest."""
    if stored.layout is None:
        return stored.length
    if stored.layout.encapsulated and stored.layout.fragments:
        return stored.layout.fragments[0][0][0] - 8
    return stored.layout.first_offset or stored.length


async def _read_around(stored: StoredFile, start: int, stop: int) -> bytes:
    if stop - start > MAX_AROUND_BYTES:
        raise PixelsUnreadable("The instance is too large to be put into another transfer syntax.")
    return await stored.reader.read([(start, stop - start)]) if stop > start else b""


async def _rewritten(
    stored: StoredFile, head: tuple[bytes, int], changes: Changes
) -> tuple[bytes, PixelElement | None]:
    return await asyncio.to_thread(rewrite, *head, stored.syntax, changes)


async def _rest(stored: StoredFile, start: int) -> bytes:
    """What follows the pixels, rewritten."""
    rest = await _read_around(stored, start, stored.length)
    return (await _rewritten(stored, (rest, 0), {}))[0]


async def _shown(stored: StoredFile, before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """What lies around the pixels, rewritten, with what lies over it."""
    if stored.overlay is None:
        return before, after
    return await asyncio.to_thread(splice, Around(before, 0, after), EXPLICIT_LITTLE, stored.overlay)


async def _native(stored: StoredFile, head: tuple[bytes, int]) -> Streamed:
    """Native pixels: the same bytes, in little endian."""
    before, found = await _rewritten(stored, head, {})
    if found is None or stored.layout is None or found.length == UNDEFINED:
        raise PixelsUnreadable("The pixel data is not where it was.")
    after = await _rest(stored, found.value_offset + found.length)
    word = 1
    if stored.transfer_syntax == ts.ExplicitVRBigEndian:
        source = FrameSource(
            stored.digest, stored.transfer_syntax, await stored.describe(), stored.layout, stored.reader
        )
        word = source.word
    before, after = await _shown(stored, before, after)
    before += element_head(found.tag, found.vr, found.length)

    async def chunks() -> AsyncIterator[bytes]:
        yield before
        for at in range(0, found.length, READ_CHUNK_BYTES):
            count = min(READ_CHUNK_BYTES, found.length - at)
            if word == 1:
                yield await stored.reader.read([(found.value_offset + at, count)])
            else:
                yield await source.read_turned(found.value_offset + at, count)
        yield after

    return Streamed(len(before) + found.length + len(after), chunks())


async def _coded(stored: StoredFile, head: tuple[bytes, int], coding: FrameCoding) -> Streamed:
    """Pixels that are decoded, and coded as `coding.target`."""
    header, first = await coding.frame(1)
    description = coding.source.description
    colour = str(header["photometric_interpretation"])
    ratio = None
    if coding.target in LOSSY_METHOD:
        ratio = description.pixels.frame_bytes / max(len(first), 1)
    changes = changes_of(description, stored.transfer_syntax, coding.target, colour, ratio)
    before, _ = await _rewritten(stored, head, changes)
    before, after = await _shown(stored, before, await _rest(stored, await _pixels_end(stored)))
    frames = coding.all_frames(first)
    if coding.target in EXPLICIT_FILES:
        made = description.pixels.with_photometric_interpretation(colour)
        value = native_value(made, coding.number_of_frames, frames)
    else:
        value = encapsulated_value(len(first) if coding.number_of_frames == 1 else None, frames)

    async def chunks() -> AsyncIterator[bytes]:
        yield before
        async for chunk in value.chunks:
            yield chunk
        yield after

    length = None if value.length is None else len(before) + value.length + len(after)
    return Streamed(length, chunks())


async def _pixels_end(stored: StoredFile) -> int:
    """Where the pixel data ends: behind the delimiter of its fragments, or behind its frames."""
    layout = stored.layout
    assert layout is not None
    if not layout.encapsulated:
        offset = layout.first_offset
        head = await stored.reader.read([(offset - 4, 4)])
        is_big = stored.transfer_syntax == ts.ExplicitVRBigEndian
        return offset + int.from_bytes(head, "big" if is_big else "little")
    last = max(offset for frame in layout.fragments for offset, _ in frame)
    pos = last + int.from_bytes(await stored.reader.read([(last - 4, 4)]), "little")  # with its padding
    for _ in range(MAX_UNUSED_FRAGMENTS):
        head = await stored.reader.read([(pos, 8)])
        if head[:4] == SEQUENCE_END:
            return pos + 8
        if head[:4] != ITEM:
            break
        pos += 8 + int.from_bytes(head[4:], "little")
    raise PixelsUnreadable("The pixel data has no end.")
