"""Many values bound as one: databases bound the number of a statement's variables, not their length.

The values are text in a JSON array. A statement is the same however many there are.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class OneOf(FunctionElement[bool]):
    """A column is one of the strings of a JSON array."""

    name = "one_of"
    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], array: ColumnElement[Any]) -> None:
        super().__init__(column, array)


@compiles(OneOf, "sqlite")
def _compile_json_each(element: OneOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, array = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({array}))"  # noqa: S608  both were compiled


@compiles(OneOf)
def _compile_jsonb(element: OneOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, array = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} IN (SELECT jsonb_array_elements_text(CAST({array} AS jsonb)))"
