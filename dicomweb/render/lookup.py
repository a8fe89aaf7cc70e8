"""Lookup tables of DICOM as arrays (PS3.3 C.11.1.1, C.7.6.3.1.5, C.7.9.2). Runs in the child process."""

import numpy as np
from numpy.typing import NDArray

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.render.values import LookupTable

MAX_ENTRIES = 65536  # a descriptor's 0 means so many
DISCRETE, LINEAR, INDIRECT = 0, 1, 2  # opcodes of segments, PS3.3 C.7.9.2


def entries_of(table: LookupTable) -> NDArray[np.uint16]:
    """The entries, shape (entries,), uint16.

    Raises:
        PixelsUnreadable: the data are fewer than the descriptor says, or segments that make no table.
    """
    words = _words(table)
    if table.is_segmented:
        words = expand_segments(words, table.entries, 1 if table.bits == 8 else 2)
    if len(words) < table.entries:
        raise PixelsUnreadable("A lookup table is shorter than its descriptor says.")
    return words[: table.entries]


def _words(table: LookupTable) -> NDArray[np.uint16]:
    """The data as numbers: 8-bit entries may come one to a word or two to a word (PS3.3 C.7.6.3.1.6)."""
    is_packed = table.bits == 8 and (table.is_segmented or len(table.data) < 2 * table.entries)
    if is_packed:
        return np.frombuffer(table.data, np.uint8).astype(np.uint16)
    return np.frombuffer(table.data[: len(table.data) // 2 * 2], "<u2").astype(np.uint16)


def expand_segments(words: NDArray[np.uint16], entries: int, width: int = 2) -> NDArray[np.uint16]:
    """The entries that segmented data stand for; `width`: bytes of a word (PS3.3 C.7.9.2.1 to .3).

    Raises:
        PixelsUnreadable: they are no segments, or make too few or too many entries.
    """
    out: list[int] = []
    _expand(words.tolist(), width, (0, None), out)
    if len(out) < entries:
        raise PixelsUnreadable("A segmented palette does not make as many entries as its descriptor says.")
    return np.array(out[:entries], np.uint16)


def _expand(words: list[int], width: int, segments: tuple[int, int | None], out: list[int]) -> None:
    """Append what `segments` (where, how many; None: to the end) stand for.

    An indirect segment repeats earlier ones, none of which may be indirect itself, and no segment is empty,
    so this ends.
    """
    at, count = segments
    done = 0
    while at + 1 < len(words) and (count is None or done < count):
        if len(out) > MAX_ENTRIES:
            raise PixelsUnreadable("A segmented palette makes more entries than a palette has.")
        opcode, length = words[at], words[at + 1]
        at += 2
        if opcode == DISCRETE and length:
            out += words[at : at + length]
            at += length
        elif opcode == LINEAR and length and at < len(words) and out:
            out += _line(out[-1], words[at], length)
            at += 1
        elif opcode == INDIRECT and count is None and at + 4 // width <= len(words):
            offset = sum(word << 8 * width * n for n, word in enumerate(words[at : at + 4 // width]))
            _expand(words, width, (offset // width, length), out)
            at += 4 // width
        else:
            raise PixelsUnreadable("A segmented palette holds something that is no segment.")
        done += 1


def _line(start: int, end: int, length: int) -> list[int]:
    """From behind `start` to `end`, in `length` equal steps."""
    return [round(start + (end - start) * step / length) for step in range(1, length + 1)]


def look_up(table: LookupTable, values: NDArray[np.floating]) -> NDArray[np.float32]:
    """The entry for each value; those before the first and behind the last take the end entries."""
    entries = entries_of(table).astype(np.float32)
    number = np.nan_to_num(np.rint(values))  # float pixels need not be numbers
    index = np.clip(number - table.first, 0, len(entries) - 1).astype(np.int64)
    looked_up: NDArray[np.float32] = entries[index]
    return looked_up
