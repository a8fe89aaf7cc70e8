"""From a StructureDefinition to a tree of rules (FHIR R4 profiling.html#snapshot).

A snapshot is read as it is. Where there is only a differential, it is laid over the base profile's tree; over
a type of R4 itself nothing needs to lie, for the walker checks that anyway.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fhir.model.profiles.rule import AllowedType, Binding, ProfileConstraint, Rule, Slicing
from fhir.model.validation.definitions import known_constraints
from fhir.model.validation.issue import InvalidResource, IssueType, error

Json = Any

CORE = "http://hl7.org/fhir/StructureDefinition/"
MAX_ELEMENTS = 10_000  # of one snapshot or differential
MAX_BASES = 20  # profiles upon profiles
_FHIR_TYPE = CORE + "structuredefinition-fhir-type"

# ElementDefinition's choices that hold a value, by what their properties begin with
_VALUES = {"fixed": "fixed", "pattern": "pattern", "minValue": "min_value", "maxValue": "max_value"}

Find = Callable[[str], Json | None]  # a StructureDefinition by its canonical URL


def compile_rules(definition: Json, find: Find, *, depth: int = 0) -> Rule:
    """The tree of a profile.

    Raises:
        InvalidResource: the definition has no elements, too many, or bases in a circle.
    """
    snapshot = definition.get("snapshot")
    elements = (snapshot or definition.get("differential") or {}).get("element", ())
    if not elements or len(elements) > MAX_ELEMENTS or depth > MAX_BASES:
        raise InvalidResource([error(IssueType.PROCESSING, "The profile cannot be compiled.")])
    root = Rule(definition["type"])
    if snapshot is None:
        base = find(definition.get("baseDefinition", ""))
        if base is not None and base.get("derivation") == "constraint":
            root = compile_rules(base, find, depth=depth + 1).copied()
    for element in elements:
        _apply(element, _place(root, _steps(element)))
    return root


def _steps(element: Json) -> Sequence[tuple[str, str | None]]:
    """The way to an element: (name without [x], name of the slice), the root left out."""
    named = str(element.get("id") or element["path"])
    steps = []
    for step in named.split(".")[1:]:
        name, _, slice_name = step.partition(":")
        steps.append((name.removesuffix("[x]"), slice_name or None))
    if steps and steps[-1][1] is None and element.get("sliceName") and not element.get("id"):
        steps[-1] = (steps[-1][0], str(element["sliceName"]))
    return steps


def _place(root: Rule, steps: Sequence[tuple[str, str | None]]) -> Rule:
    rule = root
    for name, slice_name in steps:
        if name not in rule.children:
            rule.children[name] = Rule(name)
        rule = rule.children[name]
        if slice_name is not None:
            if slice_name not in rule.slices:
                rule.slices[slice_name] = Rule(name, slice_name)
            rule = rule.slices[slice_name]
    return rule


def _apply(element: Json, rule: Rule) -> None:
    if "min" in element:
        rule.min = int(element["min"])
    if "max" in element:
        rule.max = None if element["max"] == "*" else int(element["max"])
    if "type" in element:
        rule.types = tuple(_type(each) for each in element["type"])
    for name, value in element.items():
        attribute = next((_VALUES[prefix] for prefix in _VALUES if name.startswith(prefix)), None)
        if attribute is not None:
            setattr(rule, attribute, value)
    rule.max_length = element.get("maxLength", rule.max_length)
    rule.must_support = element.get("mustSupport", rule.must_support)
    rule.same_as = element.get("contentReference", rule.same_as)
    binding = element.get("binding", {})
    if "valueSet" in binding:
        rule.binding = Binding(binding["strength"], binding["valueSet"])
    rule.constraints = (*rule.constraints, *_constraints(element, rule.constraints))
    if "slicing" in element:
        rule.slicing = _slicing(element["slicing"], rule.slicing)


def _type(stated: Json) -> AllowedType:
    code = str(stated["code"])
    if code.startswith("http://hl7.org/fhirpath/"):
        marks = (e for e in stated.get("extension", ()) if e.get("url") == _FHIR_TYPE)
        code = next((e.get("valueUrl") or e.get("valueUri") for e in marks), None) or "string"
    return AllowedType(code, tuple(stated.get("profile", ())), tuple(stated.get("targetProfile", ())))


def _constraints(element: Json, known: Sequence[ProfileConstraint]) -> Sequence[ProfileConstraint]:
    had = {constraint.key for constraint in known}
    return tuple(
        ProfileConstraint(c["key"], c["severity"], c["human"], c["expression"])
        for c in element.get("constraint", ())
        if "expression" in c and c["key"] not in had and c["key"] not in known_constraints()
    )


def _slicing(stated: Json, before: Slicing | None) -> Slicing:
    discriminators = tuple((d["type"], d["path"]) for d in stated.get("discriminator", ()))
    if not discriminators and before is not None:
        discriminators = before.discriminators
    return Slicing(discriminators, stated.get("ordered", False), stated["rules"])
