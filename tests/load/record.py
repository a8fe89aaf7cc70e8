"""What a run leaves behind: what the server acknowledged, and what every request took."""

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.load.studies import Study


class Ledger:
    """The slices that the server has acknowledged; a line is written before the next request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", buffering=1)

    def add(self, study: Study, first: int, count: int) -> None:
        """These slices were acknowledged."""
        self._file.write(f"[{study.number}, {first}, {count}]\n")

    def read(self) -> dict[int, list[int]]:
        """The slices of each study by its number, in the order they came."""
        found: dict[int, list[int]] = {}
        for number, first, count in map(json.loads, self._path.read_text().splitlines()):
            found.setdefault(number, []).extend(range(first, first + count))
        return found


class Record:
    """What every request took, by the name under which it is judged."""

    def __init__(self) -> None:
        self._begun = time.time()
        # Seconds since the start, milliseconds, whether it failed.
        self._times: defaultdict[str, list[tuple[float, float, bool]]] = defaultdict(list)
        self._failures: defaultdict[str, int] = defaultdict(int)  # by name and reason
        self._transfers: list[tuple[int, float]] = []  # bytes and seconds of whole series

    def note(self, name: str, response_time: float, exception: Exception | None, **_more: Any) -> None:
        """A request has ended."""
        at = round(time.time() - self._begun, 1)
        self._times[name].append((at, round(response_time, 1), exception is not None))
        if exception is not None:
            self._failures[f"{name}: {exception}"[:300]] += 1

    def transferred(self, length: int, seconds: float) -> None:
        """The rest of a long answer has come."""
        self._transfers.append((length, seconds))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(
            json.dumps({"times": self._times, "failures": self._failures, "transfers": self._transfers})
        )
