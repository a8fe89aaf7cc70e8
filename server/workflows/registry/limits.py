"""When a version that serves is taken back without being asked: values, and what they say of counts. Pure."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from ai_engine.evaluation.proportion import wilson

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what clinicians meet with; both are held against the favourable end of a 95 % interval."""

    window_hours: Annotated[float, Meta(gt=0, le=24 * 31)] = 24
    error_rate: Share = 0.2  # failed attempts of those that ended
    minimum_attempts: Count = 10
    agreement_days: Annotated[float, Meta(gt=0, le=366)] = 30
    agreement: Share = 0.8  # results verified as they were, of those that got a verdict
    minimum_verdicts: Count = 20


DEFAULT_LIMITS = Limits()


def limits_in(text: str | None) -> Limits:
    """The limits in a model's row; None: the defaults."""
    return DEFAULT_LIMITS if text is None else msgspec.json.decode(text, type=Limits)


@dataclass(frozen=True, slots=True)
class Experience:
    """What became of a version's work within the limits' time."""

    failed: int = 0
    completed: int = 0
    verified: int = 0
    not_as_it_was: int = 0  # amended or rejected


def breaches(experience: Experience, limits: Limits) -> list[str]:
    """What is beyond the limits, in words; nothing: all is well."""
    found = []
    ended = experience.failed + experience.completed
    if ended >= limits.minimum_attempts:
        failing = wilson(experience.failed, ended)
        if failing is not None and failing.lower > limits.error_rate:
            found.append(
                f"{experience.failed} of {ended} attempts failed within {limits.window_hours:g} h:"
                f" at least {failing.lower:.1%}, more than {limits.error_rate:.1%}"
            )
    verdicts = experience.verified + experience.not_as_it_was
    if verdicts >= limits.minimum_verdicts:
        agreeing = wilson(experience.verified, verdicts)
        if agreeing is not None and agreeing.upper < limits.agreement:
            found.append(
                f"{experience.verified} of {verdicts} results were verified as they were:"
                f" at most {agreeing.upper:.1%}, less than {limits.agreement:.1%}"
            )
    return found
