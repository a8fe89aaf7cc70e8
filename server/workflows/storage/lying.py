"""Which instances lie where in the object store, and their bytes, proven."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Instance
from server.kernel.object_store import Body, DamagedObject, ObjectStore, SpooledBody, StoredRange
from server.kernel.rows import table_of
from server.kernel.spool import disk_faults

MAX_WHOLE_BYTES = 16 << 20  # a body up to this size is held in memory; a larger one is an object of its own
NAMES_PER_QUERY = 500  # below every database's limit of bound values

_INSTANCE = table_of(Instance)


@dataclass(frozen=True, slots=True)
class Lying:
    """An instance and where it lies."""

    id: int
    series_id: int
    sop_instance_uid: str
    file_sha256: bytes
    stored: StoredRange

    @property
    def is_large(self) -> bool:
        """Whether it is an object of its own wherever it lies."""
        return self.stored.length > MAX_WHOLE_BYTES


async def lying(
    connection: AsyncConnection, *where: ColumnElement[bool], limit: int | None = None
) -> list[Lying]:
    """The instances that a condition selects, in the order of their ids."""
    query = _SELECT.where(*where).limit(limit)
    return [_lying(row) for row in await connection.execute(query)]


async def referred_to(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    """Which of these objects an instance lies in."""
    found: set[str] = set()
    for start in range(0, len(names), NAMES_PER_QUERY):
        some = _INSTANCE.c.object_name.in_(names[start : start + NAMES_PER_QUERY])
        rows = await connection.execute(select(_INSTANCE.c.object_name).where(some).distinct())
        found.update(rows.scalars())
    return found


async def read_proven(objects: ObjectStore, instance: Lying) -> bytes:
    """The bytes of an instance that fits memory.

    Raises:
        DamagedObject: they are not those that were received.
        Busy: they could not be read, or are not there.
    """
    body = await objects.read(instance.stored)
    if await asyncio.to_thread(_digest, body) != instance.file_sha256:
        raise DamagedObject("The digest of the stored bytes is another one than when they were received.")
    return body


async def prove(objects: ObjectStore, instance: Lying) -> None:
    """Read an instance of any size; raises as `read_proven`."""
    digest = sha256()
    async for chunk in objects.stream(instance.stored):
        await asyncio.to_thread(digest.update, chunk)
    if digest.digest() != instance.file_sha256:
        raise DamagedObject("The digest of the stored bytes is another one than when they were received.")


@asynccontextmanager
async def spooled_proven(objects: ObjectStore, instance: Lying) -> AsyncIterator[Body]:
    """The bytes of a large instance in a spooled file, which goes again; raises as `read_proven`."""
    path, digest = objects.spool_path(), sha256()
    try:
        with disk_faults():
            file = await asyncio.to_thread(path.open, "xb")
        with file:
            async for chunk in objects.stream(instance.stored):
                await asyncio.to_thread(digest.update, chunk)
                with disk_faults():
                    await asyncio.to_thread(file.write, chunk)
        if digest.digest() != instance.file_sha256:
            raise DamagedObject("The digest of the stored bytes is another one than when they were received.")
        yield SpooledBody(path, instance.stored.length)
    finally:
        await asyncio.to_thread(Path.unlink, path, True)


def by_series(instances: Iterable[Lying]) -> dict[int, list[Lying]]:
    """The instances by their series."""
    grouped: dict[int, list[Lying]] = {}
    for instance in instances:
        grouped.setdefault(instance.series_id, []).append(instance)
    return grouped


def in_series(series_id: int) -> ColumnElement[bool]:
    """The condition that an instance is of this series."""
    return _INSTANCE.c.series_id == series_id


def in_object(object_name: str) -> ColumnElement[bool]:
    """The condition that an instance lies in this object."""
    return _INSTANCE.c.object_name == object_name


def after(instance_id: int) -> ColumnElement[bool]:
    """The condition that an instance comes after this one."""
    return _INSTANCE.c.id > instance_id


_SELECT: Select[Any] = select(
    _INSTANCE.c.id,
    _INSTANCE.c.series_id,
    _INSTANCE.c.sop_instance_uid,
    _INSTANCE.c.file_sha256,
    _INSTANCE.c.object_name,
    _INSTANCE.c.object_offset,
    _INSTANCE.c.object_length,
).order_by(_INSTANCE.c.id)


def _lying(row: Row[Any]) -> Lying:
    stored = StoredRange(row.object_name, row.object_offset, row.object_length)
    return Lying(row.id, row.series_id, row.sop_instance_uid, row.file_sha256, stored)


def _digest(body: bytes) -> bytes:
    return sha256(body).digest()
