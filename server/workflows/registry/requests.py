"""What requests to `/admin/api/models` say, as values."""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from ai_engine.gate import Criterion
from server.kernel.faults import Fault
from server.workflows.registry.decide import MAX_REASON_CHARACTERS
from server.workflows.registry.limits import Limits
from server.workflows.registry.stages import Stage

MAX_CRITERIA = 50

_TAG = re.compile(r'(?:W/)?"([0-9]{1,9})"')

Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)]
Share = Annotated[float, Meta(ge=0, le=100)]
T = TypeVar("T")


class InvalidDecision(Fault):
    """The body is not what the route takes; the text names the member."""


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision that needs at most a reason."""

    reason: Reason | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To which stage a version goes."""

    to: Stage
    reason: Reason | None = None


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The percentage of studies that the canary gets."""

    canary: Share
    reason: Reason | None = None


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What versions must show; null: what their manifests say."""

    criteria: Annotated[list[Criterion], Meta(max_length=MAX_CRITERIA)] | None
    reason: Reason | None = None


class LimitsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a version is taken back; what is left out has its default."""

    limits: Limits
    reason: Reason | None = None


def etag_of(revision: int) -> str:
    """The entity-tag of what is told of a model (RFC 9110 §8.8.3): weak, for counts in it go on."""
    return f'W/"{revision}"'


def read_if_match(value: str | None) -> int | None:
    """The revision that a decision is made on, by its `If-Match`; None: whichever it is at.

    Entity-tags of ours are weak and compared all the same, as FHIR's are.

    Raises:
        InvalidDecision: it names no revision.
    """
    if value is None or value.strip() == "*":
        return None
    found = _TAG.fullmatch(value.strip())
    if found is None:
        raise InvalidDecision("'If-Match' is the ETag of the model, as 'W/\"7\"'.")
    return int(found[1])


def read_decision(body: bytes, kind: type[T]) -> T:
    """The body of a request; an empty one says nothing.

    Raises:
        InvalidDecision: it is not what the route takes.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidDecision(f"The body is not what is asked for: {error}") from None
