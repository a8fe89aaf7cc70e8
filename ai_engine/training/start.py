"""Start of a training run from the command line; imports nothing heavy before it is known to be there."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ai_engine.training.recipe import Recipe
from server.kernel.faults import Fault, FaultKind

Json = Any
TRAINABLE = ("lung-nodule-ct",)
NEEDED = ("torch", "monai", "onnx", "scipy", "onnxruntime")  # extras ai and torch


class TrainingUnavailable(Fault):
    """What training needs is not installed, or the model is none that can be trained."""

    kind = FaultKind.UNPROCESSABLE


def start(model: str, out: Path, recipe: Recipe, told: Callable[[str], None]) -> Json:
    """Train a model and write its bundle to `out`; figures on the validation scans.

    Raises:
        TrainingUnavailable: no such model, `out` is taken, or the extras `ai` and `torch` are not installed.
    """
    if model not in TRAINABLE:
        raise TrainingUnavailable(f"only {', '.join(TRAINABLE)} can be trained")
    if out.exists():
        raise TrainingUnavailable(f"{out} is there already")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise TrainingUnavailable(f"training needs {', '.join(missing)}: pip install 'isthmus[ai,torch]'")
    from ai_engine.training.pipeline import train

    return train(recipe, out, told)


def recipe_with(seed: int, steps: int | None, workers: int) -> Recipe:
    """The recipe of the shipped model, changed: with fewer steps it is a try of the way."""
    recipe = replace(Recipe(), seed=seed, workers=workers)
    return recipe if steps is None else replace(recipe, steps=steps)
