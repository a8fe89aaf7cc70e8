"""Secure deletion: of what was deleted no byte is left, in the store or in SQLite; neighbours are whole."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import obstore
import pytest
from sqlalchemy import update

from dicomweb.tables import Instance
from server.kernel.database import Database
from server.kernel.local_store import LocalObjectStore
from server.kernel.object_store import ObjectStore, StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services, StoragePolicy
from server.kernel.tables import ObjectRemoval
from server.workflows.retention.prune import forget_deleted
from server.workflows.storage.pack import pack_settled
from server.workflows.storage.remove import remove_due
from tests.conformance.ps3_18.kit import ct_file, place
from tests.conftest import sqlite_first
from tests.ports.conftest import NewStore, new_store
from tests.unit.deletion.conftest import Archive

__all__ = ["new_store"]

NAMED = "Unforgettable Clinic"  # of which the record keeps nothing


@pytest.fixture
def mark() -> bytes:
    """Bytes that nothing else has, also in the bucket that the tests share."""
    return secrets.token_bytes(16)


@pytest.fixture
async def objects(new_store: NewStore) -> AsyncIterator[ObjectStore]:
    """Every kind of store, in the place of the local one."""
    return new_store()


@pytest.fixture
def archive(services: Services) -> Archive:
    """An archive whose objects are packed and removed as soon as somebody looks."""
    return Archive(replace(services, storage=StoragePolicy(pack_after_s=0, remove_after_s=0)))


def files(study: int, series: int, pixels: bytes, count: int = 3) -> list[bytes]:
    """Files of one series, each with its own pixels and many times the mark."""
    return [
        ct_file(
            place(study=study, series=series, instance=number),
            Rows=64,
            Columns=64,
            InstanceNumber=number,
            InstitutionName=NAMED if study == 1 else "Other Clinic",
            PixelData=pixels * 512,
        )
        for number in range(1, count + 1)
    ]


async def remove_everything_due(archive: Archive) -> None:
    """Let time pass until nothing is left to remove."""
    inner = getattr(archive.services.objects, "inner", archive.services.objects)
    if isinstance(inner, LocalObjectStore):
        inner._leave_journal()  # as after ten minutes
    while await archive.rows(ObjectRemoval):
        due = update(table_of(ObjectRemoval)).values(due_us=0)
        await archive.services.database.transact(lambda unit, due=due: unit.execute(due))
        await remove_due(archive.services)


async def everything_stored(tmp_path: Path, request: pytest.FixtureRequest) -> bytes:
    """All bytes that there are, past our code: files of the local store, every object of the S3 server."""
    found = [path.read_bytes() for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    if "S3" in request.node.callspec.params["new_store"]:
        bucket = request.getfixturevalue("s3").raw()
        listed = [each["path"] for page in obstore.list(bucket) for each in page]
        found += [bytes(obstore.get(bucket, path).bytes()) for path in listed]
    return b"".join(found)


async def read_all(archive: Archive) -> dict[str, bytes]:
    """Every instance that is left, as stored."""
    return {
        row.sop_instance_uid: await archive.services.objects.read(
            StoredRange(row.object_name, row.object_offset, row.object_length)
        )
        for row in await archive.rows(Instance)
    }


@sqlite_first  # the bytes are in files; which are to go, test_races.py asks of both
@pytest.mark.parametrize("packed", [False, True], ids=["as stored", "packed"])
@pytest.mark.parametrize("target", ["study", pytest.param("series", marks=pytest.mark.slow), "instance"])
async def test_no_byte_of_what_was_deleted_is_left(
    archive: Archive, tmp_path: Path, request: pytest.FixtureRequest, mark: bytes, packed: bool, target: str
) -> None:
    gone = files(1, 1, mark)
    kept = [*files(1, 2, b"kept-pixels-one-"), *files(2, 1, b"kept-pixels-two-")]
    if target == "instance":
        gone, more = gone[:1], files(1, 1, b"kept-pixels-too-")[1:]
        kept += more
    if target == "study":
        gone, kept = [*gone, *kept[:3]], kept[3:]
    for pair in zip_longest(gone, kept):  # so that they lie mingled
        for file in filter(None, pair):
            await archive.stow(file)
    sealed = request.node.callspec.params["new_store"].endswith("sealed")
    assert (mark * 8 in await everything_stored(tmp_path, request)) is not sealed
    if packed:
        await pack_settled(archive.services)
        await remove_everything_due(archive)
    where = place(study=1, series=1, instance=1)
    uids = {"study": [where.study], "series": [where.study, where.series]}
    lay_in = {
        (row.object_name, row.object_offset)
        for row in await archive.rows(Instance)
        if row.sop_instance_uid == where.instance
    }

    await archive.delete(*uids.get(target, [where.study, where.series, where.instance]))
    await remove_everything_due(archive)

    assert mark not in await everything_stored(tmp_path, request)
    names = {each.name async for each in archive.services.objects.list_objects()}
    assert not {name for name, _ in lay_in} & names  # sealed or not: where it lay is no more
    assert sorted((await read_all(archive)).values()) == sorted(kept)


async def test_sqlite_keeps_no_trace_of_its_rows(new_sqlite: Any, tmp_path: Path) -> None:
    url = new_sqlite(True)
    database = Database(url)
    objects = LocalObjectStore(tmp_path / "objects")
    archive = Archive(Services(database, objects, Any, "http://testserver"))  # type: ignore[arg-type]  no reads
    for number, file in enumerate(files(1, 1, b"gone", 8)):
        await archive.stow(file, *files(2 + number, 1, b"other", 4))
    folder = Path(url.removeprefix("sqlite+aiosqlite:///"))

    def traces() -> int:
        parts = [folder, folder.with_name(f"{folder.name}-wal")]
        return sum(part.read_bytes().count(b"nforgettable") for part in parts if part.exists())

    assert traces()
    await archive.delete(place().study)
    while await forget_deleted(archive.services):
        pass
    assert traces() == 0
    assert len(await archive.rows(Instance)) == 8 * 4
    await objects.close()
    await database.close()
