"""Rows that wait on disk until it is known in which order the database wants them."""

import errno
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import Any, Self

import msgspec

from server.kernel.faults import StorageFull

Values = list[Any]

_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[Values]).decode
_BUFFER_BYTES = 1 << 20


class Spool:
    """Rows in a temporary file, each of which belongs to an owner; memory: 12 bytes for each `add`.

    Its methods raise `StorageFull` where there is no room for the file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file = TemporaryFile(dir=folder, buffering=_BUFFER_BYTES)  # noqa: SIM115  closed by __exit__
        self._owners, self._begins = array("I"), array("Q", [0])
        self._end = self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # nobody needs what is left in the buffer, which there may be no room for
            self._file.close()

    def __len__(self) -> int:
        return self._rows

    def add(self, owner: int, *rows: Sequence[Any]) -> None:
        """Put rows of one owner at the end."""
        data = _ENCODE(rows)
        try:
            self._file.write(data)
        except OSError as error:
            raise self._fault_of(error) from error
        self._owners.append(owner)
        self._end += len(data)
        self._begins.append(self._end)
        self._rows += len(rows)

    def ordered(self, place: Callable[[int], int] | None = None) -> Iterator[tuple[int, list[Values]]]:
        """The rows of one owner after the other, by the place of the owner (None: it is its place)."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._fault_of(error) from error
        owners, begins, file = self._owners, self._begins, self._file.fileno()
        places = owners if place is None else array("I", map(place, owners))
        rows: list[Values] = []
        last = -1
        for at in sorted(range(len(owners)), key=places.__getitem__):
            if owners[at] != last:
                if rows:
                    yield last, rows
                last, rows = owners[at], []
            begin = begins[at]
            rows += _DECODE(os.pread(file, begins[at + 1] - begin, begin))
        if rows:
            yield last, rows

    def _fault_of(self, error: OSError) -> Exception:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return error
        return StorageFull(f"There is no room for temporary files in {self._folder or gettempdir()}.")
