"""Calibration, threshold and figures of a trial; the committed evaluation belongs to the committed model."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zstandard

from ai_engine.bundle import SHIPPED_BUNDLES
from ai_engine.training.calibrate import calibrated, choose_threshold, fit
from ai_engine.training.card import with_figures
from ai_engine.training.figures import figures_of
from ai_engine.training.protocol import ProtocolDiffers, evaluate, freeze, sha256_of
from ai_engine.training.recipe import CLASSIFIER, NETWORK, Recipe
from ai_engine.training.start import TrainingUnavailable, start

from .conftest import Json

BUNDLE = SHIPPED_BUNDLES / "lung_nodule_ct"
EVALUATION = Path(__file__).parents[3] / "docs" / "models" / "lung-nodule-ct"


def record(nodules: list[float], *probabilities: float) -> Json:
    """A scan with nodules in a row, of these diameters; the first probabilities are said of them in turn."""
    places = [[40.0 * number, 0.0, 0.0] for number in range(20)]
    return {
        "nodules": [
            {
                "kind": "solid",
                "place": "inner",
                "diameter_mm": size,
                "centre_lps_mm": place,
                "dice": 0.8,
                "volume_error": 0.1,
            }
            for size, place in zip(nodules, places, strict=False)
        ],
        "detections": [
            {"centre_lps_mm": place, "probability": value, "uncertainty": None}
            for value, place in zip(probabilities, places, strict=False)
        ],
    }


def test_calibration_finds_the_curve_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    records = []
    for logit in rng.normal(0, 2, 3000):
        hit = rng.random() < 1 / (1 + np.exp(-(0.5 * logit - 1)))
        records.append(record([10.0] if hit else [], 0.0))
        records[-1]["detections"][0] = {"centre_lps_mm": [0.0, 0.0, 0.0], "evidence": [logit, 1.0]}
    (slope, constant), intercept = fit(records)
    assert slope == pytest.approx(0.5, abs=0.06)
    assert constant + intercept == pytest.approx(-1, abs=0.12)
    (first,) = calibrated(records[:1], [1.0, 0.0], 0.0)
    expected = 1 / (1 + np.exp(-records[0]["detections"][0]["evidence"][0]))
    assert first["detections"][0]["probability"] == pytest.approx(expected, abs=1e-4)


def test_the_threshold_lies_between_what_it_parts() -> None:
    records = [record([9.0], 0.8), record([9.0], 0.6), record([], 0.2), record([])]
    assert 0.2 < choose_threshold(records) < 0.6
    assert choose_threshold([record([], 0.3)]) == 0.5
    mixed = [record([9.0], at / 10) for at in range(1, 11)] + [record([], at / 10) for at in range(-5, 4)]
    assert 0.1 < choose_threshold(mixed) < 0.2  # 9 of 10 and 7 of 9; their sum is highest above 0.3


def test_figures_of_a_trial() -> None:
    records = [record([9.0, 5.0], 0.9), record([12.0], 0.4), record([], 0.6), record([])]
    figures = figures_of(records, 0.5)
    assert figures["scan"]["counts"] == {
        "true_positives": 1,
        "false_negatives": 1,
        "true_negatives": 1,
        "false_positives": 1,
    }
    assert figures["nodule"]["sensitivity"]["point"] == pytest.approx(1 / 3, abs=1e-3)
    assert figures["nodule"]["false_alarms_per_scan"]["point"] == 0.25
    assert figures["at_least_6_mm"]["sensitivity"]["of"] == 2
    assert figures["by_size_mm"]["0 to 6"]["sensitivity"]["point"] == 0
    assert figures["outline"]["dice_mean"] == 0.8
    assert figures["calibration"]["detections"] == 3


def test_figures_of_what_is_reported_are_of_the_threshold() -> None:
    records = [record([9.0, 5.0, 3.97], 0.9, 0.02), record([12.0], 0.8), record([], 0.6), record([], 0.01)]
    figures = figures_of(records, 0.5)
    assert figures["by_size_mm"]["0 to 6"]["sensitivity"]["of"] == 2
    assert figures["by_size_mm"]["0 to 6"]["sensitivity"]["point"] == 0
    reported = figures["reported"]
    assert reported["nodules_found"] == 2
    calibration = reported["calibration"]
    assert calibration["detections"] == 3
    assert calibration["brier"] == pytest.approx((0.01 + 0.04 + 0.36) / 3, abs=1e-4)
    assert calibration["mean_probability"] == pytest.approx(2.3 / 3, abs=1e-4)
    assert calibration["precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures_of([record([9.0]), record([])], 0.5)["reported"]["calibration"]["precision"] is None


def test_the_committed_protocol_is_of_the_committed_model() -> None:
    protocol = json.loads((EVALUATION / "protocol.json").read_text())
    frozen = freeze(BUNDLE)
    assert frozen == protocol
    assert (EVALUATION / "protocol.sha256").read_text().split()[0] == sha256_of(protocol)


def test_the_committed_figures_are_of_that_protocol_and_of_the_committed_records() -> None:
    protocol = json.loads((EVALUATION / "protocol.json").read_text())
    results = json.loads((EVALUATION / "results.json").read_text())
    assert results["protocol_sha256"] == sha256_of(protocol)
    packed = (EVALUATION / "records.json.zst").read_bytes()
    records = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(packed))
    for name, of_set in protocol["sets"].items():
        seeds = [each["seed"] for each in records[name]]
        assert seeds == list(range(of_set["first_seed"], of_set["first_seed"] + of_set["scans"]))
    assert figures_of(records["shifted"], protocol["threshold"]) == results["figures"]["shifted"]


def test_the_card_shows_these_figures() -> None:
    card = (EVALUATION.with_suffix(".md")).read_text()
    results = json.loads((EVALUATION / "results.json").read_text())
    assert card == with_figures(card, results)


def test_sides_are_counted_where_they_are_stated() -> None:
    one = record([9.0, 9.0, 9.0], 0.9, 0.8, 0.7, 0.6)
    for detection, side in zip(one["detections"], ("right", "right", None, "left"), strict=True):
        detection["side"] = side
    assert figures_of([one, record([])], 0.5)["reported"]["sides"] == {"hits": 3, "stated": 2, "right": 1}


def test_another_model_than_the_frozen_one_is_not_evaluated() -> None:
    protocol = {**freeze(BUNDLE), "weights_sha256": "0"}
    with pytest.raises(ProtocolDiffers, match="weights_sha256"):
        evaluate(protocol, BUNDLE, 1, print)


def test_no_seed_serves_twice() -> None:
    recipe, protocol = Recipe(), freeze(BUNDLE)
    ranges = [
        range(100_000, 100_000 + max(recipe.learning_scans, recipe.recall_scans)),
        range(200_000, 200_000 + recipe.refining_scans),
        range(300_000, 300_000 + recipe.validation_scans),
        *(
            range(each["first_seed"], each["first_seed"] + each["scans"])
            for each in protocol["sets"].values()
        ),
    ]
    assert sum(map(len, ranges)) == len(set().union(*ranges))


def test_monai_is_told_of_the_network_that_is_trained() -> None:
    configured = json.loads((BUNDLE / "configs" / "inference.json").read_text())
    assert {**configured["network_def"], "_target_": "UNet"} == {"_target_": "UNet", **NETWORK}
    assert configured["strict_def"] == configured["network_def"]
    assert {**configured["classifier_def"], "_target_": "Classifier"} == {
        "_target_": "Classifier",
        **CLASSIFIER,
    }


def test_training_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingUnavailable, match="only lung-nodule-ct"):
        start("ct-quantification", tmp_path / "out", Recipe(), print)
    with pytest.raises(TrainingUnavailable, match="is there already"):
        start("lung-nodule-ct", tmp_path, Recipe(), print)
    monkeypatch.setattr("ai_engine.training.start.find_spec", lambda _: None)
    with pytest.raises(TrainingUnavailable, match="isthmus\\[ai,torch\\]"):
        start("lung-nodule-ct", tmp_path / "out", Recipe(), print)
