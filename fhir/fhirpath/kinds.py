"""What FHIRPath must know of R4's types: the children of each kind of element, and which type is which.

A kind is made when the first element of it is met; kinds refer to each other by name, so types that contain
themselves need no care.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from fhir.model.validation.definitions import (
    PRIMITIVE,
    Element,
    TypeReference,
    resource_types,
    structure_of,
)

# FHIR's primitive types by the System type that they convert to (FHIR R4 fhirpath.html#types)
SYSTEM_TYPE_OF: Mapping[str, str] = {
    "boolean": "Boolean",
    "decimal": "Decimal",
    "date": "Date",
    "dateTime": "DateTime",
    "instant": "DateTime",
    "time": "Time",
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), "Integer"),
}
QUANTITIES = frozenset(
    {"Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration", "MoneyQuantity"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """One element of a kind in one of its types: `valueQuantity` of `value`."""

    name: str  # as FHIRPath says it
    property: str  # as JSON says it
    type_name: str
    below: str  # of a backbone element: its path within the type; "" else
    is_resource: bool = False  # any resource: its own resourceType says the kind


@dataclass(slots=True, eq=False)
class Kind:
    """One kind of element: a type, or a backbone element within a type."""

    name: str  # of its type: "Patient", "HumanName", "code", "BackboneElement"
    children: Mapping[str, Child] = field(default_factory=dict)  # by JSON property
    by_name: Mapping[str, tuple[Child, ...]] = field(default_factory=dict)
    ancestors: frozenset[str] = frozenset()  # its own name and those of the types it specialises
    is_primitive: bool = False
    system: str | None = None  # the System type that a primitive, or a Quantity, converts to
    is_resource: bool = False


@cache
def kind_of(type_name: str, below: str = "") -> Kind:
    """The kind of a type of R4, or of a backbone element in it."""
    structure = structure_of(type_name)
    elements = structure.elements.get(below, ())
    children = [child for element in elements for child in _children(type_name, below, element)]
    by_name: dict[str, tuple[Child, ...]] = {}
    for child in children:
        by_name[child.name] = (*by_name.get(child.name, ()), child)
    is_primitive = not below and structure.kind == PRIMITIVE
    name = type_name if not below else _backbone(type_name, below)
    return Kind(
        name,
        {child.property: child for child in children},
        by_name,
        _ancestors(name),
        is_primitive,
        _system(name, is_primitive=is_primitive),
        not below and type_name in resource_types(),
    )


@cache
def is_known(type_name: str) -> bool:
    """Whether R4 has such a type."""
    try:
        structure_of(type_name)
    except KeyError:
        return False
    return True


def _children(type_name: str, below: str, element: Element) -> list[Child]:
    if element.same_as is not None:
        owner, _, path = element.same_as.partition(".")
        return [Child(element.name, element.name, owner, path)]
    return [_child(type_name, below, element, type_) for type_ in element.types]


def _child(type_name: str, below: str, element: Element, type_: TypeReference) -> Child:
    suffix = f"{type_.code[0].upper()}{type_.code[1:]}" if element.choice else ""
    path = f"{below}.{element.name}".lstrip(".")
    if path in structure_of(type_name).elements:
        return Child(element.name, element.name, type_name, path)
    return Child(element.name, element.name + suffix, type_.code, "", is_resource=type_.code == "Resource")


def _backbone(type_name: str, below: str) -> str:
    parent, _, name = below.rpartition(".")
    for element in structure_of(type_name).elements.get(parent, ()):
        if element.name == name and element.types:
            return element.types[0].code
    return "BackboneElement"


def _ancestors(name: str) -> frozenset[str]:
    found: set[str] = set()
    at: str | None = name
    while at is not None and is_known(at):
        found.add(at)
        at = structure_of(at).base
    return frozenset(found | {name})


def _system(name: str, *, is_primitive: bool) -> str | None:
    if is_primitive:
        return SYSTEM_TYPE_OF.get(name, "String")
    return "Quantity" if name in QUANTITIES else None
