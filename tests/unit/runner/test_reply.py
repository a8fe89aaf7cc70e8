"""What a child says of detections and scores is checked before anything is made of it."""

import json
from typing import Any

import pytest

from ai_engine.runners.child import BadResult, plain_detection, plain_score
from ai_engine.runners.port import ModelOutputInvalid
from ai_engine.runners.reply import (
    MAX_DETECTIONS,
    MAX_SCORES,
    check_detections,
    check_labels,
    check_scores,
    read_reply,
)

SHAPE = (4, 5, 6)
DETECTION = {"name": "nodule", "probability": 0.75, "center": [1, 2, 3]}


def said(**what: Any) -> Any:
    (result,) = read_reply(json.dumps({"status": "done", "results": [what]}).encode()).results
    return result


def test_edges_of_the_input_are_inside() -> None:
    corners = {"center": [-0.5, -0.5, -0.5], "box": [[-0.5, 0, 0], [3.5, 4.5, 5.5]]}
    (found,) = check_detections(said(detections=[DETECTION | corners]).detections, SHAPE)
    assert (found.centre, found.box) == ((-0.5, -0.5, -0.5), ((-0.5, 0, 0), (3.5, 4.5, 5.5)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": 1.5},
        {"probability": None},
        {"uncertainty": -0.1},
        {"center": [1, 2]},
        {"center": [1, 2, 5.5]},
        {"box": [[0, 0, 0], [3.6, 4, 5]]},
        {"values": [{"name": "diameter", "value": 1}, {"name": "diameter", "value": 2}]},
        {"center": [1, 2, None]},
        {"label": 0},
        {"label": 256},
        {"long_axis": [[0, 1, 3], [3, 1, 3]]},
        {"box": [[2, 1, 2], [0, 4, 4]]},
        {"side": "middle"},
        {"values": [{"name": "diameter", "value": None}]},
        {"name": ""},
        {"more": 1},
    ],
    ids=str,
)
def test_detection_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelOutputInvalid):
        check_detections(said(detections=[DETECTION | wrong]).detections, SHAPE)


def test_number_of_detections_and_scores_is_bounded_and_labels_are_their_own() -> None:
    for many in ([DETECTION] * (MAX_DETECTIONS + 1), [DETECTION | {"label": 3}] * 2):
        with pytest.raises(ModelOutputInvalid):
            check_detections(said(detections=many).detections, SHAPE)
    score = {"name": "effusion", "probability": 0.5}
    for many in ([score] * 2, [score | {"name": f"n{at}"} for at in range(MAX_SCORES + 1)]):
        with pytest.raises(ModelOutputInvalid):
            check_scores(said(scores=many).scores)
    assert check_labels(None, SHAPE) is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"center": 1},
        {"center": ["x", 1, 2]},
        {"label": "x"},
        {"box": 3},
        {"values": [1]},
        {"name": 7},
        {"uncertainty": "nan"},
    ],
    ids=str,
)
def test_child_says_what_it_cannot_tell(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadResult):
        plain_detection(DETECTION | wrong)


def test_numbers_that_are_not_finite_are_null() -> None:
    plain = plain_detection(DETECTION | {"center": [float("nan"), 1, 2], "probability": float("inf")})
    assert (plain["center"], plain["probability"]) == ([None, 1.0, 2.0], None)
    assert plain_score({"name": "a", "probability": 1})["uncertainty"] is None
