"""Where the content of Binaries lies: in rows of their own beside the resource, in one transaction with it.

The stored resource has no `data`; so searches, histories and indexes never carry it along.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.binaries.content import (
    BINARY,
    CHUNK_BYTES,
    MAX_BINARY_BYTES,
    Part,
    chunks_of,
    decode_data,
    require_media_type,
)
from fhir.interactions.body import text_of, with_members
from fhir.interactions.write import COMPARTMENT, Draft
from fhir.model.json_codec import decode_json
from fhir.model.validation.walker import require_valid
from fhir.search.reach import R
from fhir.tables import BinaryChunk, BinaryContent
from server.kernel.database import UnitOfWork
from server.kernel.faults import TooLarge
from server.kernel.rows import table_of
from server.kernel.uids import new_id

CONTENT, CHUNK = table_of(BinaryContent), table_of(BinaryChunk)


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one version."""

    rid: int
    version_id: int
    length: int
    has_data: bool


def raw_draft(body: bytes, content_type: str, security_context: str | None, resource_id: str | None) -> Draft:
    """The Binary whose content a request sends (R4 binary.html#rest); `X-Security-Context` is its owner.

    Raises:
        InvalidResource: the media type, or the reference.
        TooLarge: more than `MAX_BINARY_BYTES`.
    """
    if len(body) > MAX_BINARY_BYTES:
        raise TooLarge(f"The content is larger than {MAX_BINARY_BYTES} bytes.")
    made = {"resourceType": BINARY, "contentType": require_media_type(content_type)}
    if resource_id is not None:
        made["id"] = resource_id
    resource: dict[str, Any] = dict(made)
    if security_context is not None:
        resource["securityContext"] = {"reference": security_context.strip()}
    require_valid(resource)
    return _with_content(Draft(resource, text_of(resource), resource_id or new_id()), body, has_data=True)


def take_data(draft: Draft) -> Draft:
    """The Binary as it is stored: `data` apart, as bytes.

    Raises:
        InvalidResource: the data is no base64, or `contentType` no media type.
    """
    if draft.beside is not None:  # it came as bytes
        return draft
    require_media_type(draft.resource["contentType"])
    data = draft.resource.get("data")
    text = with_members(draft.text, {"data": None})
    content = b"" if data is None else decode_data(data)
    bare = replace(draft, resource=decode_json(text), text=text)
    return _with_content(bare, content, has_data=data is not None)


def _with_content(draft: Draft, content: bytes, *, has_data: bool) -> Draft:
    async def keep(unit: UnitOfWork, written: Draft, rid: int, version_id: int) -> None:
        named = {"rid": rid, "version_id": version_id}
        row = {**named, "length": len(content), "has_data": has_data}
        await unit.execute(insert(CONTENT), [row])
        for number, chunk in enumerate(chunks_of(content)):
            await unit.execute(insert(CHUNK), [{**named, "number": number, "body": chunk}])
        await _join_compartments(unit, written, rid)

    return replace(draft, beside=keep)


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
        select(c.rid, c.version_id, c.length, c.has_data)
        .join(R, R.c.rid == c.rid)
        .where(R.c.type == BINARY, R.c.id == resource_id, c.version_id == version_id)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Content(*row)


async def read_bytes(connection: AsyncConnection, content: Content, part: Part) -> bytes:
    """Bytes of a content; only the rows that hold them are read."""
    first, last = part.first // CHUNK_BYTES, (part.end - 1) // CHUNK_BYTES
    c = CHUNK.c
    query = (
        select(c.body)
        .where(c.rid == content.rid, c.version_id == content.version_id, c.number.between(first, last))
        .order_by(c.number)
    )
    chunks: Sequence[bytes] = (await connection.execute(query)).scalars().all()
    begin = part.first - first * CHUNK_BYTES
    return b"".join(bytes(chunk) for chunk in chunks)[begin : begin + part.end - part.first]
