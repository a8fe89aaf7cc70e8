"""FHIR R4 http.html#create: what a server may ask beyond R4 is 422; references and profiles by policy."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir.interactions.door import Policy
from fhir.operations import OPERATIONS
from fhir.routes import Offer
from server.kernel.access import Access, Context
from server.kernel.services import Services
from server.workflows.packages import load_package
from tests.unit.fhir_door.conftest import access, grant
from tests.unit.fhir_profiles.definitions import GUIDE, PATIENT, element, good_patient, structure
from tests.unit.fhir_profiles.test_packages import MANIFEST, package

BASE = "http://fhir.test/fhir"


@pytest.fixture
def offer() -> Offer:
    return Offer(Policy(require_references=True, require_profiles=True), operations=OPERATIONS)


@pytest.fixture
async def guide(services: Services, tmp_path: Path) -> None:
    files = {f"package/{each['resourceType']}-{each['id']}.json": each for each in GUIDE}
    path = package(tmp_path / "guide.tgz", {"package/package.json": MANIFEST, **files})
    await load_package(services.database, path)


def observation(subject: str, **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **elements,
    }


def refused(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [issue["expression"][0] for issue in answer.json()["issue"]]


@pytest.mark.parametrize(
    "form",
    ["Patient/{id}", BASE + "/Patient/{id}", "Patient/{id}/_history/1", "https://e.org/fhir/Patient/none"],
)
async def test_a_reference_that_leads_somewhere(
    client: httpx.AsyncClient, create: Callable[..., Any], form: str
) -> None:
    one = await create(good_patient())
    assert (await client.post("/Observation", json=observation(form.format(id=one)))).status_code == 201


async def test_a_reference_leads_as_far_as_the_scope_of_its_type(
    client: httpx.AsyncClient, create: Callable[..., Any], rights: dict[str, Access]
) -> None:
    """A clinician's token with a patient in context reads other Patients by `user/` scopes, or not."""
    ada, ben = [await create(good_patient()) for _ in range(2)]
    for context, status in ((Context.USER, 201), (Context.PATIENT, 422)):
        grants = (grant("Observation", "c", Context.USER), grant("Patient", "r", context))
        rights["doctor"] = replace(access("doctor", *grants, patients=frozenset({ada})), is_confined=False)
        asked = client.post(
            "/Observation", json=observation(f"Patient/{ben}"), headers={"x-rights": "doctor"}
        )
        assert (await asked).status_code == status


@pytest.mark.parametrize(
    "form", ["Patient/none", BASE + "/Patient/none", "Patient/{id}/_history/2", "Patient/{deleted}"]
)
async def test_a_reference_that_leads_nowhere(
    client: httpx.AsyncClient, create: Callable[..., Any], ids: Callable[..., Any], form: str
) -> None:
    one, deleted = await create(good_patient()), await create(good_patient())
    assert (await client.delete(f"/Patient/{deleted}")).status_code in (200, 204)
    wrong = observation(form.format(id=one, deleted=deleted))
    assert refused(await client.post("/Observation", json=wrong)) == ["Observation.subject.reference"]
    assert await ids("/Observation") == []


async def test_every_place_is_told(client: httpx.AsyncClient) -> None:
    contained = {"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/none"}}
    extension = [{"url": "http://e.org", "valueReference": {"reference": "Group/none"}}]
    wrong = observation("Patient/1", contained=[contained], specimen={"reference": "#s"}, extension=extension)
    assert sorted(refused(await client.post("/Observation", json=wrong))) == [
        "Observation.contained[0].subject.reference",
        "Observation.extension[0].value.reference",
        "Observation.subject.reference",
    ]


async def test_updates_and_patches_are_asked_too(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    one = await create(observation(f"Patient/{await create(good_patient())}"))
    wrong = observation("Patient/none", id=one)
    assert refused(await client.put(f"/Observation/{one}", json=wrong)) == ["Observation.subject.reference"]
    patch = [{"op": "replace", "path": "/subject/reference", "value": "Patient/none"}]
    headers = {"content-type": "application/json-patch+json"}
    answer = await client.patch(f"/Observation/{one}", json=patch, headers=headers)
    assert refused(answer) == ["Observation.subject.reference"]
    assert (await client.get(f"/Observation/{one}")).json()["meta"]["versionId"] == "1"


async def test_a_resource_may_refer_to_itself(client: httpx.AsyncClient) -> None:
    one = {
        "resourceType": "Patient",
        "id": "me",
        "link": [{"other": {"reference": "Patient/me"}, "type": "seealso"}],
    }
    assert (await client.put("/Patient/me", json=one)).status_code == 201


def entry(number: int, resource: dict[str, Any]) -> dict[str, Any]:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {
        "fullUrl": f"urn:uuid:0f2b4a6c-0000-4000-8000-00000000000{number}",
        "resource": resource,
        "request": request,
    }


async def test_what_a_transaction_writes_later_counts(
    client: httpx.AsyncClient, ids: Callable[..., Any]
) -> None:
    later = observation("urn:uuid:0f2b4a6c-0000-4000-8000-000000000002")
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry(1, later), entry(2, good_patient())],
    }
    assert (await client.post("/", json=bundle)).status_code == 200
    bundle["entry"] = [entry(1, later), entry(2, good_patient()), entry(3, observation("Patient/none"))]
    assert refused(await client.post("/", json=bundle)) == ["Observation.subject.reference"]
    assert len(await ids("/Observation")) == len(await ids("/Patient")) == 1


async def test_a_confined_caller_learns_of_nobody_else(
    client: httpx.AsyncClient, create: Callable[..., Any], confine: Callable[..., dict[str, str]]
) -> None:
    ada, ben = await create(good_patient()), await create(good_patient())
    of_ben = await create(observation(f"Patient/{ben}"))
    as_ada = confine(ada)
    for other in (of_ben, "none"):
        linked = observation(f"Patient/{ada}", derivedFrom=[{"reference": f"Observation/{other}"}])
        answer = await client.post("/Observation", json=linked, headers=as_ada)
        assert refused(answer) == ["Observation.derivedFrom[0].reference"]
    mine = await create(observation(f"Patient/{ada}"))
    linked = observation(f"Patient/{ada}", derivedFrom=[{"reference": f"Observation/{mine}"}])
    assert (await client.post("/Observation", json=linked, headers=as_ada)).status_code == 201


async def test_a_known_profile_must_be_obeyed(
    client: httpx.AsyncClient, guide: None, create: Callable[..., Any]
) -> None:
    claims = {"meta": {"profile": [PATIENT["url"], "http://e.org/unknown"]}}
    one = await create(good_patient(**claims))
    wrong = good_patient(**claims, name=[{"given": ["x"]}])
    assert refused(await client.post("/Patient", json=wrong)) == ["Patient.name[0]"]
    assert refused(await client.put(f"/Patient/{one}", json={**wrong, "id": one})) == ["Patient.name[0]"]
    assert (await client.post("/Patient", json=good_patient(name=[{"given": ["x"]}]))).status_code == 201
    meta = {"name": "meta", "valueMeta": {"profile": [PATIENT["url"]]}}
    other = await create(good_patient(name=[{"given": ["x"]}]))
    added = await client.post(
        f"/Patient/{other}/$meta-add", json={"resourceType": "Parameters", "parameter": [meta]}
    )
    assert refused(added) == ["Patient.name[0]"]


async def test_one_that_is_refused_takes_nobody_along(
    client: httpx.AsyncClient, ids: Callable[..., Any]
) -> None:
    posts = [client.post("/Observation", json=observation(f"Patient/{n}")) for n in range(4)]
    posts += [client.post("/Patient", json=good_patient()) for _ in range(4)]
    statuses = [answer.status_code for answer in await asyncio.gather(*posts)]
    assert statuses == [422] * 4 + [201] * 4
    assert len(await ids("/Patient")) == 4


async def test_a_profile_that_was_not_kept_counts_for_nobody(client: httpx.AsyncClient) -> None:
    def bundle(most: int) -> dict[str, Any]:
        names = structure("few-names", "Patient", element("Patient.name", min=1, max=str(most)))
        named = good_patient(meta={"profile": [names["url"]]}, name=[{"family": "A"}, {"family": "B"}])
        return {"resourceType": "Bundle", "type": "transaction", "entry": [entry(1, names), entry(2, named)]}

    assert refused(await client.post("/", json=bundle(1))) == ["Patient.name"]
    assert (await client.post("/", json=bundle(2))).status_code == 200
    assert refused(await client.post("/", json=bundle(1))) == ["Patient.name"]


async def test_a_profile_counts_as_soon_as_it_is_written(client: httpx.AsyncClient) -> None:
    names = structure("few-names", "Patient", element("Patient.name", max="1"))
    named = good_patient(meta={"profile": [names["url"]]}, name=[{"family": "A"}, {"family": "B"}])
    assert (await client.post("/Patient", json=named)).status_code == 201
    assert (await client.put("/StructureDefinition/few-names", json=names)).status_code == 201
    assert refused(await client.post("/Patient", json=named)) == ["Patient.name"]
    assert (await client.delete("/StructureDefinition/few-names")).status_code == 204
    assert (await client.post("/Patient", json=named)).status_code == 201
