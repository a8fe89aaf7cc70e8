"""Rows as bytes: exact on both databases, and cut so that what did not change is written once. Pure.

A row is a MessagePack array of its columns behind its length (32 bits): integers of 64 bits, floats bit for
bit, bytes, exact text, booleans and nulls survive. (JSON has no bytes, no infinity, no promise for numbers
over 2^53.) A segment is the rows of one table between two cuts. Where a cut falls is decided by the row
before it alone: a row that was added, changed or deleted changes one segment, the others are there already.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import zstandard

SEGMENT_BYTES = 1 << 20  # about: a cut falls after a row with a chance of its length to this
LARGEST_SEGMENT_BYTES = 8 << 20  # here a cut falls anyway; only a single row may take more
LEVEL = 3  # of compression

_LENGTH = struct.Struct(">I")
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()

Values = Sequence[Any]


class Cutter:
    """Gathers the rows of one table, and says when a segment is complete."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._bytes = 0

    def add(self, row: Values) -> bytes | None:
        """Take a row; returns the segment that it completes."""
        packed = _encoder.encode(row)
        self._rows += (_LENGTH.pack(len(packed)), packed)
        self._bytes += _LENGTH.size + len(packed)
        if self._bytes >= LARGEST_SEGMENT_BYTES or _is_cut_after(packed):
            return self.end()
        return None

    def end(self) -> bytes | None:
        """The last segment; None: there is nothing in it."""
        segment = b"".join(self._rows)
        self._rows, self._bytes = [], 0
        return segment or None


def _is_cut_after(packed: bytes) -> bool:
    return zlib.crc32(packed) * SEGMENT_BYTES < len(packed) << 32


def unpack(segment: bytes) -> Iterator[list[Any]]:
    """The rows of a segment."""
    at = 0
    view = memoryview(segment)
    while at < len(segment):
        (length,) = _LENGTH.unpack_from(segment, at)
        at += _LENGTH.size
        yield _decoder.decode(view[at : at + length])
        at += length


def compress(segment: bytes) -> bytes:
    """As it is written."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(segment)


def decompress(pieces: Iterable[bytes]) -> bytes:
    """The segment again.

    Raises:
        ValueError: it is not what was compressed.
    """
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        segment = b"".join(decompressor.decompress(piece) for piece in pieces)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError("the end is missing")
    return segment
