"""Scopes in plain words, for the page on which a user allows them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from server.auth.grants.grant import OFFLINE, ONLINE
from server.auth.scopes import ResourceScope, Scopes, permission_text
from server.kernel.access import Context

_THINGS: Mapping[str, str] = {
    "*": "everything in the record, images included",
    "AllergyIntolerance": "allergies and intolerances",
    "Appointment": "appointments",
    "AuditEvent": "who has looked at what",
    "Binary": "attached files",
    "CarePlan": "care plans",
    "Condition": "diagnoses and problems",
    "Coverage": "insurance",
    "DiagnosticReport": "reports of examinations",
    "DocumentReference": "documents",
    "Encounter": "visits and stays",
    "ImagingStudy": "X-rays, CT, MR and other images",
    "Immunization": "vaccinations",
    "MedicationRequest": "prescriptions",
    "Observation": "measurements and findings",
    "Patient": "name, birth date and contact details",
    "Procedure": "procedures",
    "ServiceRequest": "orders and referrals",
    "Task": "work that is to be done",
}
_ACTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset("rs"), "see"),
    (frozenset("c"), "add to"),
    (frozenset("u"), "change"),
    (frozenset("d"), "delete"),
)
_WHOSE: Mapping[Context, str] = {
    Context.PATIENT: "of this patient",
    Context.USER: "of everyone whom you may see",
    Context.SYSTEM: "of everyone",
}
_OTHERS: Mapping[str, str] = {
    OFFLINE: "Stay connected after you have left, until you take it back",
    ONLINE: "Stay connected while you are logged in",
}
_SAID: Mapping[str, str] = {
    "openid": "who you are",
    "fhirUser": "who you are",
    "profile": "who you are",
    "launch": "which patient and examination you are looking at",
    "launch/patient": "which patient you are looking at",
    "launch/encounter": "which visit you are looking at",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that may be allowed, or not."""

    scope: str  # its text, the value of the box
    words: str
    changes: bool  # whether it lets the app change the record


def choices(scopes: Scopes) -> list[Line]:
    """What the user decides on, in the order asked."""
    lines = [Line(each.text, _words(each), changes(each)) for each in scopes.resources]
    return [*lines, *(Line(each, _OTHERS[each], False) for each in scopes.others if each in _OTHERS)]


def told_anyway(scopes: Scopes) -> list[str]:
    """What the app learns of the user and of what is looked at."""
    return list(dict.fromkeys(_SAID[each] for each in scopes.others if each in _SAID))


def changes(scope: ResourceScope) -> bool:
    """Whether a scope lets an app change the record."""
    return bool(set(permission_text(scope.permissions)) & set("cud"))


def _words(scope: ResourceScope) -> str:
    letters = set(permission_text(scope.permissions))
    acts = [word for needed, word in _ACTS if letters & needed]
    thing = _THINGS.get(scope.resource_type) or _spaced(scope.resource_type)
    said = " and ".join(filter(None, (", ".join(acts[:-1]), acts[-1]))) if acts else "nothing of"
    only = " and ".join(f"{name} {_value(value)}" for name, value in scope.criteria)
    return f"{said.capitalize()} {thing} {_WHOSE[scope.context]}{only and ', only with ' + only}"


def _value(text: str) -> str:
    """The codes of a criterion, without the systems that they are of."""
    return " or ".join(each.rpartition("|")[2] or each for each in text.split(","))


def _spaced(name: str) -> str:
    """`BodyStructure` as "body structure"."""
    return " ".join(re.findall(r"[A-Z][a-z]*", name)).lower()
