"""What a function is: how many arguments it takes, and what it does with them.

Arguments come unevaluated: most are evaluated once in the caller's context, criteria for each item in its
own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fhir.fhirpath.environment import Environment
from fhir.fhirpath.items import Collection

Evaluate = Callable[[Environment], Collection]
Arguments = tuple[Evaluate, ...]
Implementation = Callable[[Collection, Environment, Arguments], Collection]


@dataclass(frozen=True, slots=True)
class Function:
    """One function; `least` and `most` bound the number of its arguments."""

    implementation: Implementation
    least: int = 0
    most: int = 0
    takes_pattern: bool = False  # its first argument is a regular expression


def each(items: Collection, environment: Environment, argument: Evaluate) -> Iterator[tuple[Any, Collection]]:
    """Each item with the value of an argument in its own context (`$this`, `$index`)."""
    this, index = environment.this, environment.index
    environment.spend(len(items))
    for at, item in enumerate(items):
        environment.this, environment.index = [item], at
        value = argument(environment)
        environment.this, environment.index = this, index
        yield item, value
