"""A person's word on a result of the engine, and what becomes of it when the engine runs again."""

from collections.abc import Sequence
from typing import Any

from pydicom import FileDataset

from tests.conftest import sqlite_first


def body(action: str, **texts: str) -> dict[str, Any]:
    said = [
        {"name": name, "valueString": text} for name, text in {"verifier": "Ada Lovelace", **texts}.items()
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "action", "valueCode": action}, *said]}


@sqlite_first
async def test_a_result_is_accepted_superseded_and_rejected(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    study = str(chest[0].StudyInstanceUID)
    person = await system.token("user/DiagnosticReport.ru")

    async def verify(report: dict[str, Any], *, said: dict[str, Any]) -> dict[str, Any]:
        url = f"/fhir/DiagnosticReport/{report['id']}/$verify"
        answer = await system.http.post(url, json=said, headers={"Authorization": f"Bearer {person}"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def listed(modality: str) -> list[str]:
        answer = await system.http.get(f"/dicom-web/studies/{study}/instances", params={"Modality": modality})
        return [each["00080018"]["Value"][0] for each in (answer.json() if answer.content else [])]

    workitem = await system.analyse(kit, chest)
    (made,) = (await system.http.get("/fhir/DiagnosticReport")).json()["entry"]
    final = await verify(made["resource"], said=body("accept"))
    assert final["status"] == "final"
    (verified,) = await listed("SR")
    assert final["identifier"][0]["value"] == f"urn:oid:{verified}"
    uid = workitem["00080018"]["Value"][0]
    assert (await system.http.post(f"/admin/api/workitems/{uid}/rerun")).status_code == 201
    assert await system.worker.step() == 1
    now = (await system.http.get(f"/fhir/DiagnosticReport/{final['id']}")).json()
    assert now["status"] == "preliminary"  # nobody has looked at the new result
    (document,) = await listed("SR")  # and the verified edition of the one before has left with it
    assert document != verified
    assert now["identifier"][0]["value"] == f"urn:oid:{document}"
    gone = await verify(now, said=body("reject", reason="moved"))
    assert gone["status"] == "entered-in-error"
    assert (await listed("SR"), await listed("SEG")) == ([], [])
    assert len(await listed("CT")) == len(chest)
