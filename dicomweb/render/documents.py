"""Structured reports and encapsulated PDF as they are read by people (PS3.18 Table 8.7.4-1)."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping

from dicomweb.answer import Answer
from dicomweb.attributes import DicomJson
from dicomweb.render.media import HTML, PDF, PLAIN, NotRendered
from dicomweb.render.report import CONTENT_SECURITY_POLICY, to_html, to_plain
from dicomweb.render.subjects import Subject
from dicomweb.retrieve.content import Body, multipart_answer, nothing, single_answer
from dicomweb.retrieve.frames import open_file
from dicomweb.retrieve.request import Archive, RetrieveRequest
from dicomweb.wire.dicom_json import value_of
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import Representation

CONTENT_TYPE: Mapping[str, str] = {
    HTML: "text/html; charset=utf-8",
    PLAIN: "text/plain; charset=utf-8",
    PDF: PDF,
}
WRITERS: Mapping[str, Callable[[DicomJson], str]] = {HTML: to_html, PLAIN: to_plain}


async def document_answer(
    archive: Archive, request: RetrieveRequest, subject: Subject, representation: Representation, tag: str
) -> Answer:
    """The document of an instance."""
    media_type, is_head, headers = representation.media_type, request.is_head, {"ETag": tag}
    part = await document_part(archive, subject, media_type)
    if representation.multipart:
        return await multipart_answer(_only(part), [part.head], media_type, headers, is_head=is_head)
    if media_type == HTML:
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    content: Body = nothing() if is_head else part.content  # type: ignore[assignment]  # of our own making
    return single_answer(content, part.head, headers)


async def document_part(archive: Archive, subject: Subject, media_type: str) -> Part:
    """The document as a part of a message."""
    if media_type == PDF:
        return await _pdf_part(archive, subject)
    text = await asyncio.to_thread(WRITERS[media_type], subject.dicom_json)
    body = text.encode()
    return Part(PartHead(CONTENT_TYPE[media_type], len(body)), body)


async def _pdf_part(archive: Archive, subject: Subject) -> Part:
    """The Encapsulated Document (0042,0011) without its padding (PS3.3 C.24.2)."""
    document = subject.dicom_json.get(key_of("EncapsulatedDocument"), {})
    stated = value_of(subject.dicom_json, "EncapsulatedDocumentLength")
    if "InlineBinary" in document:
        body = b64decode(document["InlineBinary"])
        return Part(PartHead(PDF, len(body)), body)
    if "BulkDataURI" not in document:
        raise NotRendered("The instance holds no document.")
    offset, length = subject.bulk_range(document["BulkDataURI"])
    if isinstance(stated, int) and length - 1 <= stated <= length:
        length = stated
    reader = await open_file(archive.services.objects, archive.inflated, subject.located)
    return Part(PartHead(PDF, length), await reader.content([(offset, length)]))


async def _only(part: Part) -> AsyncIterator[Part]:
    yield part
