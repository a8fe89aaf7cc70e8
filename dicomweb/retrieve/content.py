"""Stored bytes on their way out, with their digest proven first where they fit in memory."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from hashlib import sha256

from dicomweb.answer import Answer
from dicomweb.retrieve.locate import Located
from dicomweb.wire.multipart import Part, PartHead, content_type, message_length, stream
from dicomweb.wire.negotiation import Representation
from server.kernel.object_store import DamagedObject, ObjectStore, StoredRange
from server.kernel.uids import new_secret

MAX_WHOLE_BYTES = 16 << 20  # an object up to this size is read and proven before its first byte leaves
MAX_JOINED_BYTES = 1 << 20  # a message up to this size goes out in one piece, which costs the server less


async def read_whole(objects: ObjectStore, located: Located) -> bytes:
    """The file of an instance, proven.

    Raises:
        DamagedObject: the digest differs; the file must not be used.
    """
    body = await objects.read(located.stored)
    if await asyncio.to_thread(_digest, body) != located.file_sha256:
        raise DamagedObject("A stored instance is damaged and is not delivered.")
    return body


async def read_ranges(objects: ObjectStore, ranges: Sequence[StoredRange]) -> bytes:
    """Some ranges, joined."""
    if len(ranges) == 1:
        return await objects.read(ranges[0])
    return b"".join([await objects.read(each) for each in ranges])


async def file_content(objects: ObjectStore, located: Located) -> bytes | AsyncIterator[bytes]:
    """The file of an instance, proven and whole; a large one in chunks that break off if it is damaged."""
    if located.stored.length <= MAX_WHOLE_BYTES:
        return await read_whole(objects, located)
    return _proving(objects, located)


async def multipart_answer(
    parts: AsyncIterator[Part], heads: Sequence[PartHead], media_type: str, headers: dict[str, str]
) -> Answer:
    """A multipart/related answer; `heads` are those of `parts`.

    The first part is read before this returns, so what is wrong with it still becomes a status.
    """
    boundary = new_secret()
    fields = {"Content-Type": content_type(media_type, boundary), **headers}
    length = message_length(boundary, heads)
    chunks = stream(boundary, parts)
    if length is not None and length <= MAX_JOINED_BYTES:
        return Answer(b"".join([chunk async for chunk in chunks]), fields)
    if length is not None:
        fields["Content-Length"] = str(length)
    return Answer(await _primed(chunks), fields)


def single_answer(content: bytes | AsyncIterator[bytes], head: PartHead, headers: dict[str, str]) -> Answer:
    """An answer whose body is the content itself."""
    fields = {"Content-Type": head.content_type, **headers}
    if head.length is not None:
        fields["Content-Length"] = str(head.length)
    return Answer(content, fields)


def heads_of(located: Iterable[Located], representation: Representation) -> list[PartHead]:
    """The part headers of whole files, each with its own transfer syntax."""
    return [
        PartHead(representation.content_type(each.transfer_syntax_uid), each.stored.length)
        for each in located
    ]


async def _proving(objects: ObjectStore, located: Located) -> AsyncIterator[bytes]:
    digest = sha256()
    async for chunk in objects.stream(located.stored):
        await asyncio.to_thread(digest.update, chunk)
        yield chunk
    if digest.digest() != located.file_sha256:
        raise DamagedObject("A stored instance is damaged; its delivery was broken off.")


async def _primed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    first = await anext(chunks)

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_chunks()


def _digest(body: bytes) -> bytes:
    return sha256(body).digest()
