"""What a collection holds: elements of a resource with their kind and place, and plain System values.

System values are Python's `bool`, `int`, `Decimal` and `str`, `Temporal` and `Quantity`. A collection is a
list that nobody changes.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from fhir.fhirpath.kinds import Child, Kind, kind_of
from fhir.fhirpath.quantity import Quantity
from fhir.fhirpath.temporal import Temporal, read_temporal
from fhir.model.validation.definitions import resource_types

Json = Any
System = bool | int | Decimal | str | Temporal | Quantity

UCUM = "http://unitsofmeasure.org"


class Item:
    """An element: its JSON value, of a primitive also the object of its `_name`, its kind, where it is."""

    __slots__ = ("child", "extra", "index", "kind", "owner", "value")

    def __init__(  # noqa: PLR0913, PLR0917  made for each element that is looked at
        self,
        value: Json,
        kind: Kind,
        extra: Json = None,
        owner: "Item | None" = None,
        child: Child | None = None,
        index: int | None = None,
    ) -> None:
        self.value = value  # None: a primitive of which only extensions are there
        self.kind = kind
        self.extra = extra
        self.owner = owner
        self.child = child  # None: the root
        self.index = index  # in its array; None: it is in none

    def __repr__(self) -> str:
        return f"Item({self.path()})"

    def path(self) -> str:
        """The FHIRPath of its place: `Patient.name[0].given[1]`."""
        steps = []
        item = self
        while item.owner is not None and item.child is not None:
            steps.append(item.child.name if item.index is None else f"{item.child.name}[{item.index}]")
            item = item.owner
        return ".".join([item.kind.name, *reversed(steps)])

    def resource(self) -> "Item | None":
        """The nearest resource that it is in, or itself."""
        item: Item | None = self
        while item is not None and not item.kind.is_resource:
            item = item.owner
        return item

    def root(self) -> "Item":
        """The outermost element above it, or itself."""
        item = self
        while item.owner is not None:
            item = item.owner
        return item


Collection = list[Any]  # of Item and System


def resource_item(resource: Json, owner: Item | None = None) -> Item:
    """A resource as the start of an evaluation."""
    return Item(resource, resource_kind(resource), None, owner)


def resource_kind(resource: Json) -> Kind:
    """The kind that `resourceType` says; of what names none, that of any resource."""
    name = resource.get("resourceType") if type(resource) is dict else None
    return kind_of(name if type(name) is str and name in resource_types() else "Resource")


def element_of(item: Item) -> Json:
    """The object whose members are the children: the value, or what stands beside a primitive."""
    return item.extra if item.kind.is_primitive else item.value


def members(item: Item, child: Child) -> Iterator[Item]:
    """The elements of one child of an item, in order."""
    owner = element_of(item)
    if type(owner) is not dict:
        return
    value = owner.get(child.property)
    if child.is_resource:
        yield from _resources(item, child, value)
        return
    kind = kind_of(child.type_name, child.below)
    if kind.is_primitive:
        yield from _primitives((item, child, kind), value, owner.get(f"_{child.property}"))
    elif type(value) is list:
        for index, each in enumerate(value):
            yield Item(each, kind, None, item, child, index)
    elif value is not None:
        yield Item(value, kind, None, item, child, None)


def children_of(item: Item) -> Iterator[Item]:
    """All children, in the order of the JSON."""
    owner = element_of(item)
    if type(owner) is not dict:
        return
    table = item.kind.children
    for name in owner:
        child = table.get(name)
        if child is None and name.startswith("_") and name[1:] not in owner:
            child = table.get(name[1:])
        if child is not None:
            yield from members(item, child)


def _resources(item: Item, child: Child, value: Json) -> Iterator[Item]:
    if type(value) is list:
        for index, each in enumerate(value):
            yield Item(each, resource_kind(each), None, item, child, index)
    elif value is not None:
        yield Item(value, resource_kind(value), None, item, child, None)


def _primitives(at: tuple[Item, Child, Kind], value: Json, beside: Json) -> Iterator[Item]:
    item, child, kind = at
    if type(value) is list or type(beside) is list:
        values = value if type(value) is list else []
        extras = beside if type(beside) is list else []
        for index in range(max(len(values), len(extras))):
            each = values[index] if index < len(values) else None
            extra = extras[index] if index < len(extras) else None
            if each is not None or extra is not None:
                yield Item(each, kind, extra, item, child, index)
    elif value is not None or beside is not None:
        yield Item(value, kind, beside, item, child, None)


def system_value(value: Any) -> Any:
    """An item as a System value where it converts to one; None: a primitive without a value; else itself."""
    if type(value) is not Item:
        return value
    system = value.kind.system
    if system is None:
        return value
    raw = value.value
    if system == "Quantity":
        return _quantity(value)
    if type(raw) is str and system in ("Date", "DateTime", "Time"):
        return read_temporal(raw, is_time=system == "Time") or raw
    if type(raw) is dict or type(raw) is list:
        return value  # malformed: nothing converts
    return raw


def _quantity(item: Item) -> Any:
    raw = item.value
    number = raw.get("value") if type(raw) is dict else None
    if type(number) is int:
        number = Decimal(number)
    if type(number) is not Decimal or raw.get("comparator") is not None:
        return item
    code, system = raw.get("code"), raw.get("system")
    if type(code) is str and type(system) is str:
        return Quantity(number, code, None if system == UCUM else system)
    unit = raw.get("unit")
    return Quantity(number, unit if type(unit) is str else "1", "" if type(unit) is str else None)
