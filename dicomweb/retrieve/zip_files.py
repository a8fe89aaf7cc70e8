"""The DICOM files of a resource as one ZIP file, made while it is sent (PS3.18 §8.6.1.3, application/zip)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from zlib import crc32

from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.retrieve.content import file_content, streamed_answer
from dicomweb.retrieve.forms import ZIP, zip_ranges
from dicomweb.retrieve.locate import Located
from dicomweb.retrieve.request import RetrieveRequest, audit_retrieval, entity_tag
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.negotiation import select_files
from dicomweb.wire.zip_archive import WrittenEntry, ZipEntry, archive_length, directory, local_header
from server.kernel.object_store import ObjectStore
from server.kernel.services import Services


async def answer_zip(services: Services, request: RetrieveRequest, located: Sequence[Located]) -> Answer:
    """A ZIP file of the files as stored, `<study>/<series>/<instance>.dcm`, not compressed once more.

    Raises:
        NotAcceptable: the client wants other files than those stored.
    """
    syntaxes = {each.transfer_syntax_uid for each in located}
    if select_files(zip_ranges(request.accept), syntaxes, many=False).transfer_syntax is not None:
        raise NotAcceptable("the files of a ZIP file are as stored")
    tag = entity_tag("zip", located, strong=True)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(services, request, located[0])
    headers = {
        "Content-Type": ZIP,
        "Content-Disposition": f'attachment; filename="{located[0].study_instance_uid}.zip"',
        "ETag": tag,
    }
    length = await asyncio.to_thread(archive_length, map(_entry, located))
    return await streamed_answer(_stream(services.objects, located), length, headers, is_head=request.is_head)


def _entry(located: Located) -> ZipEntry:
    uids = (located.study_instance_uid, located.series_instance_uid, located.sop_instance_uid)
    return ZipEntry("/".join(uids) + ".dcm", located.stored.length)


async def _stream(objects: ObjectStore, located: Sequence[Located]) -> AsyncIterator[bytes]:
    written: list[WrittenEntry] = []
    offset = 0
    for each in located:
        entry, content = _entry(each), await file_content(objects, each)
        if isinstance(content, bytes):
            crc_32 = await asyncio.to_thread(crc32, content)
        else:  # a large file is read twice, for its sum stands before it; so it is proven, too
            crc_32 = await _sum(content)
            content = await file_content(objects, each)
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


async def _sum(chunks: AsyncIterator[bytes]) -> int:
    crc_32 = 0
    async for chunk in chunks:
        crc_32 = await asyncio.to_thread(crc32, chunk, crc_32)
    return crc_32
