"""Many values bound as one: databases bound the number of a statement's variables, not their length.

The values are those of a JSON array. A statement is the same however many there are, so that it can be a
`LookUp` too. SQLite looks each up in an index as long as their type is that of the column.
"""

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def one_of(column: ColumnElement[Any], array: ColumnElement[Any]) -> ColumnElement[bool]:
    """A column is one of the strings of a JSON array."""
    return column.bool_op("IN")(texts(array))


def texts(array: Any) -> ColumnElement[Any]:
    """The strings of a JSON array, for what is behind IN."""
    return _Texts(array)


def one_of_numbers(column: ColumnElement[Any], array: ColumnElement[Any]) -> ColumnElement[bool]:
    """A column is one of the whole numbers of a JSON array."""
    return column.bool_op("IN")(_Numbers(array))


class _Texts(FunctionElement[Any]):
    inherit_cache = True
    on_sqlite = "(SELECT CAST(value AS TEXT) FROM json_each({array}))"
    on_postgresql = "(SELECT jsonb_array_elements_text(CAST({array} AS jsonb)))"


class _Numbers(_Texts):
    inherit_cache = True
    on_sqlite = "(SELECT CAST(value AS INTEGER) FROM json_each({array}))"
    on_postgresql = "(SELECT CAST(jsonb_array_elements_text(CAST({array} AS jsonb)) AS bigint))"


@compiles(_Texts, "sqlite")
@compiles(_Numbers, "sqlite")
def _compile_on_sqlite(element: _Texts, compiler: SQLCompiler, **kw: Any) -> str:
    return element.on_sqlite.format(array=_array(element, compiler, **kw))


@compiles(_Texts)
@compiles(_Numbers)
def _compile_on_postgresql(element: _Texts, compiler: SQLCompiler, **kw: Any) -> str:
    return element.on_postgresql.format(array=_array(element, compiler, **kw))


def _array(element: _Texts, compiler: SQLCompiler, **kw: Any) -> str:
    (array,) = element.clauses
    return compiler.process(array, **kw)
