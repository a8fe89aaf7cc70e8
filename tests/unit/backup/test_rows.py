"""Rows as bytes: exact, and cut so that a change stays where it is."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.backup.rows import LARGEST_SEGMENT_BYTES, Cutter, compress, decompress, unpack

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=True),
    st.binary(max_size=200),
    st.text(max_size=200),
)


def segments(rows: list[Any]) -> list[bytes]:
    cutter = Cutter()
    found = [segment for row in rows if (segment := cutter.add(row))]
    return found + [segment for segment in [cutter.end()] if segment]


def exact(value: Any) -> Any:
    """A value that only its equal, of the same type and bits, is equal to."""
    return (type(value), struct.pack(">d", value)) if isinstance(value, float) else (type(value), value)


@given(st.lists(st.lists(VALUES, max_size=8), max_size=50))
def test_rows_come_back_exactly(rows: list[list[Any]]) -> None:
    back = [row for segment in segments(rows) for row in unpack(decompress([compress(segment)]))]
    assert [[exact(value) for value in row] for row in back] == [
        [exact(value) for value in row] for row in rows
    ]


def test_special_floats_survive() -> None:
    row = [math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    (segment,) = segments([row])
    assert [exact(value) for value in next(unpack(segment))] == [exact(value) for value in row]


ROWS = [[number, f"text {number}" * 30, bytes(300)] for number in range(12_000)]  # some 8 MB


def test_segments_are_of_a_size() -> None:
    sizes = [len(segment) for segment in segments(ROWS)]
    assert 3 <= len(sizes) <= 30
    assert max(sizes) <= LARGEST_SEGMENT_BYTES + 1000


@pytest.mark.parametrize("change", ["changed", "added", "deleted", "appended"])
def test_a_change_changes_one_segment(change: str) -> None:
    rows = list(ROWS)
    if change == "changed":
        rows[6000] = [6000, "other", b""]
    elif change == "added":
        rows.insert(6000, [-1, "new", b""])
    elif change == "deleted":
        del rows[6000]
    else:
        rows.append([12_000, "new", b""])
    before, after = set(segments(ROWS)), set(segments(rows))
    assert len(after - before) <= 2  # two when the row was one after which a cut fell


def test_rows_without_a_cut_are_cut_at_the_largest_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.backup.rows._is_cut_after", lambda _: False)
    assert max(map(len, segments(ROWS * 2))) <= LARGEST_SEGMENT_BYTES + 1000


def test_damaged_compression_is_told() -> None:
    packed = compress(b"content" * 100)
    with pytest.raises(ValueError, match="missing"):
        decompress([packed[:-3]])
    with pytest.raises(ValueError, match=r"."):
        decompress([b"\x00" + packed[1:]])
