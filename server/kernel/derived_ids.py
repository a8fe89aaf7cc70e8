"""`server.kernel.uids.derived_id` in SQL: the id that belongs to a column's value.

SQLite calls the function itself (`server/kernel/sqlite.py`); PostgreSQL makes the same of its own functions.
"""

from typing import Any

from sqlalchemy import ColumnElement, String, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class DerivedId(FunctionElement[str]):
    """The id that belongs to `kind` and the value of a column; `kind` is ours, and part of the SQL's text."""

    name = "derived_id"
    inherit_cache = True
    type = String()

    def __init__(self, kind: str, column: ColumnElement[Any]) -> None:
        if not kind.replace("-", "").isalpha():
            raise ValueError(kind)
        super().__init__(literal_column(f"'{kind}'"), column)


@compiles(DerivedId, "sqlite")
def _compile_call(element: DerivedId, compiler: SQLCompiler, **kw: Any) -> str:
    return f"derived_id({', '.join(compiler.process(each, **kw) for each in element.clauses)})"


@compiles(DerivedId)
def _compile_bytes(element: DerivedId, compiler: SQLCompiler, **kw: Any) -> str:
    """The first half of the digest as a UUID of version 4 (RFC 9562 §4.1, §4.2)."""
    kind, column = (compiler.process(each, **kw) for each in element.clauses)
    named = f"{kind}::bytea || '\\x00'::bytea || convert_to({column}, 'UTF8')"
    digest = f"substring(sha256({named}) FROM 1 FOR 16)"
    version = f"set_byte({digest}, 6, (get_byte({digest}, 6) & 15) | 64)"
    variant = f"set_byte({version}, 8, (get_byte({digest}, 8) & 63) | 128)"
    return f"encode({variant}, 'hex')::uuid::text"
