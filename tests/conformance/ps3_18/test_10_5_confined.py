"""Store by a token of a patient: for that patient only; answers tell nothing of others (PS3.18 10.5)."""

from dataclasses import replace

import httpx

import server.workflows.deletion.routes
from dicomweb.response_codes import StoreFailure
from dicomweb.tables import Instance, Study
from server.kernel.access import Access, Context, Grant
from server.kernel.patient_merge import record_merge
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from tests.conformance.ps3_18.kit import ALL, Injected, build_app, confined_to, ct_file, place
from tests.conformance.ps3_18.test_10_5_store import (
    FAILED,
    REFERENCED,
    count,
    item_of,
    items,
    post,
    reason,
    rows,
)
from tests.services.routers import add_router

MINE, MINE_TOO, THEIRS, NOBODYS, GONE, MINE_GONE = (place(number) for number in range(1, 7))
P2 = {"PatientID": "P2", "PatientName": "Other^Patient"}
STORED = [
    ct_file(MINE),
    ct_file(MINE_TOO),
    ct_file(THEIRS, **P2),
    ct_file(NOBODYS, PatientID=None),
    ct_file(GONE, **P2),
    ct_file(MINE_GONE),
]
NOT_MINE, ANOTHERS = StoreFailure.NOT_AUTHORIZED, StoreFailure.OTHER_PATIENT_THAN_STUDY
BESIDE_MINE = {"OtherPatientIDsSequence": [item_of(PatientID="P1")]}


def of_series(where: str, **attributes: str) -> bytes:
    return ct_file(place(1, instance=30), SeriesInstanceUID=where, **attributes)


REFUSED: list[tuple[str, bytes, StoreFailure]] = [
    ("another's id", ct_file(place(10), **P2), NOT_MINE),
    ("an unknown id", ct_file(place(11), PatientID="P7"), NOT_MINE),
    ("no id", ct_file(place(12), PatientID=None), NOT_MINE),
    ("an empty id", ct_file(place(13), PatientID=""), NOT_MINE),
    ("own id of another issuer", ct_file(place(14), IssuerOfPatientID="ELSEWHERE"), NOT_MINE),
    ("own id with another birth date", ct_file(place(15), PatientBirthDate="19010101"), NOT_MINE),
    ("another's id beside the own", ct_file(place(16), **BESIDE_MINE, **P2), NOT_MINE),
    ("own id, another's study", ct_file(place(3, instance=2)), NOT_MINE),
    ("another's instance again", ct_file(THEIRS, **P2), NOT_MINE),
    ("another's instance, changed", ct_file(THEIRS, StudyID="x", **P2), NOT_MINE),
    ("another instance for another's study", ct_file(place(3, instance=2), **P2), NOT_MINE),
    ("own id, nobody's study", ct_file(place(4, instance=2)), NOT_MINE),
    ("nobody's instance again", ct_file(NOBODYS, PatientID=None), NOT_MINE),
    ("own study, another's series", of_series(THEIRS.series), NOT_MINE),
    ("own new study, another's series", ct_file(place(17), SeriesInstanceUID=THEIRS.series), NOT_MINE),
    ("own study, another's instance", ct_file(place(1, series=9), SOPInstanceUID=THEIRS.instance), NOT_MINE),
    ("own study, nobody's instance", ct_file(place(1, series=9), SOPInstanceUID=NOBODYS.instance), NOT_MINE),
    ("another's deleted study", ct_file(GONE), NOT_MINE),
    ("own deleted study", ct_file(MINE_GONE), NOT_MINE),
    ("own study, another's id", ct_file(place(1, instance=2), **P2), ANOTHERS),
    ("own study, no id", ct_file(place(1, instance=2), PatientID=None), ANOTHERS),
    ("own study, series of another own", of_series(MINE_TOO.series), StoreFailure.CONTRADICTS_HIERARCHY),
    ("own instance, changed", ct_file(MINE, StudyID="x"), StoreFailure.DUPLICATE_SOP_INSTANCE),
]  # fmt: skip
WELCOME = [
    ct_file(place(1, instance=2)),
    ct_file(MINE),  # again
    ct_file(place(18)),
    ct_file(place(19), OtherPatientIDsSequence=[item_of(PatientID="P2")]),  # who it is, Patient ID says
]


async def test_confined_writer_stores_nothing_of_others(
    services: Services, accesses: dict[str, Access]
) -> None:
    app = build_app(services)
    add_router(app, server.workflows.deletion.routes.build_archive_router(services), "/dicom-web")
    transport = httpx.ASGITransport(Injected(app, accesses))
    everyone, patient = {"Authorization": "Bearer all"}, {"Authorization": "Bearer patient"}
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        await post(client, *STORED, **everyone)
        studies = {row.study_instance_uid: row for row in await rows(services, Study)}
        accesses["patient"] = confined_to(studies[MINE.study].patient_id)
        for where in (GONE, MINE_GONE):
            deleted = await client.delete(f"/dicom-web/studies/{where.study}", headers=everyone)
            assert deleted.status_code == 204
        before = await count(services, Instance)
        await refuses_alike(client, patient)
        assert await count(services, Instance) == before
        refused = [row for row in await rows(services, AuditRow) if row.outcome == "8"]
        told = [why for *_, why in (*REFUSED, *REFUSED[:8])].count(NOT_MINE)
        assert sum(row.occurrences for row in refused) == told
        assert {row.patient_id for row in refused} == {None}  # nothing is told of whose it is
        welcome = await post(client, *WELCOME, **patient)
        assert (welcome.status_code, len(items(welcome, REFERENCED))) == (200, len(WELCOME))
        assert await count(services, Instance) == before + len(WELCOME) - 1
        by_criteria = Grant(Context.PATIENT, "ImagingStudy", ALL, (("modality", "CT"),))
        accesses["granular"] = replace(accesses["patient"], grants=(by_criteria,))
        refused = await post(client, ct_file(place(21)), Authorization="Bearer granular")
        assert refused.status_code == 403
        await merged_away(
            client, services, accesses, studies[MINE.study].patient_id, studies[THEIRS.study].patient_id
        )


async def refuses_alike(client: httpx.AsyncClient, patient: dict[str, str]) -> None:
    """By the resource of any study and of this one; what is not theirs is refused in the same words."""
    together = await post(client, *(file for _, file, _ in REFUSED), **patient)
    assert together.status_code == 409
    found = items(together, FAILED)
    assert [(name, reason(item)) for (name, *_), item in zip(REFUSED, found, strict=True)] == [
        (name, expected) for name, _, expected in REFUSED
    ]
    named = ("00081150", "00081155")  # what was sent: SOP Class and Instance UID
    told = [
        {tag: value for tag, value in item.items() if tag not in named}
        for item in found
        if reason(item) is NOT_MINE
    ]
    assert all(each == told[0] for each in told)
    for name, file, expected in REFUSED[:8]:
        alone = await post(client, file, **patient)
        assert (alone.status_code, reason(items(alone, FAILED)[0])) == (409, expected), name


async def merged_away(
    client: httpx.AsyncClient, services: Services, accesses: dict[str, Access], source: str, target: str
) -> None:
    """What falls to the survivor of a merge is out of reach of a token of the source."""
    await services.database.transact(lambda unit: record_merge(unit, source, target, source_active=True))
    answer = await post(client, ct_file(place(22)), Authorization="Bearer patient")
    assert reason(items(answer, FAILED)[0]) is NOT_MINE
    accesses["patient"] = confined_to(source, target)
    answer = await post(client, ct_file(place(22)), Authorization="Bearer patient")
    assert answer.status_code == 200
