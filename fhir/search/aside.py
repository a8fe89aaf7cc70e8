"""Columns that SQLite shall not look up by: it has no statistics of values, and would choose a wrong index.

`+column` is what SQLite documents for it; other databases choose for themselves.
"""

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class Aside(FunctionElement[Any]):
    """The column, for comparisons that no index answers."""

    name = "aside"
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(Aside, "sqlite")
def _compile_unary_plus(element: Aside, compiler: SQLCompiler, **kw: Any) -> str:
    return f"+{compiler.process(next(iter(element.clauses)), **kw)}"


@compiles(Aside)
def _compile_plain(element: Aside, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(next(iter(element.clauses)), **kw)


class AsideColumns:
    """The columns of a table, each `Aside`: what holds of rows that were found already."""

    def __init__(self, columns: Any) -> None:
        self._columns = columns

    def __getattr__(self, name: str) -> Aside:
        return Aside(self._columns[name])

    def __getitem__(self, name: str) -> Aside:
        return Aside(self._columns[name])
