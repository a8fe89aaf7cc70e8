"""A property, the inputs it is tried on, and what was found before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st


def _untouched(holds: Callable[[Any], None]) -> Callable[[Any], None]:
    """Another function each time: hypothesis writes on those that it is given."""

    def tried(value: Any) -> None:
        holds(value)

    return tried


@dataclass(frozen=True)
class Property:
    """`holds` raises for an input that breaks it; `found` are inputs that once did, or nearly."""

    name: str
    inputs: st.SearchStrategy[Any]
    holds: Callable[[Any], None]
    found: Sequence[Any] = ()

    def check(self, examples: int) -> None:
        """Try what was found, and so many others."""
        test = given(self.inputs)(_untouched(self.holds))
        for each in self.found:
            test = example(each)(test)
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        settings(max_examples=examples, deadline=None, suppress_health_check=quiet, database=None)(test)()
