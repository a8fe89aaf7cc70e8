"""The images a workitem names, read from the store and checked against their digests."""

import asyncio
import hashlib
from collections.abc import Sequence
from io import BytesIO

from pydicom import Dataset, dcmread
from sqlalchemy import RowMapping, select

from dicomweb.tables import Instance
from dicomweb.worklist.workitem import Claim
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.object_store import DamagedObject, StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services

READS_AT_ONCE = 8  # a store across a network answers late; more only pile up before the parser
UIDS_PER_QUERY = 500  # below every database's limit of bound values

_INSTANCE = table_of(Instance)


class InputGone(Fault):
    """Instances that the workitem names are not in the archive any more."""

    kind = FaultKind.GONE


class InputDamaged(DamagedObject):
    """Stored bytes of an input instance are not those that were received."""


async def load_input(services: Services, claim: Claim) -> list[Dataset]:
    """The instances of the claimed workitem as data sets with their pixel data, in the order it names them.

    Raises:
        InputGone: one of them was deleted.
        InputDamaged: the bytes of one of them differ from what was received.
    """
    uids = [uid for series in claim.input for uid in series.sop_instance_uids]
    rows = {row["sop_instance_uid"]: row for row in await _rows(services.database, uids)}
    if len(rows) < len(uids):
        raise InputGone(f"{len(uids) - len(rows)} of {len(uids)} input instances are not stored any more.")
    return await _read_all(services, [rows[uid] for uid in uids])


async def _rows(database: Database, uids: Sequence[str]) -> list[RowMapping]:
    c = _INSTANCE.c
    columns = (c.sop_instance_uid, c.object_name, c.object_offset, c.object_length, c.file_sha256)
    rows: list[RowMapping] = []
    async with database.read() as connection:
        for start in range(0, len(uids), UIDS_PER_QUERY):
            query = select(*columns).where(c.sop_instance_uid.in_(uids[start : start + UIDS_PER_QUERY]))
            rows.extend((await connection.execute(query)).mappings())
    return rows


async def _read_all(services: Services, rows: Sequence[RowMapping]) -> list[Dataset]:
    """The instances of the rows, in their order, a few read at once."""
    gate = asyncio.Semaphore(READS_AT_ONCE)

    async def read(row: RowMapping) -> Dataset:
        async with gate:
            return await _read(services, row)

    tasks = [asyncio.create_task(read(row)) for row in rows]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # those still under way when one has failed


async def _read(services: Services, row: RowMapping) -> Dataset:
    stored = StoredRange(row["object_name"], row["object_offset"], row["object_length"])
    body = await services.objects.read(stored)
    return await asyncio.to_thread(_parse, body, row["file_sha256"], row["sop_instance_uid"])


def _parse(body: bytes, digest: bytes, sop_instance_uid: str) -> Dataset:
    if hashlib.sha256(body).digest() != digest:
        raise InputDamaged(f"The stored bytes of {sop_instance_uid} are not those received.")
    return dcmread(BytesIO(body))
