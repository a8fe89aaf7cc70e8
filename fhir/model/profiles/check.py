"""A resource held to the profiles that it claims, or that somebody names (FHIR R4 profiling.html).

R4 itself is the walker's business; here is what profiles add: cardinality, types, fixed values and patterns,
ranges, lengths, bindings, constraints, slices, extensions, targets of references. What cannot be told, such
as codes of a value set by filter, is not refused.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir.fhirpath import EvaluationFailed, InvalidExpression, Item, compile_expression
from fhir.fhirpath.environment import Budget, Context
from fhir.fhirpath.equality import compare
from fhir.fhirpath.items import members, resource_item
from fhir.model.profiles.bindings import check_binding, codings_of
from fhir.model.profiles.findings import Findings
from fhir.model.profiles.library import Library
from fhir.model.profiles.match import fits_pattern, is_fixed
from fhir.model.profiles.references import check_targets
from fhir.model.profiles.rule import ProfileConstraint, Rule
from fhir.model.profiles.slicing import Slicer
from fhir.model.validation.issue import Issue, IssueType, Severity, error

Json = Any

MAX_DEPTH = 20  # profiles that lead to resources with profiles
MAX_STEPS = 2_000_000  # of a check and all that it leads to: steps of expressions, and elements looked at
_STEPS_OF_ELEMENT = 5


def check_profiles(resource: Json, profiles: Iterable[str], library: Library) -> Sequence[Issue]:
    """What is to say of a valid resource and these profiles, by URL; an unknown one is a warning."""
    checker = Checker(library)
    item = resource_item(resource)
    for url in dict.fromkeys(profiles):
        if library.profile(url) is None:
            text = "A profile is not known here, so nothing is checked against it."
            checker.findings.add(Severity.WARNING, IssueType.NOT_FOUND, text, f"{item.path()}.meta.profile")
        else:
            checker.check_profile(item, url)
    if checker.is_spent:
        text = "The profiles ask for more work than is done here, so not everything was checked."
        return [error(IssueType.TOO_COSTLY, text, item.path()), *checker.findings.issues]
    return checker.findings.issues


class Checker:
    """One check of one resource."""

    def __init__(self, library: Library, depth: int = 0, budget: Budget | None = None) -> None:
        self.library = library
        self.findings = Findings()
        self._depth = depth
        self._budget = budget or Budget(MAX_STEPS)
        self._context = Context(
            stub_references=True,
            member_of=self._member_of,
            conforms_to=self.conforms,
            budget=self._budget,
        )
        self._slicer = Slicer(library.codes, self.conforms, Context(budget=self._budget))

    @property
    def is_spent(self) -> bool:
        """Whether no more is looked at."""
        return self._budget.left <= 0

    def check_profile(self, item: Item, url: str) -> None:
        """Hold an element or a resource to a profile that is known."""
        rule = self.library.profile(url)
        if rule is None:
            return
        if rule.name not in item.kind.ancestors:
            text = f"The profile is for {rule.name}."
            self.findings.error(IssueType.STRUCTURE, text, item.path())
            return
        absent: list[str] = []
        self._check_element(item, rule, (rule, absent))
        if absent:
            text = (
                f"Must-support elements that are not there: {', '.join(dict.fromkeys(absent[:MAX_ABSENT]))}."
            )
            self.findings.add(Severity.INFORMATION, IssueType.INFORMATIONAL, text, item.path())

    def conforms(self, item: Item, url: str) -> bool | None:
        """Whether an element or resource obeys a profile; None: it is not known, or too far away to look."""
        if self.library.profile(url) is None or self._depth >= MAX_DEPTH or self.is_spent:
            return None
        other = Checker(self.library, self._depth + 1, self._budget)
        other.check_profile(item, url)
        return not other.findings.has_errors

    def _check_element(self, item: Item, rule: Rule, within: tuple[Rule, list[str]]) -> None:
        self._budget.left -= _STEPS_OF_ELEMENT
        if self.is_spent:
            return
        self._check_value(item, rule)
        for constraint in rule.constraints:
            self._check_constraint(item, constraint)
        content = rule
        if rule.same_as is not None and not rule.children:
            names = rule.same_as.rpartition("#")[2].split(".")[1:]
            content = within[0].at(names) or rule
        for child in content.children.values():
            self._check_children(item, child, within)

    def _check_children(self, owner: Item, rule: Rule, within: tuple[Rule, list[str]]) -> None:
        items = [item for child in owner.kind.by_name.get(rule.name, ()) for item in members(owner, child)]
        place = f"{owner.path()}.{rule.name}"
        if rule.must_support and not items:
            within[1].append(place.partition(".")[2])
        self._count(len(items), rule, place)
        self._budget.left -= len(items) * len(rule.slices)
        if self.is_spent:
            return
        chosen = [self._slicer.slice_of(item, rule) for item in items]
        for each in rule.slices.values():
            if each.must_support and not any(_belongs(one, each) for one in chosen):
                within[1].append(f"{place.partition('.')[2]}:{each.slice_name}")
        self._check_slices(list(zip(items, chosen, strict=True)), rule, place)
        for item, slice_ in zip(items, chosen, strict=True):
            self._check_element(item, rule, within)
            if slice_ is not None:
                self._check_element(item, slice_, within)
            self._check_types(item, slice_ if slice_ is not None and slice_.types else rule)

    def _count(self, number: int, rule: Rule, place: str) -> None:
        named = f"The slice {rule.slice_name}" if rule.slice_name else "This element"
        if number < rule.min:
            text = f"{named} is needed at least {rule.min} times by the profile; it is there {number} times."
            self.findings.error(IssueType.REQUIRED, text, place)
        if rule.max is not None and number > rule.max:
            text = f"{named} is allowed at most {rule.max} times by the profile; it is there {number} times."
            self.findings.error(IssueType.STRUCTURE, text, place)

    def _check_slices(self, sliced: list[tuple[Item, Rule | None]], rule: Rule, place: str) -> None:
        if rule.slicing is None:
            return
        for slice_ in rule.slices.values():
            self._count(sum(_belongs(chosen, slice_) for _, chosen in sliced), slice_, place)
        rest = [at for at, (_, chosen) in enumerate(sliced) if chosen is None]
        if rule.slicing.rules == "closed" and rule.slices:
            for at in rest:
                text = "The profile allows only its slices here, and this is in none."
                self.findings.error(IssueType.STRUCTURE, text, sliced[at][0].path())
        if rule.slicing.rules == "openAtEnd" and rest and rest != list(range(rest[0], len(sliced))):
            self.findings.error(IssueType.STRUCTURE, "What is in no slice must stand at the end.", place)
        names = list(rule.slices)
        order = [names.index(str(c.slice_name)) for _, c in sliced if c is not None]
        if rule.slicing.ordered and order != sorted(order):
            self.findings.error(IssueType.STRUCTURE, "The slices stand in another order.", place)

    def _check_types(self, item: Item, rule: Rule) -> None:
        if not rule.types:
            return
        fitting = [t for t in rule.types if t.code in item.kind.ancestors or t.code == "Resource"]
        if not fitting and not any(t.code in ("Element", "BackboneElement") for t in rule.types):
            text = f"The profile allows only {', '.join(t.code for t in rule.types)} here."
            self.findings.error(IssueType.STRUCTURE, text, item.path())
            return
        for allowed in fitting:
            if allowed.code == "Reference":
                check_targets(item, allowed.targets, self)
            elif allowed.profiles:
                self._check_type_profiles(item, allowed.profiles)

    def _check_type_profiles(self, item: Item, profiles: Sequence[str]) -> None:
        """One of them must be obeyed; where there is only one, what is wrong is said."""
        known = [url for url in profiles if self.library.profile(url) is not None]
        if len(known) == 1 and len(profiles) == 1:
            self.check_profile(item, known[0])
        elif known and len(known) == len(profiles) and not any(self.conforms(item, url) for url in known):
            self.findings.error(
                IssueType.STRUCTURE, "None of the profiles allowed here is obeyed.", item.path()
            )

    def _check_value(self, item: Item, rule: Rule) -> None:
        value, place = item.value, item.path()
        if rule.fixed is not None and not is_fixed(value, rule.fixed):
            self.findings.error(IssueType.VALUE, "The profile fixes another value here.", place)
        if rule.pattern is not None and not fits_pattern(value, rule.pattern):
            self.findings.error(IssueType.VALUE, "The profile's pattern is not met here.", place)
        if rule.max_length is not None and isinstance(value, str) and len(value) > rule.max_length:
            text = f"The profile allows at most {rule.max_length} characters here."
            self.findings.error(IssueType.TOO_LONG, text, place)
        for bound, wrong in ((rule.min_value, -1), (rule.max_value, 1)):
            if bound is not None and _order(item, bound) == wrong:
                text = f"The value is {'below' if wrong < 0 else 'above'} what the profile allows."
                self.findings.error(IssueType.VALUE, text, place)
        if rule.binding is not None:
            check_binding(item, rule.binding, self)

    def _check_constraint(self, item: Item, constraint: ProfileConstraint) -> None:
        text = f"{constraint.human.rstrip('. ')} ({constraint.key})."
        try:
            if compile_expression(constraint.expression, trusted=False).holds(item, self._context):
                return
        except (InvalidExpression, EvaluationFailed):
            text = f"The constraint {constraint.key} of the profile cannot be evaluated here."
            self.findings.add(Severity.WARNING, IssueType.PROCESSING, text, item.path())
            return
        self.findings.add(Severity(constraint.severity), IssueType.INVARIANT, text, item.path())

    def _member_of(self, item: Item, value_set: str) -> bool | None:
        found = [self.library.codes.has(value_set, *coded) for coded in codings_of(item.value)]
        return True if True in found else None if None in found else False


MAX_ABSENT = 50  # must-support elements that one sentence tells of


def _belongs(chosen: Rule | None, slice_: Rule) -> bool:
    """Whether an element of the slice `chosen` counts for `slice_`: itself, or one within it."""
    if chosen is None:
        return False
    return chosen is slice_ or str(chosen.slice_name).startswith(f"{slice_.slice_name}/")


def _order(item: Item, bound: Json) -> int | None:
    try:
        return compare(item, Item(bound, item.kind))
    except EvaluationFailed:
        return None
