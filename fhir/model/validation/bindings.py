"""Required bindings on code lists that can be enumerated (FHIR R4 terminologies.html#required)."""

from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any

from fhir.model.validation.definitions import codes_by_system
from fhir.model.validation.forms import has_form_of
from fhir.model.validation.issue import IssueType, Severity
from fhir.model.validation.path import Path
from fhir.model.validation.report import Report

CodedCheck = Callable[[dict[str, Any], Path, Report], None]


@cache
def in_value_set(value_set: str) -> Callable[[object], bool] | None:
    """Whether a code, whose system its binding implies, is in the value set or has the form of its codes.

    None: the set is open.
    """
    systems = codes_by_system(value_set)
    if systems is None:
        return has_form_of(value_set)
    codes = frozenset(chain.from_iterable(systems.values()))

    def fits(value: object) -> bool:
        return type(value) is str and value in codes

    return fits


def _members(value_set: str) -> frozenset[tuple[str, str]] | None:
    systems = codes_by_system(value_set)
    if systems is None:
        return None
    return frozenset((system, code) for system, codes in systems.items() for code in codes)


def is_coded_in(value_set: str, type_name: str) -> CodedCheck | None:
    """The check of a Coding, or of a CodeableConcept that must have one Coding of the value set."""
    members = _members(value_set)
    if members is None:
        return None
    wrong = f"No code of {value_set} is here."

    def check_coding(coding: dict[str, Any], path: Path, report: Report) -> None:
        if not _is_member(coding, members):
            report.error(IssueType.CODE_INVALID, wrong, path)

    def check_concept(concept: dict[str, Any], path: Path, report: Report) -> None:
        codings = concept.get("coding")
        if type(codings) is not list or not any(_is_member(coding, members) for coding in codings):
            report.error(IssueType.CODE_INVALID, wrong, path)

    return check_coding if type_name == "Coding" else check_concept


def should_be_coded_in(value_set: str) -> CodedCheck | None:
    """The advice on an extensible binding: a code of the value set, unless none of it fits (#extensible)."""
    members = _members(value_set)
    if members is None:
        return None
    advice = f"No code of {value_set} is here; others are for what it has no code for."

    def check(value: dict[str, Any], path: Path, report: Report) -> None:
        if not report.with_warnings:
            return
        codings = value.get("coding", () if "text" in value else [value])
        if type(codings) is list and codings and not any(_is_member(coding, members) for coding in codings):
            report.add(Severity.WARNING, IssueType.CODE_INVALID, advice, path)

    return check


def _is_member(coding: object, members: frozenset[tuple[str, str]]) -> bool:
    if type(coding) is not dict:
        return False
    system, code = coding.get("system"), coding.get("code")
    return type(system) is str and type(code) is str and (system, code) in members
