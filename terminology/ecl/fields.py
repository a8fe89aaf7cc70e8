"""A field in a JSON object in a column, on both databases (`TerminologyMember.fields`)."""

from typing import Any

from sqlalchemy import ColumnElement, Float, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_NUMBER = "'^-?[0-9]{1,18}(\\.[0-9]{1,18})?$'"


class _TextField(FunctionElement[str]):
    """As text; NULL: it is not there."""

    type = Text()
    inherit_cache = True


class _NumberField(FunctionElement[float]):
    """As a number; NULL: it is none."""

    type = Float()
    inherit_cache = True


def text_in(column: ColumnElement[str], name: str) -> ColumnElement[str]:
    """The text of a field."""
    return _TextField(column, name)


def number_in(column: ColumnElement[str], name: str) -> ColumnElement[float]:
    """The number of a field."""
    return _NumberField(column, name)


@compiles(_TextField, "sqlite")
def _text_on_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    column, name = (compiler.process(each, **options) for each in element.clauses)
    return f"CAST(json_extract({column}, '$.' || {name}) AS TEXT)"


@compiles(_TextField, "postgresql")
def _text_on_postgresql(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    column, name = (compiler.process(each, **options) for each in element.clauses)
    return f"(CAST({column} AS json) ->> CAST({name} AS text))"


@compiles(_NumberField, "sqlite")
def _number_on_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    text = _text_on_sqlite(element, compiler, **options)
    return f"(CASE WHEN {text} GLOB '*[0-9]' AND NOT {text} GLOB '*[^-.0-9]*' THEN CAST({text} AS REAL) END)"


@compiles(_NumberField, "postgresql")
def _number_on_postgresql(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    text = _text_on_postgresql(element, compiler, **options)
    return f"(CASE WHEN {text} ~ {_NUMBER} THEN CAST({text} AS double precision) END)"
