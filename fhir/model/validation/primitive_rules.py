"""Rules of primitive elements: values, what stands beside them, arrays of both (FHIR R4 json.html#primitive).

`element` is the rule of what stands beside: an Element, which the walker knows how to check.
"""

from collections.abc import Callable
from typing import Any

from fhir.model.narrative import problems_of
from fhir.model.validation.bindings import in_value_set
from fhir.model.validation.definitions import Element, TypeReference
from fhir.model.validation.invariants import check_primitive, invariants_at
from fhir.model.validation.issue import IssueType
from fhir.model.validation.path import Path
from fhir.model.validation.primitives import FITS, Fits, is_string
from fhir.model.validation.report import Report

Object = dict[str, Any]
Rule = Callable[[Any, Object, Path, Report], None]  # (value, the object it is in, that object's path, report)
CheckElement = Callable[[Any, Path, Report], bool]

ARRAY = "An array with at least one entry is required here."
ONLY_AN_ID = "An element has a value or children (ele-1)."
_CODED = ("code", "string", "uri")


def primitive_rules(
    name: str, element: Element, type_: TypeReference, check_element: CheckElement
) -> list[tuple[str, Rule]]:
    """The rules of a primitive's property and of the property with an underscore."""
    value_rule = _value_rule(name, element, type_)
    if element.many:
        return [(name, value_rule), (f"_{name}", _elements(name, check_element))]
    # A choice is reported by its FHIRPath name, `value`, not by its property, `valueString`.
    return [(name, value_rule), (f"_{name}", _element(element.name, name, check_element))]


def _value_rule(name: str, element: Element, type_: TypeReference) -> Rule:
    if type_.code == "xhtml":
        return _narrative(name)
    fits, wrong, issue_type = FITS[type_.code], f"This is no {type_.code}.", IssueType.VALUE
    bound = element.value_set if type_.code in _CODED else None
    coded = in_value_set(bound) if bound else None
    if coded is not None:
        fits, wrong, issue_type = coded, f"This code is not of {bound}.", IssueType.CODE_INVALID
    if element.many:
        return _primitives(name, fits, wrong, issue_type)
    rule = _primitive(element.name, fits, wrong, issue_type)
    invariants = invariants_at((type_.code, ""), element.constraints) if element.constraints else ()
    if not invariants:
        return rule

    def with_invariants(value: Any, owner: Object, path: Path, report: Report) -> None:
        rule(value, owner, path, report)
        check_primitive(invariants, value, (path, element.name, None, path[3]), report)

    return with_invariants


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
            report.error(IssueType.STRUCTURE, ARRAY, path, name)
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


def _element(name: str, property_: str, check_element: CheckElement) -> Rule:
    def rule(value: Any, owner: Object, path: Path, report: Report) -> None:
        here = (path, name, None, path[3] + 1)
        if check_element(value, here, report) and value.keys() == {"id"} and property_ not in owner:
            report.error(IssueType.INVARIANT, ONLY_AN_ID, here)

    return rule


def _elements(name: str, check_element: CheckElement) -> Rule:
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
                check_element(value, (path, name, index, path[3] + 1), report)
            elif primitives is None:
                report.error(
                    IssueType.STRUCTURE, "An entry needs a value or an extension.", path, name, index
                )

    return rule
