"""Databases for tests: made once from a template, emptied and handed out again.

Making a PostgreSQL database copies hundreds of files; deleting a test's few rows costs a few milliseconds.
"""

import asyncio
import itertools
from dataclasses import dataclass, field

import psycopg
from psycopg.sql import SQL, Identifier

from server.migrations import upgrade
from tests.services.postgresql import Cluster

TEMPLATE = "isthmus_template"  # has the newest schema
_TABLES = SQL(
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
)
_COLUMNS = SQL("SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'")


@dataclass(slots=True)
class DatabasePool:
    """The databases of one cluster."""

    cluster: Cluster
    _free: list[str] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _shape: tuple[int, str] = (0, "")

    def prepare(self) -> None:
        """Make the template."""
        self.cluster.run_sql(f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(upgrade(self.cluster.url(TEMPLATE)))
        with self._connect(TEMPLATE) as connection:
            self._shape = _shape_of(connection)

    def take(self, *, has_schema: bool) -> str:
        """The name of a database with the newest schema and no rows, or of one without a schema."""
        if has_schema and self._free:
            return self._free.pop()
        name = f"test_{next(self._numbers)}"
        template = TEMPLATE if has_schema else "template0"
        self.cluster.run_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def give_back(self, name: str) -> None:
        """Empty a database for the next test; drop it when a test has changed its schema."""
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'"
        self.cluster.run_sql(ended.format(name))
        with self._connect(name) as connection:
            is_as_made = _shape_of(connection) == self._shape
            if is_as_made:
                _empty(connection)
        if is_as_made:
            self._free.append(name)
        else:
            self.cluster.run_sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _connect(self, name: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1", port=self.cluster.port, user="postgres", dbname=name, autocommit=True
        )


def _shape_of(connection: "psycopg.Connection[tuple[object, ...]]") -> tuple[int, str]:
    """How many columns there are, and the revision; both differ after what tests do to schemas."""
    ((columns,),) = connection.execute(_COLUMNS).fetchall()
    has_revision = connection.execute("SELECT to_regclass('alembic_version')").fetchone() != (None,)
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has_revision else None
    return int(str(columns)), str(found)


def _empty(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    names = [str(name) for (name,) in connection.execute(_TABLES) if name != "alembic_version"]
    asked = [
        SQL("SELECT {}::text WHERE EXISTS (SELECT FROM {})").format(name, Identifier(name)) for name in names
    ]
    filled = [str(name) for (name,) in connection.execute(SQL(" UNION ALL ").join(asked))]
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # no order of foreign keys
        for name in filled:
            connection.execute(SQL("DELETE FROM {}").format(Identifier(name)))
    connection.execute("SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence")
