"""One retrieval of rendered resources: find within reach, negotiate, audit, answer (PS3.18 10.4.3)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

from dicomweb.ahead import in_order
from dicomweb.answer import Answer, names_tag, not_modified
from dicomweb.render.documents import document_answer, document_part
from dicomweb.render.media import ALL_TYPES, GIF, TYPES, Kind, NotRendered, select_rendered
from dicomweb.render.parameters import InvalidRendering
from dicomweb.render.pictures import Picture, Renderer, make_picture
from dicomweb.render.request import RenderRequest, middle
from dicomweb.render.states import pictures_of, state_for
from dicomweb.render.subjects import SUBJECTS_PAGE, Subject, read_subjects
from dicomweb.retrieve.content import multipart_answer, nothing, single_answer
from dicomweb.retrieve.frames import MAX_FRAMES_LISTED, require_frames
from dicomweb.retrieve.locate import Located, Resource
from dicomweb.retrieve.request import audit_retrieval, entity_tag, find
from dicomweb.urls import instance_url
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.multipart import Part, PartHead
from dicomweb.wire.negotiation import Representation

RENDERING = "rendered 1"  # changes when the same object is drawn otherwise: copies of clients are old then


async def render_resource(renderer: Renderer, request: RenderRequest, resource: Resource) -> Answer:
    """Everything of a study or series that can be rendered as one of the accepted types (10.4.1.1.3).

    A part for each frame, or for each instance where the type takes all its frames. Presentation states are
    answered by their own resource. What cannot be rendered as the type is left out.
    """
    if request.parameters.presentation_state is not None:
        raise InvalidRendering("A presentation state is applied to an instance or to frames.")
    located = await find(renderer.archive.services, request.retrieve, resource)
    first = await read_subjects(renderer.archive.services.database, located[:SUBJECTS_PAGE])
    representation = select_rendered(request.retrieve.accept, _types_of(first), many=True)
    tag = _entity_tag(request, representation, located)
    if names_tag(request.retrieve.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(renderer.archive.services, request.retrieve, located[0])
    parts = _parts_of(renderer, request, representation, located)
    return await _parts_answer(request, parts, representation.media_type, tag)


async def render_instance(renderer: Renderer, request: RenderRequest, resource: Resource) -> Answer:
    """An instance as picture, text or PDF; a presentation state as the images that it is for.

    Of a multi-frame image: an animation as GIF, a part for each frame as multipart, else its middle frame.
    """
    (located,) = await find(renderer.archive.services, request.retrieve, resource)
    (subject,) = await read_subjects(renderer.archive.services.database, [located])
    representation = select_rendered(request.retrieve.accept, TYPES[subject.kind], many=False)
    if subject.kind in (Kind.REPORT, Kind.PDF):
        tag = _entity_tag(request, representation, [located])
        if names_tag(request.retrieve.if_none_match, tag):
            return not_modified(tag)
        await audit_retrieval(renderer.archive.services, request.retrieve, located)
        return await document_answer(renderer.archive, request.retrieve, subject, representation, tag)
    pictures = await pictures_of(renderer, request, subject, is_one=not representation.multipart)
    if representation.media_type != GIF:
        if representation.multipart and sum(len(each.frames) for each in pictures) > MAX_FRAMES_LISTED:
            raise NotRendered("The instance has more frames than are rendered at once; ask for frames.")
        pictures = (
            list(_frame_by_frame(pictures)) if representation.multipart else [_middle_frame(pictures[0])]
        )
    return await answer_pictures(renderer, request, representation, pictures)


async def render_frames(
    renderer: Renderer, request: RenderRequest, resource: Resource, numbers: Sequence[int]
) -> Answer:
    """Frames of an image, each a picture (10.4.1.1.6)."""
    (located,) = await find(renderer.archive.services, request.retrieve, resource)
    (subject,) = await read_subjects(renderer.archive.services.database, [located])
    types = TYPES[subject.kind] if subject.kind is Kind.IMAGE else ()
    require_frames(subject.layout, numbers)
    representation = select_rendered(request.retrieve.accept, types, many=len(numbers) > 1)
    state = await state_for(renderer, request, subject, numbers)
    pictures = [Picture(subject, (number,), state) for number in numbers]
    return await answer_pictures(renderer, request, representation, pictures)


def _middle_frame(picture: Picture) -> Picture:
    return Picture(picture.subject, (picture.frames[middle(len(picture.frames)) - 1],), picture.state)


def _frame_by_frame(pictures: Sequence[Picture]) -> Iterator[Picture]:
    for picture in pictures:
        for frame in picture.frames:
            yield Picture(picture.subject, (frame,), picture.state)


async def answer_pictures(
    renderer: Renderer, request: RenderRequest, representation: Representation, pictures: Sequence[Picture]
) -> Answer:
    """These pictures, as one part or several."""
    located = [picture.subject.located for picture in pictures]
    states = [picture.state.located for picture in pictures[:1] if picture.state]
    frames = ",".join(str(picture.frames) for picture in pictures)
    tag = _entity_tag(request, representation, [*located, *states], frames)
    if names_tag(request.retrieve.if_none_match, tag):
        return not_modified(tag)
    await audit_retrieval(renderer.archive.services, request.retrieve, located[0])
    media_type = representation.media_type
    if not representation.multipart:
        if request.retrieve.is_head:
            return Answer(nothing(), {"Content-Type": media_type, "ETag": tag})
        body = await make_picture(renderer, pictures[0], media_type, request.parameters)
        return single_answer(body, PartHead(media_type, len(body)), {"ETag": tag})

    makers = (partial(_picture_part, renderer, request, media_type, picture) for picture in pictures)
    return await _parts_answer(request, in_order(makers), media_type, tag)


async def _parts_answer(
    request: RenderRequest, parts: AsyncIterator[Part], media_type: str, tag: str
) -> Answer:
    """A message of parts whose lengths are known when they are made."""
    heads, is_head = [PartHead(media_type)], request.retrieve.is_head
    return await multipart_answer(parts, heads, media_type, {"ETag": tag}, is_head=is_head)


async def _picture_part(
    renderer: Renderer, request: RenderRequest, media_type: str, picture: Picture
) -> Part:
    body = await make_picture(renderer, picture, media_type, request.parameters)
    located = picture.subject.located
    place = (located.study_instance_uid, located.series_instance_uid, located.sop_instance_uid)
    url = instance_url(renderer.archive.services.public_base, *place)
    frames = f"/frames/{picture.frames[0]}" if len(picture.frames) == 1 else ""
    return Part(PartHead(media_type, len(body), f"{url}{frames}/rendered"), body)


async def _parts_of(
    renderer: Renderer, request: RenderRequest, representation: Representation, located: Sequence[Located]
) -> AsyncIterator[Part]:
    """The parts of a study or series, instance after instance; at least one.

    Raises:
        NotAcceptable: nothing of it can be rendered as this.
    """
    is_empty, media_type = True, representation.media_type
    for start in range(0, len(located), SUBJECTS_PAGE):
        page = located[start : start + SUBJECTS_PAGE]
        subjects = await read_subjects(renderer.archive.services.database, page)
        async for part in in_order(_makers(renderer, request, media_type, subjects), is_begun=not is_empty):
            is_empty = False
            yield part
    if is_empty:
        raise NotAcceptable("nothing of the resource can be rendered as this")


def _makers(
    renderer: Renderer, request: RenderRequest, media_type: str, subjects: Sequence[Subject]
) -> Iterator[Callable[[], Awaitable[Part]]]:
    """A maker of each part of those instances that can be rendered as the type."""
    for subject in subjects:
        if subject.kind is Kind.PRESENTATION or media_type not in TYPES[subject.kind]:
            continue
        if subject.kind is not Kind.IMAGE:
            yield partial(document_part, renderer.archive, subject, media_type)
            continue
        whole = [Picture(subject, subject.frames)]
        for picture in whole if media_type == GIF else _frame_by_frame(whole):
            yield partial(_picture_part, renderer, request, media_type, picture)


def _types_of(subjects: Sequence[Subject]) -> list[str]:
    """Every type, those first that the resource seems to have."""
    seen = {media_type for subject in subjects for media_type in TYPES[subject.kind]}
    return sorted(ALL_TYPES, key=lambda media_type: media_type not in seen)


def _entity_tag(
    request: RenderRequest, representation: Representation, located: Sequence[Located], frames: str = ""
) -> str:
    """A tag of the stored bytes and of everything that decides how they are drawn."""
    return entity_tag(f"{RENDERING} {representation} {frames} {request.parameters.text}", located)
