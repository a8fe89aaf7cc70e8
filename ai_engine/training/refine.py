"""The second stage: a classifier learns to tell nodules from what the first stage took for some."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.nets import Classifier
from numpy.typing import NDArray
from torch import nn

from ai_engine.bundles.lung_nodule_ct.scripts.candidates import Candidate, cubes, find_candidates
from ai_engine.bundles.lung_nodule_ct.scripts.network import PATCH, Networks, sigmoid
from ai_engine.training.cases import PAD, STEPS, Case
from ai_engine.training.patches import Turn, relit
from ai_engine.training.recipe import CLASSIFIER, Recipe

HIT_SHARE = 0.2  # of a candidate's voxels that must be nodule
MOST_MISTAKES = 60  # of one scan
ROOM = 6  # voxels around a cube, so that it can be shifted while learning
TELL_EVERY = 100
LONGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """`cubes` float16 (n, 2, s, s, s) with s = PATCH + ROOM, `truths` bool."""

    cubes: NDArray[np.float16]
    truths: NDArray[np.bool_]


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


def joined(parts: list[Examples]) -> Examples:
    """All of them."""
    return Examples(
        np.concatenate([part.cubes for part in parts]), np.concatenate([part.truths for part in parts])
    )


def make_classifier(seed: int) -> nn.Module:
    """The classifier with its first weights."""
    torch.manual_seed(seed)
    return Classifier(**CLASSIFIER).to(memory_format=torch.channels_last_3d)


def refine(
    classifier: nn.Module, examples: Examples, recipe: Recipe, told: Callable[[int, float], None]
) -> list[float]:
    """Train in place, as many nodules as mistakes in each batch; the mean loss of each TELL_EVERY steps."""
    torch.set_num_threads(recipe.threads)
    rng = np.random.default_rng([recipe.seed, 3])
    kinds = [np.flatnonzero(examples.truths), np.flatnonzero(~examples.truths)]
    if not all(len(kind) for kind in kinds):
        raise ValueError("the first stage marks nodules only, or none: there is nothing to tell apart")
    optimizer = torch.optim.AdamW(classifier.parameters(), recipe.classifier_learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.classifier_learning_rate, recipe.classifier_steps, pct_start=0.1
    )
    classifier.train()
    losses, recent = [], []
    for step in range(recipe.classifier_steps):
        half = recipe.classifier_batch // 2
        chosen = np.concatenate([rng.choice(kind, half) for kind in kinds])
        inputs, truths = _varied(rng, examples.cubes[chosen]), examples.truths[chosen]
        with torch.autocast("cpu", torch.bfloat16):
            logits = classifier(torch.from_numpy(inputs).to(memory_format=torch.channels_last_3d))
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits.float()[:, 0], torch.from_numpy(truths.astype(np.float32))
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        recent.append(float(loss.detach()))
        if len(recent) == TELL_EVERY or step == recipe.classifier_steps - 1:
            losses.append(float(np.mean(recent)))
            told(step + 1, losses[-1])
            recent = []
    classifier.eval()
    return losses


def _varied(rng: np.random.Generator, taken: NDArray[np.float16]) -> NDArray[np.float32]:
    """Cubes of PATCH, shifted, turned and relit."""
    shifted = np.empty((*taken.shape[:2], PATCH, PATCH, PATCH), np.float32)
    for number, corner in enumerate(rng.integers(0, ROOM + 1, (len(taken), 3))):
        z, y, x = corner
        shifted[number] = taken[number, :, z : z + PATCH, y : y + PATCH, x : x + PATCH]
    turned = Turn.drawn(rng).apply(shifted)
    turned[:, :1] = relit(rng, turned[:, :1])
    return turned
