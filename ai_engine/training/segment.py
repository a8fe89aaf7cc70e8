"""The first stage: a U-Net learns to mark nodules."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.nets import UNet
from numpy.typing import NDArray
from torch import Tensor, nn

from ai_engine.training.patches import Patches, Turn, relit
from ai_engine.training.recipe import NETWORK, Recipe

VOXEL_LOSS, RECALL_VOXEL_LOSS = 10.0, 20.0  # weight of the mean over voxels beside the overlap
WHOLE_VOXELS, DEAREST = (
    3000,
    8.0,
)  # a nodule of so many voxels counts once a voxel, a smaller one up to so often
WRONG_SHARE = 0.3  # of a wrong voxel in Tversky's overlap; the rest is that of a missed one
CUBE = (1, 2, 3, 4)
FIRST_BIAS = -4.0
WARM_UP = 200
TELL_EVERY = 100
Told = Callable[[int, float], None]


def make_network(seed: int) -> nn.Module:
    """The network with its first weights."""
    torch.manual_seed(seed)
    network = UNet(**NETWORK)
    last = [module for module in network.modules() if isinstance(module, nn.ConvTranspose3d)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, FIRST_BIAS)
    return network.to(memory_format=torch.channels_last_3d)


def overlap_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Overlap of each cube (in one without nodules any probability costs) and the mean over voxels."""
    probability = torch.sigmoid(logits)
    both = (probability * masks).sum(dim=CUBE)
    either = probability.sum(dim=CUBE) + masks.sum(dim=CUBE)
    overlap = 1 - (2 * both + 1) / (either + 1)
    voxels = nn.functional.binary_cross_entropy_with_logits(logits, masks)
    return overlap.mean() + VOXEL_LOSS * voxels


def recall_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """A missed voxel costs more than a wrong one, and of a small nodule most: what is wrong is judged again.

    The overlap is Tversky's, of the cubes with nodules alone.
    """
    there = masks.sum(dim=CUBE, keepdim=True)
    dearness = torch.clamp((WHOLE_VOXELS / there.clamp(min=1)) ** 0.6, 1, DEAREST)
    weights = 1 + masks * (dearness - 1)
    voxels = nn.functional.binary_cross_entropy_with_logits(logits, masks, weights)
    probability = torch.sigmoid(logits)
    both = (probability * masks).sum(dim=CUBE)
    wrong = (probability * (1 - masks)).sum(dim=CUBE)
    missed = ((1 - probability) * masks).sum(dim=CUBE)
    overlap = 1 - (both + 1) / (both + WRONG_SHARE * wrong + (1 - WRONG_SHARE) * missed + 1)
    with_nodule = (there.flatten() > 0).float()
    return (overlap * with_nodule).mean() + RECALL_VOXEL_LOSS * voxels


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of learning: first all is marked with few mistakes, then little is missed."""

    loss: Callable[[Tensor, Tensor], Tensor]
    steps: int
    learning_rate: float
    name: str  # of the weights after it
    draws: tuple[int, int]  # beside the recipe's seed: of cubes, of how they are turned
    scans_at: Callable[[int], int]  # how many scans a step draws from


def phases(recipe: Recipe) -> tuple[Phase, Phase]:
    """The two of a recipe."""
    return (
        Phase(overlap_loss, recipe.steps, recipe.learning_rate, "strict", (1, 2), recipe.scans_at),
        Phase(
            recall_loss,
            recipe.recall_steps,
            recipe.recall_learning_rate,
            "model",
            (4, 5),
            lambda _: recipe.recall_scans,
        ),
    )


def learn(network: nn.Module, patches: Patches, phase: Phase, recipe: Recipe, told: Told) -> list[float]:
    """Train in place; the mean loss of each TELL_EVERY steps."""
    torch.set_num_threads(recipe.threads)
    rng = np.random.default_rng([recipe.seed, phase.draws[1]])
    optimizer = torch.optim.AdamW(network.parameters(), phase.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, phase.learning_rate, phase.steps, pct_start=min(0.3, WARM_UP / phase.steps)
    )
    network.train()
    losses, recent = [], []
    for step in range(phase.steps):
        batch = patches.batch(recipe.batch, phase.scans_at(step))
        turn = Turn.drawn(rng)
        images, masks = relit(rng, turn.apply(batch.images)), turn.apply(batch.masks)
        loss, probabilities = _step(network, optimizer, phase.loss, (images, masks))
        schedule.step()
        patches.learn_from(batch, turn.undo(probabilities))
        recent.append(loss)
        if len(recent) == TELL_EVERY or step == phase.steps - 1:
            losses.append(float(np.mean(recent)))
            told(step + 1, losses[-1])
            recent = []
    network.eval()
    return losses


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    batch: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> tuple[float, NDArray[np.float32]]:
    """One step of descent; the loss and the probabilities before it."""
    images, masks = batch
    inputs = torch.from_numpy(images).to(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(inputs)
    logits = logits.float()
    loss = loss_of(logits, torch.from_numpy(masks))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach()), torch.sigmoid(logits.detach()).contiguous().numpy()
