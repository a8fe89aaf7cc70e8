"""Presentation states and the images that they are for, of one study (PS3.3 C.11.11, PS3.18 9.1.2.3)."""

from collections.abc import Sequence

from dicomweb.render.media import Kind, NotRendered
from dicomweb.render.parameters import InvalidRendering
from dicomweb.render.pictures import Picture, Renderer
from dicomweb.render.presentation import Reference, references_of
from dicomweb.render.request import RenderRequest, middle
from dicomweb.render.subjects import Subject, read_subjects
from dicomweb.retrieve.frames import require_frames
from dicomweb.retrieve.locate import Resource
from dicomweb.retrieve.request import find
from server.kernel.faults import NotFound

MAX_STATE_IMAGES = 1000  # of a presentation state


async def pictures_of(
    renderer: Renderer, request: RenderRequest, subject: Subject, *, is_one: bool
) -> list[Picture]:
    """The images, each with all its frames, that an instance stands for; `is_one`: only one may be shown.

    An image stands for itself. A presentation state stands for those that it names; one of them: the middle.
    """
    if subject.kind is not Kind.PRESENTATION:
        return [Picture(subject, subject.frames, await state_for(renderer, request, subject, subject.frames))]
    named = references_of(subject.dicom_json)
    if not named:
        raise NotFound("The presentation state names no images.")
    if is_one:
        named = [named[middle(len(named)) - 1]]
    if len(named) > MAX_STATE_IMAGES:
        raise NotRendered("The presentation state names more images than are rendered.")
    return [await _named_picture(renderer, request, subject, reference) for reference in named]


async def _named_picture(
    renderer: Renderer, request: RenderRequest, state: Subject, reference: Reference
) -> Picture:
    """An image of the same study, and within reach, by a state that names it."""
    place = Resource(state.located.study_instance_uid, reference.series, reference.instance)
    subject = await _read(renderer, request, place)
    frames = reference.frames or subject.frames
    require_frames(subject.layout, frames)
    return Picture(subject, frames, state)


async def state_for(
    renderer: Renderer, request: RenderRequest, subject: Subject, numbers: Sequence[int]
) -> Subject | None:
    """The presentation state that the parameters name for these frames; None: they name none.

    Raises:
        NotFound: it is not in the study, or not within reach.
        InvalidRendering: it is no such state, or not for these frames.
    """
    asked = request.parameters.presentation_state
    if asked is None:
        return None
    state = await _read(renderer, request, Resource(subject.located.study_instance_uid, *asked))
    if state.kind is not Kind.PRESENTATION:
        raise InvalidRendering("presentationUID names no presentation state that is drawn by.")
    uid = subject.located.sop_instance_uid
    named = [each for each in references_of(state.dicom_json) if each.instance == uid]
    if not any(not each.frames or set(numbers) <= set(each.frames) for each in named):
        raise InvalidRendering("The presentation state is not for this image.")
    return state


async def _read(renderer: Renderer, request: RenderRequest, place: Resource) -> Subject:
    (located,) = await find(renderer.archive.services, request.retrieve, place)
    (subject,) = await read_subjects(renderer.archive.services.database, [located])
    return subject
