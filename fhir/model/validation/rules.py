"""Each type compiled into tables: property name → the rule for its value (FHIR R4 json.html).

A node is compiled when the first object of its kind is met; nodes refer to each other by identity, so types
that contain themselves (Extension, Reference) need no care. Rules report and go on: one walk finds every
mistake.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir.model.validation.bindings import is_coded_in, should_be_coded_in
from fhir.model.validation.definitions import (
    PRIMITIVE,
    Element,
    TypeReference,
    resource_types,
    structure_of,
)
from fhir.model.validation.invariants import Invariant, check_invariants, invariants_at
from fhir.model.validation.issue import IssueType
from fhir.model.validation.path import Path
from fhir.model.validation.primitive_rules import ARRAY, ONLY_AN_ID, Rule, primitive_rules
from fhir.model.validation.references import checked_reference
from fhir.model.validation.report import Report, Within

MAX_DEPTH = 64  # objects within objects, as many as the JSON reader lets through

Object = dict[str, Any]
Check = Callable[[Object, Path, Report], None]  # of one object that has passed its node


@dataclass(frozen=True, slots=True)
class Choice:
    """The properties of one `value[x]`: at most one may be there, and one must if `required`."""

    name: str
    properties: frozenset[str]
    required: bool


@dataclass(slots=True, eq=False)
class Node:
    """The compiled rules of one kind of object."""

    type_name: str
    below: str  # path of a backbone element within the type; "" for the type itself
    rules: Mapping[str, Rule] | None = None  # None: not compiled yet
    required: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    invariants: tuple[Invariant, ...] = ()  # of the type itself; those of an element are its rule's
    needs_content: bool = True  # an id is not enough (ele-1): neither a resource nor beside a primitive

    def compiled(self) -> Mapping[str, Rule]:
        """The rules, compiled on first use."""
        if self.rules is None:
            elements = structure_of(self.type_name).elements.get(self.below, ())
            self.required = tuple(e.name for e in elements if e.min and not e.choice)
            self.choices = tuple(_choice(e) for e in elements if e.choice)
            if not self.below:
                self.needs_content = self.type_name not in resource_types() | {"Element"}
                keys = structure_of(self.type_name).constraints
                self.invariants = invariants_at((self.type_name, ""), keys)
            self.rules = dict(_rules(self, elements))
        return self.rules


@cache
def node_of(type_name: str, below: str = "") -> Node:
    """The one node of a type, or of a backbone element in it."""
    return Node(type_name, below)


def check_object(value: Any, node: Node, path: Path, report: Report) -> bool:
    """Walk one object; returns whether it is one."""
    if type(value) is not dict:
        report.error(IssueType.STRUCTURE, "An object is required here.", path)
        return False
    if not value:
        report.error(IssueType.STRUCTURE, "An object must not be empty.", path)
    if path[3] > MAX_DEPTH:
        report.error(IssueType.TOO_COSTLY, f"Nested deeper than {MAX_DEPTH} objects.", path)
        return False
    _check_elements(value, node, path, report)
    if len(value) == 1 and "id" in value and node.needs_content:
        report.error(IssueType.INVARIANT, ONLY_AN_ID, path)
    if node.invariants:
        check_invariants(node.invariants, value, path, report)
    return True


def _check_elements(value: Object, node: Node, path: Path, report: Report) -> None:
    rules = node.rules or node.compiled()
    for name, child in value.items():
        rule = rules.get(name)
        if rule is None:
            report.error(IssueType.STRUCTURE, f"{node.type_name} has no such element here.", path, name)
        else:
            rule(child, value, path, report)
    for name in node.required:
        if name not in value and f"_{name}" not in value:
            report.error(IssueType.REQUIRED, "This element is required.", path, name)
    for choice in node.choices:
        _check_choice(choice, value, path, report)


def check_resource(value: Any, path: Path, report: Report) -> None:
    """Walk a resource within a resource: contained, in a Bundle's entry or in Parameters."""
    type_name = value.get("resourceType") if type(value) is dict else None
    if type(type_name) is not str or type_name not in resource_types():
        report.error(IssueType.STRUCTURE, "A resource with a resourceType of FHIR R4 is required here.", path)
        return
    around = report.within
    report.within = Within(value, path[1], around)
    check_object(value, node_of(type_name), path, report)
    report.within = around
    if path[1] == "contained" and "contained" in value:
        report.error(IssueType.STRUCTURE, "A contained resource must not contain another (dom-2).", path)


def _check_choice(choice: Choice, value: Object, path: Path, report: Report) -> None:
    # Primitive `valueString` and `_valueString` are one element.
    present = {name.lstrip("_") for name in choice.properties.intersection(value)}
    if len(present) > 1:
        report.error(IssueType.STRUCTURE, "Only one type of this element may be there.", path, choice.name)
    elif choice.required and not present:
        report.error(IssueType.REQUIRED, "This element is required.", path, choice.name)


def _choice(element: Element) -> Choice:
    names = [_property(element, t) for t in element.types]
    return Choice(element.name, frozenset([*names, *(f"_{name}" for name in names)]), element.min > 0)


def _property(element: Element, type_: TypeReference) -> str:
    return f"{element.name}{type_.code[0].upper()}{type_.code[1:]}" if element.choice else element.name


def _rules(node: Node, elements: tuple[Element, ...]) -> list[tuple[str, Rule]]:
    rules: list[tuple[str, Rule]] = []
    if not node.below and node.type_name in resource_types():
        rules.append(("resourceType", _already_checked))
    for element in elements:
        if element.same_as is not None:
            rules.append((element.name, _referred_rule(element, element.same_as)))
        for type_ in element.types:
            rules.extend(_rules_of_type(node, element, type_))
    return rules


def _referred_rule(element: Element, same_as: str) -> Rule:
    """The rule of an element whose content another one defines, invariants included."""
    type_name, _, below = same_as.partition(".")
    parent, _, name = below.rpartition(".")
    defined = next(e for e in structure_of(type_name).elements[parent] if e.name == name)
    return _object_rule(element, node_of(type_name, below), _invariants_of(defined, (type_name, below)))


def _check_element(value: Any, path: Path, report: Report) -> bool:
    """What stands beside a primitive value."""
    return check_object(value, node_of("Element"), path, report)


def _rules_of_type(node: Node, element: Element, type_: TypeReference) -> list[tuple[str, Rule]]:
    name = _property(element, type_)
    below = f"{node.below}.{element.name}".lstrip(".")
    if below in structure_of(node.type_name).elements:
        check = _invariants_of(element, (node.type_name, below))
        return [(name, _object_rule(element, node_of(node.type_name, below), check))]
    if type_.code == "Resource":
        return [(name, _resource_rule(element))]
    if structure_of(type_.structure).kind == PRIMITIVE:
        return primitive_rules(name, element, type_, _check_element)
    checks = (_check_of(element, type_), _invariants_of(element, (type_.structure, "")))
    return [(name, _object_rule(element, node_of(type_.structure), _both(*checks)))]


def _both(one: Check | None, other: Check | None) -> Check | None:
    if one is None or other is None:
        return one or other

    def check(value: Object, path: Path, report: Report) -> None:
        one(value, path, report)
        other(value, path, report)

    return check


def _invariants_of(element: Element, place: tuple[str, str]) -> Check | None:
    """The invariants that an element adds to those of its type."""
    invariants = invariants_at(place, element.constraints) if element.constraints else ()
    if not invariants:
        return None

    def check(value: Object, path: Path, report: Report) -> None:
        check_invariants(invariants, value, path, report)

    return check


def _check_of(element: Element, type_: TypeReference) -> Check | None:
    if type_.code == "Reference":
        return checked_reference(type_.targets)
    if type_.code == "Extension":
        return _check_extension
    if type_.code in ("CodeableConcept", "Coding"):
        if element.value_set:
            return is_coded_in(element.value_set, type_.code)
        return should_be_coded_in(element.extensible) if element.extensible else None
    return None


def _check_extension(extension: Object, path: Path, report: Report) -> None:
    has_value = any(name.startswith(("value", "_value")) for name in extension)
    if has_value == ("extension" in extension):
        report.error(IssueType.INVARIANT, "An extension has either a value or extensions (ext-1).", path)


def _already_checked(_value: Any, _owner: Object, _path: Path, _report: Report) -> None:
    """`resourceType` chose the node."""


def _object_rule(element: Element, node: Node, check: Check | None) -> Rule:
    name = element.name

    def one(value: Any, _owner: Object, path: Path, report: Report) -> None:
        here = (path, name, None, path[3] + 1)
        if check_object(value, node, here, report) and check is not None:
            check(value, here, report)

    def many(values: Any, _owner: Object, path: Path, report: Report) -> None:
        if type(values) is not list or not values:
            report.error(IssueType.STRUCTURE, ARRAY, path, name)
            return
        for index, value in enumerate(values):
            here = (path, name, index, path[3] + 1)
            if check_object(value, node, here, report) and check is not None:
                check(value, here, report)

    return many if element.many else one


def _resource_rule(element: Element) -> Rule:
    name = element.name

    def one(value: Any, _owner: Object, path: Path, report: Report) -> None:
        check_resource(value, (path, name, None, path[3] + 1), report)

    def many(values: Any, _owner: Object, path: Path, report: Report) -> None:
        if type(values) is not list or not values:
            report.error(IssueType.STRUCTURE, ARRAY, path, name)
            return
        for index, value in enumerate(values):
            check_resource(value, (path, name, index, path[3] + 1), report)

    return many if element.many else one
