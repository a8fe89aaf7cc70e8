"""Short SELECTs that are asked for all the time: written once, and on SQLite read where they are asked for.

Between the pool, the engine's greenlets and its cursors, an indexed select costs five times what SQLite needs
for it. A `LookUp` keeps its SQL text; `QuickReader` runs it on a connection of its own, on the event loop's
thread, as long as it ends within `STEPS_HERE`. PostgreSQL, and what takes longer, goes the usual way.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Select

from server.kernel.sqlite import STEPS_HERE, TooLong, connect, read_briefly

Values = Mapping[str, Any]


class LookUp:
    """A SELECT of named columns whose values are `bindparam`s by name; with a list it goes the usual way.

    `steps`: of SQLite's virtual machine, which it may take here; some 20 in a microsecond.
    """

    def __init__(self, select: Select[Any], steps: int = STEPS_HERE) -> None:
        self.select = select
        self.steps = steps
        self._prepared: _Prepared | None = None

    def prepared(self, dialect: Dialect) -> "_Prepared":
        """Its text for SQLite; made once."""
        if self._prepared is None:
            self._prepared = _Prepared(self.select, dialect)
        return self._prepared


class _Prepared:
    def __init__(self, select: Select[Any], dialect: Dialect) -> None:
        compiled: Any = select.compile(dialect=dialect)
        columns = select.selected_columns
        self.is_whole = not compiled.post_compile_params  # no list of values to be written out
        self.text = compiled.string
        self._names: Sequence[str] = compiled.positiontup or ()
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        row: Any = namedtuple("Row", columns.keys())  # type: ignore[misc]  # their names are known at run time
        self._make: Callable[[Sequence[Any]], Any] = row._make
        readers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._readers = [(at, read) for at, read in enumerate(readers) if read is not None]

    def positional(self, values: Values) -> list[Any]:
        """The values in the order of the text's marks."""
        given = {**self._fixed, **values}
        return [given[name] for name in self._names]

    def rows(self, raw: Sequence[Sequence[Any]]) -> list[Any]:
        """Named rows, their columns as their types give them."""
        if not self._readers:
            return [self._make(row) for row in raw]
        return [self._make(_read(row, self._readers)) for row in raw]


def _read(row: Sequence[Any], readers: Sequence[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    values = list(row)
    for at, read in readers:
        values[at] = read(values[at])
    return values


class QuickReader:
    """One SQLite connection for look-ups, used on the event loop's thread only."""

    def __init__(self, arguments: Sequence[Any], options: Mapping[str, Any], dialect: Dialect) -> None:
        self._arguments, self._options, self._dialect = arguments, options, dialect
        self._connection: sqlite3.Connection | None = None

    def rows(self, look_up: LookUp, values: Values) -> list[Any] | None:
        """The rows; None: it would take long, or the database is not to be had just now."""
        prepared = look_up.prepared(self._dialect)
        if not prepared.is_whole:
            return None
        values_in_order = prepared.positional(values)
        try:
            raw = read_briefly(
                self._opened(),
                lambda opened: opened.execute(prepared.text, values_in_order).fetchall(),
                look_up.steps,
            )
        except (TooLong, sqlite3.Error):  # the usual way tells what is wrong
            return None
        return prepared.rows(raw)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._arguments, self._options)
            for pragma in ("query_only=ON", "busy_timeout=0"):
                self._connection.execute(f"PRAGMA {pragma}")
        return self._connection

    def close(self) -> None:
        """Close the connection; the next look-up opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
