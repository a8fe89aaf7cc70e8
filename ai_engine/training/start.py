"""Start of a training run from the command line; imports nothing heavy before it is known to be there."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ai_engine.bundle import SHIPPED_BUNDLES
from ai_engine.phantom import nodule_scans
from ai_engine.training.digest import sha256_of_files
from ai_engine.training.recipe import Recipe
from server.kernel.faults import Fault, FaultKind

Json = Any
TRAINABLE = ("lung-nodule-ct",)
CODE = (
    Path(__file__).parent,
    Path(nodule_scans.__file__).parent,
    SHIPPED_BUNDLES / "lung_nodule_ct" / "scripts",
)
NEEDED = ("torch", "monai", "onnx", "scipy", "onnxruntime")  # extras ai and torch


class TrainingUnavailable(Fault):
    """What training needs is not installed, or the model is none that can be trained."""

    kind = FaultKind.UNPROCESSABLE


def start(model: str, out: Path, recipe: Recipe, told: Callable[[str], None]) -> Json:
    """Train a model and write its bundle to `out`; figures on the validation scans.

    A run that was broken off goes on where the last finished network left it, when it is begun again with the
    same recipe and the same code.

    Raises:
        TrainingUnavailable: no such model, `out` is taken, or the extras `ai` and `torch` are not installed.
    """
    if model not in TRAINABLE:
        raise TrainingUnavailable(f"only {', '.join(TRAINABLE)} can be trained")
    kept, decides = out.with_name(f"{out.name}.recipe.json"), _deciding(recipe)
    if out.exists() and not (kept.exists() and json.loads(kept.read_text()) == decides):
        raise TrainingUnavailable(f"{out} is there already, and is no run of this recipe and code")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise TrainingUnavailable(f"training needs {', '.join(missing)}: pip install 'isthmus[ai,torch]'")
    from ai_engine.training.pipeline import train

    kept.write_text(json.dumps(decides, indent=2) + "\n")
    return train(recipe, out, told)


def _deciding(recipe: Recipe) -> Json:
    """What decides the weights: the recipe, and the code."""
    code = [sha256_of_files(folder, "*.py") for folder in CODE]
    return {
        **{name: value for name, value in asdict(recipe).items() if name != "workers"},
        "code_sha256": code,
    }


def recipe_with(seed: int, steps: int | None, workers: int) -> Recipe:
    """The recipe of the shipped model, changed: with fewer steps it is a try of the way."""
    recipe = replace(Recipe(), seed=seed, workers=workers)
    return recipe if steps is None else replace(recipe, steps=steps)
