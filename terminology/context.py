"""What an operation knows beside its parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Any

Inputs = Mapping[str, Sequence[Json]]
"""Input parameters by name: their values, or their resources, in order."""

MAX_EXPANSION = 1_000  # codes of an expansion that nobody pages through


@dataclass(frozen=True, slots=True)
class Context:
    """One request: what it says outside its parameters, the time, and what makes identifiers."""

    now: Callable[[], str]  # an instant (FHIR R4 datatypes.html#instant)
    new_uuid: Callable[[], str]  # "urn:uuid:…"
    accept_language: str | None = None  # RFC 9110 §12.5.4
    max_expansion: int = MAX_EXPANSION
