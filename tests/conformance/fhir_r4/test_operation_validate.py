"""FHIR R4 resource-operation-validate.html: $validate, and the definitions that it validates with."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir.interactions.door import Definitions, Policy
from fhir.operations import OPERATIONS, validate
from fhir.routes import Offer
from server.kernel.access import Access
from server.kernel.services import Services
from server.workflows.packages import load_package
from terminology.code_systems import GrammarSystems
from terminology.shipped import shipped
from tests.conftest import sqlite_first
from tests.unit.fhir_door.conftest import access, grant
from tests.unit.fhir_profiles.definitions import GUIDE, PATIENT, good_patient
from tests.unit.fhir_profiles.test_packages import MANIFEST, package

PROFILE = PATIENT["url"]

pytestmark = sqlite_first


@pytest.fixture
def offer() -> Offer:
    """With the terminology that ships."""
    return Offer(
        Policy(), operations=OPERATIONS, definitions=Definitions(after=(shipped(), GrammarSystems()))
    )


@pytest.fixture
async def guide(services: Services, tmp_path: Path) -> Path:
    """Our guide, loaded as a package."""
    files = {f"package/{each['resourceType']}-{each['id']}.json": each for each in GUIDE}
    path = package(tmp_path / "guide.tgz", {"package/package.json": MANIFEST, **files})
    loaded = await load_package(services.database, path)
    assert (loaded.written, loaded.unchanged, loaded.refused) == (len(GUIDE), 0, [])
    return path


def parameters(**given: Any) -> dict[str, Any]:
    parts = [
        {
            "name": name,
            **(
                {"resource": value}
                if isinstance(value, dict)
                else {"valueUri" if name == "profile" else "valueCode": value}
            ),
        }
        for name, value in given.items()
    ]
    return {"resourceType": "Parameters", "parameter": parts}


def issues(answer: httpx.Response, *severities: str) -> list[tuple[str, str | None]]:
    assert answer.status_code == 200, answer.text
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return [
        (issue["details"]["text"], issue.get("expression", [None])[0])
        for issue in outcome["issue"]
        if issue["severity"] in (severities or ("error", "fatal"))
    ]


async def test_a_valid_resource_is_an_information(client: httpx.AsyncClient) -> None:
    for body in (good_patient(), parameters(resource=good_patient())):
        answer = await client.post("/Patient/$validate", json=body)
        assert issues(answer) == []
        assert ("No mistake was found.", None) in issues(answer, "information")


async def test_nothing_is_stored(client: httpx.AsyncClient, ids: Callable[..., Any]) -> None:
    await client.post("/Patient/$validate?mode=create", json=good_patient())
    assert await ids("/Patient") == []


async def test_mistakes_are_placed_and_the_status_is_200(client: httpx.AsyncClient) -> None:
    wrong = good_patient(gender="blue", contact=[{"gender": "male"}], colour="red")
    for body in (wrong, parameters(resource=wrong)):
        found = issues(await client.post("/Patient/$validate", json=body))
        assert [place for _, place in found] == ["Patient.gender", "Patient.contact[0]", "Patient.colour"]


async def test_what_r4_advises_is_a_warning(client: httpx.AsyncClient) -> None:
    found = issues(await client.post("/Patient/$validate", json=good_patient()), "warning")
    assert [text[-8:] for text, _ in found] == ["(dom-6)."]


async def test_a_profile_that_is_named(client: httpx.AsyncClient, guide: Path) -> None:
    wrong = good_patient(name=[{"given": ["x"]}])
    for path, body in (
        (f"/Patient/$validate?profile={PROFILE}", wrong),
        ("/Patient/$validate", parameters(resource=wrong, profile=PROFILE, mode="profile")),
    ):
        found = issues(await client.post(path, json=body))
        assert found == [("A family or a text (our-1).", "Patient.name[0]")]
    assert issues(await client.post("/Patient/$validate", json=wrong)) == []


async def test_a_profile_that_is_claimed(client: httpx.AsyncClient, guide: Path) -> None:
    wrong = good_patient(meta={"profile": [PROFILE]}, telecom=[{"system": "fax", "value": "1"}])
    assert [place for _, place in issues(await client.post("/Patient/$validate", json=wrong))] == [
        "Patient.telecom[0]"
    ]


async def test_an_unknown_profile_is_a_warning(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Patient/$validate?profile=http://e.org/none", json=good_patient())
    assert issues(answer) == []
    assert (
        "A profile is not known here, so nothing is checked against it.",
        "Patient.meta.profile",
    ) in issues(answer, "warning")


async def test_a_definition_that_changes_is_seen(
    client: httpx.AsyncClient, guide: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = f"/Patient/$validate?profile={PROFILE}"
    assert issues(await client.post(asked, json=good_patient())) == []
    profile = json.loads(json.dumps(PATIENT))
    profile["differential"]["element"].append({"id": "Patient.gender", "path": "Patient.gender", "min": 1})
    assert (await client.put(f"/StructureDefinition/{profile['id']}", json=profile)).status_code == 200
    monkeypatch.setattr("fhir.interactions.library.SECOND_US", 0)
    assert [place for _, place in issues(await client.post(asked, json=good_patient()))] == ["Patient.gender"]


async def test_nobody_takes_a_profile_for_unknown_that_another_is_reading(
    client: httpx.AsyncClient, guide: Path
) -> None:
    asked = f"/Patient/$validate?profile={PROFILE}"
    wrong = good_patient(name=[{"given": ["x"]}])
    answers = await asyncio.gather(*(client.post(asked, json=wrong) for _ in range(5)))
    for answer in answers:
        assert issues(answer) == [("A family or a text (our-1).", "Patient.name[0]")]


async def test_of_a_stored_resource(
    client: httpx.AsyncClient, create: Callable[..., Any], guide: Path
) -> None:
    one = await create(good_patient(name=[{"given": ["x"]}]))
    for method in ("GET", "POST"):
        answer = await client.request(method, f"/Patient/{one}/$validate?profile={PROFILE}&mode=profile")
        assert issues(answer) == [("A family or a text (our-1).", "Patient.name[0]")]
    assert (await client.get("/Patient/none/$validate")).status_code == 404


async def test_modes(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    one = await create(good_patient())
    here = f"/Patient/{one}/$validate"
    assert issues(await client.post(f"{here}?mode=update", json=good_patient(id=one))) == []
    found = issues(await client.post(f"{here}?mode=update", json=good_patient(id="other")))
    assert [place for _, place in found] == ["Patient.id"]
    found = issues(await client.post("/Patient/$validate?mode=update", json=good_patient()))
    assert [place for _, place in found] == ["Patient.id"]
    assert issues(await client.post(f"{here}?mode=delete")) == []
    found = issues(await client.post("/Group/$validate", json=good_patient()))
    assert [text for text, _ in found] == ["The resource is of another type than the URL says."]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/Patient/$validate", None),
        ("/Patient/$validate?mode=nonsense", good_patient()),
        ("/Patient/$validate?mode=profile", good_patient()),
        ("/Patient/$validate", {"resourceType": "Parameters", "parameter": 7}),
        ("/Patient/$validate", {"resourceType": "Parameters", "parameter": [7]}),
    ],
)
async def test_an_invocation_without_sense_is_400(
    client: httpx.AsyncClient, path: str, body: dict[str, Any] | None
) -> None:
    answer = await client.post(path, **({} if body is None else {"json": body}))
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_a_body_that_is_no_json_is_400(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/fhir+json"}
    answer = await client.post("/Patient/$validate", content=b"{", headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("junk", [7, [], "x", None, {"name": 7}, {"meta": 7}, {"meta": {"profile": 7}}])
async def test_junk_is_told_not_a_defect(client: httpx.AsyncClient, junk: Any) -> None:
    body = {"resourceType": "Patient", **junk} if isinstance(junk, dict) else {"resourceType": junk}
    assert issues(await client.post("/Patient/$validate", json=body)) != []


async def test_access(
    client: httpx.AsyncClient,
    rights: dict[str, Access],
    confine: Callable[..., Any],
    create: Callable[..., Any],
) -> None:
    ada, ben = await create(good_patient()), await create(good_patient())
    rights["groups"] = access("groups", grant("Group"))
    nobody = {"x-rights": "groups"}
    assert (await client.post("/Patient/$validate", json=good_patient(), headers=nobody)).status_code == 403
    reader = {"x-rights": "reader"}
    assert (await client.post("/Patient/$validate", json=good_patient(), headers=reader)).status_code == 200
    create_mode = "/Patient/$validate?mode=create"
    assert (await client.post(create_mode, json=good_patient(), headers=reader)).status_code == 403
    as_ada = confine(ada)
    assert (await client.get(f"/Patient/{ada}/$validate", headers=as_ada)).status_code == 200
    assert (await client.get(f"/Patient/{ben}/$validate", headers=as_ada)).status_code == 404


async def test_loading_again_writes_what_changed(services: Services, guide: Path) -> None:
    loaded = await load_package(services.database, guide)
    assert (loaded.written, loaded.unchanged) == (0, len(GUIDE))


async def test_what_is_not_valid_is_left_out_and_told(services: Services, tmp_path: Path) -> None:
    files = {"package/package.json": MANIFEST, "package/x.json": {**PATIENT, "status": "nonsense"}}
    loaded = await load_package(services.database, package(tmp_path / "p.tgz", files))
    assert (loaded.written, [line.partition(":")[0] for line in loaded.refused]) == (0, ["x.json"])


async def test_an_id_that_is_taken_gets_another(
    client: httpx.AsyncClient, services: Services, guide: Path, tmp_path: Path
) -> None:
    other = {**PATIENT, "url": "http://other.org/p"}
    files = {"package/package.json": MANIFEST, "package/x.json": other}
    assert (await load_package(services.database, package(tmp_path / "p.tgz", files))).written == 1
    found = (await client.get(f"/StructureDefinition?url={other['url']},{PROFILE}")).json()
    assert len({entry["resource"]["id"] for entry in found["entry"]}) == 2


def coded_observation(**changed: Any) -> dict[str, Any]:
    """An Observation whose codes all exist."""
    quantity = {"value": 3, "unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"}
    coding = {"system": DCM, "code": "121070", "display": "Findings"}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [coding]},
        "valueQuantity": quantity,
        **changed,
    }


DCM = "http://dicom.nema.org/resources/ontology/DCM"


@pytest.mark.parametrize(
    ("changed", "severity", "place"),
    [
        pytest.param({}, None, None, id="codes that exist"),
        pytest.param(
            {"code": {"coding": [{"system": DCM, "code": "999999"}]}},
            "error",
            "Observation.code.coding[0].code",
            id="a code that its system does not have",
        ),
        pytest.param(
            {"code": {"coding": [{"system": DCM, "code": "121070", "display": "Something else"}]}},
            "warning",
            "Observation.code.coding[0].display",
            id="a display that is another's",
        ),
        pytest.param(
            {"valueQuantity": {"value": 3, "system": "http://unitsofmeasure.org", "code": "mmmm"}},
            "error",
            "Observation.value.code",
            id="a unit that UCUM does not have",
        ),
        pytest.param(
            {"code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]}},
            None,
            None,
            id="of a system of which only a part is here nothing is said",
        ),
    ],
)
async def test_codes_are_looked_up(
    client: httpx.AsyncClient, changed: dict[str, Any], severity: str | None, place: str | None
) -> None:
    answer = await client.post("/Observation/$validate", json=coded_observation(**changed))
    told = {each: issues(answer, each) for each in ("error", "warning")}
    found = [(each, where) for each, texts in told.items() for _, where in texts if where]
    assert [each for each in found if each[1].endswith((".code", ".display"))] == (
        [] if severity is None else [(severity, place)]
    )


async def test_a_binding_by_filter_is_judged(client: httpx.AsyncClient) -> None:
    """The value set of a profile's required binding is told by a filter over a hierarchy."""
    system, profile = "http://example.org/organs", "http://example.org/StructureDefinition/organ"
    lungs = {"property": "concept", "op": "is-a", "value": "lung"}
    for resource in (
        {
            "resourceType": "CodeSystem", "url": system, "status": "active", "content": "complete",
            "concept": [{"code": "lung", "concept": [{"code": "lobe"}]}, {"code": "heart"}],
        },
        {
            "resourceType": "ValueSet", "url": "http://example.org/vs/lung", "status": "active",
            "compose": {"include": [{"system": system, "filter": [lungs]}]},
        },
        {
            "resourceType": "StructureDefinition", "url": profile, "name": "Organ", "status": "active",
            "kind": "resource", "abstract": False, "type": "Observation", "derivation": "constraint",
            "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
            "differential": {
                "element": [
                    {"id": "Observation", "path": "Observation"},
                    {
                        "id": "Observation.bodySite", "path": "Observation.bodySite",
                        "binding": {"strength": "required", "valueSet": "http://example.org/vs/lung"},
                    },
                ]
            },
        },
    ):  # fmt: skip
        answer = await client.post(f"/{resource['resourceType']}", json=resource)
        assert answer.status_code == 201, answer.text

    async def errors_with(code: str) -> list[str | None]:
        site = {"coding": [{"system": system, "code": code}]}
        observation = coded_observation(bodySite=site, meta={"profile": [profile]})
        answer = await client.post("/Observation/$validate", json=observation)
        return [place for _, place in issues(answer)]

    assert await errors_with("lobe") == []
    assert await errors_with("heart") == ["Observation.bodySite"]
    assert await errors_with("liver") == ["Observation.bodySite.coding[0].code", "Observation.bodySite"]


async def test_a_large_resource_is_looked_at_in_a_thread(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the event loop everybody would wait for it."""
    threads: list[threading.Thread] = []

    def walk(*given: Any, **named: Any) -> Any:
        threads.append(threading.current_thread())
        return validate.walk_through(*given, **named)

    monkeypatch.setattr(validate, "walk_through", validate.walk, raising=False)
    monkeypatch.setattr(validate, "walk", walk)
    for count in (1, 10_000):
        concepts = [{"code": f"code-{n}", "display": f"What is number {n}"} for n in range(count)]
        system = {
            "resourceType": "CodeSystem",
            "status": "active",
            "content": "complete",
            "concept": concepts,
        }
        assert issues(await client.post("/CodeSystem/$validate", json=system)) == []
    small, large = threads
    assert small is threading.main_thread()
    assert large is not threading.main_thread()
