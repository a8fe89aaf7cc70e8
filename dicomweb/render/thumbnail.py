"""Thumbnails of studies, series, instances and frames (PS3.18 10.4.1.1.7): small, and without any text."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from dicomweb.answer import Answer
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import pixel_format
from dicomweb.render.media import TYPES, Kind, select_rendered
from dicomweb.render.parameters import Viewport
from dicomweb.render.pictures import Picture, Renderer
from dicomweb.render.request import RenderRequest, middle
from dicomweb.render.subjects import Subject, read_subjects
from dicomweb.render.transaction import answer_pictures
from dicomweb.retrieve.frames import require_frames
from dicomweb.retrieve.locate import Located, Resource
from dicomweb.retrieve.request import find
from server.kernel.faults import NotFound

THUMBNAIL_SIDE = 128  # pixels of the longer side, without a viewport
MAX_LOOKED_AT = 20  # instances, of which the nearest image to the middle is shown
MAX_TRIES = 3  # images, when the nearest cannot be decoded


async def render_thumbnail(
    renderer: Renderer, request: RenderRequest, resource: Resource, numbers: Sequence[int] = ()
) -> Answer:
    """The middle frame of the image in the middle of the resource, or the frames that are named.

    Raises:
        NotFound: there is no image next to the middle, or no such frame.
        PixelsUnreadable: neither that image nor the next ones can be decoded.
    """
    representation = select_rendered(request.retrieve.accept, TYPES[Kind.IMAGE], many=len(numbers) > 1)
    located = await find(renderer.archive.services, request.retrieve, resource)
    refused: PixelsUnreadable | NotFound | None = None
    tries = 0
    async for subject in images_near(renderer, located):
        try:
            if numbers:
                require_frames(subject.layout, numbers)
            pictures = [Picture(subject, (number,)) for number in numbers or (middle(len(subject.frames)),)]
            return await answer_pictures(renderer, _sized(request, subject), representation, pictures)
        except (PixelsUnreadable, NotFound) as fault:
            refused, tries = refused or fault, tries + 1
            if tries == MAX_TRIES:
                break
    raise refused or NotFound("There is no image of which a thumbnail could be made.")


async def images_near(renderer: Renderer, located: Sequence[Located]) -> AsyncIterator[Subject]:
    """The images near the middle, the nearest first; a segmentation behind all others."""
    center = middle(len(located)) - 1
    near = sorted(range(len(located)), key=lambda index: abs(index - center))[:MAX_LOOKED_AT]
    segmentation: Subject | None = None
    for index in near:  # one by one: the first is mostly it, and metadata may be large
        (subject,) = await read_subjects(renderer.archive.services.database, [located[index]])
        if subject.kind is Kind.IMAGE and not subject.is_segmentation:
            yield subject
        elif subject.kind is Kind.IMAGE:
            segmentation = segmentation or subject
    if segmentation is not None:
        yield segmentation


def _sized(request: RenderRequest, subject: Subject) -> RenderRequest:
    """With the size of a thumbnail where none is asked for; a smaller image stays as it is."""
    if request.parameters.viewport is not None:
        return request
    fmt = pixel_format(subject.dicom_json)
    side = min(THUMBNAIL_SIDE, max(fmt.rows, fmt.columns))
    return replace(request, parameters=replace(request.parameters, viewport=Viewport(side, side)))
