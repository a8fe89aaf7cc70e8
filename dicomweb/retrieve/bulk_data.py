"""All bulk data of a study, series or instance, or its pixel data only (PS3.18 10.4.1.1.5, 10.4.1.1.6, B.10).

Each value is a part with the URI that metadata has for it as Content-Location; coded pixel data goes frame by
frame, as `<BulkDataURI>/frames/<number>` (PS3.18 10.4.3.3.5, 10.4.3.3.6), in the transfer syntax that the
client asks for (§8.7.3.3).
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.retrieve.content import (
    Body,
    SinglePart,
    multipart_answer,
    nothing,
    single_answer,
    single_part_answer,
)
from dicomweb.retrieve.frames import (
    FRAMES_OF_VALUE,
    PIXEL_DATA,
    FileReader,
    archive_reader,
    bulk_values,
    frame_content,
    frame_heads,
)
from dicomweb.retrieve.locate import InstanceDetail, Located, Resource, read_details
from dicomweb.retrieve.request import Archive, RetrieveRequest, audit_retrieval, entity_tag, find
from dicomweb.retrieve.transcoded import FramesChoice, choose_frames
from dicomweb.retrieve.value_bytes import BulkPlace, value_content
from dicomweb.transcode.coding import FrameCoding
from dicomweb.transcode.source import FrameSource
from dicomweb.urls import instance_url
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import OCTETS, Representation, select_bulk_data
from dicomweb.wire.pixel_data import PixelLayout, decode_layout
from dicomweb.wire.walk import BULK_PREFIX
from server.kernel.faults import NotFound

DETAILS_PAGE = 500  # instances whose places of bulk data are read in one statement
MAX_COUNTED_PARTS = 2000  # whose lengths are summed up for a Content-Length; a longer message goes without
PIXELS = frozenset(map(key_of, ("PixelData", "FloatPixelData", "DoubleFloatPixelData")))  # of the top level


@dataclass(frozen=True, slots=True)
class _Value:
    """One bulk value."""

    located: Located
    place: BulkPlace
    layout: PixelLayout | None  # of pixel data whose frames can be told apart

    @property
    def is_coded(self) -> bool:
        """Whether it goes frame by frame in any case."""
        return self.layout is not None and self.layout.encapsulated

    def uri(self, public_base: str) -> str:
        """Its BulkDataURI."""
        located = self.located
        uids = (located.study_instance_uid, located.series_instance_uid, located.sop_instance_uid)
        return f"{instance_url(public_base, *uids)}/{BULK_PREFIX}{self.place[0]}"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """How a value is answered."""

    value: _Value
    frames: FramesChoice | None  # frame by frame; None: as it is
    representation: Representation

    @property
    def parts(self) -> int:
        """How many parts it makes."""
        return self.value.layout.number_of_frames if self.value.layout and self.frames else 1

    def heads(self, public_base: str) -> Iterator[PartHead]:
        """The heads of its parts."""
        layout, uri = self.value.layout, self.value.uri(public_base)
        if layout is None or self.frames is None:
            yield PartHead(self.representation.content_type(), self.value.place[2], uri)
            return
        numbers = range(1, layout.number_of_frames + 1)
        for number, head in zip(numbers, frame_heads(layout, numbers, self.representation), strict=True):
            length = None if self.frames.description else head.length  # of what is coded anew not known yet
            yield replace(head, length=length, location=f"{uri}{FRAMES_OF_VALUE}{number}")

    async def contents(
        self, archive: Archive, reader: FileReader, *, is_begun: bool = False
    ) -> AsyncIterator[Body]:
        """The contents of its parts, read one after another; `is_begun`: there were others before."""
        layout, located = self.value.layout, self.value.located
        if layout is None or self.frames is None:
            place = self.value.place
            yield await value_content(archive.services.database, reader, place, 0, place[2])
            return
        numbers = range(1, layout.number_of_frames + 1)
        if self.frames.description is None:
            for number in numbers:
                yield await frame_content(reader, layout, number)
            return
        source = FrameSource(
            located.file_sha256, located.transfer_syntax_uid, self.frames.description, layout, reader
        )
        target = self.representation.transfer_syntax or located.transfer_syntax_uid
        async for frame in FrameCoding(source, target, archive.pixels).frames_of(numbers, is_begun=is_begun):
            yield frame


async def _choose(archive: Archive, value: _Value, accept: Sequence[MediaRange], *, many: bool) -> _Chosen:
    """How to answer a value: native pixel data as they are, or by frames where an image type is preferred.

    Raises:
        NotAcceptable: the client does not take it in any way that there is.
    """
    frames: FramesChoice | None = None
    if value.layout is not None:
        is_many = many or value.layout.number_of_frames > 1
        try:
            frames = await choose_frames(archive, accept, value.located, many=is_many)
        except NotAcceptable:
            if value.is_coded:
                raise
    if frames is not None and (value.is_coded or frames.representation.media_type != OCTETS):
        return _Chosen(value, frames, frames.representation)
    ranges = [each for each in accept if _may_be_many(each)] if many else accept
    return _Chosen(value, None, select_bulk_data(ranges))


async def retrieve_all_bulk_data(
    archive: Archive, request: RetrieveRequest, resource: Resource, *, only_pixels: bool
) -> Answer:
    """The bulk data of every instance of a resource; `only_pixels`: its pixel data."""
    located = await find(archive.services, request, resource)
    return await answer_bulk_data(archive, request, located, only_pixels=only_pixels)


async def answer_bulk_data(
    archive: Archive, request: RetrieveRequest, located: Sequence[Located], *, only_pixels: bool = False
) -> Answer:
    """The bulk data of these instances.

    Raises:
        NotFound: they have none.
        NotAcceptable: the client does not take all of it as it is.
    """
    values = [value async for value in _values(archive, located, only_pixels=only_pixels)]
    if not values:
        raise NotFound("There is no bulk data.")
    chosen = [await _choose(archive, value, request.accept, many=len(values) > 1) for value in values]
    count = sum(each.parts for each in chosen)
    representation = chosen[0].representation
    is_single = count == 1 and not representation.multipart
    kind = f"{'pixels' if only_pixels else 'bulk'} {[each.representation for each in chosen]}"
    is_stored = is_single and (chosen[0].frames is None or chosen[0].frames.description is None)
    tag = entity_tag(kind, located, strong=is_stored)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(archive.services, request, located[0])
    base = archive.services.public_base
    if is_single:
        return await _single(archive, request, chosen[0], tag)
    return await multipart_answer(
        _parts(archive, request, chosen),
        [head for each in chosen for head in each.heads(base)]
        if count <= MAX_COUNTED_PARTS
        else [PartHead(representation.content_type())],
        representation.media_type,
        {"ETag": tag},
        is_head=request.is_head,
    )


async def _values(
    archive: Archive, located: Sequence[Located], *, only_pixels: bool
) -> AsyncIterator[_Value]:
    for start in range(0, len(located), DETAILS_PAGE):
        page = located[start : start + DETAILS_PAGE]
        details = await read_details(archive.services.database, [each.key for each in page])
        for each in page:
            detail = details[each.key]
            for place in bulk_values(detail):
                if not only_pixels or place[0] in PIXELS:
                    yield _Value(each, place, _layout(detail, place[0]))


def _layout(detail: InstanceDetail, path: str) -> PixelLayout | None:
    if path != PIXEL_DATA or detail.pixel_layout is None:
        return None
    layout = decode_layout(detail.pixel_layout)
    return layout if layout.frames_known else None


async def _parts(
    archive: Archive, request: RetrieveRequest, chosen: Sequence[_Chosen]
) -> AsyncIterator[Part]:
    reader: FileReader | None = None
    for number, each in enumerate(chosen):
        if reader is None or reader.located is not each.value.located:
            reader = await archive_reader(archive, request, each.value.located)
        heads = each.heads(archive.services.public_base)
        async for content in each.contents(archive, reader, is_begun=number > 0):
            head = next(heads)
            if isinstance(content, bytes):
                head = replace(head, length=len(content))
            yield Part(head, content)


async def _single(archive: Archive, request: RetrieveRequest, chosen: _Chosen, tag: str) -> Answer:
    reader = await archive_reader(archive, request, chosen.value.located)
    head = next(chosen.heads(archive.services.public_base))

    async def whole() -> Body:
        return await anext(chosen.contents(archive, reader))

    if head.length is not None:
        return await single_part_answer(request, SinglePart(head, tag, whole))
    headers = {"ETag": tag}
    if request.is_head:
        return single_answer(nothing(), head, headers)
    return single_answer(await whole(), head, headers)


def _may_be_many(each: MediaRange) -> bool:
    return each.multipart or each.name.endswith("/*") or each.quality == 0
