"""Registered clients: how one is added, found, and what it may ask for (RFC 7591 §2, SMART 2.2).

Secrets are made here and shown once. Keys are public: RSA of 2048 to 8192 bits for RS384, P-384 for ES384.
"""

import hmac
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from authlib.oauth2.rfc6749 import ClientMixin
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, RSAKey
from sqlalchemy import Select, insert, select, update

from server.auth.redirects import is_same_uri, require_redirect_uri
from server.auth.scopes import InvalidScope, Scopes, intersect, parse_scopes
from server.auth.tables import OAuthClient
from server.auth.tokens import hash_secret
from server.kernel.access import Context, Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, NotFound
from server.kernel.rows import table_of
from server.kernel.uids import new_id, new_secret

_CLIENT = table_of(OAuthClient)

_REPRESENTED = re.compile(r"(?:Organization|Device)/[A-Za-z0-9\-.]{1,64}")
MAX_KEYS = 32  # in one JWK Set
MAX_NAME = 200  # characters
MAX_REDIRECTS = 20  # URIs of one client
ADMINISTRATOR = Principal("system:administrator", "administrator")
RSA_BITS = range(2048, 8193)
SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})


class InvalidClientMetadata(Fault):
    """A client cannot be registered as described (RFC 7591 §3.2.2)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client shall be."""

    name: str  # for people; audit and the pages show it
    scope: str  # the most it may be granted
    jwks: str | None = None  # the text of its JWK Set; public keys only
    redirect_uris: Sequence[str] = ()  # of an app that users allow
    is_confidential: bool = False  # an app that can keep a secret
    secret_method: str = "client_secret_basic"  # noqa: S105  how it sends it, if it has one
    jwks_uri: str | None = None  # where its JWK Set is instead of in `jwks`
    may_launch: bool = False  # a backend client that prepares launches, as an EHR does
    represents: str | None = None  # of a backend client: who it is to a Consent, "Organization/…"

    @property
    def is_app(self) -> bool:
        """Whether users allow it, or it acts for itself."""
        return bool(self.redirect_uris)

    @property
    def method(self) -> str:
        """How it authenticates (RFC 7591 §2, token_endpoint_auth_method)."""
        if self.jwks is not None or self.jwks_uri is not None:
            return "private_key_jwt"
        return "none" if self.is_app and not self.is_confidential else self.secret_method

    @property
    def has_secret(self) -> bool:
        """Whether a secret is made for it."""
        return self.method in SECRET_METHODS

    @property
    def grant_types(self) -> Sequence[str]:
        """How it gets tokens."""
        return ["authorization_code", "refresh_token"] if self.is_app else ["client_credentials"]


@dataclass(frozen=True, slots=True)
class NewClient:
    """What the registrar hands to the client's maker; the secret is kept nowhere."""

    client_id: str
    client_secret: str | None  # None: the client authenticates by its keys


class RegisteredClient(ClientMixin):
    """A client in use, with the questions that Authlib's core asks of it."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.client_id: str = row["client_id"]
        self.name: str = row["name"]
        self.method: str = row["token_endpoint_auth_method"]
        self.jwks: str | None = row["jwks"]
        self.registered_itself: bool = row["registration_hash"] is not None
        self._secret_hash: str | None = row["secret_hash"]
        self._scope: str = row["scope"]
        self._grant_types: frozenset[str] = frozenset(orjson.loads(row["grant_types"]))
        self._redirect_uris: tuple[str, ...] = tuple(orjson.loads(row["redirect_uris"]))

    @property
    def principal_id(self) -> str:
        """The id of the Principal that this client is."""
        return f"client:{self.client_id}"

    def granted(self, requested: str | None) -> Scopes:
        """The part of the scopes asked for that this client may have for itself (system/ only).

        Raises:
            InvalidScope: nothing was asked for, or nothing of it may be granted.
        """
        if not requested:
            raise InvalidScope("The scope parameter is required.")
        allowed = parse_scopes(self._scope).in_context(Context.SYSTEM)
        granted = intersect(parse_scopes(requested), allowed)
        if not granted:
            raise InvalidScope("None of these scopes is granted to this client.")
        return granted

    def registered_scopes(self) -> Scopes:
        """The most that it may ask of anybody."""
        return parse_scopes(self._scope)

    def keys(self) -> KeySet:
        """The client's public keys.

        Raises:
            InvalidClientMetadata: it has none.
        """
        if self.jwks is None:
            raise InvalidClientMetadata("The client has no keys.")
        return read_jwks(self.jwks)

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self._redirect_uris[0] if len(self._redirect_uris) == 1 else ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Compared as strings, never as prefixes (RFC 9700 §2.1)."""
        return any(is_same_uri(each, redirect_uri) for each in self._redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        return self._secret_hash is not None and hmac.compare_digest(
            self._secret_hash, hash_secret(client_secret)
        )

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002  Authlib's signature
        """A client with a secret may send it either way; every other method is the registered one only."""
        if self.method in SECRET_METHODS:
            return method in SECRET_METHODS
        return method == self.method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and "authorization_code" in self._grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self._grant_types


def select_client(client_id: str) -> Select[Any]:
    """The row of a client in use."""
    return select(_CLIENT).where(_CLIENT.c.client_id == client_id, _CLIENT.c.disabled_us.is_(None))


async def find_client(database: Database, client_id: str) -> RegisteredClient | None:
    """A client in use; None: there is none such."""
    if not client_id or "\x00" in client_id:
        return None
    async with database.read() as connection:
        row = (await connection.execute(select_client(client_id))).one_or_none()
    return None if row is None else RegisteredClient(dict(row._mapping))


async def add_client(database: Database, wanted: Wanted, by: Principal = ADMINISTRATOR) -> NewClient:
    """Register a client: an app that users allow when it has redirect URIs, else a backend client.

    Raises:
        InvalidScope, InvalidRedirect, InvalidClientMetadata: it cannot be as asked.
    """
    new = NewClient(new_id(), new_secret() if wanted.has_secret else None)
    row = {**client_row(wanted, new.client_secret), "client_id": new.client_id}

    async def work(unit: UnitOfWork) -> None:
        await unit.execute(insert(_CLIENT), [{**row, "created_us": unit.now_us}])
        unit.audit(AuditEntry(by, Action.CREATE, "client", "client", new.client_id))

    await database.transact(work)
    return new


def client_row(wanted: Wanted, secret: str | None) -> dict[str, Any]:
    """The columns of a client that its registrar decides.

    Raises:
        InvalidScope: the scope is not understood, or of a backend client has no system/ scope.
        InvalidRedirect: a redirect URI is none that an answer may go to.
        InvalidClientMetadata: the name is blank or too long, or a key is not acceptable.
    """
    if not wanted.name.strip() or len(wanted.name) > MAX_NAME or not wanted.name.isprintable():
        raise InvalidClientMetadata(f"A client needs a name of at most {MAX_NAME} printable characters.")
    scopes = parse_scopes(wanted.scope)
    if not wanted.is_app and not scopes.in_context(Context.SYSTEM):
        raise InvalidScope("A backend client needs a system/ scope.")
    if wanted.is_app and scopes.in_context(Context.SYSTEM):
        raise InvalidScope("What users allow an app are patient/ and user/ scopes.")
    if wanted.represents is not None and (wanted.is_app or not _REPRESENTED.fullmatch(wanted.represents)):
        raise InvalidClientMetadata(
            "What a client that acts for itself represents is an Organization or Device."
        )
    if wanted.is_app and wanted.may_launch:
        raise InvalidClientMetadata("Launches are prepared by a client that acts for itself.")
    if len(wanted.redirect_uris) > MAX_REDIRECTS:
        raise InvalidClientMetadata(f"A client has at most {MAX_REDIRECTS} redirect URIs.")
    for uri in wanted.redirect_uris:
        require_redirect_uri(uri)
    if wanted.jwks is not None and wanted.jwks_uri is not None:
        raise InvalidClientMetadata("A client has jwks or jwks_uri (RFC 7591 section 2).")
    if wanted.jwks is not None:
        read_jwks(wanted.jwks)
    return {
        "name": wanted.name,
        "token_endpoint_auth_method": wanted.method,
        "secret_hash": None if secret is None else hash_secret(secret),
        "jwks": wanted.jwks,
        "jwks_uri": wanted.jwks_uri,
        "scope": scopes.text,
        "grant_types": orjson.dumps(wanted.grant_types).decode(),
        "redirect_uris": orjson.dumps(list(wanted.redirect_uris)).decode(),
        "may_launch": wanted.may_launch,
        "represents": wanted.represents,
    }


async def disable_client(database: Database, client_id: str, by: Principal = ADMINISTRATOR) -> bool:
    """Take a client out of use, and every token of it with it; False: it was not in use."""

    async def work(unit: UnitOfWork) -> bool:
        in_use = (_CLIENT.c.client_id == client_id) & _CLIENT.c.disabled_us.is_(None)
        disabled = await unit.execute(update(_CLIENT).where(in_use).values(disabled_us=unit.now_us))
        if disabled.rowcount:
            unit.audit(AuditEntry(by, Action.UPDATE, "client", "client", client_id))
        return bool(disabled.rowcount)

    return await database.transact(work)


async def let_launch(database: Database, client_id: str, may_launch: bool, by: Principal) -> None:
    """Say whether a client that acts for itself may prepare launches.

    Raises:
        NotFound: there is no such client in use, or it is an app of users.
    """

    async def work(unit: UnitOfWork) -> None:
        in_use = (_CLIENT.c.client_id == client_id) & _CLIENT.c.disabled_us.is_(None)
        backend = in_use & (_CLIENT.c.redirect_uris == "[]")
        changed = await unit.execute(update(_CLIENT).where(backend).values(may_launch=may_launch))
        if not changed.rowcount:
            raise NotFound("There is no such client in use that acts for itself.")
        unit.audit(AuditEntry(by, Action.UPDATE, "client", "client", client_id))

    await database.transact(work)


def write_jwks(keys: Any) -> str:
    """The text of a JWK Set that came as JSON.

    Raises:
        InvalidClientMetadata: no JWK Set is like that.
    """
    try:
        return orjson.dumps(keys).decode()
    except orjson.JSONEncodeError as error:  # numbers of more than 64 bits, lists in lists in lists
        raise InvalidClientMetadata("The JWK Set cannot be read.") from error


def read_jwks(text: str) -> KeySet:
    """Read a JWK Set of public signature keys (RFC 7517 §5).

    Raises:
        InvalidClientMetadata: it is malformed, or a key is private, weak, without `kid`, or of another kind.
    """
    try:
        keys = orjson.loads(text)["keys"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # weak keys are refused just below
            key_set = KeySet.import_key_set({"keys": keys[:MAX_KEYS]})
    except (ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
        raise InvalidClientMetadata("The JWK Set cannot be read.") from error
    for key, written in zip(key_set.keys, keys, strict=False):
        _check_key(key, written)
    if len(keys) != len(key_set.keys):
        raise InvalidClientMetadata(f"A JWK Set holds at most {MAX_KEYS} keys, RSA or P-384 ones only.")
    return key_set


def _check_key(key: Key, written: Mapping[str, Any]) -> None:
    if not isinstance(written.get("kid"), str):
        raise InvalidClientMetadata("Every key of a JWK Set needs a kid (SMART 2.2, client authentication).")
    if key.is_private:
        raise InvalidClientMetadata("The JWK Set holds a private key; only public keys are taken.")
    if isinstance(key, RSAKey) and key.public_key.key_size in RSA_BITS:
        return
    if isinstance(key, ECKey) and key.curve_name == "P-384":
        return
    raise InvalidClientMetadata("A key must be RSA of 2048 to 8192 bits (RS384) or P-384 (ES384).")
