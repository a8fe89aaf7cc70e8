"""Rows that wait on disk until it is known in which order the database wants them."""

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import msgspec

Values = list[Any]

_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder().decode
_BUFFER_BYTES = 1 << 20


class Spool:
    """Rows in a temporary file, each of which belongs to an owner; memory: 12 bytes a row."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = TemporaryFile(dir=folder, buffering=_BUFFER_BYTES)  # noqa: SIM115  closed by __exit__
        self._owners, self._begins = array("I"), array("Q", [0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, owner: int, values: Sequence[Any]) -> None:
        """Put a row at the end."""
        data = _ENCODE(values)
        self._file.write(data)
        self._owners.append(owner)
        self._begins.append(self._begins[-1] + len(data))

    def ordered(self, place: Callable[[int], int]) -> Iterator[list[Values]]:
        """The rows of one owner after the other, by the place of the owner."""
        self._file.flush()
        owners, begins, file = self._owners, self._begins, self._file.fileno()
        rows: list[Values] = []
        last = None
        for at in sorted(range(len(owners)), key=lambda at: place(owners[at])):
            if rows and owners[at] != last:
                yield rows
                rows = []
            last = owners[at]
            rows.append(_DECODE(os.pread(file, begins[at + 1] - begins[at], begins[at])))
        if rows:
            yield rows
