"""The whole way from a recipe to a bundle folder: scans, two networks, calibration, threshold, files."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from ai_engine.bundle import INFERENCE_FILE, MANIFEST_FILE, SHIPPED_BUNDLES
from ai_engine.bundles.lung_nodule_ct.scripts.detect import EVIDENCE
from ai_engine.bundles.lung_nodule_ct.scripts.network import PATCH
from ai_engine.training.calibrate import calibrated, choose_threshold, fit
from ai_engine.training.cases import CasePool
from ai_engine.training.export import write_classifier, write_segmenter
from ai_engine.training.figures import figures_of
from ai_engine.training.patches import Patches
from ai_engine.training.recipe import LEARNING_SEED, REFINING_SEED, VALIDATION_SEED, Recipe
from ai_engine.training.refine import make_classifier, marked, refine
from ai_engine.training.segment import learn, make_network, phases
from ai_engine.training.trial import tried

Json = Any
Told = Callable[[str], None]
LEARN_FROM = "crowded"
VALIDATE_ON = "standard"


def train(recipe: Recipe, out: Path, told: Told) -> Json:
    """Train the lung nodule model and write its bundle to `out`; figures on the validation scans.

    Scans are kept beside it in `out`.cases. Where `out` is there already, its finished stages are kept: the
    same recipe gives the same weights, begun once or often.
    """
    if not out.exists():
        _copy_frame(out)
    cases = out.with_name(f"{out.name}.cases")
    losses = {**_learn(recipe, out, cases, told), "classify": _refine(recipe, out, cases, told)}
    return {**_validate(recipe, out, told), "losses": losses}


def _copy_frame(out: Path) -> None:
    """The bundle without its weights; it appears whole."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(SHIPPED_BUNDLES / "lung_nodule_ct", part, ignore=ignored)
    (part / "models").mkdir()
    part.rename(out)


def _is_written(out: Path, name: str) -> bool:
    """Whether a network's files are there; the ONNX file is the last."""
    return (out / "models" / f"{name}.onnx").exists()


def _learn(recipe: Recipe, out: Path, cases: Path, told: Told) -> dict[str, list[float]]:
    told(f"first stage: {recipe.learning_scans} scans, {recipe.steps} and {recipe.recall_steps} steps")
    scans = max(recipe.learning_scans, recipe.recall_scans)
    wanted = [(LEARN_FROM, LEARNING_SEED + number) for number in range(scans)]
    pool = CasePool(cases, wanted, recipe.workers)
    network = make_network(recipe.seed)
    losses: dict[str, list[float]] = {}
    for phase in phases(recipe):
        if _is_written(out, phase.name):
            network.load_state_dict(torch.load(out / "models" / f"{phase.name}.pt", weights_only=True))
            continue
        rng = np.random.default_rng([recipe.seed, phase.draws[0]])
        patches = Patches(rng, lambda number: pool.case(*wanted[number]), recipe.patch)
        losses[phase.name] = learn(
            network, patches, phase, recipe, lambda at, loss: told(f"step {at}: loss {loss:.4f}")
        )
        write_segmenter(network, out / "models", phase.name)
        network.to(memory_format=torch.channels_last_3d)
    pool.close()
    return losses


def _refine(recipe: Recipe, out: Path, cases: Path, told: Told) -> list[float]:
    if _is_written(out, "classifier"):
        return []
    told(f"second stage: {recipe.refining_scans} scans, {recipe.classifier_steps} steps")
    wanted = [(LEARN_FROM, REFINING_SEED + number) for number in range(recipe.refining_scans)]
    cases.mkdir(parents=True, exist_ok=True)
    examples = marked(cases, out / "models", wanted, recipe.workers)
    told(f"{int(examples.truths.sum())} nodules and {int((~examples.truths).sum())} mistakes to tell apart")
    classifier = make_classifier(recipe.seed)
    losses = refine(classifier, examples, recipe, lambda step, loss: told(f"step {step}: loss {loss:.4f}"))
    write_classifier(classifier, PATCH, out / "models")
    return losses


def _validate(recipe: Recipe, out: Path, told: Told) -> Json:
    told(f"validation: {recipe.validation_scans} scans")
    wanted = [(VALIDATE_ON, VALIDATION_SEED + number) for number in range(recipe.validation_scans)]
    records = list(tried(out / "models", None, wanted, recipe.workers))
    weights, intercept = fit(records)
    records = calibrated(records, weights, intercept)
    threshold = choose_threshold(records)
    write_operating_point(out, weights, intercept, threshold)
    return figures_of(records, threshold)


def write_operating_point(out: Path, weights: Sequence[float], intercept: float, threshold: float) -> None:
    """Put calibration and threshold into the bundle's manifest and MONAI's configuration."""
    manifest, inference = _read(out / MANIFEST_FILE), _read(out / INFERENCE_FILE)
    manifest["parameters"]["intercept"] = round(intercept, 4)
    for name, weight in zip(EVIDENCE, weights, strict=True):
        manifest["parameters"][f"weight_{name}"] = round(weight, 4)
    manifest["detections"][0]["least_probability"] = threshold
    inference["parameters"] = manifest["parameters"]
    for file, content in ((MANIFEST_FILE, manifest), (INFERENCE_FILE, inference)):
        (out / file).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def _read(file: Path) -> Json:
    return msgspec.json.decode(file.read_bytes())
