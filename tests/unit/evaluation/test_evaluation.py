"""Figures of an evaluation, each against published values or a calculation by another way."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from ai_engine.evaluation.calibration import brier, expected_calibration_error, reliability
from ai_engine.evaluation.classification import auc, confusion, midranks
from ai_engine.evaluation.froc import (
    CPM_RATES,
    TOLERANCE_MM,
    Detection,
    Lesion,
    Scan,
    cpm,
    curve,
    false_alarms_at_threshold,
    match,
    sensitivity_at_rate,
    sensitivity_at_threshold,
)
from ai_engine.evaluation.intervals import mean_of_scans, resampled, wilson
from ai_engine.evaluation.overlap import dice, dice_of_labels, relative_volume_error
from tests.asked_in_turn import asked_in_turn


@asked_in_turn(
    "successes, trials, lower, upper",
    [  # R. G. Newcombe, Stat. Med. 17 (1998) 857, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(successes: int, trials: int, lower: float, upper: float) -> None:
    estimate = wilson(successes, trials)
    assert estimate is not None
    assert estimate.point == successes / trials
    assert (round(estimate.lower, 4), round(estimate.upper, 4)) == (lower, upper)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50)
def test_wilson_bounds_solve_the_score_equation(asked: tuple[int, int]) -> None:
    """Each bound is where the observed share is z standard errors away."""
    successes, trials = asked
    estimate = wilson(successes, trials)
    assert estimate is not None
    z = NormalDist().inv_cdf(0.975)
    for bound in (estimate.lower, estimate.upper):
        if 0 < bound < 1:
            away = abs(successes / trials - bound)
            assert away == pytest.approx(z * sqrt(bound * (1 - bound) / trials), abs=1e-9)
    mirrored = wilson(trials - successes, trials)
    assert mirrored is not None
    assert mirrored.lower == pytest.approx(1 - estimate.upper, abs=1e-12)


def test_wilson_without_trials() -> None:
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="no proportion"):
        wilson(3, 2)


def test_confusion_counts() -> None:
    truths = [True, True, True, False, False]
    scores = [0.9, 0.5, 0.2, 0.5, 0.1]
    found = confusion(truths, scores, 0.5)  # a score at the threshold is positive
    assert (found.true_positives, found.false_negatives) == (2, 1)
    assert (found.true_negatives, found.false_positives) == (1, 1)
    assert found.sensitivity() == wilson(2, 3)
    assert found.specificity() == wilson(1, 2)
    assert confusion([True], [0.9], 0.5).specificity() is None


def test_auc_published() -> None:
    """J. A. Hanley and B. J. McNeil, Radiology 143 (1982) 29, Table I: 58 normal, 51 abnormal."""
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    scores = np.repeat([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], normal + abnormal)
    estimate = auc([False] * 58 + [True] * 51, scores)
    assert estimate is not None
    assert round(estimate.point, 3) == 0.893


def _auc_by_pairs(truths: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The area and its standard error, from DeLong's formulas pair by pair."""
    positive, negative = scores[truths], scores[~truths]
    psi = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    area = psi.mean()
    s10 = ((psi.mean(axis=1) - area) ** 2).sum() / (len(positive) - 1)
    s01 = ((psi.mean(axis=0) - area) ** 2).sum() / (len(negative) - 1)
    return float(area), sqrt(s10 / len(positive) + s01 / len(negative))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=5, max_size=60))
@settings(max_examples=60)
def test_auc_is_that_of_all_pairs(cases: list[tuple[bool, int]]) -> None:
    truths, scores = np.array([each[0] for each in cases]), np.array([float(each[1]) for each in cases])
    smaller = min(truths.sum(), (~truths).sum())
    if smaller < 2:
        return
    estimate = auc(truths, scores)
    area, error = _auc_by_pairs(truths, scores)
    if error < 1e-9:
        return  # below
    assert estimate is not None
    assert estimate.point == pytest.approx(area)
    best = 0.025 ** (1 / smaller)
    half = 1.959963984540054 * error / (area * (1 - area))
    assert estimate.lower == pytest.approx(min(best, special.expit(special.logit(area) - half)))
    assert estimate.upper == pytest.approx(max(1 - best, special.expit(special.logit(area) + half)))


def test_auc_of_scans_told_apart_is_not_certain() -> None:
    estimate = auc([True] * 10 + [False] * 20, [1.0] * 10 + [0.0] * 20)
    assert estimate is not None
    exact = stats.binomtest(10, 10).proportion_ci(method="exact")
    assert (estimate.point, estimate.upper) == (1.0, 1.0)
    assert estimate.lower == pytest.approx(exact.low)
    uninformative = auc([True] * 10 + [False] * 20, [0.3] * 30)
    assert uninformative is not None
    assert uninformative.lower < 0.4
    assert uninformative.upper > 0.6


def test_auc_of_a_perfect_result_is_bounded_best() -> None:
    truths, scores = np.repeat([False, True], 20), np.arange(40.0)
    perfect = auc(truths, scores)
    scores[[19, 20]] = scores[[20, 19]]
    swapped = auc(truths, scores)
    assert perfect is not None
    assert swapped is not None
    assert swapped.point < perfect.point
    assert swapped.lower <= perfect.lower


def test_auc_interval_covers_near_one() -> None:
    """Binormal scores of a true area of 0.967: the lower bound lies above it no more often than it may."""
    random = np.random.default_rng(7)
    truths = np.repeat([True, False], [20, 40])
    apart = stats.norm.ppf(0.967) * sqrt(2)
    found = [auc(truths, random.normal(truths * apart)) for _ in range(300)]
    too_high = sum(each is not None and each.lower > 0.967 for each in found)
    assert too_high <= stats.binom.ppf(0.999, 300, 0.025)


def test_auc_of_one_kind_and_of_nonsense() -> None:
    assert auc([True, True], [0.1, 0.2]) is None
    assert auc([True, False, False], [0.9, 0.2, 0.1]) is None  # nothing tells how positive scans vary
    assert auc([], []) is None
    with pytest.raises(ValueError, match="finite"):
        auc([True, False], [0.1, float("nan")])
    with pytest.raises(ValueError, match="one truth"):
        auc([True, False], [0.1])


def test_midranks_share() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


NODULE = Lesion((0.0, 0.0, 0.0), 10.0)
SPECK = Lesion((50.0, 0.0, 0.0), 2.0)


@asked_in_turn(
    "detections, found_at, alarms",
    [
        pytest.param([((5.0, 0.0, 0.0), 0.9)], [0.9, -np.inf], [], id="on the edge"),
        pytest.param([((5.1, 0.0, 0.0), 0.9)], [-np.inf, -np.inf], [0.9], id="outside"),
        pytest.param([((50.0, TOLERANCE_MM, 0.0), 0.9)], [-np.inf, 0.9], [], id="within the tolerance"),
        pytest.param(
            [((1.0, 0.0, 0.0), 0.3), ((0.0, 1.0, 0.0), 0.8)],
            [0.8, -np.inf],
            [],
            id="a double hit is no alarm",
        ),
        pytest.param([], [-np.inf, -np.inf], [], id="nothing"),
    ],
)
def test_match(
    detections: list[tuple[tuple[float, float, float], float]], found_at: list[float], alarms: list[float]
) -> None:
    scan = match([Detection(*each) for each in detections], [NODULE, SPECK])
    assert scan.found_at.tolist() == found_at
    assert scan.false_alarms.tolist() == alarms


def test_match_between_two_lesions_hits_the_nearer() -> None:
    other = Lesion((8.0, 0.0, 0.0), 12.0)
    scan = match([Detection((4.5, 0.0, 0.0), 0.7)], [NODULE, other])
    assert scan.found_at.tolist() == [-np.inf, 0.7]


def test_match_of_a_lesion_that_does_not_count() -> None:
    passed_over = Lesion((0.0, 0.0, 0.0), 10.0, counts=False)
    scan = match([Detection((0.0, 0.0, 0.0), 0.7)], [passed_over])
    assert (scan.found_at.tolist(), scan.false_alarms.tolist()) == ([], [])


def _scan(found: list[float], alarms: list[float]) -> Scan:
    return Scan(np.array(found, np.float64), np.array(alarms, np.float64))


SCANS = [  # by hand below
    _scan([0.9, -np.inf], [0.8, 0.3]),
    _scan([0.6], []),
    _scan([], [0.6, 0.2]),
    _scan([0.25], [0.1]),
]


def test_curve_by_hand() -> None:
    found = curve(SCANS)
    assert found.thresholds.tolist() == [0.9, 0.8, 0.6, 0.3, 0.25, 0.2, 0.1]
    assert found.false_alarms_per_scan.tolist() == [0, 0.25, 0.5, 0.75, 0.75, 1.0, 1.25]
    assert found.sensitivity.tolist() == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 0.75]


@asked_in_turn(
    "rate, sensitivity",
    [
        pytest.param(0.0, 0.25, id="above every alarm"),
        pytest.param(0.25, 0.25, id="the lesion at 0.6 comes with an alarm at 0.6"),
        pytest.param(0.5, 0.5, id="two alarms"),
        pytest.param(0.75, 0.75, id="three alarms"),
        pytest.param(9.0, 0.75, id="what nothing hits stays missed"),
    ],
)
def test_sensitivity_at_rate_by_hand(rate: float, sensitivity: float) -> None:
    estimate = sensitivity_at_rate(SCANS, rate, seed=1, resamples=50)
    assert estimate is not None
    assert estimate.point == sensitivity


@given(
    st.lists(
        st.tuples(
            st.lists(st.one_of(st.just(-np.inf), st.integers(0, 5).map(float)), max_size=3),
            st.lists(st.integers(0, 5).map(float), max_size=4),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(CPM_RATES),
)
@settings(max_examples=60, deadline=None)
def test_sensitivity_at_rate_is_the_best_allowed(
    made: list[tuple[list[float], list[float]]], rate: float
) -> None:
    """Trying every threshold, counted scan by scan."""
    scans = [_scan(*each) for each in made]
    lesions = sum(len(found) for found, _ in made)
    estimate = sensitivity_at_rate(scans, rate, seed=1, resamples=2)
    if lesions == 0:
        assert estimate is None
        return
    best = 0.0
    for threshold in (*np.arange(0, 6.0), 6.0):
        alarms = sum(each >= threshold for _, of_scan in made for each in of_scan)
        if alarms <= rate * len(made):
            hits = sum(each >= threshold for found, _ in made for each in found)
            best = max(best, hits / lesions)
    assert estimate is not None
    assert estimate.point == pytest.approx(best)


def test_at_threshold_and_cpm() -> None:
    found = sensitivity_at_threshold(SCANS, 0.6)
    assert found is not None
    assert (found.point, found.of) == (0.5, 4)
    alarms = false_alarms_at_threshold(SCANS, 0.6, seed=1)
    assert alarms is not None
    assert alarms.point == 0.5
    assert alarms.lower <= 0.5 <= alarms.upper
    rates = [sensitivity_at_rate(SCANS, rate, seed=1, resamples=2) for rate in CPM_RATES]
    whole = cpm(SCANS, seed=1, resamples=50)
    assert whole is not None
    assert whole.point == pytest.approx(np.mean([each.point for each in rates if each]))


def test_bootstrap_is_that_of_drawn_scans() -> None:
    """Weights say the same as lists of scans drawn with replacement; the seed fixes them."""
    values = np.random.default_rng(5).normal(0.8, 0.1, 60)
    estimate = mean_of_scans(values, seed=3)
    assert estimate == mean_of_scans(values, seed=3)
    assert estimate is not None
    assert estimate.point == pytest.approx(values.mean())
    random = np.random.default_rng(11)
    drawn = [random.choice(values, len(values)).mean() for _ in range(4000)]
    assert estimate.lower == pytest.approx(np.quantile(drawn, 0.025), abs=0.004)
    assert estimate.upper == pytest.approx(np.quantile(drawn, 0.975), abs=0.004)
    assert mean_of_scans(np.array([]), seed=3) is None
    assert mean_of_scans(np.array([5.0]), seed=3) is None  # nothing tells how far errors may go
    assert resampled(lambda _weights: float("nan"), 3, seed=1) is None


def test_few_scans_have_wide_intervals() -> None:
    """By Student where few; by what so many scans cannot exclude where all are alike."""
    two = mean_of_scans(np.array([0.90, 0.92]), seed=3, within=(0.0, 1.0))
    by_scipy = stats.t.interval(0.95, 1, loc=0.91, scale=0.01)
    assert two is not None
    assert (two.lower, two.upper) == (pytest.approx(by_scipy[0]), pytest.approx(min(1, by_scipy[1])))
    one = mean_of_scans(np.array([0.9]), seed=3, within=(0.0, 1.0))
    assert one is not None
    assert one.lower < 0.03
    assert one.upper > 0.97
    same = mean_of_scans(np.zeros(20), seed=3, within=(0.0, 1.0))
    assert same is not None
    assert same.upper == pytest.approx(stats.binomtest(0, 20).proportion_ci(method="exact").high)


def test_lesions_of_one_scan_hang_together() -> None:
    """Ten scans with ten lesions each, all or none of them found: no more is known than of ten scans."""
    scans = [_scan([0.9 if found else -np.inf] * 10, []) for found in [True, False] * 5]
    estimate = sensitivity_at_threshold(scans, 0.5)
    assert estimate is not None
    assert (estimate.point, estimate.of) == (0.5, 100)
    assert estimate.lower == pytest.approx(0.2, abs=0.051)
    assert estimate.upper == pytest.approx(0.8, abs=0.051)


def test_nothing_missed_is_not_certain() -> None:
    exact = stats.binomtest(3, 3).proportion_ci(method="exact")
    scans = [_scan([0.9], []) for _ in range(3)]
    for estimate in (
        sensitivity_at_threshold(scans, 0.5),
        sensitivity_at_rate(scans, 1.0, seed=1),
        cpm(scans, seed=1),
    ):
        assert estimate is not None
        assert (estimate.point, estimate.upper) == (1.0, 1.0)
        assert estimate.lower == pytest.approx(exact.low)
    none = false_alarms_at_threshold(scans, 0.5, seed=1)
    assert none is not None
    assert none.point == none.lower == 0
    exact_count = stats.chi2.ppf(0.975, 2) / 2  # of a Poisson count of 0 (F. Garwood, 1936)
    assert none.upper * 3 == pytest.approx(exact_count, rel=0.05)


def test_scan_that_failed_thins_no_false_alarms() -> None:
    failed = Scan(np.array([-np.inf]), np.array([]), delivered=False)
    alarms = false_alarms_at_threshold([*SCANS, failed], 0.1, seed=1)
    assert alarms == false_alarms_at_threshold(SCANS, 0.1, seed=1)
    assert (
        curve([*SCANS, failed]).false_alarms_per_scan.tolist() == curve(SCANS).false_alarms_per_scan.tolist()
    )
    found = sensitivity_at_rate([*SCANS, *[failed] * 4], 0.25, seed=1, resamples=50)
    assert found is not None
    assert found.point == 1 / 8  # as of four scans with four lesions more: one alarm is allowed, not two
    assert false_alarms_at_threshold([failed], 0.5, seed=1) is None


def test_overlap() -> None:
    drawn = np.zeros((2, 3, 3), bool)
    true = np.zeros((2, 3, 3), bool)
    assert dice(drawn, true) is None
    assert relative_volume_error(drawn, true) is None
    drawn[0], true[0, :2] = True, True  # 9 and 6 voxels, 6 of them shared
    assert dice(drawn, true) == 2 * 6 / (9 + 6)
    assert relative_volume_error(drawn, true) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="shapes differ"):
        dice(drawn, true[:1])


def test_dice_of_labels() -> None:
    drawn = np.array([0, 1, 1, 2], np.uint8)
    true = np.array([0, 1, 0, 3], np.uint8)
    assert dice_of_labels(drawn, true) == {1: pytest.approx(2 / 3), 2: 0.0, 3: 0.0}


def test_calibration_by_hand() -> None:
    truths, said = [0, 0, 1, 1, 1], [0.05, 0.15, 0.15, 0.95, 1.0]
    table = reliability(truths, said)
    assert [each.cases for each in table] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert table[1].mean_probability == pytest.approx(0.15)
    assert table[1].share_positive == 0.5
    assert table[2].mean_probability is None
    by_hand = (1 * 0.05 + 2 * abs(0.15 - 0.5) + 2 * abs(0.975 - 1)) / 5
    assert expected_calibration_error(table) == pytest.approx(by_hand)
    squares = [0.05**2, 0.15**2, 0.85**2, 0.05**2, 0]
    assert brier(truths, said) == pytest.approx(sum(squares) / 5)
    assert brier([], []) is None
    assert expected_calibration_error(reliability([], [])) is None
    with pytest.raises(ValueError, match="0 to 1"):
        brier([1], [1.5])


def test_draws_that_all_miss_leave_the_point() -> None:
    def of_the_first(weights: np.ndarray) -> float:
        return 0.5 if weights[0] == weights[1] == 1 else np.nan

    estimate = resampled(of_the_first, 40, seed=1, resamples=2)
    assert estimate is not None
    assert (estimate.point, estimate.lower, estimate.upper) == (0.5, 0.5, 0.5)
