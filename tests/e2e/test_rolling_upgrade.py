"""A rolling upgrade: the next release starts on the database while this one serves, and then takes over.

The next release is this one with one more revision, as a tree of its own.
"""

import asyncio
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import FileDataset

from server.auth.tokens import issue_token
from server.kernel.database import Database
from server.migrations import HEAD
from tests.services import loopback

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "dicomweb", "fhir", "ai_engine", "terminology")
NEXT = "9000"
LONG_S = 120.0

EXPAND = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{NEXT}", "{HEAD}", None, None


def upgrade() -> None:
    for table in ("study", "instance", "workitem", "fhir_resource", "access_token"):
        if table in sa.inspect(op.get_bind()).get_table_names():
            op.add_column(table, sa.Column("from_the_next_release", sa.String(), nullable=True))
    op.create_table("next_release", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("ix_of_the_next_release", "study", ["from_the_next_release"])
'''


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The source tree of the next release."""
    tree = tmp_path / "next"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    migrations = tree / "server/migrations"
    (migrations / f"versions/{NEXT}_expand.py").write_text(EXPAND)
    text = (migrations / "__init__.py").read_text()
    changed = re.sub(r'^HEAD = "\w+"', f'HEAD = "{NEXT}"', text, flags=re.MULTILINE)
    assert changed != text
    (migrations / "__init__.py").write_text(changed)
    return tree


@pytest.fixture
def releases(
    server_process: Any, next_release: Path, new_postgresql: Callable[[bool], str]
) -> Iterator[tuple[Any, Any]]:
    """This release's server and the next one's, on one database and data folder."""
    url = new_postgresql(True)
    server_process.environment |= {"ISTHMUS_DATABASE_URL": url, "ISTHMUS_DRAIN_S": "1"}
    newer = type(server_process)(server_process.data, dict(server_process.environment))
    newer.environment |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(next_release)}
    authorization = {"Authorization": f"Bearer {asyncio.run(token(url))}"}
    server_process.authorization = newer.authorization = authorization
    yield server_process, newer
    newer.close()


async def token(url: str) -> str:
    database = Database(url)
    try:
        return await issue_token(database, scope="system/*.cruds")
    finally:
        await database.close()


class Load:
    """Stores and reads, each request on a new connection, until it is refused one."""

    def __init__(self, server: Any, kit: Any, datasets: Sequence[FileDataset]) -> None:
        self._server, self._kit, self._datasets = server, kit, datasets
        self.acknowledged: list[str] = []
        self.wrong: list[str] = []
        self.done = threading.Event()

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Whatever happens within, the load ends with it."""
        try:
            yield
        finally:
            self.done.set()

    def run(self) -> None:
        for dataset in self._datasets:
            if self.done.is_set():
                return
            try:
                with loopback.client(
                    self._server.base, headers=self._server.authorization, timeout=LONG_S
                ) as http:
                    stored = self._kit.store(http, [dataset])
                    read = [
                        http.get(path)
                        for path in ("/dicom-web/studies", "/fhir/Patient", "/dicom-web/workitems")
                    ]
            except httpx.TransportError:
                return
            self.wrong += [each.text for each in (stored, *read) if each.status_code != 200]
            if stored.status_code == 200:
                self.acknowledged.append(str(dataset.SOPInstanceUID))


def test_next_release_starts_beside_this_one_and_takes_over(
    releases: tuple[Any, Any], kit: Any, new_chest: Any, postgresql: Any
) -> None:
    this, newer = releases
    this.start("--no-worker")
    studies = [dataset for number in range(6) for dataset in new_chest(f"UPGRADE-{number}")]
    before = Load(this, kit, studies)
    with ThreadPoolExecutor(2) as pool, before.until_the_end():
        running = pool.submit(before.run)
        this.wait_until(lambda: before.acknowledged, LONG_S)
        newer.start("--no-worker")  # applies its revision
        at_upgrade = len(before.acknowledged)
        database = this.environment["ISTHMUS_DATABASE_URL"].rpartition("/")[2]
        assert postgresql.run_sql("SELECT version_num FROM alembic_version", database) == [(NEXT,)]
        this.wait_until(lambda: len(before.acknowledged) > at_upgrade + 5, LONG_S)  # this one goes on
        after = Load(newer, kit, new_chest("UPGRADE-AFTER"))
        running_after = pool.submit(after.run)
        this.process.send_signal(signal.SIGTERM)
        running.result()
        running_after.result()
    assert this.process.wait(LONG_S) == 0
    assert before.wrong + after.wrong == []
    assert len(before.acknowledged) < len(studies)  # it was refused in the end, not finished
    with loopback.client(newer.base, headers=newer.authorization, timeout=LONG_S) as http:
        uids = {str(dataset.StudyInstanceUID) for dataset in studies}
        listed = {uid for study in uids for uid in kit.instances(http, study, "CT")}
    assert set(before.acknowledged) <= listed
    assert len(after.acknowledged) == 60


@pytest.mark.slow
def test_this_release_starts_again_on_the_next_ones_schema(releases: tuple[Any, Any]) -> None:
    this, newer = releases
    newer.start("--no-worker")
    newer.stop()
    this.start("--no-worker")  # a rollback: the schema is newer, and says nothing against it
    with loopback.client(this.base, headers=this.authorization) as http:
        assert http.get("/dicom-web/studies").status_code == 200
    assert this.stop() == 0
