"""Where the content of Binaries lies: in rows of their own beside the resource, in one transaction with it.

The stored resource has no `data`; so searches, histories and indexes never carry it along.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.binaries.content import (
    BINARY,
    CHUNK_BYTES,
    Part,
    chunks_of,
    decode_data,
    require_media_type,
)
from fhir.exchange import Received
from fhir.interactions.body import text_of, with_members
from fhir.interactions.write import COMPARTMENT, Draft
from fhir.model.json_codec import decode_json
from fhir.model.validation.walker import require_valid
from fhir.search.reach import R
from fhir.tables import BinaryChunk, BinaryContent, BinaryUpload
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.uids import new_id

UPLOAD_S = 3_600  # far longer than from the first byte of an upload to the end of its transaction
SWEPT_AT_ONCE = 20

UPLOAD, CONTENT, CHUNK = table_of(BinaryUpload), table_of(BinaryContent), table_of(BinaryChunk)


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one version."""

    number: int  # of its chunks
    length: int
    has_data: bool


def raw_draft(received: Received, headers: Mapping[str, str], resource_id: str | None) -> Draft:
    """The Binary whose content a request sends (R4 binary.html#rest); `X-Security-Context` says whose it is.

    Raises:
        InvalidResource: the media type, or the reference.
    """
    resource: dict[str, Any] = {"resourceType": BINARY}
    if resource_id is not None:
        resource["id"] = resource_id
    resource["contentType"] = require_media_type(headers["content-type"])
    if (context := headers.get("x-security-context")) is not None:
        resource["securityContext"] = {"reference": context.strip()}
    require_valid(resource)
    draft = Draft(resource, text_of(resource), resource_id or new_id())
    return _with_content(draft, received, has_data=True)


def take_data(draft: Draft) -> Draft:
    """The Binary as it is stored: `data` apart, as bytes.

    Raises:
        InvalidResource: the data is no base64, or `contentType` no media type.
    """
    if draft.beside is not None:  # it came as bytes
        return draft
    require_media_type(draft.resource.get("contentType", ""))  # it may have an extension only
    data = draft.resource.get("data")
    text = with_members(draft.text, {"data": None})
    content = b"" if data is None else decode_data(data)
    bare = replace(draft, resource=decode_json(text), text=text)
    return _with_content(bare, Received(len(content), content), has_data=data is not None)


def _with_content(draft: Draft, received: Received, *, has_data: bool) -> Draft:
    async def keep(unit: UnitOfWork, written: Draft, rid: int, version_id: int) -> None:
        number = received.upload
        if number is None:
            number = await begin_upload(unit)
        stored = (received.length - len(received.rest)) // CHUNK_BYTES
        await add_chunks(unit, number, stored, received.rest)
        ended = await unit.execute(delete(UPLOAD).where(UPLOAD.c.number == number))
        if ended.rowcount != 1:
            raise Busy("The content was received too long ago; send it again.")
        row = {"rid": rid, "version_id": version_id, "content": number}
        await unit.execute(insert(CONTENT), [{**row, "length": received.length, "has_data": has_data}])
        await _join_compartments(unit, written, rid)

    return replace(draft, beside=keep)


async def begin_upload(unit: UnitOfWork) -> int:
    """The number of a new content."""
    statement = insert(UPLOAD).values(begun_us=unit.now_us).returning(UPLOAD.c.number)
    number: int = (await unit.execute(statement)).scalar_one()
    return number


async def add_chunks(unit: UnitOfWork, number: int, first: int, content: bytes) -> None:
    """More of a content, from its chunk `first` on."""
    for at, chunk in enumerate(chunks_of(content), first):
        await unit.execute(insert(CHUNK), [{"content": number, "number": at, "body": chunk}])


async def sweep_uploads(services: Services) -> int:
    """Drop contents that nobody took within `UPLOAD_S`; returns how many."""

    async def work(unit: UnitOfWork) -> int:
        before_us = unit.now_us - UPLOAD_S * SECOND_US
        old = select(UPLOAD.c.number).where(UPLOAD.c.begun_us < before_us)
        numbers = (await unit.execute(old.order_by(UPLOAD.c.begun_us).limit(SWEPT_AT_ONCE))).scalars().all()
        if numbers:
            await unit.execute(delete(UPLOAD).where(UPLOAD.c.number.in_(numbers)))
            await unit.execute(delete(CHUNK).where(CHUNK.c.content.in_(numbers)))
        return len(numbers)

    return await services.database.transact(work)


async def _join_compartments(unit: UnitOfWork, written: Draft, rid: int) -> None:
    """A Binary is part of the record that its security context is part of when it is written.

    One whose context is a Patient says so itself.
    """
    reference = written.resource.get("securityContext", {}).get("reference", "")
    resource_type, _, resource_id = reference.rpartition("/")
    if resource_type in ("", "Patient"):
        return
    c = COMPARTMENT.c
    known = select(c.patient_id).where(c.rid == rid)
    mine = set((await unit.execute(known)).scalars())
    context = (
        select(c.patient_id)
        .join(R, R.c.rid == c.rid)
        .where(R.c.type == resource_type, R.c.id == resource_id, ~R.c.deleted)
    )
    theirs = set((await unit.execute(context)).scalars()) - mine
    if theirs:
        await unit.execute(insert(COMPARTMENT), [{"rid": rid, "patient_id": each} for each in sorted(theirs)])


async def find_content(connection: AsyncConnection, resource_id: str, version_id: int) -> Content | None:
    """The content of a version; None: it is not there any more."""
    c = CONTENT.c
    query = (
        select(c.content, c.length, c.has_data)
        .join(R, R.c.rid == c.rid)
        .where(R.c.type == BINARY, R.c.id == resource_id, c.version_id == version_id)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Content(*row)


async def read_bytes(database: Database, content: Content, part: Part) -> AsyncIterator[bytes]:
    """Bytes of a content, a chunk at a time; only the rows that hold them are read.

    Raises:
        Busy: the database is gone, or the content is by now.
    """
    c = CHUNK.c
    for number in range(part.first // CHUNK_BYTES, -(-part.end // CHUNK_BYTES)):
        query = select(c.body).where(c.content == content.number, c.number == number)
        async with database.read() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        if body is None:
            raise Busy("The content was deleted while it was read.")
        begins = number * CHUNK_BYTES
        yield bytes(body)[max(0, part.first - begins) : part.end - begins]
