"""ZIP files of stored entries, read by others; the ZIP64 fields (APPNOTE.TXT 4.3.14, 4.5.3)."""

import io
import zipfile
from zlib import crc32

import pytest

from dicomweb.wire.zip_archive import WrittenEntry, ZipEntry, archive_length, directory, local_header


def archive(contents: dict[str, bytes]) -> bytes:
    body, written = bytearray(), []
    for name, content in contents.items():
        entry = ZipEntry(name, len(content))
        written.append(WrittenEntry(entry, crc32(content), len(body)))
        body += local_header(entry, crc32(content)) + content
    return bytes(body) + directory(written, len(body))


@pytest.mark.parametrize("count", [0, 1, 3, 66_000])
def test_python_reads_it(count: int) -> None:
    contents = {f"1.2/{number}.dcm": b"%d" % number for number in range(count)}
    made = archive(contents)
    assert len(made) == archive_length(ZipEntry(name, len(content)) for name, content in contents.items())
    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.namelist() == list(contents)
        assert all(opened.read(name) == contents[name] for name in list(contents)[-3:])
        assert {info.compress_type for info in opened.infolist()} <= {zipfile.ZIP_STORED}


@pytest.mark.parametrize(
    ("length", "offset"), [(5 << 30, 0), (1, 5 << 30), (5 << 30, 6 << 30), (0xFFFFFFFF, 7)]
)
def test_numbers_beyond_32_bits(length: int, offset: int) -> None:
    """Read from the directory by Python: the body is not there, and need not be."""
    entry = ZipEntry("1.2.3.dcm", length)
    begin = offset + len(local_header(entry, 7)) + length
    told = directory([WrittenEntry(entry, 7, offset)], begin)

    class Sparse(io.BytesIO):
        """The directory behind a gap."""

        def seek(self, at: int, whence: int = 0) -> int:
            return begin + super().seek(at - begin if whence == 0 else at, whence)

        def tell(self) -> int:
            return begin + super().tell()

    with zipfile.ZipFile(Sparse(told)) as opened:
        (info,) = opened.infolist()
    assert (info.file_size, info.compress_size, info.header_offset, info.CRC) == (length, length, offset, 7)


def test_a_large_entry_says_its_length_before_its_bytes() -> None:
    large, small = (local_header(ZipEntry("a", length), 0) for length in (0xFFFFFFFF, 0xFFFFFFFE))
    assert len(large) == len(small) + 20
    assert large.endswith((0xFFFFFFFF).to_bytes(8, "little") * 2)
