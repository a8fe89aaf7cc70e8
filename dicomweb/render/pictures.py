"""One picture: its recipe, its coded frames, and the child that makes it (PS3.18 §8.3.5, §8.7.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.format import to_header
from dicomweb.pixels.pool import Unread
from dicomweb.pixels.service import Pixels
from dicomweb.pixels.syntaxes import NATIVE
from dicomweb.render.annotate import patient_lines, technique_lines
from dicomweb.render.describe import (
    Source,
    aspect_of,
    frame_time_ms,
    grayscale_of,
    icc_profile_of,
    palette_of,
)
from dicomweb.render.geometry import Frame, fit, place
from dicomweb.render.media import COLOUR_STATE, GIF, PSEUDO_COLOUR_STATE, NotRendered
from dicomweb.render.parameters import IccProfile, InvalidRendering, RenderParameters
from dicomweb.render.presentation import (
    Target,
    drawings_of,
    grayscale_by,
    require_supported,
    shown_by,
    shutter_of,
    sop_class_of,
)
from dicomweb.render.subjects import Subject, read_source
from dicomweb.render.values import Coding, Grayscale, Order, Palette, Recipe
from dicomweb.retrieve.frames import frame_length_of, open_file
from dicomweb.retrieve.request import Archive
from dicomweb.transcode.description import describe
from dicomweb.transcode.source import FrameSource

Json = Any
MAX_ANIMATION_FRAMES = 500
MAX_ANIMATION_PIXELS = 128 << 20  # of all frames together, as they are drawn
TOO_LARGE = f"The animation is too long or too large for {GIF}; ask for frames, or for a viewport."
MAX_CODED_BYTES = 256 << 20  # of the frames of one picture as stored


@dataclass(frozen=True, slots=True)
class Renderer:
    """What rendering needs; one per process."""

    archive: Archive
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Picture:
    """Frames of an image, from 1, that become one picture; `state`: the presentation state to apply."""

    subject: Subject
    frames: tuple[int, ...]
    state: Subject | None = None


async def make_picture(
    renderer: Renderer, picture: Picture, media_type: str, parameters: RenderParameters
) -> bytes:
    """The coded picture, from the cache or made now.

    Raises:
        InvalidRendering: a parameter does not fit the image.
        NotRendered: the image or the state asks for what is not rendered.
        PixelsUnreadable: the stored pixels cannot be decoded.
        NotFound: the frames are not known.
    """
    if len(picture.frames) > MAX_ANIMATION_FRAMES:
        raise NotRendered(TOO_LARGE)
    state = picture.state and picture.state.located.file_sha256
    key = (
        "rendered",
        picture.subject.located.version,
        picture.frames,
        state,
        media_type,
        parameters.text,
    )

    async def make() -> tuple[dict[str, Json], bytes]:
        return await _make(renderer, picture, media_type, parameters)

    _, body = await renderer.pixels.results.get(key, make)
    return body


async def _make(
    renderer: Renderer, picture: Picture, media_type: str, parameters: RenderParameters
) -> tuple[dict[str, Json], bytes]:
    with_profile = parameters.icc_profile is not IccProfile.NO
    source = await read_source(renderer.archive, picture.subject, with_profile=with_profile)
    state = await _read_state(renderer.archive, picture.state, parameters)
    recipes = [_recipe(picture, frame, source, state, parameters) for frame in picture.frames]
    _check_size(recipes)
    coded = _unread_frames(renderer.archive, picture)
    stored = picture.subject.located.transfer_syntax_uid
    different = list(dict.fromkeys(recipes))
    order = Order(
        transfer_syntax=ts.ExplicitVRLittleEndian if stored in NATIVE else stored,
        lengths=tuple(frame_length_of(picture.subject.layout, frame) for frame in picture.frames),
        recipes=tuple(different),
        uses=tuple(map(different.index, recipes)),
        coding=_coding(source, state, media_type, parameters),
        palette=_palette(source, state),
    )
    header = {
        "format": to_header(source.fmt),
        "order": msgspec.to_builtins(order, builtin_types=(bytes,)),
    }
    return await renderer.pixels.pool.run("render", header, coded)


def _palette(source: Source, state: Source | None) -> Palette | None:
    """The image's own, or that of a pseudo-colour state; none for other gray and colour."""
    if source.fmt.photometric_interpretation == "PALETTE COLOR":
        return palette_of(source)
    return palette_of(state) if state and sop_class_of(state) == PSEUDO_COLOUR_STATE else None


def _coding(source: Source, state: Source | None, media_type: str, parameters: RenderParameters) -> Coding:
    """A state's own profile takes the place of the image's (PS3.3 A.33.2, A.33.3)."""
    wanted = parameters.icc_profile
    profile = None
    if wanted is not IccProfile.NO:
        profile = (icc_profile_of(state) if state else None) or icc_profile_of(source)
    return Coding(
        media_type,
        parameters.quality,
        icc_profile=profile,
        wants_profile=wanted is not IccProfile.NO,
        wants_srgb=wanted is IccProfile.SRGB,
        frame_time_ms=frame_time_ms(source.dicom_json),
    )


async def _read_state(archive: Archive, state: Subject | None, parameters: RenderParameters) -> Source | None:
    if state is None:
        return None
    if parameters.window or (parameters.viewport and parameters.viewport.names_region):
        raise InvalidRendering("A presentation state says itself what to show; leave out window and region.")
    require_supported(state.dicom_json)
    return await read_source(archive, state, with_profile=parameters.icc_profile is not IccProfile.NO)


def _unread_frames(archive: Archive, picture: Picture) -> Unread:
    """The coded frames, or native ones in little endian from bit 0, and nothing else of the file."""
    layout, located = picture.subject.layout, picture.subject.located
    size = sum(frame_length_of(layout, frame) for frame in picture.frames)
    if size > MAX_CODED_BYTES:
        raise NotRendered("The frames are larger than one picture may have.")
    description = describe(picture.subject.dicom_json)

    async def read() -> bytes:
        reader = await open_file(archive.services.objects, archive.inflated, located)
        source = FrameSource(located.file_sha256, located.transfer_syntax_uid, description, layout, reader)
        return b"".join([await source.read(frame) for frame in picture.frames])

    return Unread(size, read)


def _check_size(recipes: Sequence[Recipe]) -> None:
    drawn = sum(recipe.placement.width * recipe.placement.height for recipe in recipes)
    if len(recipes) > 1 and drawn > MAX_ANIMATION_PIXELS:
        raise NotRendered(TOO_LARGE)


def _recipe(
    picture: Picture, number: int, source: Source, state: Source | None, parameters: RenderParameters
) -> Recipe:
    """How one frame is drawn."""
    if state is not None:
        return _with_annotations(
            _recipe_by_state(picture, number, source, state, parameters), picture, number, parameters
        )
    fmt = source.fmt
    grayscale = grayscale_of(source, number)
    if parameters.window is not None:
        grayscale = replace(grayscale, window=parameters.window, voi_lut=None)
    frame = Frame(fmt.columns, fmt.rows, aspect_of(source.dicom_json, number))
    recipe = Recipe(
        bits_stored=fmt.bits_stored,
        grayscale=grayscale,
        placement=place(frame, parameters.viewport),
        shutter=shutter_of(source.dicom_json),
    )
    return _with_annotations(recipe, picture, number, parameters)


def _recipe_by_state(
    picture: Picture, number: int, source: Source, state: Source, parameters: RenderParameters
) -> Recipe:
    fmt = source.fmt
    is_colour = fmt.samples_per_pixel > 1 or fmt.photometric_interpretation == "PALETTE COLOR"
    if is_colour != (sop_class_of(state) == COLOUR_STATE):
        raise NotRendered("A colour presentation state is applied to colour only, another one to gray only.")
    target = Target(picture.subject.located.sop_instance_uid, number, fmt.columns, fmt.rows)
    frame = Frame(fmt.columns, fmt.rows, aspect_of(source.dicom_json, number))
    shown, magnification = shown_by(state.dicom_json, target, frame.usable_aspect)
    viewport = parameters.viewport
    return Recipe(
        bits_stored=fmt.bits_stored,
        grayscale=Grayscale() if is_colour else grayscale_by(state, source, target),
        placement=fit(shown, viewport.box if viewport else None, magnification),
        shutter=shutter_of(state.dicom_json),
        drawings=drawings_of(state.dicom_json, target, shown),
    )


def _with_annotations(recipe: Recipe, picture: Picture, number: int, parameters: RenderParameters) -> Recipe:
    dicom_json, wanted = picture.subject.dicom_json, parameters.annotation
    count = picture.subject.layout.number_of_frames
    frame = f"{number}/{count}" if count > 1 else ""
    return replace(
        recipe,
        top_lines=patient_lines(dicom_json) if "patient" in wanted else (),
        bottom_lines=technique_lines(dicom_json, recipe.grayscale.window, frame)
        if "technique" in wanted
        else (),
    )
