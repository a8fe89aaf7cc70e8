"""The body of a Store request as parts, while it arrives (PS3.18 10.5.2).

Also taken, beyond the text: one DICOM file as the whole body, `Content-Type: application/dicom`. Of a request
of metadata and bulk data (`dicomweb/store/metadata_request.py`) come the files that are made of them.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping

from dicomweb.store.metadata_request import READERS, ReadPng, files_of
from dicomweb.store.receive import ReceivedPart
from dicomweb.wire.faults import MultipartFault, UnsupportedContentType
from dicomweb.wire.media_types import parse_media_type
from dicomweb.wire.multipart_reader import MultipartRelatedReader, PartBegin, PartData, PartEvent
from dicomweb.wire.negotiation import DICOM

NewPart = Callable[[], ReceivedPart]


def read_request(
    content_type: str | None, chunks: AsyncIterable[bytes], new_part: NewPart, read_png: ReadPng
) -> AsyncIterator[ReceivedPart]:
    """The parts of the body, each complete; the receiver discards them.

    Raises:
        UnsupportedContentType: the body is neither one DICOM file nor multipart/related of a type taken.
        MultipartFault: the body is not what its Content-Type says; also while it is read.
    """
    media_type = parse_media_type(content_type or "")
    if media_type is not None and media_type.name == DICOM:
        return _single(chunks, new_part)
    reader = MultipartRelatedReader(content_type)
    if reader.part_type is not None and reader.part_type in READERS:
        return files_of(reader.part_type, _parts(reader, chunks, new_part), new_part, read_png)
    if reader.part_type not in (None, DICOM):
        taken = ", ".join((DICOM, *READERS))
        raise UnsupportedContentType(f"the parts of the request are of none of the types {taken}")
    return _without_headers(_parts(reader, chunks, new_part))


async def _single(chunks: AsyncIterable[bytes], new_part: NewPart) -> AsyncIterator[ReceivedPart]:
    part = new_part()
    try:
        async for chunk in chunks:
            await part.write(chunk)
        await part.finish()
    except BaseException:
        part.discard()
        raise
    if not part.length:
        raise MultipartFault("the request has no body")
    yield part


async def _without_headers(
    parts: AsyncIterator[tuple[Mapping[str, str], ReceivedPart]],
) -> AsyncIterator[ReceivedPart]:
    async for _, part in parts:
        yield part


async def _parts(
    reader: MultipartRelatedReader, chunks: AsyncIterable[bytes], new_part: NewPart
) -> AsyncIterator[tuple[Mapping[str, str], ReceivedPart]]:
    assembly = _Assembly(new_part)
    try:
        async for chunk in chunks:
            for event in reader.feed(chunk):
                if (part := await assembly.take(event)) is not None:
                    yield assembly.headers, part
        reader.finish()
    finally:
        assembly.discard()


class _Assembly:
    """Puts the events of one part together."""

    def __init__(self, new_part: NewPart) -> None:
        self._new_part = new_part
        self._part: ReceivedPart | None = None
        self.headers: Mapping[str, str] = {}

    async def take(self, event: PartEvent) -> ReceivedPart | None:
        """The part that `event` completes."""
        if isinstance(event, PartBegin):
            self._part = self._new_part()
            self.headers = event.headers
            return None
        assert self._part is not None
        if isinstance(event, PartData):
            await self._part.write(event.data)
            return None
        await self._part.finish()
        complete, self._part = self._part, None
        return complete

    def discard(self) -> None:
        """Let go of a part that is not complete."""
        if self._part is not None:
            self._part.discard()
