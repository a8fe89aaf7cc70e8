"""Bulk values of an instance: where they lie, and their bytes, always little endian (PS3.18 §8.7.3.3.1)."""

from collections.abc import AsyncIterator
from typing import Any

from dicomweb.attributes import DicomJson
from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.metadata import parse_metadata
from dicomweb.pixels.format import pixel_format
from dicomweb.retrieve.content import Body
from dicomweb.retrieve.frames import PIXEL_DATA, FileReader
from dicomweb.retrieve.locate import read_packed_metadata
from dicomweb.wire.rewrite import WIDTH, turned_around
from server.kernel.database import Database
from server.kernel.object_store import READ_CHUNK_BYTES

Json = Any
BulkPlace = tuple[str, int, int]  # path, offset in the file, length


async def value_content(
    database: Database, reader: FileReader, value: BulkPlace, start: int, count: int
) -> Body:
    """`count` bytes from `start` of a value; those of a Big Endian instance turned around, word by word."""
    path, offset, _ = value
    width = 1
    if reader.located.transfer_syntax_uid == ts.ExplicitVRBigEndian:
        packed = await read_packed_metadata(database, [reader.located.key])
        width = word_of(await parse_metadata(packed[reader.located.key]), path)
    if width == 1:
        return await reader.content([(offset + start, count)])
    pieces = _turned(reader, value, width, (start, start + count))
    return b"".join([piece async for piece in pieces]) if count <= READ_CHUNK_BYTES else pieces


async def _turned(
    reader: FileReader, value: BulkPlace, width: int, span: tuple[int, int]
) -> AsyncIterator[bytes]:
    """The bytes of `span` of a value, read with all of the words that they lie in."""
    _, offset, length = value
    start, stop = span
    end = min(stop + -stop % width, length)
    for at in range(start - start % width, end, READ_CHUNK_BYTES):
        words = await reader.read([(offset + at, min(READ_CHUNK_BYTES, end - at))])
        yield turned_around(words, width)[max(start - at, 0) : stop - at]


def word_of(dicom_json: DicomJson, path: str) -> int:
    """Bytes of a number of the value at a path such as "00540016/1/00189999" (PS3.5 §6.2, §7.3)."""
    *items, key = path.split("/")
    data_set: Json = dicom_json
    for sequence, number in zip(items[::2], items[1::2], strict=True):
        data_set = data_set[sequence]["Value"][int(number) - 1]
    width = WIDTH.get(data_set[key]["vr"].encode("ascii"), 1)
    if path == PIXEL_DATA and width == 2:  # cells of 32 bits are one number (PS3.5 §8.1.1)
        return max(pixel_format(dicom_json).bits_allocated // 8, width)
    return width
