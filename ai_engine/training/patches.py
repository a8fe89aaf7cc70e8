"""Which cubes of which scans a step learns from: nodules, what was mistaken for one, and anything else."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.training.cases import Case

JITTER = 12  # voxels that a nodule may lie off the middle
NODULE_SHARE, MISTAKE_SHARE = 0.5, 0.25  # of a batch; the rest is random
MOST_MISTAKES = 3000
MISTAKEN_AT = 0.3  # probability at which a voxel without a nodule is worth another look
FORGOTTEN_AT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images and masks (n, 1, z, y, x), with what is needed to find a mistake's place again."""

    images: NDArray[np.float32]
    masks: NDArray[np.float32]
    sources: tuple[tuple[int, tuple[int, int, int]], ...]  # case and first voxel of each cube


class Patches:
    """Draws batches; it remembers where the network was wrong."""

    def __init__(self, rng: np.random.Generator, case: Callable[[int], Case], patch: int) -> None:
        self._rng, self._case, self._patch = rng, case, patch
        self._mistakes: list[tuple[int, tuple[int, int, int]]] = []

    def batch(self, count: int, cases: int) -> Batch:
        """A batch from the first `cases` cases."""
        drawn = []
        for place in range(count):
            if place < count * NODULE_SHARE:
                drawn.append(self._nodule(cases))
            elif place < count * (NODULE_SHARE + MISTAKE_SHARE) and self._mistakes:
                drawn.append(self._mistakes[int(self._rng.integers(len(self._mistakes)))])
            else:
                drawn.append(self._anywhere(cases))
        cut = [self._cut(number, centre) for number, centre in drawn]
        images, masks, sources = zip(*cut, strict=True)
        return Batch(np.stack(images)[:, None], np.stack(masks)[:, None], sources)

    def learn_from(self, batch: Batch, probabilities: NDArray[np.float32]) -> None:
        """Remember the worst voxel of each cube without its nodules, and forget what is understood."""
        for source, mask, probability in zip(batch.sources, batch.masks, probabilities, strict=True):
            wrong = np.where(mask[0] > 0, 0, probability[0])
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            if mask[0].any() or wrong[at] < MISTAKEN_AT:
                if wrong[at] < FORGOTTEN_AT:
                    self._forget(source)
                continue
            place = (source[0], tuple(int(a + b) for a, b in zip(source[1], at, strict=True)))
            self._mistakes.append(place)  # type: ignore[arg-type]  # three numbers
        self._mistakes = self._mistakes[-MOST_MISTAKES:]

    @property
    def mistakes(self) -> int:
        """How many places are remembered."""
        return len(self._mistakes)

    def _forget(self, source: tuple[int, tuple[int, int, int]]) -> None:
        middle = tuple(at + self._patch // 2 for at in source[1])
        self._mistakes = [known for known in self._mistakes if known[0] != source[0] or known[1] != middle]

    def _nodule(self, cases: int) -> tuple[int, tuple[int, int, int]]:
        """A nodule of any size alike, somewhere near the middle."""
        while True:
            number = int(self._rng.integers(cases))
            centres = self._case(number).centres
            if len(centres):
                break
        jitter = self._rng.integers(-JITTER, JITTER + 1, 3)
        return number, _triple(centres[self._rng.integers(len(centres))] + jitter)

    def _anywhere(self, cases: int) -> tuple[int, tuple[int, int, int]]:
        number = int(self._rng.integers(cases))
        points = self._case(number).region_points
        return number, _triple(points[self._rng.integers(len(points))])

    def _cut(
        self, number: int, centre: tuple[int, int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, tuple[int, int, int]]]:
        case = self._case(number)
        image, numbers = case.patch(np.array(centre), self._patch)
        low = _triple(
            [
                np.clip(at - self._patch // 2, 0, whole - self._patch)
                for at, whole in zip(centre, case.image.shape, strict=True)
            ]
        )
        return image, (numbers > 0).astype(np.float32), (number, low)


@dataclass(frozen=True, slots=True)
class Turn:
    """Axes mirrored, then rows and columns exchanged or not: of arrays (n, 1, z, y, x)."""

    axes: tuple[int, ...]
    exchanged: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Turn":
        """One of the sixteen."""
        return cls(tuple(axis for axis in (2, 3, 4) if rng.random() < 0.5), bool(rng.random() < 0.5))

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The array turned."""
        turned = np.flip(array, self.axes)
        return np.ascontiguousarray(turned.swapaxes(3, 4) if self.exchanged else turned)

    def undo(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The array as it was before."""
        return np.flip(array.swapaxes(3, 4) if self.exchanged else array, self.axes)


def relit(rng: np.random.Generator, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each image a little brighter or darker, with more or less contrast."""
    scale = rng.uniform(0.95, 1.05, (len(images), 1, 1, 1, 1)).astype(np.float32)
    shift = rng.uniform(-0.02, 0.02, (len(images), 1, 1, 1, 1)).astype(np.float32)
    changed: NDArray[np.float32] = np.clip(images * scale + shift, 0, 1)
    return changed


def _triple(at: NDArray[np.integer] | list[int]) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in at)
    return z, y, x
