"""Numbers of concepts, and strings, that stand in a JSON array, as rows of a statement."""

from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, cast, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from server.kernel.rows import table_of
from terminology.tables import TerminologyConcept

CONCEPT = table_of(TerminologyConcept)


class _Each(FunctionElement[str]):
    """The elements of a JSON array, in the column `value`."""

    name = "each_number"
    inherit_cache = True


@compiles(_Each, "sqlite")
def _on_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Each, "postgresql")
def _on_postgresql(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS json))"


def numbers_in(array: ColumnElement[str]) -> Select[Any]:
    """The numbers in a JSON array, which is a literal or a parameter."""
    each = _Each(array).table_valued("value")
    return select(cast(each.c.value, Integer).label("number"))


def strings_in(array: ColumnElement[str]) -> Select[Any]:
    """The strings in a JSON array, which is a literal or a parameter."""
    each = _Each(array).table_valued("value")
    return select(each.c.value)


def above(release_id: int, numbers: Select[Any], *, parents_only: bool = False) -> Select[Any]:
    """The numbers of all concepts above some (not those themselves, unless one lies above another)."""
    c = CONCEPT.c
    each = _Each(c.parents if parents_only else c.ancestors).table_valued("value")
    number = cast(each.c.value, Integer).label("number")
    of_some = (c.release_id == release_id) & c.number.in_(numbers)
    return select(number).select_from(CONCEPT.join(each, true())).where(of_some).distinct()
