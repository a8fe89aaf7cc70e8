"""FHIRPath Patch (FHIR R4 fhirpatch.html): a Parameters resource of operations on places named by FHIRPath.

Every operation sees what those before it left. A path may use all of FHIRPath, within `MAX_STEPS`.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fhir.fhirpath import EvaluationFailed, Expression, InvalidExpression, Item, compile_expression
from fhir.fhirpath.environment import Context
from fhir.fhirpath.items import element_of
from fhir.fhirpath.kinds import Child, Kind, kind_of
from fhir.model.json_codec import Json
from fhir.model.validation.definitions import structure_of
from fhir.patching.faults import InvalidPatch, PatchFailed

MAX_OPERATIONS = 100  # of one patch; each evaluates an expression
MAX_STEPS = 20_000  # of one evaluation, while the resource is held

_CONTEXT = Context(steps=MAX_STEPS)
_OPERATION = "operation"


@dataclass(frozen=True, slots=True)
class Value:
    """What is put somewhere: the part that states it, by a `value[x]` or by parts of its own."""

    part: Json


@dataclass(frozen=True, slots=True)
class Change:
    """One operation; what its type does not take is None."""

    at: int  # its number, for what is said of it
    type: str
    path: Expression
    name: str | None = None
    value: Value | None = None
    index: int | None = None
    source: int | None = None
    destination: int | None = None


def read_fhirpath_patch(parameters: Json) -> tuple[Change, ...]:
    """The operations of a valid Parameters resource.

    Raises:
        InvalidPatch: it is no patch.
    """
    if parameters.get("resourceType") != "Parameters":
        raise InvalidPatch("A FHIRPath Patch is a Parameters resource.")
    operations = parameters.get("parameter", ())
    if len(operations) > MAX_OPERATIONS:
        raise InvalidPatch(f"A patch has at most {MAX_OPERATIONS} operations.")
    return tuple(_read_change(at, operation) for at, operation in enumerate(operations))


def apply_fhirpath_patch(changes: Sequence[Change], resource: Json) -> Json:
    """A copy of the resource with all operations applied in order; all or none.

    Raises:
        PatchFailed: one does not fit the resource.
    """
    patched = deepcopy(resource)
    for change in changes:
        try:
            found = change.path.evaluate(patched, _CONTEXT)
        except EvaluationFailed:
            raise _failed(change, "its path cannot be evaluated") from None
        if not all(type(item) is Item for item in found):
            raise _failed(change, "its path leads to no element")
        _APPLY[change.type](change, found)
    return patched


def _read_change(at: int, operation: Json) -> Change:
    parts = {part["name"]: part for part in operation.get("part", ())}
    kind = _value_of(parts.get("type"))
    if operation["name"] != _OPERATION or not isinstance(kind, str) or kind not in _NEEDED:
        raise InvalidPatch(f"Parameter {at} is no operation of a type among {', '.join(_NEEDED)}.")
    missing = {"path", *_NEEDED[kind]} - parts.keys()
    if missing:
        raise InvalidPatch(f"Operation {at} ({kind}) has no {', '.join(sorted(missing))}.")
    path = _value_of(parts["path"])
    try:
        expression = compile_expression(path if isinstance(path, str) else "", trusted=False)
    except InvalidExpression:
        raise InvalidPatch(f"The path of operation {at} ({kind}) is no FHIRPath.") from None
    numbers = {name: _number(at, parts[name]) for name in _NUMBERS & parts.keys()}
    name = _value_of(parts.get("name"))
    value = Value(parts["value"]) if "value" in parts else None
    return Change(at, kind, expression, name, value, **numbers)


def _number(at: int, part: Json) -> int:
    value = _value_of(part)
    if type(value) is not int or value < 0:
        raise InvalidPatch(f"Operation {at} has a place that is no whole number of zero or more.")
    return value


def _value_of(part: Json | None) -> Json:
    if part is None:
        return None
    return next((value for name, value in part.items() if name.startswith("value")), None)


def _add(change: Change, found: Sequence[Item]) -> None:
    item = _only(change, found)
    owner, child = element_of(item), _child_named(change, item.kind)
    if type(owner) is not dict or child is None:
        raise _failed(change, "there is no such element")
    if _is_repeated(item, child):
        owner.setdefault(child.property, []).append(_built(change, child))
    elif any(each.property in owner for each in item.kind.by_name[child.name]):
        raise _failed(change, "the element is there already")
    else:
        owner[child.property] = _built(change, child)


def _insert(change: Change, found: Sequence[Item]) -> None:
    values, item = _list_of(change, found)
    if change.index is None or change.index > len(values):
        raise _failed(change, "its index is beyond the end")
    assert item.child is not None
    values.insert(change.index, _built(change, item.child))
    _keep_aligned(item, lambda beside: beside.insert(change.index or 0, None))


def _delete(change: Change, found: Sequence[Item]) -> None:
    if not found:  # fhirpatch.html: nothing to delete is no failure
        return
    item = _only(change, found)
    owner, child = _place(change, item)
    if item.index is None:
        owner.pop(child.property, None)
        owner.pop(f"_{child.property}", None)
        return
    for name in (child.property, f"_{child.property}"):
        values = owner.get(name)
        if type(values) is list and item.index < len(values):
            del values[item.index]
            if not values or all(value is None for value in values):
                del owner[name]


def _replace(change: Change, found: Sequence[Item]) -> None:
    item = _only(change, found)
    owner, child = _place(change, item)
    target = _retyped(change, item, child)
    value = _built(change, target)
    if item.index is not None:
        owner[child.property][item.index] = value
        _keep_aligned(item, lambda beside: beside.__setitem__(item.index or 0, None))
        return
    owner.pop(f"_{child.property}", None)
    if target.property != child.property:
        del owner[child.property]
    owner[target.property] = value


def _move(change: Change, found: Sequence[Item]) -> None:
    values, item = _list_of(change, found)
    source, destination = change.source, change.destination
    if source is None or destination is None or max(source, destination) >= len(values):
        raise _failed(change, "its source or destination is beyond the end")
    values.insert(destination, values.pop(source))
    _keep_aligned(item, lambda beside: beside.insert(destination, beside.pop(source)))


def _only(change: Change, found: Sequence[Item]) -> Item:
    if len(found) != 1:
        raise _failed(change, f"its path leads to {len(found)} elements instead of one")
    return found[0]


def _place(change: Change, item: Item) -> tuple[dict[str, Any], Child]:
    """The object that an element is in, and which of its elements it is."""
    if item.owner is None or item.child is None:
        raise _failed(change, "its path leads to the resource itself")
    owner: dict[str, Any] = element_of(item.owner)
    return owner, item.child


def _list_of(change: Change, found: Sequence[Item]) -> tuple[list[Any], Item]:
    """The array that all that was found are entries of, and one of them."""
    places = {(id(item.owner), item.child) for item in found if item.index is not None}
    if len(places) != 1 or any(item.index is None for item in found):
        raise _failed(change, "its path leads to no list")
    owner, child = _place(change, found[0])
    values = owner.get(child.property)
    if type(values) is not list or len(values) != len(found):
        raise _failed(change, "its path leads to a part of a list")
    return values, found[0]


def _keep_aligned(item: Item, change: Callable[[list[Any]], object]) -> None:
    """Do the same to the array beside one of primitives, which holds their extensions."""
    if item.owner is not None and item.child is not None:
        beside = element_of(item.owner).get(f"_{item.child.property}")
        if type(beside) is list and (item.index or 0) < len(beside):
            change(beside)


def _child_named(change: Change, kind: Kind) -> Child | None:
    """The element of a kind that `name` and the type of the value mean."""
    candidates = kind.by_name.get(change.name or "", ())
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    return _of_type(candidates, change)


def _retyped(change: Change, item: Item, child: Child) -> Child:
    """The element itself, or of a choice the one that has the type of the value."""
    assert item.owner is not None
    candidates = item.owner.kind.by_name[child.name]
    return child if len(candidates) == 1 else _of_type(candidates, change) or child


def _of_type(candidates: Sequence[Child], change: Change) -> Child | None:
    stated = _stated_property(change.value)
    suffix = stated.removeprefix("value") if stated else None
    return next((each for each in candidates if each.property == f"{each.name}{suffix}"), None)


def _stated_property(value: Value | None) -> str | None:
    part = {} if value is None else value.part
    return next((name for name in part if name.startswith("value")), None)


def _is_repeated(item: Item, child: Child) -> bool:
    elements = structure_of(_type_and_path(item)[0]).elements.get(_type_and_path(item)[1], ())
    return any(element.name == child.name and element.many for element in elements)


def _type_and_path(item: Item) -> tuple[str, str]:
    """The structure that defines an item's children, and where in it."""
    child = item.child
    if child is None or child.is_resource:
        return item.kind.name, ""
    return child.type_name, child.below


def _built(change: Change, child: Child) -> Json:
    """The value as JSON of this element."""
    assert change.value is not None
    part = change.value.part
    if (stated := _stated_property(change.value)) is not None:
        return deepcopy(part[stated])
    if "resource" in part:
        return deepcopy(part["resource"])
    kind = kind_of(child.type_name, child.below)
    return _assembled(change, (child, kind), part.get("part", ()))


def _assembled(change: Change, of: tuple[Child, Kind], parts: Sequence[Json]) -> Json:
    """An element without a type of its own, from the parts that name its elements."""
    child, kind = of
    item = Item({}, kind, None, Item({}, kind), child)
    for part in parts:
        inner = Change(change.at, change.type, change.path, part["name"], Value(part))
        _add(inner, [item])
    if not item.value:
        raise _failed(change, "its value has neither a value nor parts")
    return item.value


def _failed(change: Change, why: str) -> PatchFailed:
    return PatchFailed(f"Operation {change.at} ({change.type}) does not fit: {why}.")


_NUMBERS = frozenset({"index", "source", "destination"})
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "add": ("name", "value"),
    "insert": ("value", "index"),
    "delete": (),
    "replace": ("value",),
    "move": ("source", "destination"),
}
_APPLY: Mapping[str, Callable[[Change, Sequence[Item]], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
