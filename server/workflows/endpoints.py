"""The DICOMweb root as Endpoints, so that readers of an ImagingStudy find its images (SMART Imaging Access).

Written at every start: when the public base has changed, they get a version that says so, and every
ImagingStudy that refers to them is right with that.
"""

from dataclasses import dataclass

from dicomweb.urls import ROOT
from fhir.interactions.authored import put_resource
from fhir.model.builders.endpoint import EndpointFacts, endpoint
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork

WADO_RS = "dicomweb-wado-rs"  # the id of the Endpoint that every ImagingStudy names


@dataclass(frozen=True, slots=True)
class _Service:
    """One service of the root, by its code in valueset-endpoint-connection-type."""

    code: str
    display: str
    media_types: tuple[str, ...]


_MULTIPART = 'multipart/related; type="application/dicom"'
SERVICES = (
    _Service("dicom-wado-rs", "DICOM WADO-RS", (_MULTIPART, "application/dicom", "application/dicom+json")),
    _Service("dicom-qido-rs", "DICOM QIDO-RS", ("application/dicom+json",)),
    _Service("dicom-stow-rs", "DICOM STOW-RS", (_MULTIPART, "application/dicom")),
)


async def publish_endpoints(
    unit: UnitOfWork, public_base: str, principal: Principal, *, needs_token: bool
) -> None:
    """Put the Endpoints into the record; one gets a new version only when it changed."""
    for service in SERVICES:
        facts = EndpointFacts(
            id=service.code.replace("dicom-", "dicomweb-"),
            connection=(service.code, service.display),
            name=f"{service.display} of this archive",
            address=public_base + ROOT,
            media_types=service.media_types,
            needs_token=needs_token,
        )
        await put_resource(unit, endpoint(facts), principal)
