"""Access tokens: issue, look up, revoke (RFC 6750, RFC 7009).

A token is 256 random bits; the database holds its SHA-256. Lookups are cached for `CACHE_US` in the process,
so a revocation made elsewhere holds after at most that time (DESIGN §5); one made here holds at once. A merge
of Patients holds for their tokens after at most that time too.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, insert, select, update

from server.auth.denials import EMERGENCY, Caller, bounded_by_denials
from server.auth.scopes import InvalidScope, Scopes, access_from, parse_scopes
from server.auth.tables import AccessToken, OAuthClient, OAuthGrant, UserAccount
from server.auth.users.roles import Role, closed_types
from server.kernel.access import Access, Context, Origin, Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.consents.keep import CONSENT_CHANGED
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault
from server.kernel.patient_merge import patients_opened_by
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_TOKEN = table_of(AccessToken)
_CLIENT = table_of(OAuthClient)
_GRANT = table_of(OAuthGrant)
_USER = table_of(UserAccount)

CACHE_US = 5 * SECOND_US
CACHE_TOKENS = 10_000  # bounds memory; the longest unused leaves first
MAX_TTL_S = 366 * 24 * 3600  # of an administrator's token
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR R4 datatypes.html#id


class InvalidTokenRequest(Fault):
    """A token cannot be issued as asked."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a new token shall be."""

    subject: str | None  # the Principal's id; None: the token names itself
    scopes: Scopes
    ttl_s: int
    client_id: str | None = None
    patient_id: str | None = None
    grant_id: int | None = None  # of a user


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token: its text, shown once, and its row."""

    text: str
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What the database says of a token that is in use."""

    token_hash: str
    client_id: str | None
    client_name: str | None
    subject: str
    scope: str
    patient_id: str | None
    issued_us: int
    expires_us: int
    grant_id: int | None
    user_name: str | None  # for people
    role: str | None  # of the user; None: no user stands behind it
    purpose: str | None  # PurposeOfUse, when the user said one
    fhir_user: str | None  # of the user
    represents: str | None  # for whom the client acts, if it acts for itself

    @property
    def principal(self) -> Principal:
        """The bearer as audit names them: the user, else the client, else the token itself."""
        return Principal(
            self.subject,
            self.user_name or self.client_name or self.subject,
            None if self.client_id is None else f"client:{self.client_id}",
            self.token_hash[:12],
            self.purpose,
        )

    @property
    def caller(self) -> Caller:
        """The bearer as denials see them: a user, else a client or an administrator's token."""
        is_user = self.grant_id is not None
        represents = None if is_user else self.represents
        return Caller(self.fhir_user, represents, not is_user, is_user and self.purpose == EMERGENCY)

    def as_access(self, patient_ids: frozenset[str] | None) -> Access:
        """What the bearer may do; `patient_ids` as in `Access`."""
        origin = Origin(self.token_hash, self.client_id, self.patient_id, self.scope, self.grant_id)
        access = access_from(self.principal, parse_scopes(self.scope), patient_ids)
        access = replace(access, origin=origin)
        return access if self.role is None else bounded_by_role(access, Role(self.role))


def bounded_by_role(access: Access, role: Role) -> Access:
    """What a user of this role may do of it; a patient without a patient may see no record at all."""
    patient_ids = access.patient_ids
    if role is Role.PATIENT and patient_ids is None:
        patient_ids = frozenset()
    return replace(
        access,
        patient_ids=patient_ids,
        is_confined=role is Role.PATIENT,
        closed_types=closed_types(role),
        may_administer=role is Role.ADMIN,
    )


def hash_secret(secret: str) -> str:
    """How a secret of 256 random bits is kept: SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token(request: TokenRequest, issued_us: int) -> IssuedToken:
    """Make a token; its row is for the caller's transaction."""
    text = new_secret()
    token_hash = hash_secret(text)
    row = {
        "token_hash": token_hash,
        "client_id": request.client_id,
        "subject": request.subject or f"token:{token_hash[:12]}",
        "scope": request.scopes.text,
        "patient_id": request.patient_id,
        "grant_id": request.grant_id,
        "issued_us": issued_us,
        "expires_us": issued_us + request.ttl_s * SECOND_US,
        "revoked_us": None,
    }
    return IssuedToken(text, row)


def select_token(token_hash: str, at_us: int) -> Select[Any]:
    """A token as `TokenRecord`, unless it is over, or what it stands on: its client, its grant, its user."""
    t, c, g, u = _TOKEN.c, _CLIENT.c, _GRANT.c, _USER.c
    told = (t.token_hash, t.client_id, t.subject, t.scope, t.patient_id, t.issued_us, t.expires_us)
    who = (t.grant_id, c.name.label("client_name"), u.display.label("user_name"), u.role, g.purpose)
    denied_as = (u.fhir_user, c.represents)
    of_users = _GRANT.join(_USER, (u.id == g.user_id) & u.disabled_us.is_(None) & grant_stands(at_us))
    return (
        select(*told, *who, *denied_as)
        .select_from(_TOKEN.outerjoin(_CLIENT, c.client_id == t.client_id))
        .outerjoin(of_users, g.id == t.grant_id)
        .where(t.token_hash == token_hash, t.revoked_us.is_(None), t.expires_us > at_us)
        .where(c.disabled_us.is_(None), t.client_id.is_(None) | c.client_id.is_not(None))
        .where(t.grant_id.is_(None) | g.id.is_not(None))
    )


def grant_stands(at_us: int) -> ColumnElement[bool]:
    """Whether a grant has not been ended, nor come to its end by itself."""
    g = _GRANT.c
    return g.ended_us.is_(None) & (g.expires_us.is_(None) | (g.expires_us > at_us))


def select_role(grant_id: int, at_us: int) -> Select[Any]:
    """The role, name and fhirUser of the user who allowed a grant, and whom, as long as both stand."""
    stands = (_GRANT.c.id == grant_id) & grant_stands(at_us) & _USER.c.disabled_us.is_(None)
    told = (_USER.c.role, _USER.c.name, _USER.c.fhir_user, _GRANT.c.client_id)
    return select(*told).join(_GRANT, _GRANT.c.user_id == _USER.c.id).where(stands)


def revocation(token_hash: str, at_us: int) -> Update:
    """The statement that revokes a token."""
    t = _TOKEN.c
    return update(_TOKEN).where(t.token_hash == token_hash, t.revoked_us.is_(None)).values(revoked_us=at_us)


class AccessTokens:
    """The lookup that stands before every request."""

    def __init__(self, database: Database, clock: Clock = now_us) -> None:
        self._database = database
        self._clock = clock
        self._cache: OrderedDict[str, tuple[TokenRecord, Access, int]] = OrderedDict()
        self._forgotten = 0  # how often something was
        self._anonymous: tuple[Access, int] | None = None
        database.on_events(self._hear)

    async def access_of(self, token: str) -> Access | None:
        """What the bearer of this token may do; None: the token is not in use."""
        token_hash, now = hash_secret(token), self._clock()
        cached = self._cache.get(token_hash)
        if cached is not None and cached[2] > now and cached[0].expires_us > now:
            self._cache.move_to_end(token_hash)
            return cached[1]
        self._cache.pop(token_hash, None)
        forgotten = self._forgotten
        found = await self._find(token_hash, now)
        if found is None:
            return None
        record, access = found
        if forgotten != self._forgotten:  # it may have been revoked since it was read
            return access
        self._cache[token_hash] = (record, access, now + CACHE_US)
        if len(self._cache) > CACHE_TOKENS:
            self._cache.popitem(last=False)
        return access

    async def anonymous(self, access: Access) -> Access:
        """What who needs no token may do (`--no-auth`), less what patients deny; kept as tokens are."""
        now = self._clock()
        if self._anonymous is not None and self._anonymous[1] > now:
            return self._anonymous[0]
        forgotten = self._forgotten
        async with self._database.read() as connection:
            bounded = await bounded_by_denials(connection, access, Caller(), now)
        if forgotten == self._forgotten:
            self._anonymous = (bounded, now + CACHE_US)
        return bounded

    def forget(self, token_hash: str) -> None:
        """Drop a token from the cache, because it was revoked."""
        self._forgotten += 1
        self._cache.pop(token_hash, None)

    def forget_all(self) -> None:
        """Empty the cache, because what some tokens stood on has ended."""
        self._forgotten += 1
        self._cache.clear()
        self._anonymous = None

    def _hear(self, kinds: AbstractSet[str]) -> None:
        if CONSENT_CHANGED in kinds:
            self.forget_all()

    async def _find(self, token_hash: str, now: int) -> tuple[TokenRecord, Access] | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select_token(token_hash, now))).one_or_none()
            if row is None:
                return None
            record = TokenRecord(**row._mapping)
            patient_ids = None
            if record.patient_id is not None:
                patient_ids = await patients_opened_by(connection, record.patient_id)
            access = record.as_access(patient_ids)
            return record, await bounded_by_denials(connection, access, record.caller, now)


async def issue_token(
    database: Database,
    *,
    scope: str,
    patient: str | None = None,
    ttl_s: int = 3600,
    subject: str | None = None,
) -> str:
    """Issue a token by an administrator's word (`isthmus token`); returns its text, which is kept nowhere.

    Raises:
        InvalidScope: the scope is empty or not understood, or asks for a patient's data without a patient.
        InvalidTokenRequest: the patient is no FHIR id, or the lifetime is out of bounds.
    """
    scopes = parse_scopes(scope)
    if not scopes.resources:
        raise InvalidScope("The scope opens no resource.")
    if patient is None and scopes.in_context(Context.PATIENT):
        raise InvalidScope("A patient scope needs a patient.")
    if patient is not None and not FHIR_ID.fullmatch(patient):
        raise InvalidTokenRequest("The patient is not named by a FHIR id.")
    if not 0 < ttl_s <= MAX_TTL_S:
        raise InvalidTokenRequest(f"The lifetime must be between 1 and {MAX_TTL_S} seconds.")
    request = TokenRequest(subject, scopes, ttl_s, patient_id=patient)

    async def work(unit: UnitOfWork) -> str:
        issued = new_token(request, unit.now_us)
        await unit.execute(insert(_TOKEN), [issued.row])
        unit.audit(issued_entry(issued))
        return issued.text

    return await database.transact(work)


async def revoke_token(database: Database, token: str) -> bool:
    """Revoke a token by its text; False: it was not in use."""
    token_hash = hash_secret(token)

    async def work(unit: UnitOfWork) -> bool:
        revoked = await unit.execute(revocation(token_hash, unit.now_us))
        if revoked.rowcount:
            principal = Principal("system:administrator", "administrator")
            unit.audit(AuditEntry(principal, Action.UPDATE, "revoke", "token", token_hash[:12]))
        return bool(revoked.rowcount)

    return await database.transact(work)


def issued_entry(issued: IssuedToken) -> AuditEntry:
    """The audit entry of a new token; it names the token by the beginning of its hash."""
    subject = issued.row["subject"]
    return AuditEntry(
        Principal(subject, subject),
        Action.EXECUTE,
        "token",
        "token",
        issued.row["token_hash"][:12],
        issued.row["patient_id"],
    )
