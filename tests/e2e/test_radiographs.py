"""Radiographs of several series go to one model, and its score comes back as SR and report."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydicom import Dataset, FileDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, DigitalMammographyXRayImageStorageForPresentation
from sqlalchemy import update

from ai_engine.bundle import BundleInvalid, load_bundle
from ai_engine.phantom.datasets import PhantomStudy
from ai_engine.phantom.series import small_series
from ai_engine.tables import ModelVersion, RoutingRule
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from tests.conftest import sqlite_first

SCRIPT = """
def run(images, affine, parameters):
    names = [f"{each['laterality']}-{each['view']}" for each in images]
    shapes = [each["pixels"].shape for each in images]
    right = names == ["L-CC", "L-MLO"] and shapes == [(8, 6), (12, 4)] and affine is None
    right = right and [each["spacing_mm"] for each in images] == [[0.1, 0.1]] * 2
    brightest = max(float(each["pixels"].max()) for each in images)
    return {"scores": [{"name": "mass", "probability": brightest if right else 0.0}]}
"""
MASS = {"value": codes.SCT.Mass.value, "scheme": "SCT", "meaning": codes.SCT.Mass.meaning}
ABSENT = {"value": codes.SCT.Absent.value, "scheme": "SCT", "meaning": codes.SCT.Absent.meaning}
MANIFEST = {
    "manifest_version": 1,
    "name": "views",
    "title": "Views",
    "version": "1.0.0",
    "manufacturer": "M",
    "family": {"value": "123109", "scheme": "DCM", "meaning": "Manual Processing"},
    "intended_use": "Tests.",
    "runtime": {"kind": "python", "entry": "scripts.views:run", "memory_mb": 1024, "timeout_s": 60},
    "wants": {
        "modalities": ["MG"],
        "sop_classes": ["DigitalMammographyXRayImageStorageForPresentation"],
        "input": "projections",
        "views": ["L-CC", "L-MLO"],
        "minimum_slices": 2,
    },
    "outputs": [],
    "conclusion": {"sentences": [], "nothing": "Nothing.", "statement": "For tests only."},
    "scores": [
        {
            "name": "mass",
            "title": "Mass",
            "finding": MASS,
            "absent": ABSENT,
            "threshold": 0.5,
            "present_text": "A mass ({probability}).",
            "absent_text": "No mass ({probability}).",
        }
    ],
}


def bundle_in(folder: Path) -> Path:
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts/views.py").write_text(SCRIPT)
    (folder / "configs").mkdir()
    (folder / "configs/metadata.json").write_text(json.dumps({"version": "1.0.0"}))
    (folder / "configs/inference.json").write_text("{}")
    (folder / "isthmus.json").write_text(json.dumps(MANIFEST))
    return folder


async def use(system: Any, folder: Path) -> None:
    """Let the one rule of the server route to this bundle."""
    bundle = load_bundle(folder)
    selection = msgspec.json.encode(bundle.manifest.wants).decode()

    async def work(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(ModelVersion)).values(path=str(bundle.path), digest=bundle.digest))
        await unit.execute(update(table_of(RoutingRule)).values(selection=selection))

    await system.services.database.transact(work)


def mammogram(view: Any, shape: tuple[int, int]) -> FileDataset:
    """One view, a series of its own, without a place in the patient."""
    study = PhantomStudy()
    made = small_series(study)[0]
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = (
        DigitalMammographyXRayImageStorageForPresentation
    )
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = UID(study.uid(view.value))
    made.SeriesInstanceUID = study.uid("series", view.value)
    made.Modality, made.ImageLaterality, made.BodyPartExamined = "MG", "L", "BREAST"
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = view.value, "SCT", view.meaning
    made.ViewCodeSequence = [item]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleType"):
        delattr(made, keyword)
    del made.FrameOfReferenceUID, made.PositionReferenceIndicator
    made.ImagerPixelSpacing = [0.1, 0.1]
    made.RescaleIntercept, made.WindowCenter, made.WindowWidth = 0, 500, 1001
    made.Rows, made.Columns = shape
    made.PixelData = np.full(shape, 750, "<u2").tobytes()
    return made


@sqlite_first
async def test_two_views_are_one_input(system: Any, kit: Any, tmp_path: Path) -> None:
    await use(system, bundle_in(tmp_path / "views"))
    views = [
        mammogram(codes.cid4014.MedioLateralObliqueProjection, (12, 4)),
        mammogram(codes.cid4014.CranioCaudal, (8, 6)),
    ]
    workitem = await system.analyse(kit, views)
    assert workitem["00741000"]["Value"] == ["COMPLETED"], json.dumps(workitem)
    await system.run_jobs()
    uid = str(views[0].StudyInstanceUID)
    series = (await system.http.get(f"/dicom-web/studies/{uid}/series")).json()
    assert sorted(each["00080060"]["Value"][0] for each in series) == ["MG", "MG", "SR"]
    (entry,) = (await system.http.get("/fhir/DiagnosticReport")).json()["entry"]
    assert "A mass (0.75)." in entry["resource"]["conclusion"]


def test_what_radiographs_cannot_have_is_refused(tmp_path: Path) -> None:
    segment = {
        "number": 1,
        "label": "Mass",
        "category": MASS,
        "type": MASS,
        "tracking_id": "region",
        "rgb": [1, 2, 3],
    }
    manifest = {**MANIFEST, "segments": [segment]}
    folder = bundle_in(tmp_path / "views")
    (folder / "isthmus.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleInvalid, match="no segments and detections on projections"):
        load_bundle(folder)
