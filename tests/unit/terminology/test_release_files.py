"""The lines of a release's files, which are cut out of blocks."""

from pathlib import Path

import pytest

from terminology.loading import files
from terminology.loading.files import ReleaseFiles, UnreadableRelease

LINES = ["id\tterm", "", "1\tGröße", "2\tcarriage\rreturn", "3\tthe last"]


def lines_of(folder: Path, content: bytes) -> list[tuple[int, str]]:
    (folder / "a.txt").write_bytes(content)
    with ReleaseFiles(folder) as found:
        return list(found.lines("a.txt"))


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_lines_do_not_depend_on_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, end: str, mark: str, is_ended: bool
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", block)
    content = (mark + end.join(LINES) + end * is_ended).encode()
    assert lines_of(tmp_path, content) == list(enumerate(LINES, 1))


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_line_has_fewer_bytes_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, end: str
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", block)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 40)
    assert lines_of(tmp_path, f"first\n{'ö' * 19}x{end}".encode())[1] == (2, "ö" * 19 + "x")
    with pytest.raises(UnreadableRelease, match=r"^a\.txt:2: the line has more than 40 bytes"):
        lines_of(tmp_path, f"first\n{'ö' * 20}{end}".encode())


def test_what_comes_before_a_wrong_line_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"first\nsecond\nth\xefrd\nfourth\n")
    with ReleaseFiles(tmp_path) as found:
        lines = found.lines("a.txt")
        assert [next(lines), next(lines)] == [(1, "first"), (2, "second")]
        with pytest.raises(UnreadableRelease, match=r"^a\.txt:3: byte 3 is not UTF-8"):
            next(lines)
