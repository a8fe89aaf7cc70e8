"""All bulk data of a study, series or instance, or its pixel data only (PS3.18 10.4.1.1.5, 10.4.1.1.6, B.10).

Each value is a part with the URI that metadata has for it as Content-Location; encapsulated pixel data goes
frame by frame, as `<BulkDataURI>/frames/<number>` (PS3.18 10.4.3.3.5, 10.4.3.3.6).
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.retrieve.content import Body, SinglePart, multipart_answer, single_part_answer
from dicomweb.retrieve.frames import (
    FRAMES_OF_VALUE,
    FileReader,
    archive_reader,
    bulk_values,
    coded_layout,
    frame_content,
    frame_heads,
)
from dicomweb.retrieve.locate import InstanceDetail, Located, Resource, read_details
from dicomweb.retrieve.request import Archive, RetrieveRequest, audit_retrieval, entity_tag, find
from dicomweb.urls import instance_url
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import Representation, select_bulk_data, select_frames
from dicomweb.wire.walk import BULK_PREFIX
from server.kernel.faults import NotFound

DETAILS_PAGE = 500  # instances whose places of bulk data are read in one statement
MAX_COUNTED_PARTS = 2000  # whose lengths are summed up for a Content-Length; a longer message goes without
PIXELS = frozenset(map(key_of, ("PixelData", "FloatPixelData", "DoubleFloatPixelData")))  # of the top level


@dataclass(frozen=True, slots=True)
class _Value:
    """One bulk value, and how it is answered."""

    located: Located
    detail: InstanceDetail
    place: tuple[str, int, int]  # path, offset, length
    frames: int  # of encapsulated pixel data, which goes frame by frame; 0: the value goes as it is

    @property
    def parts(self) -> int:
        """How many parts it makes."""
        return self.frames or 1

    def select(self, accept: Sequence[MediaRange], *, many: bool) -> Representation:
        """How to answer it.

        Raises:
            NotAcceptable: the client does not take it as it is.
        """
        stored = self.located.transfer_syntax_uid
        if self.frames:
            representation = select_frames(accept, stored, many=many)
            if representation.transfer_syntax != stored:
                raise NotAcceptable("all bulk data at once is answered as stored")
            return representation
        return select_bulk_data([each for each in accept if _may_be_many(each)] if many else accept)

    def heads(self, public_base: str, representation: Representation) -> Iterator[PartHead]:
        """The heads of its parts."""
        path, _, length = self.place
        uids = (
            self.located.study_instance_uid,
            self.located.series_instance_uid,
            self.located.sop_instance_uid,
        )
        uri = f"{instance_url(public_base, *uids)}/{BULK_PREFIX}{path}"
        layout = coded_layout(self.detail, path)
        if layout is None:
            yield PartHead(representation.content_type(), length, uri)
            return
        numbers = range(1, self.frames + 1)
        for number, head in zip(numbers, frame_heads(layout, numbers, representation), strict=True):
            yield replace(head, location=f"{uri}{FRAMES_OF_VALUE}{number}")

    async def contents(self, reader: FileReader) -> AsyncIterator[Body]:
        """The contents of its parts, read one after another."""
        path, offset, length = self.place
        layout = coded_layout(self.detail, path)
        if layout is None:
            yield await reader.content([(offset, length)])
            return
        for number in range(1, self.frames + 1):
            yield await frame_content(reader, layout, number)


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
    count = sum(value.parts for value in values)
    chosen = [(value, value.select(request.accept, many=count > 1)) for value in values]
    representation = chosen[0][1]
    is_single = count == 1 and not representation.multipart
    kind = f"{'pixels' if only_pixels else 'bulk'} {[each for _, each in chosen]}"
    tag = entity_tag(kind, located, strong=is_single)
    if names_tag(request.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(archive.services, request, located[0])
    base = archive.services.public_base
    if is_single:
        return await _single(archive, request, values[0], next(values[0].heads(base, representation)), tag)
    return await multipart_answer(
        _parts(archive, request, chosen),
        [head for value, each in chosen for head in value.heads(base, each)]
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
                if only_pixels and place[0] not in PIXELS:
                    continue
                layout = coded_layout(detail, place[0])
                yield _Value(each, detail, place, layout.number_of_frames if layout else 0)


async def _parts(
    archive: Archive, request: RetrieveRequest, chosen: Sequence[tuple[_Value, Representation]]
) -> AsyncIterator[Part]:
    reader: FileReader | None = None
    for value, representation in chosen:
        if reader is None or reader.located is not value.located:
            reader = await archive_reader(archive, request, value.located)
        heads = value.heads(archive.services.public_base, representation)
        async for content in value.contents(reader):
            yield Part(next(heads), content)


async def _single(
    archive: Archive, request: RetrieveRequest, value: _Value, head: PartHead, tag: str
) -> Answer:
    reader = await archive_reader(archive, request, value.located)

    async def whole() -> Body:
        return await anext(value.contents(reader))

    return await single_part_answer(request, SinglePart(head, tag, whole))


def _may_be_many(each: MediaRange) -> bool:
    return each.multipart or each.name.endswith("/*") or each.quality == 0
