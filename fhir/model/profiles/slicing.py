"""Which slice an element belongs to, by its discriminators (FHIR R4 profiling.html#discriminator)."""

from collections.abc import Callable
from typing import Any

from fhir.fhirpath import EvaluationFailed, InvalidExpression, Item, compile_expression
from fhir.fhirpath.environment import Context
from fhir.model.profiles.bindings import codings_of
from fhir.model.profiles.codes import Codes
from fhir.model.profiles.match import fits_pattern, is_fixed
from fhir.model.profiles.rule import Rule

Conforms = Callable[[Item, str], bool | None]  # to a profile by its URL

THIS = "$this"


class Slicer:
    """Assigns elements to slices, with what it needs to know of codes and profiles."""

    def __init__(self, codes: Codes, conforms: Conforms, context: Context) -> None:
        self._context = context
        self._codes = codes
        self._conforms = conforms

    def slice_of(self, item: Item, rule: Rule) -> Rule | None:
        """The slice that an element is in; None: in none. A slice of a slice wins over that."""
        if rule.slicing is None or not rule.slicing.discriminators:
            return None
        fitting = [each for each in rule.slices.values() if self._fits(item, each, rule)]
        return max(fitting, key=lambda each: (each.slice_name or "").count("/"), default=None)

    def _fits(self, item: Item, slice_: Rule, rule: Rule) -> bool:
        assert rule.slicing is not None
        return all(
            self._discriminates(kind, path, item, slice_) for kind, path in rule.slicing.discriminators
        )

    def _discriminates(self, kind: str, path: str, item: Item, slice_: Rule) -> bool:
        found = self._select(item, path)
        rules = _rules_at(slice_, path)
        if kind == "exists":
            wanted = any(rule.min > 0 for rule in rules)
            return bool(found) is wanted if rules else True
        if kind == "type":
            return any(self._is_of_type(each, rule) for each in found for rule in rules)
        if kind == "profile":
            return any(self._has_profile(each, rule) for each in found for rule in rules)
        if path == "url" and not rules:
            return _extension_url(slice_) in [each.value for each in found if isinstance(each, Item)]
        return bool(rules) and all(any(self._says(each, rule) for each in found) for rule in rules)

    def _is_of_type(self, item: Any, rule: Rule) -> bool:
        names = [each.code for each in rule.types] or _named_type(rule)
        return isinstance(item, Item) and (
            item.kind.name in names or any(name in item.kind.ancestors for name in names)
        )

    def _has_profile(self, item: Any, rule: Rule) -> bool:
        profiles = [url for each in rule.types for url in (*each.profiles, *each.targets)]
        return isinstance(item, Item) and any(self._conforms(item, url) is True for url in profiles)

    def _says(self, item: Any, rule: Rule) -> bool:
        """Whether an element says what the slice fixes, itself or below; if it fixes nothing, none does."""
        value = item.value if isinstance(item, Item) else item
        if rule.fixed is not None:
            return is_fixed(value, rule.fixed)
        if rule.pattern is not None:
            return fits_pattern(value, rule.pattern)
        if rule.binding is not None and rule.binding.strength == "required":
            return self._is_coded(value, rule.binding.value_set)
        below = [each for each in rule.children.values() if _fixes(each)]
        return bool(below) and isinstance(item, Item) and all(self._below_says(item, each) for each in below)

    def _below_says(self, item: Item, rule: Rule) -> bool:
        found = self._select(item, rule.name)
        wanted = list(rule.slices.values()) if rule.slices and not _fixes_itself(rule) else [rule]
        return all(
            any(self._says(each, one) for each in found) for one in wanted if one.min > 0 or one is rule
        )

    def _select(self, item: Item, path: str) -> list[Any]:
        if path == THIS:
            return [item]
        try:
            return compile_expression(path, trusted=False).evaluate(item, self._context)
        except (InvalidExpression, EvaluationFailed):
            return []

    def _is_coded(self, value: Any, value_set: str) -> bool:
        return any(self._codes.has(value_set, *coded) is True for coded in codings_of(value))


def _fixes_itself(rule: Rule) -> bool:
    return rule.fixed is not None or rule.pattern is not None


def _fixes(rule: Rule) -> bool:
    """Whether a slice fixes something at this element or below."""
    return _fixes_itself(rule) or any(_fixes_itself(each) for each in rule.walk())


def _rules_at(slice_: Rule, path: str) -> list[Rule]:
    """What the slice says at a discriminator's path; `resolve()` and `ofType` stay where they are."""
    names = [
        step.removesuffix("[x]")
        for step in path.split(".")
        if step not in (THIS, "resolve()") and not step.startswith("ofType(")
    ]
    rules = [slice_]
    for name in names:
        if name.startswith("extension("):
            url = name[len("extension(") :].strip("')\"")
            rules = [s for r in rules for s in _extension_slices(r) if _extension_url(s) == url]
        else:
            rules = [r.children[name] for r in rules if name in r.children]
    return rules


def _extension_slices(rule: Rule) -> list[Rule]:
    extension = rule.children.get("extension")
    return [] if extension is None else list(extension.slices.values())


def _extension_url(slice_: Rule) -> str | None:
    profiles = [url for each in slice_.types for url in each.profiles]
    fixed = slice_.at(["url"])
    if fixed is not None and isinstance(fixed.fixed, str):
        return fixed.fixed
    return profiles[0].partition("|")[0] if profiles else None


def _named_type(rule: Rule) -> list[str]:
    """`valueQuantity` names the type of a slice that states none."""
    suffix = (rule.slice_name or "").removeprefix(rule.name)
    return [suffix, suffix[:1].lower() + suffix[1:]] if suffix else []
