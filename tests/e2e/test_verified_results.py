"""A person's word on a result of the engine, and what becomes of it when the engine runs again."""

from collections.abc import Sequence
from typing import Any

from pydicom import FileDataset

from tests.conftest import sqlite_first

DRAWS = (
    "import numpy\n"
    "def run(voxels, affine, parameters):\n"
    "    labels = numpy.zeros(voxels.shape, numpy.uint8)\n"
    "    labels[5:8, 60:80, 60:80] = 1\n"
    "    values = [{'name': 'lung_volume_right', 'value': 10.0}]\n"
    "    return {'labels': labels, 'values': values, 'not_measured': {}}\n"
)
ALL = {"key_images": True, "secondary_capture": True, "pdf": True}


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


@sqlite_first
async def test_what_no_longer_holds_leaves_with_the_edition_before(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    await system.register(DRAWS, ALL)
    study, person = str(chest[0].StudyInstanceUID), await system.token("user/DiagnosticReport.ru")

    async def listed() -> list[str]:
        found = (await system.http.get(f"/dicom-web/studies/{study}/instances")).json()
        return sorted(each["00080060"]["Value"][0] for each in found if each["00080060"]["Value"] != ["CT"])

    async def verify(said: dict[str, Any]) -> dict[str, Any]:
        url = f"/fhir/DiagnosticReport/{report['id']}/$verify"
        answer = await system.http.post(url, json=said, headers={"Authorization": f"Bearer {person}"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    await system.analyse(kit, chest[:20])
    (report,) = [
        each["resource"] for each in (await system.http.get("/fhir/DiagnosticReport")).json()["entry"]
    ]
    assert await listed() == ["DOC", "KO", "OT", "SEG", "SR"]
    await verify(body("accept"))
    assert await listed() == ["KO", "OT", "SEG", "SR"]  # the page said that nobody had verified it
    said = body("amend")
    said["parameter"].append({"name": "conclusion", "valueString": "As it was."})
    await verify(said)
    assert await listed() == ["KO", "OT", "SEG", "SR"]  # the pictures show what was found, and that holds
    entries = (await system.http.get("/fhir/Observation")).json()["entry"]
    (volume,) = [each["resource"]["id"] for each in entries if each["resource"]["code"]["text"] == "Volume"]
    observation = {"name": "reference", "valueReference": {"reference": f"Observation/{volume}"}}
    verdict = {"name": "verdict", "valueCode": "reject"}
    said = body("amend")
    said["parameter"].append({"name": "observation", "part": [observation, verdict]})
    await verify(said)
    assert await listed() == ["SEG", "SR"]
