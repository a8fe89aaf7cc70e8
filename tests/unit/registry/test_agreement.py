"""Two runs' findings held against each other."""

from dataclasses import replace

import pytest
from pydicom.sr.codedict import codes

from ai_engine.agreement import agreement_of, summary_of
from ai_engine.findings import (
    Code,
    Evaluation,
    Finding,
    Findings,
    Location,
    Measurement,
    ModelIdentity,
    Point,
)

NODULE = Code("27925004", "SCT", "Nodule")
VOLUME = Code("118565006", "SCT", "Volume")
ML = Code("ml", "UCUM", "milliliter")
MODEL = ModelIdentity("tiny", "Tiny", "1.0.0", "Tests", NODULE, "Research use only.")


def nodule(x: float, probability: float) -> Finding:
    place = Point((0, 0, 0), (x, 0.0, 0.0))
    return Finding("nodule-1", NODULE, probability=probability, location=Location(place))


def findings(*found: Finding, probability: float = 0.2) -> Findings:
    absent = Evaluation(NODULE, Code("2667000", "SCT", "Absent"), probability)
    return Findings(MODEL, (), None, found, (), "Words of a model.", (absent,))


def lung(volume: float) -> Finding:
    return Finding("lung", NODULE, measurements=(Measurement(VOLUME, volume, ML),))


def test_summary_has_numbers_and_no_words() -> None:
    told = summary_of(findings(lung(3.0), nodule(5, 0.9)))
    assert told["measurements"] == {"lung/SCT:118565006": 3.0}
    assert told["detections"] == [
        {"finding": "SCT:27925004", "centreLpsMm": [5, 0.0, 0.0], "probability": 0.9}
    ]
    assert "Words" not in str(told)


def test_agreement() -> None:
    clinical = summary_of(findings(lung(3.0), nodule(0, 0.9), nodule(100, 0.8)))
    other = summary_of(findings(lung(3.5), nodule(4, 0.7), nodule(8, 0.6), nodule(111, 0.9), probability=0.5))
    told = agreement_of(clinical, other)
    assert told["differences"] == {"lung/SCT:118565006": 0.5}
    assert told["detections"] == {"both": 1, "onlyClinical": 1, "onlyShadow": 2}  # 11 mm are too far
    assert told["probabilityDifferences"] == {"SCT:27925004": pytest.approx(0.3)}


def test_what_only_one_measured_is_named() -> None:
    clinical, other = summary_of(findings(lung(1.0))), summary_of(findings(replace(lung(1), tracking_id="l")))
    told = agreement_of(clinical, other)
    assert (told["onlyClinical"], told["onlyShadow"]) == (["lung/SCT:118565006"], ["l/SCT:118565006"])


def test_codes_are_those_of_the_dictionary() -> None:
    assert (codes.SCT.Nodule.value, codes.SCT.Volume.value) == (NODULE.value, VOLUME.value)
