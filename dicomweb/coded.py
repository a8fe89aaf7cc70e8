"""Bodies of text in the content coding that was negotiated (RFC 9110 §8.4); never pixel data."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from dicomweb.answer import Answer
from dicomweb.wire.content_coding import Coding, encode, new_encoder

MIN_CODED_BYTES = 1024  # a shorter body fits one packet as it is
INLINE_BYTES = 64 << 10  # coded on the event loop: a fraction of a millisecond; more goes to a thread

VARY = {"Vary": "Accept, Accept-Encoding, Authorization"}


async def coded_answer(
    body: bytes | AsyncIterator[bytes], headers: Mapping[str, str], coding: Coding
) -> Answer:
    """A body with its content coding, which it goes without when it is short."""
    fields = {**VARY, **headers}
    if coding is Coding.IDENTITY or (isinstance(body, bytes) and len(body) < MIN_CODED_BYTES):
        return Answer(body, fields)
    fields["Content-Encoding"] = coding.value
    if not isinstance(body, bytes):
        return Answer(_coded(body, coding), fields)
    if len(body) <= INLINE_BYTES:
        return Answer(encode(body, coding), fields)
    return Answer(await asyncio.to_thread(encode, body, coding), fields)


def coded_tag(entity_tag: str, coding: Coding) -> str:
    """The entity tag of a representation in a coding: each has its own (RFC 9110 §8.8.3.3)."""
    if coding is Coding.IDENTITY:
        return entity_tag
    return f'{entity_tag[:-1]}-{coding.value}"'


async def _coded(chunks: AsyncIterator[bytes], coding: Coding) -> AsyncIterator[bytes]:
    encoder = new_encoder(coding)
    async for chunk in chunks:
        if data := await asyncio.to_thread(encoder.compress, chunk):
            yield data
    yield encoder.flush()
