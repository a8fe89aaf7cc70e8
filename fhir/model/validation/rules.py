"""Each type compiled into tables: property name → the rule for its value (FHIR R4 json.html).

A node is compiled when the first object of its kind is met; nodes refer to each other by identity, so types
that contain themselves (Extension, Reference) need no care. Rules report and go on: one walk finds every
mistake.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fhir.model.narrative import problems_of
from fhir.model.validation.bindings import in_value_set, is_coded_in
from fhir.model.validation.definitions import (
    PRIMITIVE,
    Element,
    TypeReference,
    resource_types,
    structure_of,
)
from fhir.model.validation.issue import IssueType
from fhir.model.validation.path import Path
from fhir.model.validation.primitives import FITS, Fits, is_string
from fhir.model.validation.references import checked_reference
from fhir.model.validation.report import Report

MAX_DEPTH = 64  # objects within objects, as many as the JSON reader lets through

Object = dict[str, Any]
Rule = Callable[[Any, Object, Path, Report], None]  # (value, the object it is in, that object's path, report)
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
    constraints: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # element → keys of its invariants

    def compiled(self) -> Mapping[str, Rule]:
        """The rules, compiled on first use."""
        if self.rules is None:
            elements = structure_of(self.type_name).elements.get(self.below, ())
            self.required = tuple(e.name for e in elements if e.min and not e.choice)
            self.choices = tuple(_choice(e) for e in elements if e.choice)
            self.constraints = {e.name: e.constraints for e in elements if e.constraints}
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
    return True


def check_resource(value: Any, path: Path, report: Report) -> None:
    """Walk a resource within a resource: contained, in a Bundle's entry or in Parameters."""
    type_name = value.get("resourceType") if type(value) is dict else None
    if type(type_name) is not str or type_name not in resource_types():
        report.error(IssueType.STRUCTURE, "A resource with a resourceType of FHIR R4 is required here.", path)
        return
    check_object(value, node_of(type_name), path, report)
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
            type_name, _, below = element.same_as.partition(".")
            rules.append((element.name, _object_rule(element, node_of(type_name, below), None)))
        for type_ in element.types:
            rules.extend(_rules_of_type(node, element, type_))
    return rules


def _rules_of_type(node: Node, element: Element, type_: TypeReference) -> list[tuple[str, Rule]]:
    name = _property(element, type_)
    below = f"{node.below}.{element.name}".lstrip(".")
    if below in structure_of(node.type_name).elements:
        return [(name, _object_rule(element, node_of(node.type_name, below), None))]
    if type_.code == "Resource":
        return [(name, _resource_rule(element))]
    if structure_of(type_.structure).kind == PRIMITIVE:
        return _primitive_rules(name, element, type_)
    return [(name, _object_rule(element, node_of(type_.structure), _check_of(element, type_)))]


def _check_of(element: Element, type_: TypeReference) -> Check | None:
    if type_.code == "Reference":
        return checked_reference(type_.targets)
    if type_.code == "Extension":
        return _check_extension
    if element.value_set and type_.code in ("CodeableConcept", "Coding"):
        return is_coded_in(element.value_set, type_.code)
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
            report.error(
                IssueType.STRUCTURE, "An array with at least one entry is required here.", path, name
            )
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
            report.error(
                IssueType.STRUCTURE, "An array with at least one entry is required here.", path, name
            )
            return
        for index, value in enumerate(values):
            check_resource(value, (path, name, index, path[3] + 1), report)

    return many if element.many else one


def _primitive_rules(name: str, element: Element, type_: TypeReference) -> list[tuple[str, Rule]]:
    fits, wrong, issue_type = FITS[type_.code], f"This is no {type_.code}.", IssueType.VALUE
    coded = (
        in_value_set(element.value_set)
        if element.value_set and type_.code in ("code", "string", "uri")
        else None
    )
    if coded is not None:
        fits, wrong, issue_type = coded, f"This code is not in {element.value_set}.", IssueType.CODE_INVALID
    if type_.code == "xhtml":
        return [(name, _narrative(name)), (f"_{name}", _primitive_element(name))]
    if element.many:
        return [(name, _primitives(name, fits, wrong, issue_type)), (f"_{name}", _primitives_elements(name))]
    # A choice is reported by its FHIRPath name, `value`, not by its property, `valueString`.
    return [
        (name, _primitive(element.name, fits, wrong, issue_type)),
        (f"_{name}", _primitive_element(element.name)),
    ]


def _primitive(name: str, fits: Fits, wrong: str, issue_type: IssueType) -> Rule:
    def rule(value: Any, _owner: Object, path: Path, report: Report) -> None:
        if not fits(value):
            report.error(issue_type, wrong, path, name)

    return rule


def _narrative(name: str) -> Rule:
    def rule(value: Any, _owner: Object, path: Path, report: Report) -> None:
        if not is_string(value):
            report.error(IssueType.VALUE, "This is no xhtml.", path, name)
            return
        for problem in problems_of(value):
            report.error(IssueType.INVARIANT, problem, path, name)

    return rule


def _primitives(name: str, fits: Fits, wrong: str, issue_type: IssueType) -> Rule:
    beside = f"_{name}"

    def rule(values: Any, owner: Object, path: Path, report: Report) -> None:
        if type(values) is not list or not values:
            report.error(
                IssueType.STRUCTURE, "An array with at least one entry is required here.", path, name
            )
            return
        for index, value in enumerate(values):
            if value is None:
                if not _has_entry(owner.get(beside), index):
                    report.error(
                        IssueType.STRUCTURE, "null stands only beside an extension.", path, name, index
                    )
            elif not fits(value):
                report.error(issue_type, wrong, path, name, index)

    return rule


def _has_entry(values: Any, index: int) -> bool:
    return type(values) is list and index < len(values) and values[index] is not None


def _primitive_element(name: str) -> Rule:
    node = node_of("Element")

    def rule(value: Any, _owner: Object, path: Path, report: Report) -> None:
        check_object(value, node, (path, name, None, path[3] + 1), report)

    return rule


def _primitives_elements(name: str) -> Rule:
    node = node_of("Element")

    def rule(values: Any, owner: Object, path: Path, report: Report) -> None:
        primitives = owner.get(name)
        if type(values) is not list or all(value is None for value in values):
            report.error(
                IssueType.STRUCTURE, "An array with at least one object is required here.", path, f"_{name}"
            )
            return
        if type(primitives) is list and len(primitives) != len(values):
            report.error(
                IssueType.STRUCTURE, "Both arrays of this element must be equally long.", path, f"_{name}"
            )
        for index, value in enumerate(values):
            if value is not None:
                check_object(value, node, (path, name, index, path[3] + 1), report)
            elif primitives is None:
                report.error(
                    IssueType.STRUCTURE, "An entry needs a value or an extension.", path, name, index
                )

    return rule
