"""A search parameter's way through the JSON of a resource: the part of FHIRPath that nearly all of them use.

A path is written as JSON names joined by dots, each with at most one filter, and the datatype at its end:
`telecom[system=email]:ContactPoint`, `subject[is Patient]:Reference`, `valueQuantity:Quantity`. `$resource`
as the first name starts from the resource where a composite's component would start from its element.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = Any
Select = Callable[[Json, Json], list[Json]]  # (start, resource) -> the values at the path's end

FROM_RESOURCE = "$resource"
ITSELF = "$this"
_STEP = re.compile(
    r"(?P<name>[A-Za-z]\w*)"
    r"(\[((?P<key>\w+)=(?P<value>[^\]]*)|is (?P<type>[A-Za-z]+)|(?P<index>\d+))\])?"
)
_TYPE_OF_REFERENCE = re.compile(r"(?:^|/)(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[^/]+)?$")


@dataclass(frozen=True, slots=True)
class Step:
    """One name, and which of its values go on."""

    name: str
    key: str | None = None  # with `value`: where(key='value')
    value: str | None = None
    target: str | None = None  # where(resolve() is target)
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the resource, or from the element of a composite, to values of one datatype."""

    steps: tuple[Step, ...]
    type: str
    from_resource: bool = False

    def __str__(self) -> str:
        names = [FROM_RESOURCE] if self.from_resource else []
        names += [_step_text(step) for step in self.steps]
        return f"{'.'.join(names) or ITSELF}:{self.type}"


def parse_path(text: str) -> Path:
    """The path that `str(path)` wrote."""
    way, _, datatype = text.rpartition(":")
    from_resource = way.startswith(FROM_RESOURCE)
    way = way.removeprefix(FROM_RESOURCE).removeprefix(ITSELF)
    steps = [
        Step(m["name"], m["key"], m["value"], m["type"], int(m["index"]) if m["index"] else None)
        for m in _STEP.finditer(way)
    ]
    return Path(tuple(steps), datatype, from_resource)


def compile_path(path: Path) -> Select:
    """A function that takes the values at the path's end out of a resource."""
    if len(path.steps) == 1 and not path.from_resource and _compile_filter(path.steps[0]) is None:
        return _compile_name(path.steps[0].name)
    steps = [(step.name, _compile_filter(step)) for step in path.steps]
    from_resource = path.from_resource

    def select(start: Json, resource: Json) -> list[Json]:
        nodes = [resource if from_resource else start]
        for name, keep in steps:
            below: list[Json] = []
            for node in nodes:
                child = node.get(name) if type(node) is dict else None
                if type(child) is list:
                    below += child
                elif child is not None:
                    below.append(child)
            nodes = keep(below) if keep else below
            if not nodes:
                break
        return [node for node in nodes if node is not None]

    return select


def _compile_name(name: str) -> Select:
    """One element without a filter, as most parameters are."""

    def select(start: Json, _resource: Json) -> list[Json]:
        child = start.get(name) if type(start) is dict else None
        if type(child) is not list:
            return [] if child is None else [child]
        return [node for node in child if node is not None] if None in child else child

    return select


def type_of_reference(reference: Json) -> str | None:
    """The resource type that a Reference states, literally or in `type`; None: it states none."""
    if not isinstance(reference, dict):
        return None
    literal = reference.get("reference")
    if isinstance(literal, str) and (found := _TYPE_OF_REFERENCE.search(literal)):
        return found["type"]
    stated = reference.get("type")
    return stated if isinstance(stated, str) else None


def _compile_filter(step: Step) -> Callable[[list[Json]], list[Json]] | None:
    if step.target is not None:
        return lambda nodes: [n for n in nodes if type_of_reference(n) == step.target]
    if step.key is not None:
        key, value = step.key, step.value
        return lambda nodes: [n for n in nodes if type(n) is dict and n.get(key) == value]
    if step.index is not None:
        index = step.index
        return lambda nodes: nodes[index : index + 1]
    return None


def _step_text(step: Step) -> str:
    if step.target is not None:
        return f"{step.name}[is {step.target}]"
    if step.key is not None:
        return f"{step.name}[{step.key}={step.value}]"
    return step.name if step.index is None else f"{step.name}[{step.index}]"
