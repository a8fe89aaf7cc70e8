"""A network without code is a model like another: what it finds is published, what is no number never."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydicom import FileDataset
from sqlalchemy import update

from ai_engine.bundle import SHIPPED_BUNDLES, load_bundle
from ai_engine.tables import ModelVersion
from server.kernel.rows import table_of
from tests.conftest import sqlite_first
from tests.made_bundles import SEGMENTING, manifest_of, write_bundle
from tests.onnx_model import voxelwise

pytestmark = sqlite_first

AIR = {
    "task": "segmentation",
    "intensity": {"low": -1000, "high": 1000},
    "roi": [16, 32, 32],
    "activation": "softmax",
    "labels": [1, 0],
    "volumes": {"1": "lung_volume"},
}  # the likelier of two channels: below 0 HU


async def put_in_place(system: Any, model: bytes) -> None:
    """A network as the version that is registered as the shipped model."""
    shipped = load_bundle(SHIPPED_BUNDLES / "ct_quantification").manifest
    manifest = manifest_of({"kind": "onnx"}, network=AIR, **SEGMENTING)
    manifest |= {"name": shipped.name, "version": shipped.version}
    folder = write_bundle(system.folder / "bundle", manifest, files={"models/model.onnx": model})
    row = {"path": str(folder), "digest": load_bundle(folder).digest}
    this = table_of(ModelVersion).c.name == shipped.name
    change = update(table_of(ModelVersion)).where(this).values(**row)
    await system.services.database.transact(lambda unit: unit.execute(change))


async def test_what_a_network_finds_is_published(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    await put_in_place(system, voxelwise([0, 40], [0, -20]))
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["COMPLETED"], json.dumps(workitem)
    series = (await system.http.get(f"/dicom-web/studies/{chest[0].StudyInstanceUID}/series")).json()
    assert sorted(each["00080060"]["Value"][0] for each in series) == ["CT", "SEG", "SR"]
    await system.run_jobs()
    observations = (await system.http.get("/fhir/Observation")).json()["entry"]
    values = [each["resource"].get("valueQuantity") for each in observations]
    (volume,) = [value["value"] for value in values if value and value["code"] == "cm3"]
    stack = [each.pixel_array + float(each.RescaleIntercept) for each in chest]
    below = sum(int((each < 0).sum()) for each in stack)
    row, column = map(float, chest[0].PixelSpacing)
    apart = abs(float(chest[1].ImagePositionPatient[2]) - float(chest[0].ImagePositionPatient[2]))
    assert volume == pytest.approx(below * row * column * apart / 1000, rel=0.01)


async def test_what_is_no_number_is_not_published(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    await put_in_place(system, voxelwise([0, float("nan")], [0, 0]))
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]  # at once: it would be so again
    assert "not finite" in json.dumps(workitem)
    series = (await system.http.get(f"/dicom-web/studies/{chest[0].StudyInstanceUID}/series")).json()
    assert [each["00080060"]["Value"][0] for each in series] == ["CT"]
