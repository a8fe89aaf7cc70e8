"""One picture: its recipe, its coded frames, and the child that makes it (PS3.18 §8.3.5, §8.7.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dicomweb.pixels.format import to_header
from dicomweb.pixels.service import Pixels
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
from dicomweb.render.media import GIF, NotRendered
from dicomweb.render.parameters import IccProfile, InvalidRendering, RenderParameters
from dicomweb.render.presentation import (
    Target,
    drawings_of,
    grayscale_by,
    require_supported,
    shown_by,
    shutter_of,
)
from dicomweb.render.subjects import Subject, read_source
from dicomweb.render.values import Coding, Order, Recipe
from dicomweb.retrieve.frames import open_file
from dicomweb.retrieve.request import Archive

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
        picture.subject.located.file_sha256,
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
    coded = await _read_frames(renderer.archive, picture)
    different = list(dict.fromkeys(recipes))
    order = Order(
        transfer_syntax=picture.subject.located.transfer_syntax_uid,
        lengths=tuple(map(len, coded)),
        recipes=tuple(different),
        uses=tuple(map(different.index, recipes)),
        coding=_coding(source, media_type, parameters),
        palette=palette_of(source) if source.fmt.photometric_interpretation == "PALETTE COLOR" else None,
    )
    header = {
        "format": to_header(source.fmt),
        "order": msgspec.to_builtins(order, builtin_types=(bytes,)),
    }
    return await renderer.pixels.pool.run("render", header, b"".join(coded))


def _coding(source: Source, media_type: str, parameters: RenderParameters) -> Coding:
    wanted = parameters.icc_profile
    return Coding(
        media_type,
        parameters.quality,
        icc_profile=None if wanted is IccProfile.NO else icc_profile_of(source),
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
    return await read_source(archive, state)


async def _read_frames(archive: Archive, picture: Picture) -> list[bytes]:
    """The coded frames, and nothing else of the file."""
    layout = picture.subject.layout
    ranges = [layout.frame_ranges(frame) for frame in picture.frames]
    if sum(length for each in ranges for _, length in each) > MAX_CODED_BYTES:
        raise NotRendered("The frames are larger than one picture may have.")
    reader = await open_file(archive.services.objects, archive.inflated, picture.subject.located)
    return [
        layout.align_frame(frame, await reader.read(each))
        for frame, each in zip(picture.frames, ranges, strict=True)
    ]


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
    if fmt.samples_per_pixel > 1 or fmt.photometric_interpretation == "PALETTE COLOR":
        raise NotRendered("A grayscale presentation state is not applied to colour.")
    target = Target(picture.subject.located.sop_instance_uid, number, fmt.columns, fmt.rows)
    frame = Frame(fmt.columns, fmt.rows, aspect_of(source.dicom_json, number))
    shown, magnification = shown_by(state.dicom_json, target, frame.usable_aspect)
    viewport = parameters.viewport
    return Recipe(
        bits_stored=fmt.bits_stored,
        grayscale=grayscale_by(state, source, target),
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
