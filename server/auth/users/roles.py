"""What a user may hand to an app, by role. Scopes say what an app wants, the role what there is to give."""

from collections.abc import Mapping
from enum import Enum

from server.auth.scopes import Scopes, parse_scopes

AUDIT = "AuditEvent"


class Role(Enum):
    """What somebody is here for."""

    CLINICIAN = "clinician"  # every patient's record
    PATIENT = "patient"  # their own record
    ADMIN = "admin"  # everything, and the administration
    AUDITOR = "auditor"  # who did what, and nothing of what it was done to


_ALLOWED: Mapping[Role, str] = {
    Role.CLINICIAN: "patient/*.cruds user/*.cruds",
    Role.PATIENT: "patient/*.cruds user/*.cruds",
    Role.ADMIN: "patient/*.cruds user/*.cruds",
    Role.AUDITOR: f"user/{AUDIT}.rs",
}
_CLOSED: Mapping[Role, frozenset[str]] = {
    Role.CLINICIAN: frozenset({AUDIT}),
    Role.PATIENT: frozenset({AUDIT}),
}


def scopes_of(role: Role) -> Scopes:
    """The resource scopes that users of a role can hand on."""
    return parse_scopes(_ALLOWED[role])


def closed_types(role: Role) -> frozenset[str]:
    """The resource types that stay closed to a role, whatever the scopes of a token say."""
    return _CLOSED.get(role, frozenset())
