from typing import Any

import numpy as np
import pytest

from ai_engine.bundle import SHIPPED_BUNDLES, load_bundle
from ai_engine.bundles.ct_quantification.scripts.quantify import run
from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom

# 3 mm by 1 mm, down to the fifth lumbar vertebra: as fine as bronchi and calcium need
WHOLE = PhantomSpec(
    seed=11,
    slices=150,
    rows=372,
    columns=372,
    below_mm=150.0,
    bronchus_generations=4,
    plaque_count=7,
    emphysema_rise=2.0,
    emphysema_share=0.1,
)
MIDDLE = PhantomSpec(seed=4, slices=75, rows=128, columns=128)  # 4 mm by 3 mm


class Result:
    """What the model returned, easier to ask."""

    def __init__(self, returned: dict[str, Any]) -> None:
        self.labels: np.ndarray | None = returned["labels"]
        self.values = {each["name"]: each["value"] for each in returned["values"]}
        self.slices = {
            each["name"]: each["slice_index"] for each in returned["values"] if "slice_index" in each
        }
        self.not_measured: dict[str, str] = returned["not_measured"]


@pytest.fixture(scope="session")
def parameters() -> dict[str, float | str]:
    return load_bundle(SHIPPED_BUNDLES / "ct_quantification").manifest.parameters


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    made = make_phantom(MIDDLE, "1.2")
    made.voxels.setflags(write=False)
    return made


@pytest.fixture(scope="session")
def quantify(parameters: dict[str, float | str]):
    def measure(voxels: np.ndarray, affine: np.ndarray, **changed: float) -> Result:
        return Result(run(voxels, affine, {**parameters, **changed}))

    return measure


@pytest.fixture(scope="session")
def expected(phantom: Phantom, quantify) -> Result:
    """What the model says of the phantom as it is."""
    return quantify(phantom.voxels, phantom.geometry.affine)


@pytest.fixture(scope="session")
def whole() -> Phantom:
    made = make_phantom(WHOLE, "1.2")
    made.voxels.setflags(write=False)
    return made


@pytest.fixture(scope="session")
def seen(whole: Phantom, quantify) -> Result:
    """What the model says of the phantom with everything."""
    return quantify(whole.voxels, whole.geometry.affine)
