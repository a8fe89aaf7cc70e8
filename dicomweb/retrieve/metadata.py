"""Metadata of a study, series or instance in DICOM JSON or XML (PS3.18 10.4.1.1.2, 10.4.3.3.2)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.coded import VARY, coded_answer, coded_tag
from dicomweb.data_sets import documents_of
from dicomweb.retrieve.content import nothing
from dicomweb.retrieve.included import Included, only_included
from dicomweb.retrieve.locate import Located, Resource
from dicomweb.retrieve.metadata_pages import PageTooLong, read_packed_page, read_page
from dicomweb.retrieve.request import RetrieveRequest, audit_retrieval, entity_tag, find
from dicomweb.wire.content_coding import Coding, select_coding
from dicomweb.wire.multipart import Part, PartHead, content_type, stream
from dicomweb.wire.negotiation import DICOM_XML, Representation, select_metadata
from server.kernel.services import Services
from server.kernel.uids import new_secret

METADATA_PAGE = 200  # instances whose metadata is in memory at once
ALL = Included()


async def retrieve_metadata(
    services: Services, request: RetrieveRequest, resource: Resource, included: Included = ALL
) -> Answer:
    """The data sets of every instance of a resource, without bulk data, attributes as `included`."""
    representation = select_metadata(request.accept, many=resource.instance is None)
    coding = select_coding(request.accept_encoding)
    located = await find(services, request, resource)
    kind = f"metadata {services.public_base} {representation} {included.name}"
    tag = coded_tag(entity_tag(kind, located), coding)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag, VARY)
    await audit_retrieval(services, request, located[0])
    headers = {"Content-Type": representation.media_type, "ETag": tag}
    if request.is_head:
        return Answer(nothing(), {**VARY, **headers})
    if representation.media_type == DICOM_XML:
        return await _xml(services, located, (representation, included), headers, coding)
    if len(located) <= METADATA_PAGE:
        with suppress(PageTooLong):
            return await _at_once(services, located, included, headers, coding)
    return await coded_answer(_json_stream(services, located, included), headers, coding)


async def _at_once(
    services: Services,
    located: Sequence[Located],
    included: Included,
    headers: dict[str, str],
    coding: Coding,
) -> Answer:
    if coding is Coding.ZSTD and included.keys is None:  # as pages are kept
        packed = await read_packed_page(services, located)
        return Answer(packed, {**VARY, **headers, "Content-Encoding": coding.value})
    return await coded_answer(await _page(services, located, included), headers, coding)


async def _page(services: Services, located: Sequence[Located], included: Included) -> bytes:
    page = await read_page(services, located)
    if included.keys is None:
        return page
    return await asyncio.to_thread(only_included, page, included)


async def _pages(services: Services, located: Sequence[Located], included: Included) -> AsyncIterator[bytes]:
    for start in range(0, len(located), METADATA_PAGE):
        page = located[start : start + METADATA_PAGE]
        try:
            yield await _page(services, page, included)
        except PageTooLong:
            for each in page:
                yield await _page(services, [each], included)


async def _json_stream(
    services: Services, located: Sequence[Located], included: Included
) -> AsyncIterator[bytes]:
    before = b"["
    async for page in _pages(services, located, included):
        yield before + page[1:-1]
        before = b","
    yield b"]"


async def _xml(
    services: Services,
    located: Sequence[Located],
    shown: tuple[Representation, Included],
    headers: dict[str, str],
    coding: Coding,
) -> Answer:
    """XML documents: one as it is, or each in a part of its own."""
    representation, included = shown
    if not representation.multipart:
        (document,) = await asyncio.to_thread(documents_of, await _page(services, located, included))
        return await coded_answer(document, headers, coding)
    boundary = new_secret()
    parts = _xml_parts(services, located, included)
    fields = {**headers, "Content-Type": content_type(DICOM_XML, boundary)}
    return await coded_answer(stream(boundary, parts), fields, coding)


async def _xml_parts(
    services: Services, located: Sequence[Located], included: Included
) -> AsyncIterator[Part]:
    async for page in _pages(services, located, included):
        for document in await asyncio.to_thread(documents_of, page):
            yield Part(PartHead(DICOM_XML, len(document)), document)
