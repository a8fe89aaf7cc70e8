"""What an evaluation knows besides expression and input (FHIRPath N1 §9, FHIR R4 fhirpath.html#variables)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir.fhirpath.errors import EvaluationFailed, TooCostly
from fhir.fhirpath.items import UCUM, Collection, Item, Json
from fhir.fhirpath.temporal import Temporal

MAX_STEPS = 2_000_000  # elements looked at in one evaluation; a resource of the largest size has fewer

CONSTANTS: Mapping[str, str] = {
    "ucum": UCUM,
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_NAMED_BY_PREFIX = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}


@dataclass(slots=True)
class Budget:
    """What several evaluations, and those that they lead to, may take together."""

    left: int


@dataclass(frozen=True, slots=True)
class Context:
    """What the caller provides; all of it may be absent."""

    variables: Mapping[str, Any] = field(default_factory=dict)  # of %name; lists or single values
    resolve: Callable[[str], Json | None] | None = None  # the resource behind a reference
    stub_references: bool = False  # an unresolved `Type/id` is a resource of which no more is known
    member_of: Callable[[Item, str], bool | None] | None = None  # None: cannot be told
    conforms_to: Callable[[Item, str], bool | None] | None = None
    now: Temporal | None = None  # a dateTime with its zone
    steps: int = MAX_STEPS
    budget: Budget | None = None  # None: each evaluation has `steps` of its own


NOTHING_MORE = Context()


class Environment:
    """The state of one evaluation: what `$this` is now, and how much may still be done."""

    __slots__ = ("context", "focus", "index", "kept", "steps", "this", "total")

    def __init__(self, focus: Item | Any, context: Context) -> None:
        self.context = context
        self.focus = focus
        self.this: Collection = [focus]
        self.index = 0
        self.kept: dict[object, Collection] = {}  # what does not depend on `$this`, computed once
        self.total: Collection = []
        self.steps = context.steps

    def spend(self, steps: int) -> None:
        """Take steps off the budget.

        Raises:
            TooCostly: it is used up.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TooCostly(f"The expression takes more than {self.context.steps} steps.")

    def variable(self, name: str) -> Collection:
        """The value of `%name`.

        Raises:
            EvaluationFailed: nobody defined it.
        """
        if name in self.context.variables:
            value = self.context.variables[name]
            return value if type(value) is list else [value]
        if name in CONSTANTS:
            return [CONSTANTS[name]]
        for prefix, url in _NAMED_BY_PREFIX.items():
            if name.startswith(prefix):
                return [url + name.removeprefix(prefix)]
        found = _OF_FOCUS.get(name)
        if found is None:
            raise EvaluationFailed(f"The variable %{name} is not defined here.")
        return found(self.focus)


def _resource(focus: Any) -> Collection:
    found = focus.resource() if type(focus) is Item else None
    return [] if found is None else [found]


def root_resource(focus: Any) -> Collection:
    """The resource that a contained one is in; of any other, itself."""
    for found in _resource(focus):
        if found.child is not None and found.child.name == "contained":
            return _resource(found.owner)
        return [found]
    return []


_OF_FOCUS: Mapping[str, Callable[[Any], Collection]] = {
    "resource": _resource,
    "rootResource": root_resource,
    "context": lambda focus: [focus],
}
