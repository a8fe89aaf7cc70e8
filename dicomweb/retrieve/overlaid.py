"""Stored files with what lies over them, put together while they are sent (PS3.3 C.12.1.1.9).

The transfer syntax is the stored one. Of a large file memory holds what lies around its pixel data or
longest value; that goes by as it is stored.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.retrieve.content import MAX_WHOLE_BYTES, Body, read_whole
from dicomweb.retrieve.frames import bulk_values, open_file
from dicomweb.retrieve.locate import InstanceDetail, Located, read_details
from dicomweb.retrieve.proof import Proof, proof_of
from dicomweb.retrieve.request import Archive
from dicomweb.transcode.file import MAX_AROUND_BYTES
from dicomweb.transcode.source import RangeReader
from dicomweb.transcode.values import deflated
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.file_meta import DEFLATED, read_file_meta
from dicomweb.wire.instance import SYNTAXES
from dicomweb.wire.splice import Around, cut_behind_originals, splice
from dicomweb.wire.walk import EXPLICIT_LITTLE, Syntax
from server.kernel.object_store import READ_CHUNK_BYTES, DamagedObject

PIXEL_DATA = key_of("PixelData")
MANY_AROUND_BYTES = MAX_AROUND_BYTES  # around the longest value; of more only the beginning is read


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file that is in memory, proven."""

    content: bytes

    async def read(self, ranges: Sequence[tuple[int, int]]) -> bytes:
        """The bytes of (offset, length) ranges, joined."""
        return b"".join(self.content[start : start + length] for start, length in ranges)


@dataclass(frozen=True, slots=True)
class OverlaidFile:
    """The file of an instance as it is shown: `head`, then its longest value as stored, then `rest`."""

    head: bytes
    value: tuple[int, int]  # offset and length in what `reader` reads
    rest: bytes
    reader: RangeReader
    data_set_offset: int
    is_deflated: bool
    unproven: "_Around | None"  # None: what is read is proven

    @property
    def length(self) -> int | None:
        """Its length in bytes; None: not known before it is made."""
        return None if self.is_deflated else len(self.head) + self.value[1] + len(self.rest)

    async def content(self) -> Body:
        """The file; a large one in chunks that break off if the stored one is damaged."""
        if self.is_deflated:
            meta, start = self.head[: self.data_set_offset], self.head[self.data_set_offset :]
            return deflated(meta, self._chunks(start))
        if len(self.head) + sum(self.value[1:]) + len(self.rest) <= MAX_WHOLE_BYTES and self.unproven is None:
            return self.head + await self.reader.read([self.value]) + self.rest
        return self._chunks(self.head)

    async def part(self, start: int, count: int) -> Body:
        """`count` bytes of it from `start`; what is only a part cannot be proven."""
        stop, pieces, at = start + count, [], 0
        offset, length = self.value
        for piece, size in ((self.head, len(self.head)), (None, length), (self.rest, len(self.rest))):
            first, last = max(start - at, 0), min(stop - at, size)
            if first < last:
                pieces.append(
                    await self.reader.read([(offset + first, last - first)])
                    if piece is None
                    else piece[first:last]
                )
            at += size
        return b"".join(pieces)

    async def _chunks(self, head: bytes) -> AsyncIterator[bytes]:
        proof = self.unproven.begin() if self.unproven else None
        yield head
        start, length = self.value
        for at in range(0, length, READ_CHUNK_BYTES):
            chunk = await self.reader.read([(start + at, min(READ_CHUNK_BYTES, length - at))])
            if proof is not None:
                await asyncio.to_thread(proof.update, chunk)
            yield chunk
        if self.unproven and proof:
            self.unproven.end(proof)
        yield self.rest


@dataclass(frozen=True, slots=True)
class _Around:
    """What lies around the value as it is stored, to be proven with it."""

    located: Located
    head: bytes
    rest: bytes

    def begin(self) -> Proof:
        proof = proof_of(self.located)
        proof.update(self.head)
        return proof

    def end(self, proof: Proof) -> None:
        proof.update(self.rest)
        if not proof.holds:
            raise DamagedObject("A stored instance is damaged; its delivery was broken off.")


async def open_overlaid(
    archive: Archive, located: Located, detail: InstanceDetail | None = None
) -> OverlaidFile:
    """The file of an instance over which something lies.

    Raises:
        PixelsUnreadable: what is changed lies behind more than fits memory.
        NotInCharacterSet: see `splice`.
        DamagedObject: the stored bytes are not those that were stored.
    """
    if detail is None:
        detail = (await read_details(archive.services.database, [located.key]))[located.key]
    is_deflated = located.transfer_syntax_uid in DEFLATED
    reader: RangeReader
    if is_deflated:
        file = await open_file(archive.services.objects, archive.inflated, located)
        reader, length = file, file.inflated.length if file.inflated else 0
        proven = True
    elif proven := located.stored.length <= MAX_WHOLE_BYTES:
        reader = WholeFile(await read_whole(archive.services.objects, located))
        length = located.stored.length
    else:
        reader = await open_file(archive.services.objects, archive.inflated, located)
        length = located.stored.length
    return await _put_together(located, (reader, length), _value_between(detail, length), is_proven=proven)


async def _put_together(
    located: Located, source: tuple[RangeReader, int], value: tuple[int, int], *, is_proven: bool
) -> OverlaidFile:
    reader, length = source
    syntax = SYNTAXES.get(located.transfer_syntax_uid, EXPLICIT_LITTLE)
    is_all = length - value[1] <= MANY_AROUND_BYTES
    if is_all:
        head = await reader.read([(0, value[0])])
    else:
        head = await _beginning(reader, length, syntax)
        value = (len(head), length - len(head))
    behind = sum(value)
    rest = await reader.read([(behind, length - behind)]) if behind < length else b""
    start = read_file_meta(head).data_set_offset
    assert located.overlay is not None
    made = await asyncio.to_thread(splice, Around(head, start, rest, is_all), syntax, located.overlay)
    unproven = None if is_proven else _Around(located, head, rest)
    is_deflated = located.transfer_syntax_uid in DEFLATED
    return OverlaidFile(made[0], value, made[1], reader, start, is_deflated, unproven)


async def _beginning(reader: RangeReader, length: int, syntax: Syntax) -> bytes:
    """Of a file with very much around its longest value all that is changed.

    Raises:
        PixelsUnreadable: that is too much as well.
    """
    for size in (MAX_AROUND_BYTES >> 3, MAX_AROUND_BYTES):
        head = await reader.read([(0, min(size, length))])
        cut = cut_behind_originals(head, read_file_meta(head).data_set_offset, syntax)
        if cut is not None:
            return head[:cut]
    raise PixelsUnreadable("The instance is too large to be given out corrected.")


def _value_between(detail: InstanceDetail, length: int) -> tuple[int, int]:
    """(offset, length) of what is not looked at: the pixel data, else the longest value of the top level.

    Without any, nothing at the end. Coded pixels have no length of their own, so they are never looked at.
    """
    found = {path: (size, offset) for path, offset, size in bulk_values(detail) if "/" not in path}
    size, offset = found.get(PIXEL_DATA) or max(found.values(), default=(0, length))
    return offset, size
