"""What is trained on what, and for how long: all that, with a seed, decides the weights on one machine."""

from dataclasses import dataclass
from typing import Any

# Seeds of scans, by what they are for: no scan is used twice (400,000 to 600,019 were held out for 1.0.0).
# A population's name enters the draw as well.
LEARNING_SEED, REFINING_SEED, VALIDATION_SEED = 100_000, 200_000, 300_000
HELD_OUT_SEED, SHIFTED_SEED, OTHER_GENERATOR_SEED = 800_000, 900_000, 1_000_000

SENSITIVITY, SPECIFICITY = 0.90, 0.85  # of scans: what the model shall exceed

NETWORK: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "channels": [16, 32, 64, 96],
    "strides": [2, 2, 2],
    "num_res_units": 0,
    "act": "relu",
    "norm": "batch",  # not instance: what a voxel gives must not hang on the size of the window it is in
}
CLASSIFIER: dict[str, Any] = {
    "in_shape": [2, 24, 24, 24],
    "classes": 1,
    "channels": [8, 24, 48, 64, 96],
    "strides": [1, 2, 1, 2, 2],  # the first sees every voxel: what is told apart is a few of them wide
    "num_res_units": 0,
    "act": "relu",
    "norm": "batch",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes of one training run."""

    seed: int = 1
    learning_scans: int = 100
    refining_scans: int = 500
    validation_scans: int = 160
    first_scans: int = 50  # there when learning begins; the others join it one by one
    steps_per_scan: int = 30
    steps: int = 15_000
    batch: int = 8
    patch: int = 40  # voxels of the network's grid
    learning_rate: float = 3e-3
    recall_scans: int = 200  # those, and more
    recall_steps: int = 8000  # more, after them, in which a miss costs more than a mistake
    recall_learning_rate: float = 2e-3
    classifier_steps: int = 10_000
    classifier_batch: int = 32
    classifier_learning_rate: float = 2e-3
    threads: int = 1
    workers: int = 1

    def scans_at(self, step: int) -> int:
        """How many scans a step draws from; it waits for them, so that time changes nothing."""
        return min(self.learning_scans, self.first_scans + step // self.steps_per_scan)


TINY = Recipe(
    learning_scans=6,
    recall_scans=7,
    refining_scans=3,
    validation_scans=4,
    first_scans=3,
    steps=60,
    recall_steps=300,
    recall_learning_rate=3e-3,
    steps_per_scan=10,
    batch=4,
    patch=32,
    classifier_steps=40,
    classifier_batch=8,
)  # a run of two minutes that proves the way, not the model
