"""The route of WADO-URI (PS3.18 §9): the instance as a DICOM file."""

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.request import Archive
from dicomweb.retrieve.retrieve import retrieve_files
from dicomweb.retrieve.routes import response_of, retrieve_request
from dicomweb.wado_uri.parameters import parse_parameters
from dicomweb.wire.faults import NotAcceptable
from server.kernel.services import Services


def build_router(services: Services) -> APIRouter:
    """The route of the URI service, to be mounted under the DICOMweb root."""
    router = APIRouter(tags=["DICOMweb"])
    archive = Archive(services, InflatedFiles(services.objects))

    @router.get("/wado")
    async def retrieve_by_uri(request: Request) -> Response:
        """Retrieve an instance by query parameters, WADO-URI (PS3.18 §9)."""
        parameters = request.query_params.multi_items()
        asked = parse_parameters(parameters, request.headers.getlist("accept"))
        if not asked.dicom:
            raise NotAcceptable("WADO-URI answers application/dicom")
        retrieve = replace(retrieve_request(request), accept=asked.dicom)
        return response_of(await retrieve_files(archive, retrieve, asked.resource))

    return router
