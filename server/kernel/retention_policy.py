"""How long what is kept, as the settings state it. Without a rule, studies are kept for ever."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

CountedFrom = Literal["receipt", "study_date"]


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Studies go once they are so old; one that several rules are for, once it is old enough for all."""

    # A name that is mistyped must not widen what is deleted.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    min_age_days: int
    modality: str | None = None  # studies with a series of it; None: every study
    counted_from: CountedFrom = "receipt"  # of the first instance; or the Study Date, without which none goes
    dry_run: bool = False  # only said, never done

    def __post_init__(self) -> None:
        if self.min_age_days < 1:
            raise ValueError("min_age_days must be at least 1")
        if self.modality is not None and not self.modality.strip():
            raise ValueError("modality must name one, or be left out")

    def __str__(self) -> str:
        since = "receipt" if self.counted_from == "receipt" else "Study Date"
        return f"{self.modality or 'any modality'}, {self.min_age_days} days from {since}"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What goes by itself."""

    rules: tuple[RetentionRule, ...] = ()
    outbox_days: int = 14  # of events that every reader has passed, and of attempts at ended workitems
    audit_days: int | None = None  # None: for ever
