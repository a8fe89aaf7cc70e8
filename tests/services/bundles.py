"""Small bundles in the MONAI layout, made where a test needs them."""

import json
from pathlib import Path
from typing import Any

# Mean of the voxels: whatever a model can be asked in little time.
MEAN = """\
def run(voxels, affine, parameters):
    value = float(voxels.mean()) + float(parameters.get("offset", 0))
    return {"labels": None, "values": [{"name": "mean_density", "value": value}], "not_measured": {}}
"""
RAISES = "def run(voxels, affine, parameters):\n    raise ValueError('no')\n"

HOUNSFIELD = {"value": "[hnsf'U]", "scheme": "UCUM", "meaning": "Hounsfield unit"}
DENSITY = {"value": "112031", "scheme": "DCM", "meaning": "Attenuation Coefficient"}


def manifest(name: str, version: str, **changes: Any) -> dict[str, Any]:
    """A manifest with one output, and what is changed of it."""
    made: dict[str, Any] = {
        "manifest_version": 1,
        "name": name,
        "title": "Tiny model",
        "version": version,
        "manufacturer": "Tests",
        "family": {"value": "123109", "scheme": "DCM", "meaning": "Manual Processing"},
        "intended_use": "Research use only. Not for clinical use.",
        "runtime": {"kind": "python", "entry": "scripts.tiny:run", "memory_mb": 512, "timeout_s": 30},
        "wants": {
            "modalities": ["CT"],
            "sop_classes": ["CTImageStorage"],
            "minimum_slices": 2,
            "quiet_time_s": 1,
        },
        "outputs": [
            {
                "name": "mean_density",
                "title": "Mean density",
                "concept": DENSITY,
                "unit": HOUNSFIELD,
                "finding": "volume",
            }
        ],
        "findings": [
            {
                "tracking_id": "volume",
                "finding": {"value": "113036", "scheme": "DCM", "meaning": "Group of Frames for Display"},
            }
        ],
        "conclusion": {
            "sentences": [["Mean density {mean_density} HU."]],
            "nothing": "Nothing was measured.",
            "statement": "Research use only. Not for clinical use.",
        },
    }
    return made | changes


def make_bundle(
    folder: Path, name: str = "tiny", version: str = "1.0.0", *, script: str = MEAN, **changes: Any
) -> Path:
    """Write a bundle with this model code; `changes` replace members of its manifest."""
    said = manifest(name, version, **changes)
    for path, text in {
        "isthmus.json": json.dumps(said),
        "configs/metadata.json": json.dumps({"version": version}),
        "configs/inference.json": "{}",
        "scripts/__init__.py": "",
        "scripts/tiny.py": script,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder
