"""Bindings of profiles: required ones refuse, extensible ones warn (FHIR R4 terminologies.html#strength)."""

from typing import TYPE_CHECKING, Any

from fhir.fhirpath import Item
from fhir.model.profiles.rule import Binding
from fhir.model.validation.issue import IssueType, Severity

if TYPE_CHECKING:
    from fhir.model.profiles.check import Checker

_SEVERITY = {"required": Severity.ERROR, "extensible": Severity.WARNING}
_CODED = frozenset(("code", "string", "uri", "Coding", "CodeableConcept", "Quantity"))


def check_binding(item: Item, binding: Binding, checker: "Checker") -> None:
    """Say so if no code of an element is in the value set, as far as that can be told."""
    severity = _SEVERITY.get(binding.strength)
    if severity is None or not _CODED & item.kind.ancestors or item.value is None:
        return
    found = [
        checker.library.codes.has(binding.value_set, system, code) for system, code in codings_of(item.value)
    ]
    if True in found:
        return
    if None in found:
        if severity is Severity.ERROR:
            text = f"Whether a code here is in {binding.value_set} cannot be told by this server."
            checker.findings.add(Severity.INFORMATION, IssueType.NOT_SUPPORTED, text, item.path())
        return
    if not found and (
        severity is Severity.WARNING or checker.library.find("ValueSet", binding.value_set) is None
    ):
        return  # text alone is allowed where no code fits (extensible)
    text = f"No code of {binding.value_set} is here, as the profile's {binding.strength} binding wants."
    checker.findings.add(severity, IssueType.CODE_INVALID, text, item.path())


def codings_of(value: Any) -> list[tuple[str | None, str]]:
    """The codes that an element states, each with its system; None: its type implies it."""
    if isinstance(value, str):
        return [(None, value)]
    if not isinstance(value, dict):
        return []
    codings = value.get("coding", () if "text" in value else [value])
    if not isinstance(codings, list):
        return []
    return [
        (str(coding.get("system", "")), str(coding["code"]))
        for coding in codings
        if isinstance(coding, dict) and "code" in coding
    ]
