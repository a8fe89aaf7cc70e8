"""One retrieval: find within reach, negotiate, audit, answer (PS3.18 10.4.3)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus

from dicomweb.answer import Answer, names_tag, not_modified, weak_tag
from dicomweb.retrieve.byte_range import parse_range
from dicomweb.retrieve.content import file_content, heads_of, multipart_answer, single_answer
from dicomweb.retrieve.frames import (
    FileReader,
    bulk_range,
    frame_content,
    frame_heads,
    frame_parts,
    layout_of,
    open_file,
    require_frames,
)
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.locate import (
    InstanceDetail,
    Located,
    Resource,
    locate,
    locate_with_detail,
)
from dicomweb.retrieve.metadata_pages import read_page
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.media_types import MediaRange
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import select_bulk_data, select_files, select_frames, select_metadata
from dicomweb.wire.pixel_data import PixelLayout, decode_layout
from server.kernel.access import Access, Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.object_store import READ_CHUNK_BYTES
from server.kernel.services import Services

METADATA_PAGE = 200  # instances whose metadata is in memory at once
PIXEL_DATA = key_of("PixelData")


@dataclass(frozen=True, slots=True)
class RetrieveRequest:
    """Who asks, and what of the header fields matters."""

    access: Access
    accept: Sequence[MediaRange]
    if_none_match: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """What reading parts of instances needs; one per process, for requests share the inflated ones."""

    services: Services
    inflated: InflatedFiles


async def retrieve_files(services: Services, request: RetrieveRequest, resource: Resource) -> Answer:
    """A study, series or instance as DICOM files, bit for bit as stored (PS3.18 10.4.1.1.1 to .3)."""
    located = await _locate(services, request, resource)
    many = resource.instance is None
    representation = select_files(request.accept, {each.transfer_syntax_uid for each in located}, many=many)
    tag = _entity_tag(b"files", located)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await _audit(services, request, located[0])
    heads = heads_of(located, representation)
    if not representation.multipart:
        return single_answer(await file_content(services.objects, located[0]), heads[0], {"ETag": tag})

    async def parts() -> AsyncIterator[Part]:
        for each, head in zip(located, heads, strict=True):
            yield Part(head, await file_content(services.objects, each))

    return await multipart_answer(parts(), heads, representation.media_type, {"ETag": tag})


async def retrieve_metadata(services: Services, request: RetrieveRequest, resource: Resource) -> Answer:
    """The DICOM JSON of every instance of a resource, without bulk data (PS3.18 10.4.1.1.4)."""
    representation = select_metadata(request.accept)
    located = await _locate(services, request, resource)
    tag = _entity_tag(b"metadata" + services.public_base.encode(), located)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await _audit(services, request, located[0])
    headers = {"Content-Type": representation.media_type, "ETag": tag}
    if len(located) <= METADATA_PAGE:
        return Answer(b"[" + await read_page(services, located) + b"]", headers)
    return Answer(_metadata_stream(services, located), headers)


async def retrieve_frames(
    archive: Archive, request: RetrieveRequest, resource: Resource, numbers: Sequence[int]
) -> Answer:
    """Frames of an instance, coded as stored (PS3.18 10.4.1.1.6)."""
    located, detail = await _locate_with_detail(archive.services, request, resource)
    layout = layout_of(detail)
    require_frames(layout, numbers)
    return await _answer_frames(archive, request, located, layout, numbers)


async def retrieve_bulk_data(
    archive: Archive, request: RetrieveRequest, resource: Resource, path: str
) -> Answer:
    """A value that metadata names by a BulkDataURI (PS3.18 10.4.1.1.5).

    Encapsulated pixel data is answered frame by frame, as /frames does; else one range may be asked for.
    """
    located, detail = await _locate_with_detail(archive.services, request, resource)
    offset, length = bulk_range(detail, path)
    layout = _encapsulated_layout(detail, path)
    if layout is not None:
        numbers = range(1, layout.number_of_frames + 1)
        return await _answer_frames(archive, request, located, layout, numbers)
    representation = select_bulk_data(request.accept)
    asked = None if representation.multipart else parse_range(request.range, length)
    await _audit(archive.services, request, located)
    reader = await open_file(archive.services.objects, archive.inflated, located)
    start, count = (offset + asked.start, asked.length) if asked else (offset, length)
    head = PartHead(representation.content_type(), count)
    content = _chunks(reader, start, count)
    if representation.multipart:
        return await multipart_answer(_one_part(head, content), [head], representation.media_type, {})
    answer = single_answer(content, head, {"Accept-Ranges": "bytes"})
    if asked is None:
        return answer
    headers = {**answer.headers, "Content-Range": asked.content_range(length)}
    return Answer(answer.body, headers, HTTPStatus.PARTIAL_CONTENT)


async def _answer_frames(
    archive: Archive,
    request: RetrieveRequest,
    located: Located,
    layout: PixelLayout,
    numbers: Sequence[int],
) -> Answer:
    many = len(numbers) > 1
    representation = select_frames(request.accept, located.transfer_syntax_uid, many=many)
    tag = _entity_tag(f"frames {','.join(map(str, numbers))}".encode(), [located])
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await _audit(archive.services, request, located)
    reader = await open_file(archive.services.objects, archive.inflated, located)
    heads = frame_heads(layout, numbers, representation)
    if many or representation.multipart:
        parts = frame_parts(reader, layout, numbers, heads)
        return await multipart_answer(parts, heads, representation.media_type, {"ETag": tag})
    return single_answer(await frame_content(reader, layout, numbers[0]), heads[0], {"ETag": tag})


async def _locate(services: Services, request: RetrieveRequest, resource: Resource) -> list[Located]:
    reach = request.access.reach("ImagingStudy", Permission.READ)
    return await locate(services.database, resource, reach)


async def _locate_with_detail(
    services: Services, request: RetrieveRequest, resource: Resource
) -> tuple[Located, InstanceDetail]:
    reach = request.access.reach("ImagingStudy", Permission.READ)
    return await locate_with_detail(services.database, resource, reach)


async def _audit(services: Services, request: RetrieveRequest, located: Located) -> None:
    """Record the read; durable before the first byte leaves."""
    entry = AuditEntry(
        request.access.principal,
        Action.READ,
        "wado",
        "ImagingStudy",
        located.study_instance_uid,
        patient_id=located.patient_id,
    )
    await services.read_audit.record_retrieval(entry)


def _entity_tag(kind: bytes, located: Sequence[Located]) -> str:
    digest = sha256(kind)
    for each in located:
        digest.update(each.file_sha256)
    return weak_tag(digest.digest())


async def _metadata_stream(services: Services, located: Sequence[Located]) -> AsyncIterator[bytes]:
    for start in range(0, len(located), METADATA_PAGE):
        page = await read_page(services, located[start : start + METADATA_PAGE])
        yield (b"," if start else b"[") + page
    yield b"]"


def _encapsulated_layout(detail: InstanceDetail, path: str) -> PixelLayout | None:
    if path != PIXEL_DATA or detail.pixel_layout is None:
        return None
    layout = decode_layout(detail.pixel_layout)
    return layout if layout.encapsulated and layout.frames_known else None


async def _chunks(reader: FileReader, start: int, count: int) -> AsyncIterator[bytes]:
    for at in range(0, count, READ_CHUNK_BYTES):
        yield await reader.read([(start + at, min(READ_CHUNK_BYTES, count - at))])


async def _one_part(head: PartHead, content: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    yield Part(head, content)
