"""Deflated data sets inflated within limits (PS3.5 A.5, RFC 1951)."""

import zlib
from collections.abc import Iterator

from dicomweb.wire.faults import TooComplex, Truncated, UnreadableDataSet
from dicomweb.wire.walk import Buffer

MAX_INFLATED_BYTES = 512 << 20  # memory that one instance may take
FREE_INFLATED_BYTES = (
    64 << 20
)  # up to here any ratio is fine: a segmentation of zeros deflates a thousandfold
MAX_RATIO = 100  # above that; pixel data of real images reaches 20
CHUNK_BYTES = 1 << 20
GZIP_TRAILER_BYTES = 8  # CRC-32 and length (RFC 1952 §2.3.1)


def _limit(deflated_bytes: int) -> int:
    return min(MAX_INFLATED_BYTES, max(FREE_INFLATED_BYTES, deflated_bytes * MAX_RATIO))


class Inflater:
    """Inflates one data set that is fed to it in pieces."""

    def __init__(self, deflated_bytes: int) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._left = _limit(deflated_bytes)
        self._length = 0
        self._crc = 0
        self._rest = b""  # the beginning of what follows the stream

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds, in pieces of at most `CHUNK_BYTES`; to be read to its end.

        Raises:
            TooComplex: it inflates beyond the limits.
            UnreadableDataSet: it is not deflate data.
        """
        while not self._stream.eof:
            try:
                piece = self._stream.decompress(data, CHUNK_BYTES)
            except zlib.error:
                raise UnreadableDataSet("the data set is not deflate data") from None
            data = self._stream.unused_data or self._stream.unconsumed_tail
            if not piece and not self._stream.eof:  # a full piece may have more behind it, without more input
                return
            self._length += len(piece)
            if self._length > self._left:
                raise TooComplex("the deflated data set inflates beyond the limits")
            self._crc = zlib.crc32(piece, self._crc)
            yield piece
        self._rest = (self._rest + data)[: GZIP_TRAILER_BYTES + 2]

    def finish(self) -> None:
        """No more data comes.

        Raises:
            Truncated: the deflated stream has no end.
            UnreadableDataSet: something follows it.
        """
        if not self._stream.eof:
            raise Truncated("the deflated data set has no end")
        if not _may_follow(self._rest, self._crc, self._length):
            raise UnreadableDataSet("bytes follow the deflated data set")


def inflate_data_set(buffer: Buffer, data_set_offset: int) -> bytearray:
    """The file with its data set inflated; what lies before `data_set_offset` is as it was.

    Raises:
        TooComplex: it inflates beyond the limits.
        Truncated: the deflated stream has no end.
        UnreadableDataSet: the stream is not deflate data, or something follows it.
    """
    out = bytearray(buffer[:data_set_offset])
    inflater = Inflater(len(buffer) - data_set_offset)
    for at in range(data_set_offset, len(buffer), CHUNK_BYTES):
        for piece in inflater.inflate(bytes(buffer[at : at + CHUNK_BYTES])):
            out += piece
    inflater.finish()
    return out


def _may_follow(rest: bytes, crc: int, length: int) -> bool:
    """One zero to make the length even (PS3.5 A.5), or the gzip trailer that some writers leave there."""
    if rest in (b"", b"\0"):
        return True
    trailer = crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")
    return rest in (trailer, trailer + b"\0")
