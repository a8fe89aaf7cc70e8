"""Writing ZIP files whose entries are stored and not compressed (APPNOTE.TXT 6.3.10, ISO/IEC 21320-1). Pure.

Every header is complete when it is written: no data descriptors, which many readers of stored entries refuse.
All times are the first that the format has, so that equal entries make equal files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

_LOCAL = Struct("<4s5H3L2H")  # APPNOTE 4.3.7
_CENTRAL = Struct("<4s6H3L5H2L")  # 4.3.12
_END_64 = Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR_64 = Struct("<4sLQL")  # 4.3.15
_END = Struct("<4s4H2LH")  # 4.3.16
_PLAIN, _ZIP_64 = 10, 45  # version needed to extract, 4.4.3
_STORED = 0
_FIRST_DATE = 1 << 5 | 1  # 1980-01-01
_NUMBER_16, _NUMBER_32 = 0xFFFF, 0xFFFFFFFF  # "see the ZIP64 field" in place of a number, 4.4.1.4
_EXTRA_64 = 1


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file of the archive; the name is ASCII."""

    name: str
    length: int


@dataclass(frozen=True, slots=True)
class WrittenEntry:
    """An entry whose bytes are written: what the directory at the end says of it."""

    entry: ZipEntry
    crc_32: int
    offset: int  # of its local header


def local_header(entry: ZipEntry, crc_32: int) -> bytes:
    """What goes before the bytes of an entry."""
    name = entry.name.encode("ascii")
    large = entry.length >= _NUMBER_32
    extra = _extra([entry.length, entry.length]) if large else b""
    length = _NUMBER_32 if large else entry.length
    fields = (_ZIP_64 if large else _PLAIN, 0, _STORED, 0, _FIRST_DATE, crc_32, length, length)
    return _LOCAL.pack(b"PK\3\4", *fields, len(name), len(extra)) + name + extra


def directory(written: Iterable[WrittenEntry], offset: int) -> bytes:
    """What goes behind the last entry; `offset`: where it begins."""
    headers = [_directory_header(each) for each in written]
    body = b"".join(headers)
    count, size = len(headers), len(body)
    end_64 = b""
    if count >= _NUMBER_16 or size >= _NUMBER_32 or offset >= _NUMBER_32:
        versions = (_ZIP_64, _ZIP_64)
        end_64 = _END_64.pack(b"PK\6\6", _END_64.size - 12, *versions, 0, 0, count, count, size, offset)
        end_64 += _LOCATOR_64.pack(b"PK\6\7", 0, offset + size, 1)
    counts = (min(count, _NUMBER_16),) * 2
    return (
        body + end_64 + _END.pack(b"PK\5\6", 0, 0, *counts, min(size, _NUMBER_32), min(offset, _NUMBER_32), 0)
    )


def archive_length(entries: Iterable[ZipEntry]) -> int:
    """The length of the whole file."""
    written, offset = [], 0
    for entry in entries:
        written.append(WrittenEntry(entry, 0, offset))
        offset += len(local_header(entry, 0)) + entry.length
    return offset + len(directory(written, offset))


def _directory_header(written: WrittenEntry) -> bytes:
    name = written.entry.name.encode("ascii")
    length, offset = written.entry.length, written.offset
    beyond = [length, length] if length >= _NUMBER_32 else []
    beyond += [offset] if offset >= _NUMBER_32 else []
    extra = _extra(beyond) if beyond else b""
    version = _ZIP_64 if beyond else _PLAIN
    shown = min(length, _NUMBER_32)
    fields = (version, version, 0, _STORED, 0, _FIRST_DATE, written.crc_32, shown, shown)
    return (
        _CENTRAL.pack(b"PK\1\2", *fields, len(name), len(extra), 0, 0, 0, 0, min(offset, _NUMBER_32))
        + name
        + extra
    )


def _extra(numbers: list[int]) -> bytes:
    """The ZIP64 extended information extra field (4.5.3)."""
    return Struct(f"<2H{len(numbers)}Q").pack(_EXTRA_64, 8 * len(numbers), *numbers)
