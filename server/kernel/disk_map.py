"""A map from bytes to bytes that need not fit memory: a temporary SQLite database, gone when it is closed."""

import sqlite3
from collections.abc import Iterable, Iterator

KEPT_IN_MEMORY_KIB = 65_536  # of its pages


class DiskMap:
    """Keys are digests and the like: up to some dozens of bytes. Used by one task at a time."""

    def __init__(self) -> None:
        self._raw = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # "": a temporary file
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{KEPT_IN_MEMORY_KIB}"):
            self._raw.execute(f"PRAGMA {pragma}")
        self._raw.execute("CREATE TABLE map (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        self._raw.execute("BEGIN")

    def __len__(self) -> int:
        return int(self._raw.execute("SELECT count(*) FROM map").fetchone()[0])

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None: it has none."""
        row = self._raw.execute("SELECT value FROM map WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(self, key: bytes, value: bytes = b"") -> None:
        """Set a key's value."""
        self.put_all([(key, value)])

    def put_all(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Set the values of many keys."""
        self._raw.executemany("INSERT OR REPLACE INTO map VALUES (?, ?)", items)

    def __iter__(self) -> Iterator[bytes]:
        """The keys, in bytewise order; the map must not change meanwhile."""
        return (key for (key,) in self._raw.execute("SELECT key FROM map ORDER BY key"))

    def close(self) -> None:
        """Let it go."""
        self._raw.close()
