"""The stages of a model version, and which may follow which. Pure."""

from collections.abc import Mapping
from enum import Enum


class Stage(Enum):
    """Where a version stands. A model has at most one canary and one production version."""

    CANDIDATE = "candidate"  # registered; nothing runs it but evaluations
    SHADOW = "shadow"  # runs beside production; its results never enter a study
    CANARY = "canary"  # gets a share of the studies
    PRODUCTION = "production"  # gets the others
    RETIRED = "retired"  # registered; nothing runs it but evaluations


# By whom asks: an operator's promotion or retirement. A rollback and a successor's promotion go other ways.
ALLOWED: Mapping[Stage, frozenset[Stage]] = {
    Stage.CANDIDATE: frozenset({Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED}),
    Stage.SHADOW: frozenset({Stage.CANDIDATE, Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED}),
    Stage.CANARY: frozenset({Stage.CANDIDATE, Stage.SHADOW, Stage.PRODUCTION, Stage.RETIRED}),
    Stage.PRODUCTION: frozenset({Stage.RETIRED}),
    Stage.RETIRED: frozenset({Stage.CANDIDATE}),
}
SERVING = frozenset({Stage.CANARY, Stage.PRODUCTION})  # their results reach clinicians: behind the gate
