"""Range requests for one range of bytes (RFC 9110 §14). Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from server.kernel.faults import Fault

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`."""

    start: int
    length: int

    def content_range(self, total: int) -> str:
        """The Content-Range field (RFC 9110 §14.4)."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{total}"


class RangeNotSatisfiable(Fault):
    """The range lies outside the content; answered 416."""

    def __init__(self, total: int) -> None:
        self.total = total
        super().__init__("The requested range lies outside the content.")


def cut(ranges: Iterable[tuple[int, int]], start: int, count: int) -> list[tuple[int, int]]:
    """`count` bytes from `start` of what (offset, length) ranges hold one after another, as such ranges."""
    found = []
    for offset, length in ranges:
        skipped = min(start, length)
        taken = min(length - skipped, count)
        if taken:
            found.append((offset + skipped, taken))
        start, count = start - skipped, count - taken
    return found


def parse_range(text: str | None, total: int) -> ByteRange | None:
    """The range asked for; None: the whole, also when the field asks for several or for other units.

    Raises:
        RangeNotSatisfiable: nothing of it lies within the content.
    """
    found = _RANGE.fullmatch(text or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(total - int(last), 0), total
    else:
        start, stop = int(first), min(int(last) + 1 if last else total, total)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise RangeNotSatisfiable(total)
    return ByteRange(start, stop - start)
