"""Who asks, and how far each permission reaches: the one choke point of both doors.

Every query builder takes the `Reach` that `Access.reach` returned and puts its predicate into the SQL.
No context means deny: an empty `Access` grants nothing, and a patient-context grant without a patient raises.
Scopes become grants in `server/auth/scopes.py`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from server.kernel.faults import Forbidden, Unauthenticated

ACCESS_KEY = "isthmus.access"  # key of the Access value in an ASGI scope; put there by server/auth only
REFRESH_KEY = "isthmus.refresh"  # key of a `Refresh` in an ASGI scope, for connections that last
FAILED_KEY = (
    "isthmus.failed"  # true in an ASGI scope whose credentials were wrong; put there by server/auth only
)


Refresh = Callable[[], Awaitable["Access"]]  # the Access as of now; raises Unauthenticated when it has ended


class Permission(Enum):
    """The five permissions of SMART App Launch 2.2 scopes (`.cruds`)."""

    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"
    SEARCH = "s"


class Context(Enum):
    """The first part of a SMART scope."""

    PATIENT = "patient"
    USER = "user"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, as audit names it."""

    id: str  # stable: "client:demo", "user:ada", "token:…", "system:worker"
    display: str
    client: str | None = field(default=None, compare=False)  # "client:…", through which they ask; None: none
    token: str | None = field(default=None, compare=False)  # the beginning of its hash; None: without one
    purpose: str | None = field(default=None, compare=False)  # PurposeOfUse (v3 ActReason); None: not told


Criteria = tuple[tuple[str, str], ...]  # search parameters of the type with their values; all have to match


@dataclass(frozen=True, slots=True)
class Grant:
    """One resource type (or "*") opened for some permissions; `criteria` open only what matches them."""

    context: Context
    resource_type: str
    permissions: frozenset[Permission]
    criteria: Criteria = ()

    def covers(self, resource_type: str, permission: Permission) -> bool:
        """Whether this grant opens `permission` on `resource_type`."""
        return self.resource_type in ("*", resource_type) and permission in self.permissions


@dataclass(frozen=True, slots=True)
class Denials:
    """By what the denials of patients are looked for that meet a caller (`server/kernel/consents/`)."""

    actors: frozenset[str]  # references by which a Consent may name the caller: "Practitioner/…"
    acts: frozenset[str]  # codes of consentaction: what the caller does by reading
    at_us: int  # now
    own: frozenset[str] = frozenset()  # the caller's own record: denied to them by name only
    exempt: frozenset[str] = frozenset()  # of whom nothing is denied: an emergency


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What matches criteria, of the record of these patients; None: of every patient's."""

    patient_ids: frozenset[str] | None
    criteria: Criteria


@dataclass(frozen=True, slots=True)
class Reach:
    """The patients whose data a permission opens; `patient_ids` None means every patient's.

    Ids are those of FHIR Patient resources, without the type. `narrowed` is open besides; only
    `Access.narrow_reach` returns such a reach, to who puts the criteria into the SQL. What patients deny is
    out of reach, too: `denials` are asked for in the SQL.
    """

    patient_ids: frozenset[str] | None
    narrowed: tuple[Narrowed, ...] = ()
    denials: Denials | None = None  # None: nothing is denied to the caller

    @property
    def parts(self) -> tuple[Narrowed, ...]:
        """What is open, each part with its criteria; none: nothing is."""
        if self.narrowed and not self.patient_ids:
            return self.narrowed
        return (Narrowed(self.patient_ids, ()), *self.narrowed)

    def only(self, parts: Sequence[Narrowed]) -> "Reach":
        """The same with these of its `parts`; not with none, which would still open what is nobody's."""
        assert parts
        whole = next((part.patient_ids for part in parts if not part.criteria), frozenset[str]())
        return replace(self, patient_ids=whole, narrowed=tuple(part for part in parts if part.criteria))

    @property
    def within(self) -> frozenset[str] | None:
        """The patients beyond whose records nothing is open; None: there are none."""
        found: set[str] = set()
        for part in self.parts:
            if part.patient_ids is None:
                return None
            found |= part.patient_ids
        return frozenset(found)

    @property
    def is_everyone(self) -> bool:
        """Whether everything is within reach, so that a statement needs no predicate."""
        return self.patient_ids is None and self.denials is None

    @property
    def is_confined(self) -> bool:
        """Whether the caller may see some patients only; not whether some patients deny it."""
        return self.patient_ids is not None

    @property
    def audited_patient_id(self) -> str | None:
        """The patient that audit names for a search within this reach; None: not confined to patients."""
        within = self.within
        return min(within) if within else None

    def includes(self, patient_id: str | None) -> bool:
        """Whether the caller may see data of this patient; None (unassigned data): only when unconfined.

        What the patient denies is not asked here: for writes only, or beside a statement that does.
        """
        return self.patient_ids is None or patient_id in self.patient_ids


EVERYONE = Reach(None)


@dataclass(frozen=True, slots=True)
class Origin:
    """The token an Access comes from, for what goes on when its request has ended (a Subscription).

    Whether it still stands, and what it opens by then, `server/auth/standing.py` says.
    """

    token_hash: str
    client_id: str | None  # None: an administrator issued the token
    patient_id: str | None  # the launch patient
    scope: str
    grant_id: int | None = None  # None: no user stands behind the token


@dataclass(frozen=True, slots=True)
class Access:
    """What one request may do.

    `patient_ids` is the launch patient with the patients merged into it; None: the token has no patient.
    A token with a patient confines *every* grant to that compartment, whatever its context, unless its user
    may see others too: then the grants of the context `user` reach as far as the user (SMART 2.2, Scopes).
    """

    principal: Principal
    grants: tuple[Grant, ...]
    patient_ids: frozenset[str] | None = None
    origin: Origin | None = None  # None: no token, this is the server's own or everybody's
    is_confined: bool = True  # whether the patient bounds grants of the context `user` too
    closed_types: frozenset[str] = frozenset()  # resource types that no grant opens
    may_administer: bool = True  # false: a user who is no administrator
    denials: Denials | None = None  # None: nothing is denied to the caller

    def reach(self, resource_type: str, permission: Permission) -> Reach:
        """How far `permission` on `resource_type` goes, without what grants open by criteria only.

        To create is denied to nobody: what is new was not there to be seen.

        Raises:
            Forbidden: no grant opens it, or only patient grants do and the token has no patient.
        """
        return self._reach([g for g in self.grants if not g.criteria], resource_type, permission)

    def narrow_reach(self, resource_type: str, permission: Permission) -> Reach:
        """As `reach`, with what grants open by criteria: for who puts `Reach.narrowed` into the SQL.

        Raises:
            Forbidden: no grant opens it, or only patient grants do and the token has no patient.
        """
        if not any(grant.criteria for grant in self.grants):  # as a rule
            return self.reach(resource_type, permission)
        narrowing: dict[Criteria, list[Grant]] = {}
        for grant in self.grants:
            if grant.criteria and grant.covers(resource_type, permission):
                narrowing.setdefault(grant.criteria, []).append(grant)
        try:
            whole = self.reach(resource_type, permission)
        except Forbidden:
            if not narrowing:
                raise
            whole = Reach(frozenset(), denials=self._denials(permission))
        if not whole.is_confined:
            return whole
        parts = (
            Narrowed(self._reach(grants, resource_type, permission).patient_ids, criteria)
            for criteria, grants in narrowing.items()
        )
        return Reach(whole.patient_ids, tuple(parts), whole.denials)

    def _reach(self, grants: Sequence[Grant], resource_type: str, permission: Permission) -> Reach:
        granting = [grant for grant in grants if grant.covers(resource_type, permission)]
        if not granting or resource_type in self.closed_types:
            raise Forbidden(f"The token grants no '{permission.value}' on {resource_type}.")
        is_of_patient = all(grant.context is Context.PATIENT for grant in granting)
        if self.patient_ids is not None and (self.is_confined or is_of_patient):
            return Reach(self.patient_ids, denials=self._denials(permission))
        if is_of_patient:
            raise Forbidden("The token grants patient access but names no patient.")
        denials = self._denials(permission)
        return EVERYONE if denials is None else Reach(None, denials=denials)

    def _denials(self, permission: Permission) -> Denials | None:
        return None if permission is Permission.CREATE else self.denials

    def require_administrator(self) -> None:
        """Let only an administrator go on: a system or user grant of everything, confined to no patient.

        Raises:
            Forbidden: the token is not an administrator's.
        """
        is_whole = any(
            grant.resource_type == "*" and grant.permissions == frozenset(Permission) and not grant.criteria
            for grant in self.grants
            if grant.context is not Context.PATIENT
        )
        if not is_whole or self.patient_ids is not None or not self.may_administer:
            raise Forbidden("Administration needs the scope system/*.cruds and a token without a patient.")


def system_access(name: str) -> Access:
    """The server's own unconfined access, for work that no request started."""
    return Access(Principal(f"system:{name}", name), (Grant(Context.SYSTEM, "*", frozenset(Permission)),))


def refresh_of(scope: Mapping[str, Any]) -> Refresh:
    """How a connection that lasts learns whether its Access still stands."""
    refresh: Refresh = scope[REFRESH_KEY]
    return refresh


def access_of(scope: Mapping[str, Any]) -> Access:
    """The Access of an ASGI request scope.

    Raises:
        Unauthenticated: authentication put none there.
    """
    access = scope.get(ACCESS_KEY)
    if not isinstance(access, Access):
        raise Unauthenticated("A bearer token is required.")
    return access
