"""One range of bytes (RFC 9110 §14)."""

import pytest

from dicomweb.retrieve.byte_range import ByteRange, RangeNotSatisfiable, parse_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=2-", ByteRange(2, 8)),
        ("bytes=-3", ByteRange(7, 3)),
        ("bytes=-30", ByteRange(0, 10)),
        ("Bytes = 1 - 2", ByteRange(1, 2)),
        ("bytes=5-3", None),
        ("bytes=1-2,3-4", None),
    ],
)
def test_parse_range(text: str | None, expected: ByteRange | None) -> None:
    assert parse_range(text, 10) == expected


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_nothing_of_it_is_there(text: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(text, 10)
