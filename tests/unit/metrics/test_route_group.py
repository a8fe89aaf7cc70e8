"""Requests fall into groups by method and path alone."""

import pytest

from server.http.route_group import RouteGroup, route_group


@pytest.mark.parametrize(
    ("method", "path", "group"),
    [
        ("POST", "/dicom-web/studies", RouteGroup.STOW),
        ("POST", "/dicom-web/studies/1.2", RouteGroup.STOW),
        ("GET", "/dicom-web/studies", RouteGroup.QIDO),
        ("GET", "/dicom-web/studies/1.2/series", RouteGroup.QIDO),
        ("GET", "/dicom-web/studies/1.2/instances", RouteGroup.QIDO),
        ("GET", "/dicom-web/studies/1.2/series/1.3/instances", RouteGroup.QIDO),
        ("GET", "/dicom-web/studies/1.2", RouteGroup.WADO),
        ("GET", "/dicom-web/studies/1.2/metadata", RouteGroup.WADO),
        ("GET", "/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1", RouteGroup.WADO),
        ("GET", "/dicom-web/wado", RouteGroup.WADO),
        ("OPTIONS", "/dicom-web/studies", RouteGroup.OTHER),
        ("GET", "/dicom-web/workitems", RouteGroup.UPS),
        ("PUT", "/dicom-web/workitems/1.2/state", RouteGroup.UPS),
        ("GET", "/fhir/Patient/1", RouteGroup.FHIR_READ),
        ("GET", "/fhir/Patient/1/_history/2", RouteGroup.FHIR_READ),
        ("GET", "/fhir/metadata", RouteGroup.FHIR_READ),
        ("GET", "/fhir/Patient", RouteGroup.FHIR_SEARCH),
        ("GET", "/fhir", RouteGroup.FHIR_SEARCH),
        ("GET", "/fhir/Patient/1/Observation", RouteGroup.FHIR_SEARCH),
        ("GET", "/fhir/Patient/1/_history", RouteGroup.FHIR_READ),
        ("POST", "/fhir/Patient/_search", RouteGroup.FHIR_SEARCH),
        ("POST", "/fhir/Patient", RouteGroup.FHIR_WRITE),
        ("PUT", "/fhir/Patient/1", RouteGroup.FHIR_WRITE),
        ("POST", "/fhir", RouteGroup.FHIR_WRITE),
        ("GET", "/fhir/Patient/1/$everything", RouteGroup.FHIR_OPERATION),
        ("GET", "/fhir/.well-known/smart-configuration", RouteGroup.AUTH),
        ("POST", "/auth/token", RouteGroup.AUTH),
        ("GET", "/.well-known/openid-configuration", RouteGroup.AUTH),
        ("GET", "/admin/api/studies", RouteGroup.ADMIN),
        ("GET", "/readyz", RouteGroup.HEALTH),
        ("GET", "/docs", RouteGroup.OTHER),
        ("GET", "/", RouteGroup.OTHER),
    ],
)
def test_group(method: str, path: str, group: RouteGroup) -> None:
    assert route_group({"method": method, "path": path}) is group
