"""One retrieval: find within reach, negotiate, audit, answer (PS3.18 10.4.3)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.retrieve.bulk_data import answer_bulk_data
from dicomweb.retrieve.content import (
    Body,
    SinglePart,
    file_content,
    file_part,
    heads_of,
    multipart_answer,
    nothing,
    single_part_answer,
)
from dicomweb.retrieve.forms import Form, forms_wanted
from dicomweb.retrieve.frames import (
    FRAMES_OF_VALUE,
    PIXEL_DATA,
    archive_reader,
    bulk_range,
    coded_layout,
    frame_content,
    frame_heads,
    frame_part,
    frame_parts,
    has_parts,
    layout_of,
    parse_frame_list,
    require_frames,
)
from dicomweb.retrieve.locate import Located, Resource
from dicomweb.retrieve.overlaid import open_overlaid
from dicomweb.retrieve.request import (
    Archive,
    RetrieveRequest,
    audit_retrieval,
    entity_tag,
    find,
    find_with_detail,
)
from dicomweb.retrieve.transcoded import (
    answer_transcoded_files,
    answer_transcoded_frames,
    choose_frames,
    file_as_stored,
    part_of,
)
from dicomweb.retrieve.value_bytes import value_content
from dicomweb.retrieve.zip_files import answer_zip
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import (
    Representation,
    select_bulk_data,
    select_files,
)
from dicomweb.wire.pixel_data import PixelLayout
from server.kernel.faults import NotFound

__all__ = ["Archive", "RetrieveRequest", "retrieve_bulk_data", "retrieve_files", "retrieve_frames"]


async def retrieve_files(
    archive: Archive, request: RetrieveRequest, resource: Resource, *, as_received: bool = False
) -> Answer:
    """A study, series or instance: as DICOM files, as a ZIP file of them, or as its bulk data.

    PS3.18 10.4.1.1.1, Tables 10.4.4-1 and 8.7.3-1; whichever form the client prefers and can be had.
    `as_received`: without what lies over it, which only administrators get.
    """
    located = await find(archive.services, request, resource)
    if as_received:
        located = [replace(each, overlay=None) for each in located]
    refused: NotAcceptable | NotFound | None = None
    for form in forms_wanted(request.accept):
        try:
            match form:
                case Form.FILES:
                    return await _answer_files(archive, request, resource, located)
                case Form.ZIP:
                    return await answer_zip(archive, request, located)
                case Form.BULK_DATA:
                    return await answer_bulk_data(archive, request, located)
        except (NotAcceptable, NotFound) as fault:  # the latter: it has no bulk data
            refused = refused or fault
    assert refused is not None  # there is always a form to try
    raise refused


async def _answer_files(
    archive: Archive, request: RetrieveRequest, resource: Resource, located: Sequence[Located]
) -> Answer:
    """DICOM files, bit for bit as stored, or in the transfer syntax that was asked for (PS3.18 8.7.3.4)."""
    many = resource.instance is None
    stored = {each.transfer_syntax_uid for each in located}
    representation = select_files(request.accept, stored, many=many, transcodes=True)
    if representation.transfer_syntax is not None:
        return await answer_transcoded_files(archive, request, located, representation)
    return await _answer_stored_files(archive, request, located, representation)


async def _answer_stored_files(
    archive: Archive, request: RetrieveRequest, located: Sequence[Located], representation: Representation
) -> Answer:
    tag = entity_tag(f"files {representation}", located, strong=not representation.multipart)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(archive.services, request, located[0])
    if representation.multipart:
        parts = _stored_parts(archive, located, representation)
        heads, headers = heads_of(located, representation), {"ETag": tag}
        return await multipart_answer(
            parts, heads, representation.media_type, headers, is_head=request.is_head
        )
    (only,) = located
    content_type = representation.content_type(only.transfer_syntax_uid)
    if only.overlay is not None:
        return await _answer_overlaid_file(
            archive, request, only, {"Content-Type": content_type, "ETag": tag}
        )
    objects = archive.services.objects

    async def whole() -> Body:
        return await file_content(objects, only)

    async def part(start: int, count: int) -> Body:
        return await file_part(objects, only, start, count)

    head = PartHead(content_type, only.stored.length)
    return await single_part_answer(request, SinglePart(head, tag, whole, part))


async def _answer_overlaid_file(
    archive: Archive, request: RetrieveRequest, located: Located, headers: dict[str, str]
) -> Answer:
    """One file over which something lies; how long it is shows when it is made."""
    if request.is_head:
        return Answer(nothing(), headers)
    file = await open_overlaid(archive, located)
    if file.length is None:
        return Answer(await file.content(), headers)
    head = PartHead(headers["Content-Type"], file.length)
    return await single_part_answer(request, SinglePart(head, headers["ETag"], file.content, file.part))


async def _stored_parts(
    archive: Archive, located: Sequence[Located], representation: Representation
) -> AsyncIterator[Part]:
    for each in located:
        yield part_of(await file_as_stored(archive, each), representation)


async def retrieve_frames(
    archive: Archive, request: RetrieveRequest, resource: Resource, numbers: Sequence[int]
) -> Answer:
    """Frames of an instance, as stored or in another transfer syntax (PS3.18 10.4.1.1.6, §8.7.3.3)."""
    located, detail = await find_with_detail(archive.services, request, resource)
    layout = layout_of(detail)
    require_frames(layout, numbers)
    return await _answer_frames(archive, request, located, layout, numbers)


async def retrieve_bulk_data(
    archive: Archive, request: RetrieveRequest, resource: Resource, path: str
) -> Answer:
    """A value that metadata names by a BulkDataURI (PS3.18 10.4.1.1.5).

    Encapsulated pixel data is answered frame by frame, as /frames does.
    """
    located, detail = await find_with_detail(archive.services, request, resource)
    path, is_of_frames, listed = path.partition(FRAMES_OF_VALUE)
    offset, length = bulk_range(detail, path)
    layout = layout_of(detail) if is_of_frames and path == PIXEL_DATA else coded_layout(detail, path)
    if layout is not None:
        numbers = parse_frame_list(listed) if is_of_frames else range(1, layout.number_of_frames + 1)
        require_frames(layout, numbers)
        return await _answer_frames(archive, request, located, layout, numbers)
    if is_of_frames:
        raise NotFound("The value has no frames.")
    return await _answer_value(archive, request, located, (path, offset, length))


async def _answer_value(
    archive: Archive, request: RetrieveRequest, located: Located, value: tuple[str, int, int]
) -> Answer:
    path, _, length = value
    representation = select_bulk_data(request.accept)
    tag = entity_tag(f"value {path} {representation}", [located], strong=not representation.multipart)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(archive.services, request, located)
    reader = await archive_reader(archive, request, located)
    head = PartHead(representation.content_type(), length)

    async def part(start: int, count: int) -> Body:
        return await value_content(archive.services.database, reader, value, start, count)

    if not representation.multipart:
        content = SinglePart(head, tag, lambda: part(0, length), part)
        return await single_part_answer(request, content)

    async def parts() -> AsyncIterator[Part]:
        yield Part(head, await part(0, length))

    return await multipart_answer(
        parts(), [head], representation.media_type, {"ETag": tag}, is_head=request.is_head
    )


async def _answer_frames(
    archive: Archive,
    request: RetrieveRequest,
    located: Located,
    layout: PixelLayout,
    numbers: Sequence[int],
) -> Answer:
    many = len(numbers) > 1
    choice = await choose_frames(archive, request.accept, located, many=many)
    representation = choice.representation
    if choice.description is not None:
        made = (representation, choice.description)
        return await answer_transcoded_frames(archive, request, (located, layout, numbers), made)
    is_single = not many and not representation.multipart
    tag = entity_tag(f"frames {numbers!r} {representation}", [located], strong=is_single)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(archive.services, request, located)
    reader = await archive_reader(archive, request, located)
    heads = frame_heads(layout, numbers, representation)
    if not is_single:
        parts = frame_parts(reader, layout, numbers, heads)
        headers = {"ETag": tag}
        return await multipart_answer(
            parts, heads, representation.media_type, headers, is_head=request.is_head
        )
    number = numbers[0]

    async def whole() -> Body:
        return await frame_content(reader, layout, number)

    async def part(start: int, count: int) -> Body:
        return await frame_part(reader, layout, number, start, count)

    content = SinglePart(heads[0], tag, whole, part if has_parts(layout, number) else None)
    return await single_part_answer(request, content)
