"""What a child says, read as untrusted input: every size, name and number is checked before it is used."""

import math
import re
from collections.abc import Mapping

import msgspec

from ai_engine.runners.port import ModelOutOfMemory, ModelOutputInvalid, ModelRaised, NamedValue, RunnerFault

MAX_VALUES = 5_000  # a value per slice and measure of a long series
MAX_NOT_MEASURED = 500
MAX_REASON_CHARACTERS = 500  # a sentence or two for a reader
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


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """Every reply a child can give; `status` says which fields mean something."""

    status: str
    labels: Labels | None = None
    values: list[Value] = []
    not_measured: dict[str, str] = {}
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
    return tuple(_check_value(value, slices) for value in values)


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
    """Why something was not measured; printable text of bounded length.

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
