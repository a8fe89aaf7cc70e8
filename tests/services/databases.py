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
_OURS = "FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
_SHAPE = f"""
SELECT count(*), to_regclass('alembic_version') IS NOT NULL FROM pg_attribute
WHERE attnum > 0 AND NOT attisdropped AND attrelid IN (SELECT oid {_OURS})
"""
_END_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_RESTART = """
SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) > 0
"""


@dataclass(slots=True)
class DatabasePool:
    """The databases of one cluster, with a connection to each that stays open: a new one is dear."""

    cluster: Cluster
    _free: list[str] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _shape: tuple[int, str] = (0, "")
    _filled: str = ""  # a query: the names of tables with rows
    _connections: "dict[str, psycopg.Connection[tuple[object, ...]]]" = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the template."""
        self.cluster.run_sql(f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(upgrade(self.cluster.url(TEMPLATE)))
        with self._connect(TEMPLATE) as connection:
            self._shape = _shape_of(connection)
            names = [str(name) for (name,) in connection.execute(f"SELECT relname {_OURS}")]
            asked = [
                SQL("SELECT {}::text WHERE EXISTS (SELECT FROM {})").format(name, Identifier(name))
                for name in names
                if name != "alembic_version"
            ]
            self._filled = SQL(" UNION ALL ").join(asked).as_string(connection)

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
        if name not in self._connections:
            self._connections[name] = self._connect(name)
        connection = self._connections[name]
        connection.execute(_END_OTHERS)
        if _shape_of(connection) == self._shape:
            self._empty(connection)
            self._free.append(name)
        else:
            self._connections.pop(name).close()
            self.cluster.run_sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _empty(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        filled = [Identifier(str(name)) for (name,) in connection.execute(self._filled)]
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")  # no order of foreign keys
            for name in filled:
                connection.execute(SQL("DELETE FROM {}").format(name))
        connection.execute(_RESTART)

    def close(self) -> None:
        """Close the connections; the databases go with their cluster."""
        for connection in self._connections.values():
            connection.close()

    def _connect(self, name: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1", port=self.cluster.port, user="postgres", dbname=name, autocommit=True
        )


def _shape_of(connection: "psycopg.Connection[tuple[object, ...]]") -> tuple[int, str]:
    """How many columns there are, and the revision; both differ after what tests do to schemas."""
    ((columns, has_revision),) = connection.execute(_SHAPE).fetchall()
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has_revision else None
    return int(str(columns)), str(found)
