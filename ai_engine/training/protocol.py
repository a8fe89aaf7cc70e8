"""An evaluation on held-out scans, frozen before it is made: what is tried, on what, what counts as success.

The protocol is written and hashed first; `evaluate` refuses when generator, model or operating point differ
from it. `docs/models/lung-nodule-ct/` holds protocol, SHA-256, records and figures of the shipped model.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ai_engine import evaluation
from ai_engine.bundle import MANIFEST_FILE, decode_manifest
from ai_engine.bundles.lung_nodule_ct.scripts.detect import Settings
from ai_engine.phantom import chest, nodule_scans
from ai_engine.training import trial
from ai_engine.training.digest import sha256_of_files
from ai_engine.training.figures import figures_of
from ai_engine.training.recipe import (
    HELD_OUT_SEED,
    OTHER_GENERATOR_SEED,
    SENSITIVITY,
    SHIFTED_SEED,
    SPECIFICITY,
)
from ai_engine.training.trial import SPHERES, tried

Json = Any
SETS: dict[str, tuple[str, int, int]] = {  # population, first seed, scans
    "held_out": ("standard", HELD_OUT_SEED, 600),
    "shifted": ("shifted", SHIFTED_SEED, 60),
    "other_generator": (SPHERES, OTHER_GENERATOR_SEED, 20),
}
TARGETS: dict[
    str, tuple[tuple[str, ...], float]
] = {  # of the held-out set: where the figure stands, and more than
    "sensitivity of scans, lower bound": (("scan", "sensitivity", "lower"), SENSITIVITY),
    "specificity of scans, lower bound": (("scan", "specificity", "lower"), SPECIFICITY),
    "area under the curve of scans, lower bound": (("scan", "auc", "lower"), 0.90),
    "nodules of 6 mm and more at half a false alarm a scan": (
        ("at_least_6_mm", "sensitivity_at_rate", "0.5", "point"),
        0.90,
    ),
}
FOR_CURVES = 0.01  # least probability of what is recorded: curves need what is not reported, too


class ProtocolDiffers(ValueError):
    """What would be evaluated is not what was frozen."""


def freeze(bundle: Path) -> Json:
    """The protocol for a bundle."""
    manifest = decode_manifest((bundle / MANIFEST_FILE).read_bytes())
    return {
        "model": manifest.name,
        "version": manifest.version,
        "generator_version": nodule_scans.GENERATOR_VERSION,
        "generator_sha256": sha256_of_files(Path(nodule_scans.__file__).parent, "*.py"),
        "other_generator_sha256": sha256_of_files(Path(chest.__file__).parent, "*.py"),
        "evaluation_sha256": _sha256_of_evaluation(),
        "code_sha256": sha256_of_files(bundle / "scripts", "*.py"),
        "weights_sha256": sha256_of_files(bundle / "models", "*.onnx"),
        "parameters": manifest.parameters,
        "threshold": manifest.detections[0].least_probability,
        "sets": {
            name: {"population": population, "first_seed": first, "scans": count}
            for name, (population, first, count) in SETS.items()
        },
        "targets": {name: least for name, (_, least) in TARGETS.items()},
    }


def encoded(content: Json) -> bytes:
    """JSON as it is written and hashed."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


def sha256_of(content: Json) -> str:
    """Of a protocol as it is written."""
    return hashlib.sha256(encoded(content)).hexdigest()


def _sha256_of_evaluation() -> str:
    """Over what tries the model, matches its answers and makes figures of them."""
    folder, training = Path(evaluation.__file__).parent, Path(trial.__file__).parent
    parts = [(folder, "*.py"), (training, "trial.py"), (training, "figures.py")]
    return hashlib.sha256("".join(sha256_of_files(*part) for part in parts).encode()).hexdigest()


def evaluate(
    protocol: Json, bundle: Path, workers: int, told: Callable[[str], None]
) -> tuple[Json, dict[str, list[Json]]]:
    """The figures of a frozen protocol, and the records of each of its sets.

    Raises:
        ProtocolDiffers: generator, code, weights, parameters or threshold are not what was frozen.
    """
    now = freeze(bundle)
    differing = [name for name in now if now[name] != protocol.get(name)]
    if differing:
        raise ProtocolDiffers(f"not as frozen: {', '.join(differing)}")
    settings = Settings.of({**protocol["parameters"], "least_probability": FOR_CURVES})
    records = {
        name: _tried(name, protocol["sets"][name], (bundle / "models", settings, workers), told)
        for name in protocol["sets"]
    }
    figures = {name: figures_of(of_set, protocol["threshold"]) for name, of_set in records.items()}
    return {"protocol_sha256": sha256_of(protocol), "figures": figures, **_targets(figures)}, records


def _tried(
    name: str, of_set: Json, how: tuple[Path, Settings, int], told: Callable[[str], None]
) -> list[Json]:
    models, settings, workers = how
    wanted = [(of_set["population"], of_set["first_seed"] + number) for number in range(of_set["scans"])]
    records = []
    for record in tried(models, settings, wanted, workers):
        records.append(record)
        if len(records) % 20 == 0 or len(records) == len(wanted):
            told(f"{name}: {len(records)} of {len(wanted)} scans")
    return records


def _targets(figures: Json) -> Json:
    reached = {}
    for name, (path, least) in TARGETS.items():
        value = figures["held_out"]
        for part in path:
            value = value[part]
        reached[name] = {"more_than": least, "is": value, "passed": value > least}
    return {"targets": reached}
