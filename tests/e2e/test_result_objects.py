"""All that a manifest may ask for, published as one result, and superseded as one."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, FileDataset, dcmread
from pydicom.uid import LegacyConvertedEnhancedCTImageStorage

from ai_engine.phantom.enhanced import enhanced
from tests.conftest import sqlite_first

# What is stored and superseded is the same statement for any object.
pytestmark = [sqlite_first, pytest.mark.slow]

DRAWS = (
    "import numpy\n"
    "def run(voxels, affine, parameters):\n"
    "    labels = numpy.zeros(voxels.shape, numpy.uint8)\n"
    "    labels[5:8, 60:80, 60:80] = 1\n"
    "    return {'labels': labels, 'values': [], 'not_measured': {}}\n"
)
ALL = {"segmentation": "labelmap", "key_images": True, "secondary_capture": True, "pdf": True}
MODALITIES = ("SEG", "SR", "KO", "OT", "DOC")
REPORT = "/fhir/DiagnosticReport"


async def listed(system: Any, study: str) -> dict[str, list[str]]:
    """SOP Instance UIDs that QIDO-RS lists, by Modality."""
    found = (await system.http.get(f"/dicom-web/studies/{study}/instances")).json()
    pairs = [(each["00080060"]["Value"][0], each["00080018"]["Value"][0]) for each in found]
    return {modality: [uid for of, uid in pairs if of == modality] for modality in MODALITIES}


async def analysed(system: Any, kit: Any, instances: Sequence[FileDataset]) -> None:
    body = kit.multipart([kit.part10(instance) for instance in instances])
    assert (
        await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    ).status_code == 200
    settled = await system.http.post(f"/admin/api/studies/{instances[0].StudyInstanceUID}/settled")
    assert [each["outcome"] for each in settled.json()] in (["scheduled"], ["superseded"])
    assert await system.worker.step() == 1


async def test_one_result_of_all_objects(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    await system.register(DRAWS, ALL)
    study = str(chest[0].StudyInstanceUID)
    await analysed(system, kit, chest[:20])
    first = await listed(system, study)
    assert {modality: len(uids) for modality, uids in first.items()} == dict.fromkeys(MODALITIES, 1)

    (workitem,) = (await system.http.get("/dicom-web/workitems", params={"StudyInstanceUID": study})).json()
    assert workitem["00741000"]["Value"] == ["COMPLETED"]
    (report,) = [each["resource"] for each in (await system.http.get(REPORT)).json()["entry"]]
    (pdf,) = [each for each in report["presentedForm"] if each["contentType"] == "application/pdf"]
    page = await system.http.get(pdf["url"].partition("//")[2].partition("/")[2].join(["/", ""]))
    assert (page.status_code, page.content[:5]) == (200, b"%PDF-")
    assert report["status"] == "preliminary"

    await analysed(system, kit, chest[20:25])
    second = await listed(system, study)
    assert {modality: len(uids) for modality, uids in second.items()} == dict.fromkeys(MODALITIES, 1)
    assert all(first[modality] != second[modality] for modality in MODALITIES)


async def retrieved(system: Any, study: str, modality: str) -> Dataset:
    """The one object of a modality in the study."""
    path = f"/dicom-web/studies/{study}/instances"
    (found,) = (await system.http.get(path, params={"Modality": modality})).json()
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    answer = await system.http.get(path, headers={"Accept": "application/dicom"})
    return dcmread(BytesIO(answer.content))


def frames_named(item: Dataset) -> set[int]:
    """The frames that an object names, at any depth."""
    found: set[int] = set()

    def look(_: Dataset, element: Any) -> None:
        if element.keyword == "ReferencedFrameNumber":
            found.add(int(element.value))

    item.walk(look)
    return found


@pytest.mark.parametrize("conversion", ["enhanced", "legacy"])
async def test_the_shipped_model_reads_frames(
    conversion: str, system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    order = sorted(range(len(chest)), key=lambda at: (at * 7) % len(chest))
    image = enhanced(list(chest), order)
    if conversion == "legacy":
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedCTImageStorage
    await analysed(system, kit, [image])
    study = str(image.StudyInstanceUID)
    (workitem,) = (await system.http.get("/dicom-web/workitems", params={"StudyInstanceUID": study})).json()
    assert workitem["00741000"]["Value"] == ["COMPLETED"]
    uids = await listed(system, study)
    assert {modality: len(each) for modality, each in uids.items() if each} == {"SEG": 1, "SR": 1}
    for group in (await retrieved(system, study, "SEG")).PerFrameFunctionalGroupsSequence:
        (number,) = frames_named(group)
        place = list(group.PlanePositionSequence[0].ImagePositionPatient)
        assert place == pytest.approx(list(chest[order[number - 1]].ImagePositionPatient), abs=1e-3)
    assert frames_named(await retrieved(system, study, "SR")) <= set(range(1, len(chest) + 1))
    assert frames_named(await retrieved(system, study, "SR"))
    (report,) = [each["resource"] for each in (await system.http.get(REPORT)).json()["entry"]]
    assert report["status"] == "preliminary"
    assert report["result"]
