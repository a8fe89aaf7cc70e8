"""Deflated data sets inflated within limits (PS3.5 A.5, RFC 1951)."""

import zlib

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


def inflate_data_set(buffer: Buffer, data_set_offset: int) -> bytearray:
    """The file with its data set inflated; what lies before `data_set_offset` is as it was.

    Raises:
        TooComplex: it inflates beyond the limits.
        Truncated: the deflated stream has no end.
        UnreadableDataSet: the stream is not deflate data, or something follows it.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    out = bytearray(buffer[:data_set_offset])
    limit = data_set_offset + _limit(len(buffer) - data_set_offset)
    pending = b""
    pos = data_set_offset
    while not inflater.eof:
        if not pending:
            pending = bytes(buffer[pos : pos + CHUNK_BYTES])
            pos += len(pending)
        if not pending:
            raise Truncated("the deflated data set has no end")
        try:
            out += inflater.decompress(pending, CHUNK_BYTES)
        except zlib.error:
            raise UnreadableDataSet("the data set is not deflate data") from None
        if len(out) > limit:
            raise TooComplex("the deflated data set inflates beyond the limits")
        pending = inflater.unconsumed_tail
    rest = inflater.unused_data + bytes(buffer[pos : pos + GZIP_TRAILER_BYTES + 2])
    if not _may_follow(rest, memoryview(out)[data_set_offset:]):
        raise UnreadableDataSet("bytes follow the deflated data set")
    return out


def _may_follow(rest: bytes, data_set: memoryview) -> bool:
    """One zero to make the length even (PS3.5 A.5), or the gzip trailer that some writers leave there."""
    if rest in (b"", b"\0"):
        return True
    trailer = zlib.crc32(data_set).to_bytes(4, "little") + (len(data_set) & 0xFFFFFFFF).to_bytes(4, "little")
    return rest in (trailer, trailer + b"\0")
