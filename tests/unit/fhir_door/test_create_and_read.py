"""create, read, vread, update: text kept as sent, versions, conditions (FHIR R4 http.html)."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from fhir.interactions import table
from fhir.interactions.authored import put_resource
from fhir.interactions.beside import LARGE_BODY_BYTES
from fhir.interactions.create import prepare_create
from fhir.interactions.read import read_resource
from server.kernel.access import Principal
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow, OutboxEvent, PatientIdentity
from tests.asked_in_turn import asked_in_turn

JSON = {"content-type": "application/fhir+json"}
AUDIT, EVENT, IDENTITY = table_of(AuditRow), table_of(OutboxEvent), table_of(PatientIdentity)

EXACT = b"""{ "resourceType" : "Observation", "id": "mine", "status":"final",
 "meta" : {"versionId":"77", "tag":[{"system":"urn:t","code":"kept"}]},
 "code":{"text":"\\u00e4 1.0"}, "valueQuantity" : {"value": 1.00, "unit":"mm"},
 "component":[{"code":{"text":"b"},"valueQuantity":{"value":-1.50e-3}}]}"""


async def test_create_keeps_the_text(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Observation", content=EXACT, headers=JSON)
    assert answer.status_code == 201
    made = answer.json()
    assert made["id"] != "mine"
    assert made["meta"]["versionId"] == "1"
    assert made["meta"]["tag"] == [{"system": "urn:t", "code": "kept"}]
    for exact in (b'"value": 1.00, "unit":"mm"', b'{"value":-1.50e-3}', b'"\\u00e4 1.0"'):
        assert exact in answer.content
    place = f"http://fhir.test/fhir/Observation/{made['id']}/_history/1"
    assert answer.headers["location"] == place
    assert answer.headers["etag"] == 'W/"1"'
    assert "last-modified" in answer.headers
    read = await client.get(f"/Observation/{made['id']}")
    assert read.content == answer.content
    assert read.headers["etag"] == 'W/"1"'
    assert read.headers["content-type"].startswith("application/fhir+json")
    again = await client.get(f"/Observation/{made['id']}", headers={"if-none-match": 'W/"1"'})
    assert (again.status_code, again.content) == (304, b"")


@asked_in_turn(
    ("sent", "status"),
    [
        (['W/"1"'], 304),
        (['"1"'], 304),
        (["*"], 304),
        (['W/"7", "1"'], 304),
        (['"7"', 'W/"1"'], 304),
        (['"7"'], 200),
        (["1"], 200),
        ([""], 200),
    ],
)
async def test_if_none_match_compares_weakly(
    client: httpx.AsyncClient, create: Callable[..., Any], sent: list[str], status: int
) -> None:
    one = await create({"resourceType": "Patient"})
    answer = await client.get(f"/Patient/{one}", headers=[("if-none-match", each) for each in sent])
    assert (answer.status_code, answer.headers["etag"]) == (status, 'W/"1"')


async def test_update_makes_versions_and_guards_them(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    one = await create({"resourceType": "Patient", "gender": "female"})
    body = {"resourceType": "Patient", "id": one, "gender": "male"}
    wrong = await client.put(f"/Patient/{one}", json=body, headers={"if-match": 'W/"7"'})
    assert wrong.status_code == 412
    done = await client.put(f"/Patient/{one}", json=body, headers={"if-match": 'W/"1"'})
    assert (done.status_code, done.headers["etag"]) == (200, 'W/"2"')
    assert (await client.get(f"/Patient/{one}/_history/1")).json()["gender"] == "female"
    assert (await client.get(f"/Patient/{one}/_history/2")).json()["gender"] == "male"
    assert (await client.get(f"/Patient/{one}/_history/3")).status_code == 404
    assert (await client.get("/Patient?gender=female")).json()["total"] == 0
    assert (await client.get("/Patient?gender=male")).json()["total"] == 1


async def test_a_large_resource_is_read_beside_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def prepare(door: Any, request: Any) -> Any:
        threads.append(threading.current_thread())
        return prepare_create(door, request)

    monkeypatch.setattr(table, "prepare_create", prepare)
    for count in (1, 10_000):
        telecom = [{"system": "phone", "value": str(n)} for n in range(count)]
        answer = await client.post("/Patient", json={"resourceType": "Patient", "telecom": telecom})
        assert (answer.status_code, len(answer.json()["telecom"])) == (201, count)
    assert len(answer.request.content) > LARGE_BODY_BYTES
    small, large = threads
    assert small is threading.main_thread()
    assert large is not threading.main_thread()


async def test_update_of_an_unknown_id_creates(client: httpx.AsyncClient) -> None:
    answer = await client.put("/Patient/x1", json={"resourceType": "Patient", "id": "x1"})
    assert (answer.status_code, answer.json()["id"], answer.headers["etag"]) == (201, "x1", 'W/"1"')


@asked_in_turn(
    ("content", "headers", "status"),
    [
        (b'{"resourceType":"Patient","gender":"blue"}', JSON, 400),
        (b'{"resourceType":"Observation"}', JSON, 400),
        (b'{"resourceType":"Patient","nope":1}', JSON, 400),
        (b"[]", JSON, 400),
        (b"", JSON, 400),
        (b'{"resourceType":"Patient"', JSON, 400),
        (b"<Patient/>", {"content-type": "application/fhir+xml"}, 415),
        (b'{"resourceType":"Patient"}', {"content-type": "text/plain"}, 415),
        (b'{"resourceType":"Patient"}', JSON | {"accept": "application/fhir+xml"}, 406),
        (b'{"resourceType":"Patient"}', JSON | {"x-rights": "nothing"}, 403),
        (b'{"resourceType":"Patient"}', JSON | {"x-rights": "nobody"}, 401),
        (b'{"resourceType":"Patient"}', JSON | {"x-rights": "reader"}, 403),
    ],
)
async def test_create_refuses(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/Patient", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_validation_names_the_element(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Patient", json={"resourceType": "Patient", "gender": "blue"})
    assert "Patient.gender" in str(answer.json()["issue"][0]["expression"])


async def test_oversized_body_is_413(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Patient", content=b" " * (17 << 20), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/Nope", "/Nope/1", "/Nope/1/_history/1", "/Parameters"])
async def test_unknown_type_is_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-supported")


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("return=minimal", None),
        ("return=representation", "Patient"),
        ("return=OperationOutcome", "OperationOutcome"),
    ],
)
async def test_prefer_return(client: httpx.AsyncClient, prefer: str, expected: str | None) -> None:
    answer = await client.post("/Patient", json={"resourceType": "Patient"}, headers={"prefer": prefer})
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else None) == expected


async def test_if_none_exist_in_parallel_makes_one(client: httpx.AsyncClient) -> None:
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:s", "value": "1"}]}
    headers = {"if-none-exist": "identifier=urn:s|1"}
    answers = await asyncio.gather(*(client.post("/Patient", json=body, headers=headers) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] * 7 + [201]
    assert len({a.json()["id"] for a in answers}) == 1
    assert (await client.get("/Patient?_total=accurate")).json()["total"] == 1


async def test_if_none_exist_with_several_matches_is_412(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    for _ in range(2):
        await create({"resourceType": "Patient", "gender": "male"})
    body = {"resourceType": "Patient"}
    assert (
        await client.post("/Patient", json=body, headers={"if-none-exist": "gender=male"})
    ).status_code == 412
    for wrong in ("", "_count=1", "nope=1", "gender=male&_count=1"):
        answer = await client.post("/Patient", json=body, headers={"if-none-exist": wrong})
        assert answer.status_code == 400, wrong


async def test_writes_leave_event_audit_and_identity(services: Services, create: Callable[..., Any]) -> None:
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:s", "value": "7"}, {"value": "no system"}],
        "name": [{"family": "Müller", "given": ["Anna"]}],
        "birthDate": "1970-01",
    }
    one = await create(patient)
    async with services.database.read() as connection:
        events = (await connection.execute(select(EVENT.c.kind, EVENT.c.subject))).all()
        audit = (
            await connection.execute(select(AUDIT.c.action, AUDIT.c.resource_id, AUDIT.c.patient_id))
        ).all()
        known = (await connection.execute(select(IDENTITY))).one()
    assert events == [("resource.changed", f"Patient/{one}")]
    assert audit == [("C", one, one)]
    assert (known.system, known.value, known.patient_id) == ("urn:s", "7", one)
    assert (known.birth_date, known.name_folded) == ("1970-01", "muller anna")


async def test_reads_are_audited(
    services: Services, client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    one = await create({"resourceType": "Patient"})
    await client.get(f"/Patient/{one}")
    await client.get("/Patient")
    async with services.database.read() as connection:
        rows = (
            await connection.execute(select(AUDIT.c.action, AUDIT.c.interaction, AUDIT.c.patient_id))
        ).all()
    assert rows[1:] == [("R", "read", one), ("E", "search-type", None)]


async def test_conditional_create_that_finds_one_is_audited_with_its_patient(
    services: Services, client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    patient = await create({"resourceType": "Patient"})
    device = {"resourceType": "Device", "patient": {"reference": f"Patient/{patient}"}, "lotNumber": "7"}
    one = await create(device)
    condition = {"if-none-exist": f"_id={one}"}
    assert (await client.post("/Device", json=device, headers=condition)).status_code == 200
    async with services.database.read() as connection:
        columns = (AUDIT.c.action, AUDIT.c.resource_id, AUDIT.c.patient_id)
        rows = (await connection.execute(select(*columns).order_by(AUDIT.c.sequence))).all()
    assert rows[-1] == ("R", one, patient)


async def test_put_resource_writes_only_what_differs(services: Services) -> None:
    worker = Principal("system:worker", "worker")
    device = {"resourceType": "Device", "id": "d1", "deviceName": [{"name": "a", "type": "model-name"}]}

    async def put(resource: dict[str, Any]) -> tuple[int, bool]:
        written = await services.database.transact(lambda unit: put_resource(unit, resource, worker))
        return written.version_id, written.changed

    assert await put(device) == (1, True)
    assert await put(device | {"meta": {"versionId": "9"}}) == (1, False)
    assert await put(device | {"status": "active"}) == (2, True)
    async with services.database.read() as connection:
        stored = await read_resource(connection, "Device", "d1")
        assert await read_resource(connection, "Device", "d2") is None
    assert stored is not None
    assert stored["status"] == "active"
    assert stored["meta"]["versionId"] == "2"


async def test_all_types_are_searchable(client: httpx.AsyncClient) -> None:
    for resource_type in (
        "Basic",
        "Task",
        "Provenance",
        "ImagingStudy",
        "Binary",
        "Measure",
        "VisionPrescription",
    ):
        assert (await client.get(f"/{resource_type}")).json()["total"] == 0
