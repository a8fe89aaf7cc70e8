"""Look-ups: the rows that a read gives, without a hand-over on SQLite, the usual way where it must be."""

from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Integer, LargeBinary, MetaData, String, Table, bindparam, select, text

from server.kernel.database import Database
from server.kernel.look_up import LookUp, QuickReader
from server.kernel.sqlite import SqliteThread

THING = Table(
    "thing",
    MetaData(),
    Column("key", Integer, primary_key=True),
    Column("name", String),
    Column("is_new", Boolean),
    Column("body", LargeBinary),
)
ROWS = [(1, "one", True, b"1"), (2, "two", False, None), (3, None, None, b"")]
SELECT = select(*THING.c).order_by(THING.c.key)
BY_NAME = SELECT.where(THING.c.name == bindparam("name"), THING.c.key < 3)


@pytest.fixture
async def things(database: Database) -> Database:
    async def work(unit: Any) -> None:
        await unit.connection.run_sync(THING.create)
        names = [column.name for column in THING.c]
        await unit.execute(THING.insert(), [dict(zip(names, row, strict=True)) for row in ROWS])

    await database.transact(work)
    return database


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        (SELECT, {}, ROWS),
        (BY_NAME, {"name": "two"}, ROWS[1:2]),
        (BY_NAME, {"name": "three"}, []),
        (SELECT.limit(bindparam("most")), {"most": 1}, ROWS[:1]),
        (SELECT.where(THING.c.key.in_(bindparam("keys", expanding=True))), {"keys": [1, 3]}, ROWS[::2]),
    ],
)
async def test_rows_are_those_of_a_read(
    things: Database, statement: Any, values: dict[str, Any], expected: list[Any]
) -> None:
    look_up = LookUp(statement)
    for _ in range(2):
        found = await things.look_up(look_up, values)
        assert [tuple(row) for row in found] == expected
        assert [(row.name, row.is_new) for row in found] == [row[1:3] for row in expected]


async def test_what_was_committed_is_seen(things: Database) -> None:
    look_up = LookUp(BY_NAME)
    assert await things.look_up(look_up, {"name": "late"}) == []
    await things.transact(lambda unit: unit.execute(text("UPDATE thing SET name = 'late' WHERE key = 1")))
    assert [row.key for row in await things.look_up(look_up, {"name": "late"})] == [1]


async def test_a_missing_value_is_an_error_not_everything(things: Database) -> None:
    with pytest.raises(Exception, match="name"):
        await things.look_up(LookUp(BY_NAME), {})


async def test_short_ones_cost_no_hand_over_and_long_ones_go_the_usual_way(
    things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not things.is_sqlite:
        return
    look_up, handed = LookUp(SELECT), []
    original = SqliteThread._hand_over
    monkeypatch.setattr(
        SqliteThread, "_hand_over", lambda thread, work: handed.append(work) or original(thread, work)
    )
    assert len(await things.look_up(look_up, {})) == len(ROWS)
    assert not handed
    await things.transact(
        lambda unit: unit.execute(
            text(
                "INSERT INTO thing (key, name) WITH RECURSIVE n(x) AS "
                "(SELECT 10 UNION ALL SELECT x + 1 FROM n WHERE x < 5000) SELECT x, 'n' FROM n"
            )
        )
    )
    handed.clear()
    assert len(await things.look_up(look_up, {})) == len(ROWS) + 4991
    assert handed


async def test_it_writes_nothing_and_closes(things: Database) -> None:
    quick = things._quick
    if quick is None:
        return
    with pytest.raises(Exception, match="readonly"):
        quick._opened().execute("DELETE FROM thing")
    quick.close()
    assert len(await things.look_up(LookUp(SELECT), {})) == len(ROWS)
    assert isinstance(quick, QuickReader)
