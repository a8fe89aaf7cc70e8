"""The DICOM files of a resource as one ZIP file, made while it is sent (PS3.18 §8.6.1.3, application/zip)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from zlib import crc32

from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.retrieve.content import Body, file_content, streamed_answer
from dicomweb.retrieve.forms import ZIP, zip_ranges
from dicomweb.retrieve.inflated import MAX_SPOOLED_BYTES, SpooledFile
from dicomweb.retrieve.locate import Located
from dicomweb.retrieve.overlaid import open_overlaid
from dicomweb.retrieve.request import Archive, RetrieveRequest, audit_retrieval, entity_tag
from dicomweb.retrieve.transcoded import MadeFile, made_files, require_encodable
from dicomweb.wire.negotiation import select_files
from dicomweb.wire.zip_archive import WrittenEntry, ZipEntry, archive_length, directory, local_header
from server.kernel.faults import TooLarge
from server.kernel.object_store import READ_CHUNK_BYTES, ObjectStore


async def answer_zip(archive: Archive, request: RetrieveRequest, located: Sequence[Located]) -> Answer:
    """A ZIP file, `<study>/<series>/<instance>.dcm`: as stored, or in the transfer syntax that is asked for.

    Raises:
        NotAcceptable: the files cannot be put into the transfer syntax.
        PixelsUnreadable: the only one cannot be decoded.
    """
    syntaxes = {each.transfer_syntax_uid for each in located}
    chosen = select_files(zip_ranges(request.accept), syntaxes, many=False, transcodes=True)
    target = chosen.transfer_syntax
    tag = entity_tag(f"zip {target}" if target else "zip", located, strong=target is None)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    if target is not None:
        await require_encodable(archive, located[0], target)
    await audit_retrieval(archive.services, request, located[0])
    headers = {
        "Content-Type": ZIP,
        "Content-Disposition": f'attachment; filename="{located[0].study_instance_uid}.zip"',
        "ETag": tag,
    }
    length = None
    if target is not None:
        entries = _made(archive.services.objects, made_files(archive, request, located, chosen))
    else:
        entries = _stored(archive, located)
        if all(each.overlay is None for each in located):
            named = (_entry(each, each.stored.length) for each in located)
            length = await asyncio.to_thread(archive_length, named)
    return await streamed_answer(_stream(entries), length, headers, is_head=request.is_head)


def _entry(located: Located, length: int) -> ZipEntry:
    uids = (located.study_instance_uid, located.series_instance_uid, located.sop_instance_uid)
    return ZipEntry("/".join(uids) + ".dcm", length)


Entry = tuple[ZipEntry, int, Body]  # with its CRC-32 and its content


async def _stored(archive: Archive, located: Sequence[Located]) -> AsyncIterator[Entry]:
    """Files as stored; a large one is read twice, for its sum stands before it; so it is proven, too."""
    for each in located:
        read = await _reader_of(archive, each)
        content = await read()
        if isinstance(content, bytes):
            yield _entry(each, len(content)), await asyncio.to_thread(crc32, content), content
        else:
            length, crc_32 = await _sum(content)
            yield _entry(each, length), crc_32, await read()


async def _made(objects: ObjectStore, files: AsyncIterator[MadeFile]) -> AsyncIterator[Entry]:
    """Files whose length and sum are known when they are whole; until then they are in the spool."""
    async for each in files:
        if isinstance(each.content, bytes):
            crc_32 = await asyncio.to_thread(crc32, each.content)
            yield _entry(each.located, len(each.content)), crc_32, each.content
            continue
        file = await asyncio.to_thread(SpooledFile, objects.spool_path())
        crc_32 = 0
        async for chunk in each.content:
            if file.length > MAX_SPOOLED_BYTES:
                raise TooLarge("A file is too large to be put into a ZIP file in another transfer syntax.")
            crc_32 = crc32(chunk, crc_32)
            await asyncio.to_thread(file.append, chunk)
        yield _entry(each.located, file.length), crc_32, _read(file)


async def _read(file: SpooledFile) -> AsyncIterator[bytes]:
    for at in range(0, file.length, READ_CHUNK_BYTES):
        yield await asyncio.to_thread(file.read, [(at, READ_CHUNK_BYTES)])


async def _stream(entries: AsyncIterator[Entry]) -> AsyncIterator[bytes]:
    written: list[WrittenEntry] = []
    offset = 0
    async for entry, crc_32, content in entries:
        header = local_header(entry, crc_32)
        yield header
        if isinstance(content, bytes):
            yield content
        else:
            async for chunk in content:
                yield chunk
        written.append(WrittenEntry(entry, crc_32, offset))
        offset += len(header) + entry.length
    yield await asyncio.to_thread(directory, written, offset)


async def _reader_of(archive: Archive, located: Located) -> Callable[[], Awaitable[Body]]:
    """What reads the file of an instance as it is shown, as often as it is called."""
    if located.overlay is None:
        return partial(file_content, archive.services.objects, located)
    return (await open_overlaid(archive, located)).content


async def _sum(chunks: AsyncIterator[bytes]) -> tuple[int, int]:
    """Length and CRC-32."""
    length = crc_32 = 0
    async for chunk in chunks:
        length += len(chunk)
        crc_32 = await asyncio.to_thread(crc32, chunk, crc_32)
    return length, crc_32
