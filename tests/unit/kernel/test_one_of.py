"""Many values as one bound JSON array, on both databases; SQLite uses its index."""

from sqlalchemy import bindparam, column, literal, select, table, text, union_all
from sqlalchemy.dialects import sqlite

from server.kernel.database import Database
from server.kernel.one_of import one_of, one_of_numbers


async def test_texts_and_numbers(database: Database) -> None:
    every = ((1, "a"), (2, "b|\"'"), (300, ""))
    rows = union_all(
        *(select(literal(number).label("number"), literal(name).label("name")) for number, name in every)
    ).subquery()
    names = select(rows.c.number).where(one_of(rows.c.name, bindparam("some")))
    numbers = select(rows.c.name).where(one_of_numbers(rows.c.number, bindparam("some")))
    async with database.read() as connection:
        assert (await connection.scalars(names, {"some": '["b|\\"\'", "z", ""]'})).all() == [2, 300]
        assert (await connection.scalars(names, {"some": "[]"})).all() == []
        assert (await connection.scalars(numbers, {"some": "[1, 7]"})).all() == ["a"]


async def test_each_value_is_looked_up_in_the_index(database: Database) -> None:
    if not database.is_sqlite:
        return  # PostgreSQL has statistics
    t = table("terminology_concept", column("release_id"), column("number"), column("code"))
    query = select(t.c.code).where(t.c.release_id == 1, one_of_numbers(t.c.number, bindparam("some", "[]")))
    sql = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    async with database.read() as connection:
        plan = (await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))).all()
    assert any("release_id=? AND number=?" in row.detail for row in plan)
