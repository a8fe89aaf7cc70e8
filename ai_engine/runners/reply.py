"""What a child says, read as untrusted input: every size, name and number is checked before it is used."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ai_engine.runners.port import (
    Detection,
    ModelOutOfMemory,
    ModelOutputInvalid,
    ModelRaised,
    NamedValue,
    RunnerFault,
    RunnerOutput,
    Score,
)

MAX_VALUES = 5_000  # a value per slice and measure of a long series
MAX_NOT_MEASURED = 500
MAX_DETECTIONS = 200  # each becomes a measurement group; a model that finds more has lost its way
MAX_SCORES = 200
MAX_REASON_CHARACTERS = 500  # a sentence or two for a reader
ARRAYS = frozenset({"labels", "fractions"})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
PLACE = re.compile(r"[A-Za-z0-9_./-]{1,200}:[0-9]{1,7}|outside the bundle")


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    """What the model's label array is, by its own word."""

    shape: list[int]
    dtype: str


class Value(msgspec.Struct, forbid_unknown_fields=True):
    """One number; None: it was not finite."""

    name: str
    value: float | None
    slice_index: int | None = None


class ScoreSaid(msgspec.Struct, forbid_unknown_fields=True):
    """A probability; None: it was not finite."""

    name: str
    probability: float | None
    uncertainty: float | None = None


Point = tuple[float, float, float]


class DetectionSaid(msgspec.Struct, forbid_unknown_fields=True):
    """One detection; a None among its coordinates has failed the decoding already."""

    name: str
    probability: float | None
    center: Point
    uncertainty: float | None = None
    label: int | None = None
    long_axis: tuple[Point, Point] | None = None
    box: tuple[Point, Point] | None = None
    side: Literal["right", "left"] | None = None
    values: list[Value] = []


class Result(msgspec.Struct, forbid_unknown_fields=True):
    """What the model returned for one volume."""

    labels: Labels | None = None
    values: list[Value] = []
    not_measured: dict[str, str] = {}
    detections: list[DetectionSaid] = []
    scores: list[ScoreSaid] = []
    quality: dict[str, str] = {}
    fractions: bool = False  # they lie behind the labels


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """Every reply a child can give; `status` says which fields mean something."""

    status: str
    results: list[Result] = []
    reason: str = ""
    type: str = ""
    where: str = ""
    step: str = ""
    errno: int = 0


def read_reply(body: bytes) -> Reply:
    """The reply in these bytes.

    Raises:
        ModelOutputInvalid: not JSON of that shape.
    """
    try:
        return msgspec.json.decode(body, type=Reply)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise ModelOutputInvalid("the model's reply cannot be read") from None


def fault_of(reply: Reply) -> RunnerFault | None:
    """The fault that a reply tells of; None: it delivered. Shows texts of the child only when harmless."""
    if reply.status in ("done", "ready"):
        return None
    if reply.status == "out-of-memory":
        return ModelOutOfMemory("the model asked for more memory than its limit")
    if reply.status == "raised":
        name = reply.type if IDENTIFIER.fullmatch(reply.type) else "an exception"
        place = reply.where if PLACE.fullmatch(reply.where) else "an unknown place"
        return ModelRaised(f"the model raised {name} at {place}")
    return ModelOutputInvalid(
        reply.reason[:100] if reply.status == "invalid" else "the model's reply is unknown"
    )


def read_plain(answer: Mapping[str, Any], shape: tuple[int, int, int]) -> RunnerOutput:
    """The output that an answer of our own code is, checked like a child's; arrays are there themselves.

    Raises:
        ModelOutputInvalid: it is none.
    """
    plain = json.dumps({name: value for name, value in answer.items() if name not in ARRAYS})
    (result,) = read_reply(f'{{"status": "done", "results": [{plain}]}}'.encode()).results
    return RunnerOutput(
        labels=answer.get("labels"),
        values=check_values(result.values, shape[0]),
        not_measured=check_reasons(result.not_measured),
        detections=check_detections(result.detections, shape),
        scores=check_scores(result.scores),
        quality=check_reasons(result.quality),
        fractions=answer.get("fractions"),
    )


def check_labels(labels: Labels | None, shape: tuple[int, int, int]) -> bool:
    """Whether there are labels, and they cover the input.

    Raises:
        ModelOutputInvalid: other shape or type.
    """
    if labels is None:
        return False
    if labels.dtype != "uint8":
        raise ModelOutputInvalid("labels is not uint8")
    if tuple(labels.shape) != shape:
        raise ModelOutputInvalid(f"labels has another shape than the input, which is {shape}")
    return True


def check_values(values: list[Value], slices: int) -> tuple[NamedValue, ...]:
    """The values, each named, finite and, where it names a slice, on one of the input's.

    Raises:
        ModelOutputInvalid: one is not, or there are too many.
    """
    if len(values) > MAX_VALUES:
        raise ModelOutputInvalid(f"more than {MAX_VALUES} values")
    if len({value.name for value in values}) < len(values):
        raise ModelOutputInvalid("a value is given twice")
    return tuple(_check_value(value, slices) for value in values)


def check_detections(said: list[DetectionSaid], shape: tuple[int, int, int]) -> tuple[Detection, ...]:
    """The detections: named, with probabilities, each inside the input and with a label of its own.

    Raises:
        ModelOutputInvalid: one is not, or there are too many.
    """
    if len(said) > MAX_DETECTIONS:
        raise ModelOutputInvalid(f"more than {MAX_DETECTIONS} detections")
    labels = [each.label for each in said if each.label is not None]
    if len(set(labels)) < len(labels) or not all(1 <= label <= 255 for label in labels):
        raise ModelOutputInvalid("two detections share a label, or one is not 1 to 255")
    return tuple(_check_detection(each, shape) for each in said)


def _check_detection(said: DetectionSaid, shape: tuple[int, int, int]) -> Detection:
    name = _check_name(said.name)
    corners = said.box or ()
    points = [said.center, *(said.long_axis or ())]
    if not all(-0.5 <= at < size - 0.5 for point in points for at, size in zip(point, shape, strict=True)):
        raise ModelOutputInvalid(f"{name}: a point lies outside the input")
    if not all(-0.5 <= at <= size - 0.5 for point in corners for at, size in zip(point, shape, strict=True)):
        raise ModelOutputInvalid(f"{name}: its box reaches beyond the input")
    if said.box and any(low > high for low, high in zip(*said.box, strict=True)):
        raise ModelOutputInvalid(f"{name}: the corners of its box are not the least and the greatest")
    if said.long_axis and round(said.long_axis[0][0]) != round(said.long_axis[1][0]):
        raise ModelOutputInvalid(f"{name}: the ends of its long axis are on two slices")
    probability, uncertainty = _check_probability(name, said.probability, said.uncertainty)
    return Detection(
        name=name,
        probability=probability,
        centre=said.center,
        uncertainty=uncertainty,
        label=said.label,
        long_axis=said.long_axis,
        box=said.box,
        side=said.side,
        values=check_values(said.values, shape[0]),
    )


def check_scores(said: list[ScoreSaid]) -> tuple[Score, ...]:
    """The scores, each named once and with a probability.

    Raises:
        ModelOutputInvalid: one is not, or there are too many.
    """
    if len(said) > MAX_SCORES or len({each.name for each in said}) < len(said):
        raise ModelOutputInvalid(f"a score is given twice, or there are more than {MAX_SCORES}")
    return tuple(
        Score(_check_name(each.name), *_check_probability(each.name, each.probability, each.uncertainty))
        for each in said
    )


def _check_probability(
    name: str, probability: float | None, uncertainty: float | None
) -> tuple[float, float | None]:
    if probability is None or not 0 <= probability <= 1:
        raise ModelOutputInvalid(f"{name}: its probability is not 0 to 1")
    if uncertainty is not None and not 0 <= uncertainty <= 1:
        raise ModelOutputInvalid(f"{name}: its uncertainty is not 0 to 1")
    return probability, uncertainty


def _check_value(value: Value, slices: int) -> NamedValue:
    name = _check_name(value.name)
    if value.value is None or not math.isfinite(value.value):
        raise ModelOutputInvalid(f"{name}: not a finite number")
    if value.slice_index is not None and not 0 <= value.slice_index < slices:
        raise ModelOutputInvalid(f"{name}: no such slice")
    return NamedValue(name, value.value, value.slice_index)


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ModelOutputInvalid(
            "a name is empty, too long or holds other characters than A-Z a-z 0-9 _ . : / -"
        )
    return name


def check_reasons(reasons: Mapping[str, str]) -> Mapping[str, str]:
    """Why something was not measured, or what a quality flag says; printable text of bounded length.

    Raises:
        ModelOutputInvalid: too many, or not such text.
    """
    if len(reasons) > MAX_NOT_MEASURED:
        raise ModelOutputInvalid(f"more than {MAX_NOT_MEASURED} reasons")
    for name, reason in reasons.items():
        _check_name(name)
        if not reason.isprintable() or not 0 < len(reason) <= MAX_REASON_CHARACTERS:
            raise ModelOutputInvalid(f"{name}: its reason is empty, too long or not printable")
    return dict(reasons)
