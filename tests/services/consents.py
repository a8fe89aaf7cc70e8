"""Consents for tests."""

from typing import Any

from fhir.consents.compile import ACT_CODES, PRIVACY, SCOPES
from fhir.consents.rule import ACTIONS, PARTICIPATION, RESOURCE_TYPES
from server.kernel.consents.labels import CONFIDENTIALITY


def consent(
    patient: str, provision: Any = None, *, base: str | None = "OPTIN", **more: Any
) -> dict[str, Any]:
    """An active privacy Consent of a patient."""
    policy: dict[str, Any] = {"policy": [{"uri": "urn:x"}]}
    if base is not None:
        policy = {"policyRule": {"coding": [{"system": ACT_CODES, "code": base}]}}
    made = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPES, "code": PRIVACY}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        **policy,
        **more,
    }
    return made if provision is None else made | {"provision": provision}


def provision(kind: str | None = None, *below: Any, **conditions: Any) -> dict[str, Any]:
    """A provision; `actor`, `action`, `types` and `label` in short."""
    made: dict[str, Any] = {} if kind is None else {"type": kind}
    short = {
        "actor": lambda names: [actor(name) for name in names.split()],
        "action": lambda codes: [{"coding": [{"system": ACTIONS, "code": c}]} for c in codes.split()],
        "types": lambda codes: [{"system": RESOURCE_TYPES, "code": c} for c in codes.split()],
        "label": lambda codes: [label(code) for code in codes.split()],
    }
    named = {"types": "class", "label": "securityLabel"}
    for name, value in conditions.items():
        made[named.get(name, name)] = short[name](value) if isinstance(value, str) else value
    return made | ({"provision": list(below)} if below else {})


def actor(reference: str, role: str = "IRCP") -> dict[str, Any]:
    """Somebody who gets to know."""
    coded = {"coding": [{"system": PARTICIPATION, "code": role}]}
    return {"role": coded, "reference": {"reference": reference}}


def label(code: str) -> dict[str, str]:
    """A label: one letter of confidentiality, or "system|code"."""
    system, bar, rest = code.partition("|")
    return {"system": system, "code": rest} if bar else {"system": CONFIDENTIALITY, "code": code}
