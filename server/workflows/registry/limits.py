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
    error_rate: Share = 0.2  # studies whose analysis failed, of those whose analysis ended
    minimum_studies: Count = 10
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

    failed: int = 0  # studies
    completed: int = 0
    failed_elsewhere: int = 0  # studies in the same time, of other models
    completed_elsewhere: int = 0
    verified: int = 0
    not_as_it_was: int = 0  # amended or rejected


OTHERS_FAIL = 3  # studies: fewer may be chance


def is_common(experience: Experience, limits: Limits) -> bool:
    """Whether a version fails as other models do: what they share broke, for another version too."""
    if disagreement_beyond(experience, limits) is not None:
        return False
    failed = experience.failed_elsewhere
    ended = failed + experience.completed_elsewhere
    return failed >= OTHERS_FAIL and failed > limits.error_rate * ended


def breaches(experience: Experience, limits: Limits) -> list[str]:
    """What is beyond the limits, in words; nothing: all is well."""
    found = failing_beyond(experience, limits), disagreement_beyond(experience, limits)
    return [each for each in found if each is not None]


def failing_beyond(experience: Experience, limits: Limits) -> str | None:
    """How far the share of failed studies is beyond its limit; None: it is not."""
    ended = experience.failed + experience.completed
    failing = wilson(experience.failed, ended)
    if ended < limits.minimum_studies or failing is None or failing.lower <= limits.error_rate:
        return None
    return (
        f"{experience.failed} of {ended} studies failed within {limits.window_hours:g} h:"
        f" at least {failing.lower:.1%}, more than {limits.error_rate:.1%}"
    )


def disagreement_beyond(experience: Experience, limits: Limits) -> str | None:
    """How far the agreement of clinicians is beyond its limit; None: it is not."""
    verdicts = experience.verified + experience.not_as_it_was
    agreeing = wilson(experience.verified, verdicts)
    if verdicts < limits.minimum_verdicts or agreeing is None or agreeing.upper >= limits.agreement:
        return None
    return (
        f"{experience.verified} of {verdicts} results were verified as they were:"
        f" at most {agreeing.upper:.1%}, less than {limits.agreement:.1%}"
    )
