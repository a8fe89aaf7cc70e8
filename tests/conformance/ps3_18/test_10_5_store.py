"""Store transaction: request, effects, answer (PS3.18 10.5)."""

import asyncio
import io
import random
import string
import warnings
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedSRStorage, ImplicitVRLittleEndian
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from dicomweb.response_codes import StoreFailure
from dicomweb.store import grouped, limits, receive, service
from dicomweb.store.index import index_instances
from dicomweb.store.instances import InstanceResult
from dicomweb.tables import Instance, Series, Study
from server.kernel.access import Access
from server.kernel.faults import StorageFull
from server.kernel.local_store import LocalObjectStore
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow, OutboxEvent
from server.workflows.orders import Accession
from server.workflows.projection import accession_of
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import (
    DICOM_JSON,
    MULTIPART,
    Place,
    as_file,
    ct_file,
    ct_slice,
    granted,
    multipart,
    place,
)

LONG_TEXT = "".join(random.Random(1).choices(string.ascii_letters, k=60_000))  # which no index compresses
STUDY, SERIES, INSTANCE = table_of(Study), table_of(Series), table_of(Instance)


async def post(client: httpx.AsyncClient, *files: bytes, study: str = "", **headers: str) -> httpx.Response:
    path = f"/dicom-web/studies{'/' + study if study else ''}"
    headers = {"Content-Type": MULTIPART, **headers}
    return await client.post(path, content=multipart(*files), headers=headers)


def overlong_file(where: Place | None = None, /, **attributes: Any) -> bytes:
    """Texts longer than their VR allows."""
    with warnings.catch_warnings(action="ignore"):
        return ct_file(where, **attributes)


def item_of(**attributes: str) -> Dataset:
    made = Dataset()
    with warnings.catch_warnings(action="ignore"):
        for keyword, value in attributes.items():
            setattr(made, keyword, value)
    return made


LONG_ISSUER = item_of(UniversalEntityID=LONG_TEXT[:129], UniversalEntityIDType="ISO")


async def count(services: Services, row: type) -> int:
    async with services.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table_of(row)))).scalar_one()


async def rows(services: Services, row: type) -> list:
    async with services.database.read() as connection:
        return list((await connection.execute(select(table_of(row)))).all())


def items(response: httpx.Response, tag: str) -> list:
    return response.json().get(tag, {}).get("Value", [])


REFERENCED, FAILED, OTHER = "00081199", "00081198", "0008119A"


def reason(item: dict) -> StoreFailure:
    return StoreFailure(item["00081197"]["Value"][0])


def failed_attributes(item: dict) -> list[str]:
    return [each.get("00720026", {}).get("Value", [""])[0] for each in item["00741048"]["Value"]]


async def test_stored_instances_are_named_with_their_urls(client: httpx.AsyncClient) -> None:
    one, two = place(instance=1), place(instance=2)
    response = await post(client, ct_file(one), ct_file(two))
    assert response.status_code == 200
    assert response.headers["content-type"] == DICOM_JSON
    body = response.json()
    assert body["00081190"] == {"vr": "UR", "Value": [f"http://testserver/dicom-web/studies/{one.study}"]}
    urls = [item["00081190"]["Value"][0] for item in items(response, REFERENCED)]
    assert urls == [f"http://testserver{one.path}", f"http://testserver{two.path}"]
    assert list(body) == sorted(body)
    assert pydicom.Dataset.from_json(body).ReferencedSOPSequence[1].ReferencedSOPInstanceUID == two.instance


async def test_stored_is_indexed_linked_announced_and_audited(
    client: httpx.AsyncClient, services: Services
) -> None:
    await post(client, ct_file(), ct_file(place(instance=2)))
    (study,) = await rows(services, Study)
    assert (study.link_state, study.patient_system) == ("linked", services.site.patient_system)
    assert study.patient_id
    assert study.input_changed_us == study.changed_us == study.created_us
    (event,) = await rows(services, OutboxEvent)
    assert (event.kind, event.subject) == ("study.changed", study.study_instance_uid)
    (entry,) = await rows(services, AuditRow)
    assert (entry.interaction, entry.resource_id, entry.occurrences) == ("stow", event.subject, 2)
    assert (entry.patient_id, entry.principal, entry.outcome) == (study.patient_id, "client:all", "0")


async def test_single_part_body_is_taken(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/dicom-web/studies", content=ct_file(), headers={"Content-Type": "application/dicom"}
    )
    assert response.status_code == 200


@asked_in_turn(
    ("body", "content_type", "status"),
    [
        pytest.param(b"", MULTIPART, 400, id="empty"),
        pytest.param(b"", "application/dicom", 400, id="empty single part"),
        pytest.param(multipart(ct_file()), MULTIPART + "-other", 400, id="wrong boundary"),
        pytest.param(multipart(ct_file(), end=False), MULTIPART, 400, id="cut off"),
        pytest.param(multipart(ct_file()), "multipart/related", 400, id="no boundary"),
        pytest.param(b"{}", "application/json", 415, id="JSON"),
        pytest.param(b"x", "", 415, id="no type"),
        pytest.param(
            multipart(b"{}"), MULTIPART.replace("dicom", "dicom+json", 1), 415, id="files said to be metadata"
        ),
    ],
)
async def test_unusable_body(
    client: httpx.AsyncClient, services: Services, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    response = await client.post("/dicom-web/studies", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]
    assert await count(services, Instance) == 0


async def test_answer_type_not_accepted(client: httpx.AsyncClient) -> None:
    assert (await post(client, ct_file(), Accept="text/html")).status_code == 406


@pytest.mark.parametrize(
    ("file", "failure", "attributes"),
    [
        pytest.param(ct_file(StudyInstanceUID=""), 0xA900, ["0020000D"], id="empty UID"),
        pytest.param(
            ct_file(StudyInstanceUID=None, SeriesInstanceUID=""),
            0xA900,
            ["0020000D", "0020000E"],
            id="two missing UIDs, each named",
        ),
        pytest.param(ct_file()[:-10], 0xC000, [""], id="cut off in the pixel data"),
        pytest.param(
            overlong_file(PatientID=LONG_TEXT[:129]), 0xA900, ["00100020"], id="a Patient ID too long"
        ),
        pytest.param(
            overlong_file(PatientID=LONG_TEXT), 0xA900, ["00100020"], id="a Patient ID beyond any index"
        ),
        pytest.param(overlong_file(IssuerOfPatientID=LONG_TEXT[:129]), 0xA900, ["00100021"], id="issuer"),
        pytest.param(
            ct_file(IssuerOfPatientIDQualifiersSequence=[LONG_ISSUER]),
            0xA900,
            ["00100024"],
            id="qualifier",
        ),
    ],
)
async def test_refused_instance_names_what_is_wrong(
    client: httpx.AsyncClient, file: bytes, failure: int, attributes: list[str]
) -> None:
    response = await post(client, file, ct_file(place(instance=2)))
    assert response.status_code == 202
    (item,) = items(response, FAILED)
    assert reason(item) == failure
    assert failed_attributes(item) == attributes
    assert len(items(response, REFERENCED)) == 1


async def test_texts_beyond_any_index_are_stored_and_found_by_their_beginning(
    client: httpx.AsyncClient,
) -> None:
    request = item_of(RequestedProcedureID=LONG_TEXT)
    keywords = ("AccessionNumber", "PatientName", "StudyDescription", "SeriesDescription", "StationName")
    files = [
        overlong_file(place(number), **{keyword: LONG_TEXT}) for number, keyword in enumerate(keywords, 2)
    ]
    response = await post(client, overlong_file(RequestAttributesSequence=[request]), *files)
    assert response.status_code == 200, response.text
    for key in (*keywords, "RequestAttributesSequence.RequestedProcedureID"):
        found = await client.get("/dicom-web/series", params={key: f"{LONG_TEXT[:200]}*"})
        assert len(found.json()) == 1, key


async def test_text_where_items_are_due_is_stored(client: httpx.AsyncClient) -> None:
    """It was 500 for the request, and then for the projection of every study."""
    dataset = ct_slice()
    for tag in (0x00100024, 0x00400275, 0x00080051):
        dataset.add_new(tag, "LO", "no items")
    assert (await post(client, as_file(dataset))).status_code == 200
    (found,) = (await client.get("/dicom-web/studies", params={"includefield": "all"})).json()
    assert found["00080051"] == {"vr": "LO", "Value": ["no items"]}
    assert accession_of(found) == Accession("A1", None)


async def test_part_that_is_not_dicom_is_an_other_failure(client: httpx.AsyncClient) -> None:
    response = await post(client, b"not DICOM at all", b"")
    assert response.status_code == 409
    assert [reason(item) for item in items(response, OTHER)] == [StoreFailure.CANNOT_UNDERSTAND] * 2


async def test_refused_for_another_study_than_the_resource(
    client: httpx.AsyncClient, services: Services
) -> None:
    response = await post(client, ct_file(place(1)), ct_file(place(2)), study=place(1).study)
    assert response.status_code == 202
    (item,) = items(response, FAILED)
    assert reason(item) is StoreFailure.OTHER_STUDY_THAN_REQUESTED
    assert failed_attributes(item) == ["0020000D"]
    assert await count(services, Study) == 1


async def test_warned_instance_is_stored_with_202(client: httpx.AsyncClient) -> None:
    response = await post(client, ct_file(PatientID=None))
    assert response.status_code == 202
    (item,) = items(response, REFERENCED)
    assert item["00081196"]["Value"] == [0xB007]
    assert failed_attributes(item) == ["00100020"]


async def test_equal_duplicate_succeeds_and_is_not_stored_twice(
    client: httpx.AsyncClient, services: Services
) -> None:
    await post(client, ct_file())
    stored_bytes = await journal_bytes(services)
    events = await count(services, OutboxEvent)
    response = await post(client, ct_file(), ct_file())
    assert response.status_code == 200
    assert len(items(response, REFERENCED)) == 2
    assert await count(services, Instance) == 1
    assert await journal_bytes(services) == stored_bytes
    assert await count(services, OutboxEvent) == events


async def journal_bytes(services: Services) -> int:
    assert isinstance(services.objects, LocalObjectStore)
    return sum(f.stat().st_size for f in (services.objects._root / "journal").iterdir())


async def test_equal_duplicate_with_other_file_meta_succeeds(client: httpx.AsyncClient) -> None:
    await post(client, ct_file())
    dataset = ct_slice()
    as_file(dataset)
    dataset.file_meta.ImplementationVersionName = "OTHER"
    target = io.BytesIO()
    pydicom.dcmwrite(target, dataset, enforce_file_format=True)
    assert (await post(client, target.getvalue())).status_code == 200


async def test_other_content_under_the_same_uid_is_refused(client: httpx.AsyncClient) -> None:
    await post(client, ct_file())
    for files in ([ct_file(StudyID="S2")], [ct_file(StudyID="S3"), ct_file()]):
        response = await post(client, *files)
        assert reason(items(response, FAILED)[0]) is StoreFailure.DUPLICATE_SOP_INSTANCE
    kept = await client.get(place().path, headers={"Accept": "application/dicom"})
    assert kept.content == ct_file()


async def test_two_contents_under_one_uid_in_one_request(
    client: httpx.AsyncClient, services: Services
) -> None:
    response = await post(client, ct_file(), ct_file(StudyID="S2"))
    assert response.status_code == 202
    assert reason(items(response, FAILED)[0]) is StoreFailure.DUPLICATE_SOP_INSTANCE
    assert await count(services, Instance) == 1


async def test_other_patient_than_the_study_is_refused(client: httpx.AsyncClient) -> None:
    response = await post(client, ct_file(), ct_file(place(instance=2), PatientID="P2"))
    assert reason(items(response, FAILED)[0]) is StoreFailure.OTHER_PATIENT_THAN_STUDY
    response = await post(client, ct_file(place(instance=3), IssuerOfPatientID="ELSEWHERE"))
    assert reason(items(response, FAILED)[0]) is StoreFailure.OTHER_PATIENT_THAN_STUDY


async def test_contradicted_hierarchy_is_refused(client: httpx.AsyncClient, services: Services) -> None:
    await post(client, ct_file())
    series_elsewhere = ct_file(place(2), SeriesInstanceUID=place(1).series)
    instance_elsewhere = ct_file(place(1, series=2), SOPInstanceUID=place(1).instance)
    for file in (series_elsewhere, instance_elsewhere):
        response = await post(client, file)
        assert response.status_code == 409
        assert reason(items(response, FAILED)[0]) is StoreFailure.CONTRADICTS_HIERARCHY
    assert [await count(services, row) for row in (Study, Series, Instance)] == [1, 1, 1]


async def test_concurrent_stores_of_the_same_instances(client: httpx.AsyncClient, services: Services) -> None:
    files = [ct_file(place(instance=n)) for n in range(1, 6)]
    responses = await asyncio.gather(*(post(client, *files) for _ in range(6)))
    assert {response.status_code for response in responses} == {200}
    assert [await count(services, row) for row in (Study, Series, Instance)] == [1, 1, 5]


@pytest.mark.parametrize(("collisions", "status"), [(1, 200), (grouped.COLLISION_ATTEMPTS, 503)])
async def test_a_transaction_that_meets_another_runs_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, collisions: int, status: int
) -> None:
    left = [IntegrityError("INSERT", {}, Exception("unique"))] * collisions

    async def colliding(*arguments: Any) -> list[InstanceResult]:
        if left:
            raise left.pop()
        return await index_instances(*arguments)

    monkeypatch.setattr(grouped, "index_instances", colliding)
    assert (await post(client, ct_file())).status_code == status


async def test_derived_objects_do_not_unsettle_a_study(client: httpx.AsyncClient, services: Services) -> None:
    await post(client, ct_file())
    (before,) = await rows(services, Study)
    report = ct_slice(place(series=2), Modality="SR", SOPClassUID=EnhancedSRStorage, PixelData=None)
    assert (await post(client, as_file(report))).status_code == 200
    (after,) = await rows(services, Study)
    assert after.input_changed_us == before.input_changed_us
    assert after.changed_us > before.changed_us


async def test_later_instance_fills_in_what_the_study_does_not_say(
    client: httpx.AsyncClient, services: Services
) -> None:
    await post(client, ct_file(AccessionNumber=None, StudyID="first"))
    await post(client, ct_file(place(instance=2), AccessionNumber="late", StudyID="second"))
    (study,) = await rows(services, Study)
    assert (study.accession_number, study.study_identifier) == ("late", "first")


async def test_no_grant_to_create(client: httpx.AsyncClient, accesses: dict[str, Access]) -> None:
    accesses["reader"] = granted("ImagingStudy", "rs")
    response = await post(client, ct_file(), Authorization="Bearer reader")
    assert response.status_code == 403


async def test_large_parts_are_spooled_and_stored(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MAX_PART_MEMORY_BYTES", 100)
    monkeypatch.setattr(receive, "SPOOL_WRITE_BYTES", 64)
    assert (await post(client, ct_file(), b"no DICOM" * 100)).status_code == 202
    assert spooled(services) == 0
    kept = await client.get(place().path, headers={"Accept": "application/dicom"})
    assert kept.content == ct_file()


async def test_parts_beyond_the_memory_budget_are_spooled(services: Services) -> None:
    budget = receive.MemoryBudget(1000)
    parts = [receive.ReceivedPart(services.objects, budget) for _ in range(2)]
    for part in parts:
        await part.write(bytes(800))
        await part.finish()
    assert spooled(services) == 1
    assert [part.length for part in parts] == [800, 800]
    for part in parts:
        part.discard()
    assert spooled(services) == 0
    assert budget.take(1000)


def spooled(services: Services) -> int:
    assert isinstance(services.objects, LocalObjectStore)
    return len(list((services.objects._root / "spool").iterdir()))


async def test_batches_bound_a_request(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH_INSTANCES", 3)
    files = [ct_file(place(instance=n)) for n in range(1, 9)]
    response = await post(client, *files)
    assert response.status_code == 200
    named = [item["00081155"]["Value"][0] for item in items(response, REFERENCED)]
    assert named == [place(instance=n).instance for n in range(1, 9)]
    assert await count(services, OutboxEvent) == 3


async def test_full_disk_answers_503_and_lists_nothing(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object, __: object) -> None:
        raise StorageFull("The object store has no room left; retry later.")

    monkeypatch.setattr(LocalObjectStore, "put", full)
    response = await post(client, ct_file())
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert await count(services, Study) == 0


async def test_disk_full_in_a_later_batch_keeps_the_earlier(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH_INSTANCES", 1)
    put, calls = LocalObjectStore.put, []

    async def full_at_the_second(store: LocalObjectStore, bodies: object) -> object:
        calls.append(bodies)
        if len(calls) > 1:
            raise StorageFull("The object store has no room left; retry later.")
        return await put(store, bodies)

    monkeypatch.setattr(LocalObjectStore, "put", full_at_the_second)
    response = await post(client, ct_file(), ct_file(place(instance=2)))
    assert response.status_code == 202
    assert reason(items(response, FAILED)[0]) is StoreFailure.OUT_OF_RESOURCES
    assert await count(services, Instance) == 1


async def test_client_that_goes_away_leaves_nothing(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MAX_PART_MEMORY_BYTES", 100)

    async def broken():
        body = multipart(ct_file(), ct_file(place(instance=2)))
        yield body[: len(body) - 200]
        raise httpx.ReadError("gone")

    with pytest.raises(httpx.ReadError):
        await client.post("/dicom-web/studies", content=broken(), headers={"Content-Type": MULTIPART})
    assert spooled(services) == 0
    assert await count(services, Instance) == 0


async def test_implicit_little_endian_is_stored_as_it_is(client: httpx.AsyncClient) -> None:
    file = as_file(ct_slice(), ImplicitVRLittleEndian)
    assert (await post(client, file)).status_code == 200
    kept = await client.get(place().path, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert kept.content == file


def test_limits_fit_each_other() -> None:
    assert limits.MAX_PART_MEMORY_BYTES <= limits.BATCH_BYTES <= limits.MAX_IN_FLIGHT_BYTES
