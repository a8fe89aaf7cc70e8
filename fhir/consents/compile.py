"""A Consent becomes rules that deny, each less its exceptions (FHIR R4 consent.html#implementing).

A Consent can only take away: what it permits, scopes open or nothing does. So a provision that denies is a
rule with the conditions of those above it; one that permits right below it is an exception of that rule. What
would have to be enforced otherwise than it is said is not enforced at all, and the reasons are told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir.consents.rule import (
    ACCESS,
    EVERYTHING,
    ONE_LABEL,
    Conditions,
    Unenforced,
    conditions_of,
    patient_of,
)
from fhir.search.value import Surroundings
from server.kernel.consents.keep import State, Verdict

Json = Any
Row = dict[str, Any]

ACTIVE = "active"
SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
PRIVACY = "patient-privacy"
ACT_CODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PERMIT, DENY = "permit", "deny"
BASES = {"OPTIN": PERMIT, "OPTOUT": DENY}
MAX_ROWS = 1_000  # that a Consent becomes: each is looked at with everything of its patient
MAX_REASONS = 20  # that are told
MODIFIERS = frozenset({"modifierExtension", "implicitRules"})


@dataclass(slots=True)
class _Rule:
    """A rule that denies."""

    conditions: Conditions
    exceptions: list[Conditions] = field(default_factory=list)


def compile_consent(consent: Json, around: Surroundings) -> Verdict:
    """What a valid Consent denies, or why it is not enforced."""
    if consent.get("status") != ACTIVE:
        return Verdict(State.NOT_IN_FORCE)
    compiler = _Compiler(around)
    compiler.read(consent)
    if not compiler.reasons:
        rows = _rows_of(compiler.rules)
        if rows is not None:
            return Verdict(State.ENFORCED, compiler.holder, *rows)
        compiler.reasons.append(("Consent.provision", f"It has more than {MAX_ROWS} combinations."))
    return Verdict(State.UNENFORCED, reasons=compiler.reasons[:MAX_REASONS])


@dataclass(slots=True)
class _Compiler:
    around: Surroundings
    holder: str | None = None
    rules: list[_Rule] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)

    def read(self, consent: Json) -> None:
        for element in _modifiers(consent, "Consent"):
            self.reasons.append((element, "This may change what the Consent means."))
        if not _has_code(consent.get("scope", {}), SCOPES, PRIVACY):
            self.reasons.append(("Consent.scope", f"Only {PRIVACY} is enforced."))
        try:
            self.holder = patient_of(consent, self.around)
        except Unenforced as unenforced:
            self._note(unenforced)
        self._root(consent.get("provision"), consent.get("policyRule", {}))

    def _root(self, root: Json | None, policy_rule: Json) -> None:
        bases = {kind for code, kind in BASES.items() if _has_code(policy_rule, ACT_CODES, code)}
        base = next(iter(bases)) if len(bases) == 1 else None
        stated = None if root is None else root.get("type")
        if len(bases) > 1 or (base is None and stated is None):
            self.reasons.append(("Consent.policyRule", f"It is none of {', '.join(BASES)}."))
            return
        rule = self._deny(EVERYTHING) if base == DENY else None
        if root is not None and base is not None and stated in (None, base):
            self._bounding(root, rule)
        elif root is not None:
            self._provision(root, "Consent.provision", EVERYTHING, (rule, EVERYTHING))

    def _bounding(self, root: Json, rule: _Rule | None) -> None:
        """A root that says what the base says: what it asks for, it asks of those below it."""
        try:
            own = conditions_of(root, "Consent.provision", self.around)
        except Unenforced as unenforced:
            self._note(unenforced)
        else:
            self._below(root, "Consent.provision", own, (rule, own))

    def _provision(
        self, provision: Json, element: str, outer: Conditions, above: tuple[_Rule | None, Conditions]
    ) -> None:
        """A provision within `outer`; what it permits is an exception of the rule above, if there is one."""
        try:
            own = conditions_of(provision, element, self.around)
            whole = own.within(outer, element)
            exception = own.within(above[1], element)
        except Unenforced as unenforced:
            self._note(unenforced)
            return
        rule = None
        if provision.get("type") == DENY:
            rule = self._deny(whole)
        elif provision.get("type") != PERMIT:
            self.reasons.append((f"{element}.type", "It neither permits nor denies."))
        elif len(exception.labels or "") > 1:  # who is of one of them would be let go
            self.reasons.append((f"{element}.securityLabel", ONE_LABEL))
        elif above[0] is not None:
            above[0].exceptions.append(exception)
        self._below(provision, element, whole, (rule, EVERYTHING))

    def _below(
        self, provision: Json, element: str, outer: Conditions, above: tuple[_Rule | None, Conditions]
    ) -> None:
        for at, each in enumerate(provision.get("provision", ())):
            self._provision(each, f"{element}.provision[{at}]", outer, above)

    def _deny(self, conditions: Conditions) -> _Rule:
        rule = _Rule(conditions)
        self.rules.append(rule)
        return rule

    def _note(self, unenforced: Unenforced) -> None:
        self.reasons.append((unenforced.element, unenforced.text))


def _rows_of(rules: Sequence[_Rule]) -> tuple[list[Row], list[Row]] | None:
    """Rows of denials and exceptions: for each act its own, so that an exception of one excepts no other.

    None: they are too many.
    """
    denials: list[Row] = []
    exceptions: list[Row] = []
    for node, (act, denied, excepted) in enumerate(_by_act(rules)):
        size = denied.size + sum(each.size for each in excepted)
        if len(denials) + len(exceptions) + size > MAX_ROWS:
            return None
        denials += [{"node": node, "action": act, **row} for row in denied.rows()]
        exceptions += [{"node": node, **row} for each in excepted for row in each.rows()]
    return denials, exceptions


def _by_act(rules: Sequence[_Rule]) -> Iterator[tuple[str, Conditions, Sequence[Conditions]]]:
    for rule in rules:
        denied = rule.conditions
        of_access = _excepted(rule, ACCESS)
        for act in () if denied.is_empty else sorted(denied.actions):
            excepted = _excepted(rule, act)
            # Whoever discloses has access first.
            if act == ACCESS or ACCESS not in denied.actions or excepted != of_access:
                yield act, denied, excepted


def _excepted(rule: _Rule, act: str) -> list[Conditions]:
    return [each for each in rule.exceptions if act in each.actions and not each.is_empty]


def _has_code(concept: Json, system: str, code: str) -> bool:
    return any(
        each.get("system") == system and each.get("code") == code for each in concept.get("coding", ())
    )


def _modifiers(node: Json, element: str) -> Iterator[str]:
    """Where the resource has what changes the meaning of the rest (FHIR R4 extensibility.html#isModifier)."""
    if isinstance(node, list):
        for at, each in enumerate(node):
            yield from _modifiers(each, f"{element}[{at}]")
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in MODIFIERS:
                yield f"{element}.{name}"
            elif name not in ("contained", "extension", "text"):
                yield from _modifiers(value, f"{element}.{name}")
