"""The route of WADO-URI (PS3.18 §9): an instance as a DICOM file, or rendered."""

from fastapi import APIRouter, Request, Response

from dicomweb.pixels.service import Pixels
from dicomweb.render.pictures import Renderer
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.request import Archive
from dicomweb.retrieve.routes import response_of, retrieve_request
from dicomweb.wado_uri.answer import retrieve_by_uri
from dicomweb.wado_uri.parameters import parse_parameters
from server.kernel.services import Services


def build_router(services: Services, archive: Archive | None = None) -> APIRouter:
    """The route of the URI service, to be mounted under the DICOMweb root; `archive`: the process's."""
    router = APIRouter(tags=["DICOMweb"])
    archive = archive or Archive(services, InflatedFiles(services.objects), Pixels())
    renderer = Renderer(archive, archive.pixels)

    @router.get("/wado")
    async def wado(request: Request) -> Response:
        """Retrieve an instance by query parameters, WADO-URI (PS3.18 §9)."""
        parameters = request.query_params.multi_items()
        asked = parse_parameters(parameters, request.headers.getlist("accept"))
        return response_of(await retrieve_by_uri(renderer, retrieve_request(request), asked))

    return router
