"""What a profile says of one element (FHIR R4 elementdefinition.html), and of the elements below it."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class AllowedType:
    """ElementDefinition.type."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()  # targetProfile


@dataclass(frozen=True, slots=True)
class Binding:
    """ElementDefinition.binding."""

    strength: str
    value_set: str


@dataclass(frozen=True, slots=True)
class ProfileConstraint:
    """ElementDefinition.constraint, those that R4 itself does not have."""

    key: str
    severity: str
    human: str
    expression: str


@dataclass(frozen=True, slots=True)
class Slicing:
    """ElementDefinition.slicing; discriminators are (type, path)."""

    discriminators: tuple[tuple[str, str], ...]
    ordered: bool
    rules: str  # open, closed, openAtEnd


@dataclass(slots=True, eq=False)
class Rule:
    """One element of a profile, or one slice of it; what is None or empty says nothing beyond R4."""

    name: str  # without [x]
    slice_name: str | None = None
    min: int = 0
    max: int | None = None  # None: any number
    types: tuple[AllowedType, ...] = ()
    fixed: Json = None
    pattern: Json = None
    min_value: Json = None
    max_value: Json = None
    max_length: int | None = None
    binding: Binding | None = None
    constraints: tuple[ProfileConstraint, ...] = ()
    must_support: bool = False
    same_as: str | None = None  # id of the element whose content this one has
    slicing: Slicing | None = None
    slices: dict[str, "Rule"] = field(default_factory=dict)
    children: dict[str, "Rule"] = field(default_factory=dict)

    def at(self, names: Sequence[str]) -> "Rule | None":
        """The rule of an element below, by names."""
        rule: Rule | None = self
        for name in names:
            rule = None if rule is None else rule.children.get(name)
        return rule

    def walk(self) -> Iterator["Rule"]:
        """This rule and all below."""
        yield self
        for below in (*self.children.values(), *self.slices.values()):
            yield from below.walk()

    def copied(self) -> "Rule":
        """A copy that shares nothing that changes."""
        return copy.deepcopy(self)
