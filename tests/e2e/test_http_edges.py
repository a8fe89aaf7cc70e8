"""What HTTP itself asks of every door: methods, HEAD, unknown paths, parameters, hosts."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("DELETE", "/dicom-web/studies", "GET, HEAD, OPTIONS, POST", id="DICOMweb"),
        pytest.param("GET", "/dicom-web", "OPTIONS", id="DICOMweb root"),
        pytest.param("PUT", "/fhir", "GET, HEAD, POST", id="FHIR base"),
        pytest.param("POST", "/fhir/Patient/1", "DELETE, GET, HEAD, PATCH, PUT", id="FHIR instance"),
        pytest.param("DELETE", "/fhir/Patient/1/_history/1", "GET, HEAD", id="FHIR version"),
        pytest.param("PUT", "/admin/api/models", "GET, HEAD", id="administration"),
        pytest.param("GET", "/auth/token", "POST", id="token endpoint"),
    ],
)
async def test_other_method_is_405_with_all_methods(
    system: Any, method: str, path: str, allowed: str
) -> None:
    answer = await system.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


async def test_unknown_path_is_404_in_the_words_of_the_door(system: Any) -> None:
    fhir = await system.http.get("/fhir/Patient/1/_history/1/more")
    assert (fhir.status_code, fhir.json()["resourceType"]) == (404, "OperationOutcome")
    dicomweb = await system.http.get("/dicom-web/patients")
    assert (dicomweb.status_code, list(dicomweb.json())) == (404, ["error"])
    elsewhere = await system.http.get("/nowhere")
    assert (elsewhere.status_code, elsewhere.headers["content-type"]) == (404, "application/problem+json")


async def test_a_trailing_slash_is_no_redirect(system: Any) -> None:
    answer = await system.http.get("/dicom-web/studies/", headers={"Host": "localhost"})
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/fhir/metadata", "/dicom-web/studies", "/livez"])
async def test_head_has_the_head_of_get_and_no_body(system: Any, path: str) -> None:
    get, head = await system.http.get(path), await system.http.head(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-length"] == str(len(get.content))
    assert head.content == b""


@pytest.mark.parametrize("after", ["Demo^Phantom", "-1", "9" * 20])
async def test_wrong_parameter_is_400_and_not_repeated(system: Any, after: str) -> None:
    answer = await system.http.get("/admin/api/studies", params={"after": after})
    assert answer.status_code == 400
    assert "after" in answer.text
    assert after not in answer.text


async def test_foreign_host_is_refused(system: Any) -> None:
    answer = await system.http.get("/dicom-web/studies", headers={"Host": "evil.example"})
    assert answer.status_code in (400, 421)
