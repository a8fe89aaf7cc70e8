"""The second stage: a classifier learns to tell nodules from what the first stage took for some."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import Classifier
from numpy.typing import NDArray
from torch import nn

from ai_engine.bundles.lung_nodule_ct.scripts.candidates import Candidate, cubes, find_candidates
from ai_engine.bundles.lung_nodule_ct.scripts.network import PATCH, Networks, sigmoid
from ai_engine.training.cases import PAD, STEPS, Case, load_case, save_case, workers
from ai_engine.training.patches import Turn, relit
from ai_engine.training.recipe import CLASSIFIER, Recipe

HIT_SHARE = 0.2  # of a candidate's voxels that must be nodule
MOST_MISTAKES = 60  # of one scan
ROOM = 8  # voxels around a cube, so that it can be shifted while learning
TELL_EVERY = 100
LONGEST_GRADIENT = 1.0
MOST_GRAIN = 0.012  # standard deviation: 17 HU
EASIEST, HARDEST = 0.05, 1.0  # least and most loss by which an example is drawn again


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """`cubes` float16 (n, 2, s, s, s) with s = PATCH + ROOM, `truths` bool."""

    cubes: NDArray[np.float16]
    truths: NDArray[np.bool_]


def marked(folder: Path, models: Path, wanted: Sequence[tuple[str, int]], processes: int) -> Examples:
    """What the first stage marks in the cases of (population, seed), made where they are not there yet."""
    each = ((folder, models, *one) for one in wanted)
    with workers(processes) as executor:
        parts = list(executor.map(_examples_in, *zip(*each, strict=True)))
    return Examples(
        np.concatenate([part.cubes for part in parts]), np.concatenate([part.truths for part in parts])
    )


def _examples_in(folder: Path, models: Path, population: str, seed: int) -> Examples:
    save_case(folder, population, seed)
    return examples_of(load_case(folder, population, seed), Networks(models))


def examples_of(case: Case, networks: Networks) -> Examples:
    """What the first stage marks in a case, and which of it is nodule.

    The region of a case is not kept: candidates of all its box are taken, for more mistakes to learn from.
    """
    inner = tuple(slice(PAD, -PAD) for _ in range(3))
    image = np.asarray(case.image[inner], np.float32) / np.float32(STEPS)
    numbers = np.asarray(case.numbers[inner])
    probability = sigmoid(networks.logits(image)).astype(np.float32)
    found = find_candidates(probability, np.ones(image.shape, bool))
    centres = np.array([each.centre for each in found]).reshape(-1, 3)
    truths = np.array([_hits(each, numbers) for each in found], bool)
    mistakes = np.flatnonzero(~truths)
    if len(mistakes) > MOST_MISTAKES:
        mistakes = np.random.default_rng(len(mistakes)).choice(mistakes, MOST_MISTAKES, replace=False)
    kept = np.sort(np.concatenate([np.flatnonzero(truths), mistakes]))
    patches = cubes((image, probability), centres[kept], PATCH + ROOM).astype(np.float16)
    return Examples(patches, truths[kept])


def _hits(candidate: Candidate, numbers: NDArray[np.uint8]) -> bool:
    drawn = numbers[candidate.box][candidate.weights > candidate.level] > 0
    return bool(drawn.mean() > HIT_SHARE)


def make_classifier(seed: int) -> nn.Module:
    """The classifier with its first weights."""
    torch.manual_seed(seed)
    return Classifier(**CLASSIFIER).to(memory_format=torch.channels_last_3d)


def refine(
    classifier: nn.Module, examples: Examples, recipe: Recipe, told: Callable[[int, float], None]
) -> list[float]:
    """Train in place, half of each batch nodules, half mistakes; the mean loss of TELL_EVERY steps each."""
    torch.set_num_threads(recipe.threads)
    rng = np.random.default_rng([recipe.seed, 3])
    draw = Draw(rng, examples.truths)
    optimizer = torch.optim.AdamW(classifier.parameters(), recipe.classifier_learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.classifier_learning_rate, recipe.classifier_steps, pct_start=0.1
    )
    classifier.train()
    losses, recent = [], []
    for step in range(recipe.classifier_steps):
        chosen = draw.examples(recipe.classifier_batch)
        each = _step(classifier, optimizer, _varied(rng, examples.cubes[chosen]), examples.truths[chosen])
        schedule.step()
        draw.learn_from(chosen, each)
        recent.append(float(each.mean()))
        if len(recent) == TELL_EVERY or step == recipe.classifier_steps - 1:
            losses.append(float(np.mean(recent)))
            told(step + 1, losses[-1])
            recent = []
    classifier.eval()
    return losses


class Draw:
    """Draws examples of both kinds alike, by the loss that each had when it was last seen."""

    def __init__(self, rng: np.random.Generator, truths: NDArray[np.bool_]) -> None:
        self._rng = rng
        self._kinds = [np.flatnonzero(truths), np.flatnonzero(~truths)]
        if not all(len(kind) for kind in self._kinds):
            raise ValueError("the first stage marks nodules only, or none: there is nothing to tell apart")
        self._losses = np.full(len(truths), HARDEST)

    def examples(self, count: int) -> NDArray[np.intp]:
        """Numbers of `count` examples, of which some may be the same."""
        return np.concatenate([self._of_kind(kind, count // 2) for kind in self._kinds])

    def learn_from(self, chosen: NDArray[np.intp], losses: NDArray[np.float32]) -> None:
        """Remember how well these were judged."""
        self._losses[chosen] = np.clip(losses, EASIEST, HARDEST)

    def _of_kind(self, kind: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        shares = self._losses[kind]
        return self._rng.choice(kind, count, p=shares / shares.sum())


def _step(
    classifier: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: NDArray[np.float32],
    truths: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """One step of descent; the loss of each example before it."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(torch.from_numpy(inputs).to(memory_format=torch.channels_last_3d))
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.float()[:, 0], torch.from_numpy(truths.astype(np.float32)), reduction="none"
    )
    optimizer.zero_grad()
    losses.mean().backward()
    nn.utils.clip_grad_norm_(classifier.parameters(), LONGEST_GRADIENT)
    optimizer.step()
    return np.asarray(losses.detach().numpy())


def _varied(rng: np.random.Generator, taken: NDArray[np.float16]) -> NDArray[np.float32]:
    """Cubes of PATCH, shifted, turned, relit, with up to MOST_GRAIN more noise."""
    shifted = np.empty((*taken.shape[:2], PATCH, PATCH, PATCH), np.float32)
    for number, corner in enumerate(rng.integers(0, ROOM + 1, (len(taken), 3))):
        z, y, x = corner
        shifted[number] = taken[number, :, z : z + PATCH, y : y + PATCH, x : x + PATCH]
    turned = Turn.drawn(rng).apply(shifted)
    image = relit(rng, turned[:, :1])
    grain = rng.uniform(0, MOST_GRAIN, (len(taken), 1, 1, 1, 1)).astype(np.float32)
    turned[:, :1] = np.clip(image + grain * rng.standard_normal(image.shape, np.float32), 0, 1)
    return turned
