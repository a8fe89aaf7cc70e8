"""When a version that serves is taken back without being asked: values, and what they say of counts. Pure.

The counts are looked at each minute, window after window. The bounds hold at all looks of all windows
together (`ai_engine.evaluation.sequence`), so that 95 % is what it says.
"""

from dataclasses import dataclass
from math import pi
from typing import Annotated

import msgspec
from msgspec import Meta

from ai_engine.evaluation.proportion import LEVEL, Estimate
from ai_engine.evaluation.sequence import sequence_bounds

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what clinicians meet with, held against the favourable end of a confidence sequence."""

    window_hours: Annotated[float, Meta(gt=0, le=24 * 31)] = 24
    error_rate: Share = 0.2  # studies whose analysis failed, of those whose analysis ended
    minimum_studies: Count = 10
    agreement_days: Annotated[float, Meta(gt=0, le=366)] = 30
    agreement: Share = 0.8  # results verified as they were, of those that got a verdict
    minimum_verdicts: Count = 20
    minimum_people: Count = 3  # who amended or rejected: one person's habit is no finding about a model


DEFAULT_LIMITS = Limits()


def limits_in(text: str | None) -> Limits:
    """The limits in a model's row; None: the defaults."""
    return DEFAULT_LIMITS if text is None else msgspec.json.decode(text, type=Limits)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in which things count: the first begins when the version comes to its stage."""

    number: int  # from 0
    since_us: int

    def level(self) -> float:
        """The confidence of its bounds: all windows together spend 1 - LEVEL, for the sum of 1/n² is π²/6."""
        return 1 - (1 - LEVEL) * 6 / (pi * (self.number + 1)) ** 2


FIRST = Window(0, 0)


def window_at(begun_us: int, now_us: int, length_us: int) -> Window:
    """The window of a time; windows follow each other, and none begins anew with each look."""
    number = max(0, now_us - begun_us) // length_us
    return Window(number, begun_us + number * length_us)


@dataclass(frozen=True, slots=True)
class Experience:
    """What became of a version's work within the window of now."""

    failed: int = 0  # studies
    completed: int = 0
    failed_elsewhere: int = 0  # studies in the same time, of other models
    completed_elsewhere: int = 0
    verified: int = 0
    not_as_it_was: int = 0  # amended or rejected
    people: int = 0  # who amended or rejected
    of_studies: Window = FIRST
    of_verdicts: Window = FIRST


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
    failing = sequence_bounds(experience.failed, ended, experience.of_studies.level())
    if ended < limits.minimum_studies or failing is None or failing.lower <= limits.error_rate:
        return None
    return (
        f"{experience.failed} of {ended} studies failed within {limits.window_hours:g} h:"
        f" at least {failing.lower:.1%}, more than {limits.error_rate:.1%}"
    )


def disagreement_beyond(experience: Experience, limits: Limits) -> str | None:
    """How far the agreement of clinicians is beyond its limit, as enough of them say; None: it is not."""
    agreeing = _agreement_beyond(experience, limits)
    if agreeing is None or experience.people < limits.minimum_people:
        return None
    return (
        f"{experience.verified} of {agreeing.of} results were verified as they were:"
        f" at most {agreeing.upper:.1%}, less than {limits.agreement:.1%}; {experience.people} people"
        " amended or rejected"
    )


def few_disagree(experience: Experience, limits: Limits) -> bool:
    """Whether the agreement is beyond its limit, but too few people say so."""
    is_beyond = _agreement_beyond(experience, limits) is not None
    return is_beyond and experience.people < limits.minimum_people


def _agreement_beyond(experience: Experience, limits: Limits) -> Estimate | None:
    verdicts = experience.verified + experience.not_as_it_was
    agreeing = sequence_bounds(experience.verified, verdicts, experience.of_verdicts.level())
    if verdicts < limits.minimum_verdicts or agreeing is None or agreeing.upper >= limits.agreement:
        return None
    return agreeing
