"""The DICOMweb root in the record: Endpoints, and who finds them (SMART Imaging Access)."""

from typing import Any

import pytest
from sqlalchemy import update

from dicomweb.store.reindex import refresh_index
from dicomweb.tables import Study
from fhir.interactions.door import AUTHORED
from fhir.interactions.rewrite import hold_resource, rewrite
from fhir.model.validation import validate
from server.kernel.rows import table_of
from server.workflows.endpoints import SERVICES, WADO_RS, publish_endpoints
from server.workflows.projection import imaging_study_id_of
from server.workflows.registry.versions import INSTALLER
from tests.conftest import sqlite_first

from .conftest import BASE, Hospital, instance


async def published(hospital: Hospital, base: str = BASE) -> dict[str, Any]:
    await hospital.services.database.transact(
        lambda unit: publish_endpoints(unit, base, INSTALLER, needs_token=True)
    )
    return dict((await hospital.http.get(f"/fhir/Endpoint/{WADO_RS}")).json())


@sqlite_first
async def test_an_endpoint_for_each_service_of_the_root(hospital: Hospital) -> None:
    found = await hospital.search("Endpoint?status=active&_sort=connection-type")
    assert [e["connectionType"]["code"] for e in found] == sorted(service.code for service in SERVICES)
    assert {e["address"] for e in found} == {f"{BASE}/dicom-web"}
    assert all(validate(e) == [] for e in found)
    (needs_token,) = found[-1]["extension"]
    assert needs_token["valueBoolean"] is True


@sqlite_first
async def test_they_follow_the_public_base_and_nothing_else(hospital: Hospital) -> None:
    assert (await published(hospital))["meta"]["versionId"] == "1"
    moved = await published(hospital, "https://archive.example")
    assert (moved["meta"]["versionId"], moved["address"]) == ("2", "https://archive.example/dicom-web")


@sqlite_first
@pytest.mark.parametrize("scope", ["patient/*.rs", "patient/ImagingStudy.rs", "system/ImagingStudy.rs"])
async def test_who_may_search_studies_gets_where_their_images_are(hospital: Hospital, scope: str) -> None:
    await hospital.store(instance("2.25.100"), instance("2.25.200", PatientID="P2", PatientName="Roe^Ben"))
    await hospital.run_jobs()
    ada = (await hospital.only("Patient?identifier=P1"))["id"]
    caller = await hospital.headers(scope, ada)
    study, endpoint = await hospital.search(
        f"ImagingStudy?patient={ada}&_include=ImagingStudy:endpoint", **caller
    )
    assert study["identifier"][0]["value"] == "urn:oid:2.25.100"
    assert study["endpoint"] == [{"reference": f"Endpoint/{endpoint['id']}"}]
    everything = await hospital.search("ImagingStudy?_include=ImagingStudy:endpoint", **caller)
    assert [e["id"] for e in everything] == [study["id"], endpoint["id"]]


async def test_studies_of_an_earlier_release_are_told_of_anew(hospital: Hospital) -> None:
    await hospital.store(instance())
    await hospital.run_jobs()

    async def forget(unit: Any) -> None:
        await unit.execute(update(table_of(Study)).values(index_version=1))
        held = await hold_resource(unit, "ImagingStudy", imaging_study_id_of("2.25.100"))
        await rewrite(unit, held, {"endpoint": None}, INSTALLER, AUTHORED)

    await hospital.services.database.transact(forget)
    assert "endpoint" not in await hospital.only("ImagingStudy")
    assert await refresh_index(hospital.services) == 1
    await hospital.run_jobs()
    assert (await hospital.only("ImagingStudy"))["endpoint"] == [{"reference": f"Endpoint/{WADO_RS}"}]


@sqlite_first
async def test_another_type_brings_no_endpoint_along(hospital: Hospital) -> None:
    body = {"resourceType": "Organization", "name": "x", "endpoint": [{"reference": f"Endpoint/{WADO_RS}"}]}
    assert (await hospital.http.post("/fhir/Organization", json=body)).status_code == 201
    caller = await hospital.headers("system/Organization.rs")
    (found,) = await hospital.search("Organization?_include=Organization:endpoint", **caller)
    assert found["resourceType"] == "Organization"
