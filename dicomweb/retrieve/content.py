"""Stored bytes on their way out, with their digest proven first where they fit in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from dicomweb.answer import Answer
from dicomweb.retrieve.locate import Located
from dicomweb.retrieve.proof import proof_of
from dicomweb.retrieve.request import RetrieveRequest
from dicomweb.wire.multipart import Part, PartHead, content_type, message_length, stream
from dicomweb.wire.negotiation import Representation
from server.kernel.object_store import READ_CHUNK_BYTES, DamagedObject, ObjectStore, StoredRange
from server.kernel.uids import new_secret

MAX_WHOLE_BYTES = 16 << 20  # an object up to this size is read and proven before its first byte leaves
IN_PLACE_BYTES = 2 << 20  # proven where it is, in a tenth of a millisecond; more goes to a thread
MAX_JOINED_BYTES = 1 << 20  # a message up to this size goes out in one piece, which costs the server less

Body = bytes | AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class SinglePart:
    """A content that is the whole body of an answer, read when it is known what of it is sent."""

    head: PartHead  # with its length
    entity_tag: str  # a strong one: ranges are asked of these very bytes
    whole: Callable[[], Awaitable[Body]]
    part: Callable[[int, int], Awaitable[Body]] | None = None  # (start, count); None: only whole


async def read_whole(objects: ObjectStore, located: Located) -> bytes:
    """The file of an instance, proven.

    Raises:
        DamagedObject: the digest differs; the file must not be used.
    """
    body = await objects.read(located.stored)
    proof = proof_of(located)
    if len(body) <= IN_PLACE_BYTES and proof.is_fast:
        proof.update(body)
    else:
        await asyncio.to_thread(proof.update, body)
    if not proof.holds:
        raise DamagedObject("A stored instance is damaged and is not delivered.")
    return body


async def read_ranges(objects: ObjectStore, ranges: Sequence[StoredRange]) -> bytes:
    """Some ranges, joined."""
    if len(ranges) == 1:
        return await objects.read(ranges[0])
    return b"".join([await objects.read(each) for each in ranges])


async def file_content(objects: ObjectStore, located: Located) -> Body:
    """The file of an instance, proven and whole; a large one in chunks that break off if it is damaged."""
    if located.stored.length <= MAX_WHOLE_BYTES:
        return await read_whole(objects, located)
    return _proving(objects, located)


async def file_part(objects: ObjectStore, located: Located, start: int, count: int) -> Body:
    """A part of the file of an instance; what is only a part cannot be proven."""
    stored = located.stored.part(start, count)
    return await objects.read(stored) if count <= READ_CHUNK_BYTES else objects.stream(stored)


async def multipart_answer(
    parts: AsyncIterator[Part],
    heads: Sequence[PartHead],
    media_type: str,
    headers: dict[str, str],
    *,
    is_head: bool = False,
) -> Answer:
    """A multipart/related answer; `heads` are those of `parts`. `is_head`: nothing is read for it.

    The first part is read before this returns, so what is wrong with it still becomes a status.
    """
    boundary = new_secret()
    fields = {"Content-Type": content_type(media_type, boundary), **headers}
    length = message_length(boundary, heads)
    return await streamed_answer(stream(boundary, parts), length, fields, is_head=is_head)


async def streamed_answer(
    chunks: AsyncIterator[bytes], length: int | None, headers: dict[str, str], *, is_head: bool
) -> Answer:
    """An answer of `length` bytes, its first chunk read before this returns; a short one in one piece."""
    if not is_head and length is not None and length <= MAX_JOINED_BYTES:
        return Answer(b"".join([chunk async for chunk in chunks]), headers)
    if length is not None:
        headers = {**headers, "Content-Length": str(length)}
    return Answer(nothing() if is_head else await _primed(chunks), headers)


async def single_part_answer(request: RetrieveRequest, content: SinglePart) -> Answer:
    """An answer whose body is the content itself, or the range of it that was asked for (RFC 9110 §14).

    Raises:
        RangeNotSatisfiable: the range lies outside the content.
    """
    length = content.head.length or 0
    asked = request.asked_range(length, content.entity_tag) if content.part else None
    fields = {
        "Content-Type": content.head.content_type,
        "Content-Length": str(asked.length if asked else length),
        "ETag": content.entity_tag,
        "Accept-Ranges": "bytes" if content.part else "none",
    }
    if request.is_head:
        return Answer(nothing(), fields)
    if asked is None or content.part is None:
        return Answer(await content.whole(), fields)
    fields["Content-Range"] = asked.content_range(length)
    return Answer(await content.part(asked.start, asked.length), fields, HTTPStatus.PARTIAL_CONTENT)


def single_answer(content: Body, head: PartHead, headers: dict[str, str]) -> Answer:
    """An answer whose body is a content that was made for it, of which no ranges are answered."""
    fields = {"Content-Type": head.content_type, **headers}
    if head.length is not None:
        fields["Content-Length"] = str(head.length)
    return Answer(content, fields)


async def nothing() -> AsyncIterator[bytes]:
    """The body of an answer to HEAD, whose head may tell the length of another."""
    return
    yield


def heads_of(located: Iterable[Located], representation: Representation) -> list[PartHead]:
    """The part headers of whole files, each with its own transfer syntax.

    How long a file is over which something lies is not known before it is made.
    """
    return [
        PartHead(
            representation.content_type(each.transfer_syntax_uid),
            each.stored.length if each.overlay is None else None,
        )
        for each in located
    ]


async def _proving(objects: ObjectStore, located: Located) -> AsyncIterator[bytes]:
    proof = proof_of(located)
    async for chunk in objects.stream(located.stored):
        if proof.is_fast:
            proof.update(chunk)
        else:
            await asyncio.to_thread(proof.update, chunk)
        yield chunk
    if not proof.holds:
        raise DamagedObject("A stored instance is damaged; its delivery was broken off.")


async def _primed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    first = await anext(chunks)

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_chunks()
