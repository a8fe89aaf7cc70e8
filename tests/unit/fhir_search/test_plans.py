"""What SQLite does for a search: where an index can answer, it does."""

from pathlib import Path

from sqlalchemy.dialects.sqlite import dialect

from fhir.interactions.door import AUTHORED
from fhir.search.query import parse_query
from fhir.search.sql import select_page
from server.kernel.access import EVERYONE
from server.kernel.database import Database
from server.migrations import upgrade


async def plan(folder: Path, resource_type: str, *pairs: tuple[str, str]) -> str:
    url = f"sqlite+aiosqlite:///{folder}/plans.db"
    await upgrade(url)
    database = Database(url)
    statement = select_page(parse_query(resource_type, pairs), EVERYONE, AUTHORED, None)
    compiled = statement.compile(dialect=dialect(), compile_kwargs={"render_postcompile": True})
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)).all()
    await database.close()
    return " / ".join(row[3] for row in rows)


async def test_several_ids_are_looked_up(tmp_path: Path) -> None:
    for ids in ("a", "a,b,c"):
        assert "(type=? AND id=?)" in await plan(tmp_path, "Patient", ("_id", ids))
