"""An instance by URI: the file, or rendered, whichever the client likes better (PS3.18 9.4, 9.5)."""

from dataclasses import replace

from dicomweb.answer import Answer
from dicomweb.render.pictures import Renderer
from dicomweb.render.request import RenderRequest
from dicomweb.render.transaction import render_frames, render_instance
from dicomweb.render.uri import parse_uri_parameters
from dicomweb.retrieve.request import RetrieveRequest
from dicomweb.retrieve.retrieve import retrieve_files
from dicomweb.wado_uri.parameters import UriRequest
from dicomweb.wire.faults import NotAcceptable


async def retrieve_by_uri(renderer: Renderer, request: RetrieveRequest, asked: UriRequest) -> Answer:
    """The answer to one request.

    Raises:
        InvalidRendering: a parameter of a rendering has a value that it may not have.
        NotAcceptable: the instance is neither rendered as what is asked for, nor is the file.
    """
    if not asked.prefers_dicom:
        parameters, frame = parse_uri_parameters(asked.given)
        render = RenderRequest(replace(request, accept=asked.accept), parameters)
        try:
            if frame is None:
                return await render_instance(renderer, render, asked.resource)
            return await render_frames(renderer, render, asked.resource, (frame,))
        except NotAcceptable:
            if not asked.dicom:
                raise
    return await retrieve_files(renderer.archive, replace(request, accept=asked.dicom), asked.resource)
