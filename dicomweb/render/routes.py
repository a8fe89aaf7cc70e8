"""Routes of rendered resources and thumbnails (PS3.18 10.4.1, Tables 10.4.1-3 and 10.4.1-4)."""

from fastapi import APIRouter, Request, Response

from dicomweb.pixels.service import Pixels
from dicomweb.render.parameters import parse_parameters, parse_thumbnail_parameters
from dicomweb.render.pictures import Renderer
from dicomweb.render.request import RenderRequest
from dicomweb.render.thumbnail import render_thumbnail
from dicomweb.render.transaction import render_frames, render_instance, render_resource
from dicomweb.retrieve.frames import parse_frame_list
from dicomweb.retrieve.locate import Resource
from dicomweb.retrieve.request import Archive
from dicomweb.retrieve.routes import INSTANCE, SERIES, STUDY, response_of, retrieve_request

FRAMES = f"{INSTANCE}/frames/{{frames}}"


def add_rendered(router: APIRouter, archive: Archive, pixels: Pixels) -> None:
    """The rendered resources and the thumbnails."""
    renderer = Renderer(archive, pixels)
    _add_rendered(router, renderer)
    _add_thumbnails(router, renderer)


def _add_rendered(router: APIRouter, renderer: Renderer) -> None:
    @router.get(f"{STUDY}/rendered")
    async def rendered_study(request: Request, study: str) -> Response:
        """Retrieve a study as pictures and texts (PS3.18 10.4.1.1.3)."""
        return response_of(await render_resource(renderer, _render_request(request), Resource(study)))

    @router.get(f"{SERIES}/rendered")
    async def rendered_series(request: Request, study: str, series: str) -> Response:
        """Retrieve a series as pictures and texts (PS3.18 10.4.1.1.3)."""
        return response_of(await render_resource(renderer, _render_request(request), Resource(study, series)))

    @router.get(f"{INSTANCE}/rendered")
    async def rendered_instance(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve an instance as a picture, a text or a PDF (PS3.18 10.4.1.1.3)."""
        resource = Resource(study, series, instance)
        return response_of(await render_instance(renderer, _render_request(request), resource))

    @router.get(f"{FRAMES}/rendered")
    async def rendered_frames(
        request: Request, study: str, series: str, instance: str, frames: str
    ) -> Response:
        """Retrieve frames of an instance as pictures (PS3.18 10.4.1.1.3)."""
        resource, numbers = Resource(study, series, instance), parse_frame_list(frames)
        return response_of(await render_frames(renderer, _render_request(request), resource, numbers))


def _add_thumbnails(router: APIRouter, renderer: Renderer) -> None:
    @router.get(f"{STUDY}/thumbnail")
    async def study_thumbnail(request: Request, study: str) -> Response:
        """Retrieve a small picture of a study (PS3.18 10.4.1.1.4)."""
        return response_of(await render_thumbnail(renderer, _thumbnail_request(request), Resource(study)))

    @router.get(f"{SERIES}/thumbnail")
    async def series_thumbnail(request: Request, study: str, series: str) -> Response:
        """Retrieve a small picture of a series (PS3.18 10.4.1.1.4)."""
        resource = Resource(study, series)
        return response_of(await render_thumbnail(renderer, _thumbnail_request(request), resource))

    @router.get(f"{INSTANCE}/thumbnail")
    async def instance_thumbnail(request: Request, study: str, series: str, instance: str) -> Response:
        """Retrieve a small picture of an instance (PS3.18 10.4.1.1.4)."""
        resource = Resource(study, series, instance)
        return response_of(await render_thumbnail(renderer, _thumbnail_request(request), resource))

    @router.get(f"{FRAMES}/thumbnail")
    async def frames_thumbnail(
        request: Request, study: str, series: str, instance: str, frames: str
    ) -> Response:
        """Retrieve small pictures of frames (PS3.18 10.4.1.1.4)."""
        resource, numbers = Resource(study, series, instance), parse_frame_list(frames)
        return response_of(await render_thumbnail(renderer, _thumbnail_request(request), resource, numbers))


def _render_request(request: Request) -> RenderRequest:
    return RenderRequest(retrieve_request(request), parse_parameters(request.query_params.multi_items()))


def _thumbnail_request(request: Request) -> RenderRequest:
    parameters = parse_thumbnail_parameters(request.query_params.multi_items())
    return RenderRequest(retrieve_request(request), parameters)
