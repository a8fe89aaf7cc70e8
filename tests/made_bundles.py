"""Bundles that tests make: a folder in the MONAI layout with a manifest beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = Any

LUNG = {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}
NODULE = {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"}
ABSENT = {"value": "2667000", "scheme": "SCT", "meaning": "Absent"}
STRUCTURE = {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}
VOLUME = {"value": "118565006", "scheme": "SCT", "meaning": "Volume"}
FAMILY = {"value": "123110", "scheme": "DCM", "meaning": "Artificial Intelligence"}
CM3 = {"value": "cm3", "scheme": "UCUM", "meaning": "cubic centimeter"}

SEGMENT = {
    "number": 1,
    "label": "Lung",
    "category": STRUCTURE,
    "type": LUNG,
    "tracking_id": "lung",
    "rgb": [0, 160, 255],
}
OUTPUT = {"name": "lung_volume", "title": "Lung volume", "concept": VOLUME, "unit": CM3, "finding": "lung"}
DETECTION = {
    "name": "nodule",
    "title": "Nodule",
    "finding": NODULE,
    "absent": ABSENT,
    "site": LUNG,
    "category": NODULE,
    "type": NODULE,
    "rgb": [255, 200, 0],
    "least_probability": 0.5,
    "none": "No nodule.",
    "found": "{count} nodules.",
    "each": "{number}: image {slice}, probability {probability}.",
}
SEGMENTING = {
    "segments": [SEGMENT],
    "outputs": [OUTPUT],
    "findings": [{"tracking_id": "lung", "finding": LUNG, "segment": 1}],
}


def score(name: str) -> Json:
    """A score of the manifest."""
    return {
        "name": name,
        "title": name.title(),
        "finding": NODULE,
        "absent": ABSENT,
        "threshold": 0.5,
        "present_text": "Present ({probability}).",
        "absent_text": "Absent ({probability}).",
    }


def manifest_of(runtime: Mapping[str, Json], **changes: Json) -> Json:
    """A manifest that takes any CT of two slices."""
    return {
        "manifest_version": 1,
        "name": "made",
        "title": "Made by a test",
        "version": "1.0.0",
        "manufacturer": "Tests",
        "family": FAMILY,
        "intended_use": "Tests only.",
        "runtime": {"memory_mb": 2048, "timeout_s": 60, **runtime},
        "wants": {"modalities": ["CT"], "sop_classes": []},
        "outputs": [],
        "conclusion": {"sentences": [], "nothing": "Nothing was measured.", "statement": "Tests only."},
        **changes,
    }


def write_bundle(
    folder: Path,
    manifest: Json,
    *,
    inference: Json = None,
    metadata: Json = None,
    files: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Write a bundle into `folder`; `files` by their path inside."""
    texts = {
        "isthmus.json": json.dumps(manifest),
        "configs/inference.json": json.dumps(inference or {}),
        "configs/metadata.json": json.dumps({"version": manifest["version"], **(metadata or {})}),
    }
    for name, content in {**texts, **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
