"""Taking in the content of a Binary: in memory while it is short, else chunk by chunk into the database.

So a large one needs no memory and holds up no writer. What never becomes a version's content is swept
(`fhir/binaries/stored.py`).
"""

from collections.abc import AsyncIterable

from fhir.binaries.content import CHUNK_BYTES, MAX_BINARY_BYTES
from fhir.binaries.stored import add_chunks, begin_upload
from fhir.exchange import Received
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import TooLarge

CHUNKS_AT_ONCE = 4  # of one transaction


async def receive_content(database: Database, pieces: AsyncIterable[bytes]) -> Received:
    """The content that the pieces of a body make.

    Raises:
        TooLarge: more than `MAX_BINARY_BYTES`.
        Busy, StorageFull: the database.
    """
    buffer, upload, stored = bytearray(), None, 0
    async for piece in pieces:
        buffer += piece
        if stored * CHUNK_BYTES + len(buffer) > MAX_BINARY_BYTES:
            raise TooLarge(f"The content is larger than {MAX_BINARY_BYTES} bytes.")
        while len(buffer) >= CHUNKS_AT_ONCE * CHUNK_BYTES:
            some = bytes(buffer[: CHUNKS_AT_ONCE * CHUNK_BYTES])
            del buffer[: len(some)]
            upload = await _store(database, upload, stored, some)
            stored += CHUNKS_AT_ONCE
    return Received(stored * CHUNK_BYTES + len(buffer), bytes(buffer), upload)


async def _store(database: Database, upload: int | None, first: int, content: bytes) -> int:
    async def work(unit: UnitOfWork) -> int:
        number = await begin_upload(unit) if upload is None else upload
        await add_chunks(unit, number, first, content)
        return number

    return await database.transact(work)
