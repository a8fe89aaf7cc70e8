"""Fixtures that every test may use: real databases and a real object store, each test its own.

What touches SQL asks for `database_url`, `database` or `services` and so runs on SQLite and on PostgreSQL.
"""

import asyncio
import gc
import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import structlog

from server.kernel.database import Database
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from server.migrations import upgrade
from tests.services.databases import DatabasePool
from tests.services.postgresql import Cluster, cluster
from tests.services.redis import RedisServer, redis_server
from tests.services.s3 import S3Server, s3_server

# Before garbage is looked for, as in the server: at Python's 700, a third of collecting twelve thousand tests
# goes into that.
gc.set_threshold(50_000)

BACKENDS = ("sqlite", "postgresql")
# For long tests of what no SQL is in that other tests do not run on both.
sqlite_first = pytest.mark.parametrize(
    "new_database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
# For tests with servers as processes of their own (tests/e2e): once with each database.
on_both_databases = pytest.mark.parametrize("server_database", BACKENDS, indirect=True)
NewDatabase = Callable[[bool], str]  # the URL of a new database, with the newest schema or empty


def pytest_collection_finish() -> None:
    """What is there by now stays: no test need look through the others for garbage."""
    gc.freeze()


READABLE_LOGS = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.dev.set_exc_info,
    structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
)


@pytest.fixture(autouse=True)
def readable_logs() -> None:
    """By default structlog shows the variables of each frame of a traceback, which takes it seconds."""
    structlog.configure(processors=list(READABLE_LOGS))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """One PostgreSQL cluster for the tests of this process, started by the first that asks."""
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_databases(postgresql: Cluster) -> Iterator[DatabasePool]:
    """The databases of the cluster."""
    pool = DatabasePool(postgresql)
    pool.prepare()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the newest schema."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One S3 server for the tests of this process."""
    with s3_server() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis server, which a test may kill, hang and start again."""
    with redis_server() as server:
        yield server


_numbers = itertools.count(1)


@pytest.fixture
def new_postgresql(postgresql_databases: DatabasePool) -> Iterator[NewDatabase]:
    """Gives databases of the cluster, which go back with the test."""
    taken: list[str] = []

    def take(has_schema: bool) -> str:
        taken.append(postgresql_databases.take(has_schema=has_schema))
        return postgresql_databases.cluster.url(taken[-1])

    yield take
    for name in taken:
        postgresql_databases.give_back(name)


@pytest.fixture
def new_sqlite(sqlite_template: Path, tmp_path: Path) -> NewDatabase:
    """Makes SQLite databases in the test's folder."""

    def make(has_schema: bool) -> str:
        path = tmp_path / f"isthmus-{next(_numbers)}.db"
        if has_schema:
            shutil.copy(sqlite_template, path)
        return f"sqlite+aiosqlite:///{path}"

    return make


@pytest.fixture(params=BACKENDS)
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Makes databases of one kind; a test that asks runs once with each kind."""
    make: Any = request.getfixturevalue(f"new_{request.param}")
    return make  # type: ignore[no-any-return]


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """The URL of a database with the newest schema and nothing in it."""
    return new_database(True)


@pytest.fixture
def empty_database_url(new_database: NewDatabase) -> str:
    """The URL of a database without a schema."""
    return new_database(False)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the newest schema."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
    """An empty object store on local disk."""
    store = LocalObjectStore(tmp_path / "objects")
    yield store
    await store.close()


@pytest.fixture
def services(database: Database, objects: LocalObjectStore) -> Services:
    """The floor's services over the test's database and store."""
    return Services(database, objects, ReadAudit(database), "http://testserver")


@pytest.fixture(scope="session")
def as_r4b() -> Callable[[dict[str, Any]], Any]:
    """The R4B models, a second judge: parses a resource by that of its type, which raises to refuse it."""
    from fhir.model.json_codec import encode_json

    def parse(resource: dict[str, Any]) -> Any:
        kind = resource["resourceType"]
        model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        return model.model_validate_json(encode_json(resource))

    return parse
