"""What bounds say that are looked at all the time: 95 % is over all looks of all windows."""

from collections.abc import Callable
from itertools import takewhile

import numpy as np
import pytest

from ai_engine.evaluation.proportion import wilson
from ai_engine.evaluation.sequence import log_evidence, sequence_bounds
from server.workflows.registry.limits import (
    Experience,
    Limits,
    Window,
    failing_beyond,
    few_disagree,
    window_at,
)

LIMITS = Limits()
RUNS, STUDIES = 4000, 150


def first_alarms(beyond: Callable[[int, int], bool], trials: int) -> np.ndarray:
    """Of each number of trials, how many failures are beyond the limit."""
    return np.array(
        [len(list(takewhile(lambda s, n=n: not beyond(s, n), range(n + 1)))) for n in range(1, trials + 1)]  # type: ignore[misc]
    )


def share_of_alarms(window: Window, trials: int, rate: float) -> float:
    """How many of many versions are taken back, that fail so often and are looked at after each study."""

    def beyond(failed: int, ended: int) -> bool:
        return failing_beyond(Experience(failed, ended - failed, of_studies=window), LIMITS) is not None

    return alarms(first_alarms(beyond, trials), rate)


def alarms(table: np.ndarray, rate: float) -> float:
    failed = (np.random.default_rng(1).random((RUNS, len(table))) < rate).cumsum(axis=1)
    return float((failed >= table).any(axis=1).mean())


def test_version_at_its_limit_is_seldom_taken_back_however_often_it_is_looked_at() -> None:
    limit = LIMITS.error_rate
    assert share_of_alarms(Window(0, 0), STUDIES, limit) < 0.05
    pointwise = first_alarms(lambda s, n: n >= 10 and wilson(s, n).lower > limit, STUDIES)  # type: ignore[union-attr]
    assert alarms(pointwise, limit) > 0.15  # what the bound of one look comes to
    assert share_of_alarms(Window(0, 0), STUDIES, 2.5 * limit) > 0.99  # and what is bad is seen


def test_windows_without_end_share_the_five_percent() -> None:
    spent = sum(1 - Window(number, 0).level() for number in range(5000))
    assert 0.0499 < spent < 0.05
    assert 0.95 < Window(0, 0).level() < Window(1, 0).level()


@pytest.mark.parametrize(
    ("now_us", "window"),
    [
        (99, Window(0, 100)),
        (100, Window(0, 100)),
        (109, Window(0, 100)),
        (110, Window(1, 110)),
        (135, Window(3, 130)),
    ],
)
def test_windows_follow_each_other(now_us: int, window: Window) -> None:
    assert window_at(100, now_us, 10) == window


def test_bounds_are_where_the_evidence_is_enough() -> None:
    found = sequence_bounds(3, 20)
    assert found is not None
    assert found.lower < 0.15 < found.upper
    evidence = [log_evidence(3, 20, edge) for edge in (found.lower, found.upper)]
    assert evidence == pytest.approx([np.log(20)] * 2, abs=1e-6)
    assert sequence_bounds(0, 0) is None
    ends = sequence_bounds(0, 9), sequence_bounds(9, 9)
    assert [(each.lower, each.upper) for each in ends if each] == [
        (0.0, pytest.approx(1 - 200 ** (-1 / 9))),
        (pytest.approx(200 ** (-1 / 9)), 1.0),
    ]
    with pytest.raises(ValueError, match="2 of 1"):
        sequence_bounds(2, 1)


def test_few_people_take_nothing_back() -> None:
    said = {"verified": 5, "not_as_it_was": 30}
    assert few_disagree(Experience(**said, people=2), LIMITS)
    assert not few_disagree(Experience(**said, people=3), LIMITS)
    assert not few_disagree(Experience(verified=30, people=1, not_as_it_was=5), LIMITS)
