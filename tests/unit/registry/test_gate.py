"""The gate: what an evaluation must show, and that no version serves that is behind production."""

from dataclasses import replace

import pytest

from ai_engine.evaluation.proportion import Estimate
from ai_engine.gate import Criterion, Standing, shortcomings

SEEN = Estimate(0.95, 0.91, 0.98, 400)
SENSITIVITY = Criterion(metric="sensitivity", holdout="chests", threshold=0.9)
VOLUME = Criterion(metric="error.lung_volume", holdout="chests", threshold=100)


def asked(criterion: Criterion, figure: Estimate, production: Estimate | None = None) -> list[str]:
    standing = None if production is None else Standing("1.0.0", {"chests": {criterion.metric: production}})
    return list(shortcomings([criterion], {"chests": {criterion.metric: figure}}, standing))


def test_lower_bound_is_what_counts() -> None:
    assert asked(SENSITIVITY, SEEN) == []
    (why,) = asked(SENSITIVITY, replace(SEEN, lower=0.89))
    assert why == "sensitivity on chests: the lower bound 0.89 is below 0.9"


def test_errors_are_held_from_above() -> None:
    error = Estimate(80, 70, 95, 400)
    assert asked(VOLUME, error) == []
    (why,) = asked(VOLUME, replace(error, upper=101))
    assert why == "error.lung_volume on chests: the upper bound 101 is above 100"


def test_point_may_be_asked_for() -> None:
    point = Criterion(metric="dice", holdout="chests", threshold=0.9, bound="point")
    assert asked(point, Estimate(0.9, 0.5, 0.95, 3)) == []


@pytest.mark.parametrize(
    ("criterion", "figure", "production", "passes"),
    [
        pytest.param(SENSITIVITY, SEEN, 0.97, True, id="behind by the margin"),
        pytest.param(SENSITIVITY, SEEN, 0.9701, False, id="behind by more"),
        pytest.param(SENSITIVITY, SEEN, 0.5, True, id="ahead"),
        pytest.param(VOLUME, Estimate(80, 70, 95, 9), 79.99, True, id="error larger by the margin"),
        pytest.param(VOLUME, Estimate(80, 70, 95, 9), 70, False, id="error larger by more"),
    ],
)
def test_production_is_not_fallen_behind(
    criterion: Criterion, figure: Estimate, production: float, passes: bool
) -> None:
    found = asked(criterion, figure, Estimate(production, 0, 1, 400))
    assert (found == []) is passes


def test_failing_is_spoken_of_or_refused() -> None:
    """A version that fails on what is hard has the smaller error, and the fewer false alarms."""
    figures = {
        "error.lung_volume": Estimate(80, 70, 95, 400),
        "completed": Estimate(0.9, 0.86, 0.93, 400),
        "measured.lung_volume": Estimate(0.85, 0.81, 0.88, 400),
    }
    completed = Criterion(metric="completed", holdout="chests", threshold=0.85)
    measured = Criterion(metric="measured.lung_volume", holdout="chests", threshold=0.8)
    assert list(shortcomings([VOLUME, VOLUME], {"chests": figures}, None)) == [
        "completed on chests: 0.9, and no criterion says what is enough",
        "measured.lung_volume on chests: 0.85, and no criterion says what is enough",
    ]
    assert list(shortcomings([VOLUME, completed, measured], {"chests": figures}, None)) == []
    for name in ("completed", "measured.lung_volume"):
        figures[name] = Estimate(1.0, 0.99, 1.0, 400)
    assert list(shortcomings([VOLUME], {"chests": figures}, None)) == []


def test_what_is_missing_is_named() -> None:
    assert list(shortcomings([SENSITIVITY], {}, None)) == [
        "not evaluated on the whole of chests as it is registered"
    ]
    assert list(shortcomings([SENSITIVITY], {"chests": {}}, None)) == [
        "sensitivity on chests: the evaluation has no such figure"
    ]
    (why,) = shortcomings([SENSITIVITY], {"chests": {"sensitivity": SEEN}}, Standing("1.0.0", {}))
    assert why == "1.0.0, which it is compared with, is not evaluated on the whole of chests"
    (why,) = shortcomings([SENSITIVITY], {"chests": {"sensitivity": SEEN}}, Standing("1.0.0", {"chests": {}}))
    assert why.startswith("sensitivity on chests: the evaluation of 1.0.0 has no such figure")
