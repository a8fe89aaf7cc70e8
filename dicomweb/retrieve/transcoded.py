"""Files and frames answered in another transfer syntax than the stored one (PS3.18 §8.7.3.3, §8.7.3.4).

What a single instance cannot be made into is refused before its first byte. Of many instances one that cannot
be decoded is answered as stored, which its part says: it must not keep the others from the client.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from dicomweb.ahead import in_order
from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.syntaxes import DECODABLE, ENCODABLE, EXPLICIT_FILES, NATIVE
from dicomweb.retrieve.content import (
    MAX_WHOLE_BYTES,
    Body,
    file_content,
    multipart_answer,
    nothing,
    read_whole,
)
from dicomweb.retrieve.frames import archive_reader
from dicomweb.retrieve.locate import InstanceDetail, Located, read_details
from dicomweb.retrieve.overlaid import WholeFile, open_overlaid
from dicomweb.retrieve.request import Archive, RetrieveRequest, audit_retrieval, entity_tag
from dicomweb.transcode.coding import FrameCoding
from dicomweb.transcode.description import Description
from dicomweb.transcode.file import StoredFile, TranscodedFile, target_without_pixels, transcode_file
from dicomweb.transcode.source import FrameSource, RangeReader
from dicomweb.wire.faults import NotAcceptable, UnreadableDataSet
from dicomweb.wire.file_meta import DEFLATED
from dicomweb.wire.media_types import MediaRange
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import Representation, select_frames, syntax_of_frames
from dicomweb.wire.pixel_data import PixelLayout, decode_layout

log = structlog.get_logger(__name__)

DETAILS_PAGE = 200  # instances whose frame tables are in memory at once


async def answer_transcoded_files(
    archive: Archive, request: RetrieveRequest, located: Sequence[Located], representation: Representation
) -> Answer:
    """DICOM files in the transfer syntax of `representation`, as many as are located.

    Raises:
        NotAcceptable: the pixels of the first do not fit the transfer syntax.
        PixelsUnreadable: the only one cannot be decoded.
    """
    target = representation.transfer_syntax or ts.ExplicitVRLittleEndian
    tag = entity_tag(f"files {representation}", located)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    detail = await require_encodable(archive, located[0], target)
    await audit_retrieval(archive.services, request, located[0])
    if representation.multipart:
        parts = _parts(made_files(archive, request, located, representation), representation)
        head = PartHead(representation.content_type())
        return await multipart_answer(
            parts, [head], representation.media_type, {"ETag": tag}, is_head=request.is_head
        )
    made_as = target if detail.pixel_layout is not None else target_without_pixels(target)
    headers = {"Content-Type": representation.content_type(made_as), "ETag": tag}
    if request.is_head:
        return Answer(nothing(), headers)
    stored = await _stored_file(archive, located[0], detail, request)
    made = await transcode_file(stored, target, archive.pixels)
    if made.length is not None:
        headers["Content-Length"] = str(made.length)
    return Answer(made.chunks, headers)


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file of an instance on its way out, in the transfer syntax that was asked for or as stored."""

    located: Located
    transfer_syntax: str
    length: int | None  # None: not known before its end
    content: Body


async def made_files(
    archive: Archive, request: RetrieveRequest, located: Sequence[Located], representation: Representation
) -> AsyncIterator[MadeFile]:
    """The files of instances, a few made ahead; one of many that cannot be decoded is as stored."""
    for start in range(0, len(located), DETAILS_PAGE):
        page = located[start : start + DETAILS_PAGE]
        details = await read_details(archive.services.database, [each.key for each in page])
        is_only = len(located) == 1
        makers = (
            partial(_made, archive, request, (each, details[each.key]), representation, is_only=is_only)
            for each in page
        )
        async for file in in_order(makers, is_begun=start > 0):
            yield file


async def _made(
    archive: Archive,
    request: RetrieveRequest,
    found: tuple[Located, InstanceDetail],
    representation: Representation,
    *,
    is_only: bool,
) -> MadeFile:
    located = found[0]
    try:
        made = await _transcoded(archive, request, found, representation)
    except (PixelsUnreadable, UnreadableDataSet) as fault:
        if is_only:
            raise
        log.warning("retrieve.not_transcoded", instance=located.key, why=type(fault).__name__)
        made = None
    if made is not None:
        return MadeFile(located, made.transfer_syntax, made.length, made.chunks)
    return await file_as_stored(archive, *found)


async def file_as_stored(
    archive: Archive, located: Located, detail: InstanceDetail | None = None
) -> MadeFile:
    """The file of an instance in its own transfer syntax, with what lies over it."""
    if located.overlay is None:
        content = await file_content(archive.services.objects, located)
        return MadeFile(located, located.transfer_syntax_uid, located.stored.length, content)
    file = await open_overlaid(archive, located, detail)
    return MadeFile(located, located.transfer_syntax_uid, file.length, await file.content())


async def _parts(files: AsyncIterator[MadeFile], representation: Representation) -> AsyncIterator[Part]:
    async for each in files:
        yield part_of(each, representation)


def part_of(file: MadeFile, representation: Representation) -> Part:
    """A file as a part of a message."""
    return Part(PartHead(representation.content_type(file.transfer_syntax), file.length), file.content)


async def _transcoded(
    archive: Archive,
    request: RetrieveRequest,
    found: tuple[Located, InstanceDetail],
    representation: Representation,
) -> TranscodedFile | None:
    """The file in the transfer syntax that was chosen; None: it goes as it is stored."""
    located, detail = found
    target = representation.transfer_syntax or ts.ExplicitVRLittleEndian
    if located.transfer_syntax_uid == target or located.transfer_syntax_uid not in DECODABLE:
        return None
    if detail.pixel_layout is None and located.transfer_syntax_uid == ts.ExplicitVRLittleEndian:
        return None
    stored = await _stored_file(archive, located, detail, request)
    return await transcode_file(stored, target, archive.pixels)


async def require_encodable(archive: Archive, located: Located, target: str) -> InstanceDetail:
    """What was read to see that the pixels fit the transfer syntax, as far as their attributes say.

    Raises:
        NotAcceptable: they do not.
        PixelsUnreadable: no pixels can be described so.
    """
    detail = (await read_details(archive.services.database, [located.key]))[located.key]
    is_native = located.transfer_syntax_uid in NATIVE and target in EXPLICIT_FILES
    if detail.pixel_layout is None or is_native:
        return detail
    description = await archive.descriptions.of(archive.services.database, located)
    if not description.fits(target):
        raise NotAcceptable("the pixels do not fit the transfer syntax that is asked for")
    return detail


async def _stored_file(
    archive: Archive, located: Located, detail: InstanceDetail, request: RetrieveRequest
) -> StoredFile:
    length = located.stored.length
    reader: RangeReader
    if located.transfer_syntax_uid not in DEFLATED and length <= MAX_WHOLE_BYTES and not request.is_head:
        reader = WholeFile(await read_whole(archive.services.objects, located))
    else:
        file_reader = await archive_reader(archive, request, located)
        reader = file_reader
        length = file_reader.inflated.length if file_reader.inflated else length

    async def describe() -> Description:
        return await archive.descriptions.of(archive.services.database, located)

    return StoredFile(
        located.file_sha256,
        located.transfer_syntax_uid,
        length,
        decode_layout(detail.pixel_layout) if detail.pixel_layout is not None else None,
        reader,
        describe,
        located.overlay,
    )


@dataclass(frozen=True, slots=True)
class FramesChoice:
    """How frames are answered."""

    representation: Representation
    description: Description | None  # in another transfer syntax than the stored one; None: as stored


async def choose_frames(
    archive: Archive, accept: Sequence[MediaRange], located: Located, *, many: bool
) -> FramesChoice:
    """How to answer frames of an instance; `many`: more than one, which needs multipart.

    Raises:
        NotAcceptable: the client takes them in no way that there is.
        PixelsUnreadable: they are described as none can be.
    """
    stored = located.transfer_syntax_uid
    chosen = select_frames(accept, stored, many=many, can_encode=ENCODABLE.__contains__)
    if chosen.transfer_syntax == syntax_of_frames(stored):
        return FramesChoice(chosen, None)
    description = await archive.descriptions.of(archive.services.database, located)
    chosen = select_frames(accept, stored, many=many, can_encode=description.fits)
    is_stored = chosen.transfer_syntax == syntax_of_frames(stored)
    return FramesChoice(chosen, None if is_stored else description)


async def answer_transcoded_frames(
    archive: Archive,
    request: RetrieveRequest,
    frames: tuple[Located, PixelLayout, Sequence[int]],
    choice: tuple[Representation, Description],
) -> Answer:
    """Frames of an instance in the transfer syntax of `representation`, in the order asked for.

    Raises:
        PixelsUnreadable: the first of them cannot be decoded.
    """
    located, layout, numbers = frames
    representation, description = choice
    tag = entity_tag(f"frames {numbers!r} {representation}", [located])
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(archive.services, request, located)
    reader = await archive_reader(archive, request, located)
    source = FrameSource(located.file_sha256, located.transfer_syntax_uid, description, layout, reader)
    coding = FrameCoding(source, representation.transfer_syntax or ts.ExplicitVRLittleEndian, archive.pixels)
    content_type = representation.content_type()
    if representation.multipart:
        return await multipart_answer(
            _frame_parts(coding, numbers, content_type),
            [PartHead(content_type)],
            representation.media_type,
            {"ETag": tag},
            is_head=request.is_head,
        )
    headers = {"Content-Type": content_type, "ETag": tag}
    if request.is_head:
        return Answer(nothing(), headers)
    _, body = await coding.frame(numbers[0])
    return Answer(body, headers)


async def _frame_parts(coding: FrameCoding, numbers: Sequence[int], content_type: str) -> AsyncIterator[Part]:
    async for frame in coding.frames_of(numbers):
        yield Part(PartHead(content_type, len(frame)), frame)
