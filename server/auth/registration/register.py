"""Apps that register themselves: made, read, replaced and taken back (RFC 7591 §3, RFC 7592 §2)."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import insert, update

from server.auth.clients import InvalidClientMetadata, Wanted, client_row, select_client
from server.auth.registration.metadata import Metadata, wanted_of
from server.auth.registration.tokens import use_registration_token
from server.auth.tables import OAuthClient
from server.auth.tokens import hash_secret
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.uids import new_id, new_secret

_CLIENT = table_of(OAuthClient)
_SHOWN = ("client_id", "scope", "token_endpoint_auth_method")


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered app as it is told of itself."""

    row: Mapping[str, Any]
    secret: str | None = None  # None: it has none, or was shown it before


async def register(
    database: Database, metadata: Metadata, token: str | None, by: Principal
) -> tuple[Registration, str] | None:
    """Register an app; returns it with its registration access token. None: the initial token is used up.

    `token` None: registration is open (setting `open_registration`).

    Raises:
        InvalidRedirect, InvalidClientMetadata, InvalidScope: it cannot be as it asks.
    """
    row, secret = _row(wanted_of(metadata), new_secret())
    access_token = new_secret()
    row |= {"client_id": new_id(), "registration_hash": hash_secret(access_token)}

    async def work(unit: UnitOfWork) -> tuple[Registration, str] | None:
        if token is not None and not await use_registration_token(unit, token):
            return None
        row["created_us"] = unit.now_us
        await unit.execute(insert(_CLIENT), [row])
        unit.audit(AuditEntry(by, Action.CREATE, "client", "client", row["client_id"]))
        return Registration(row, secret), access_token

    return await database.transact(work)


async def find_registration(database: Database, client_id: str, access_token: str) -> Registration | None:
    """The app whose registration access token this is; None: it is nobody's, or of another app."""
    async with database.read() as connection:
        row = (await connection.execute(select_client(client_id))).mappings().one_or_none()
    kept = None if row is None else row["registration_hash"]
    if row is None or kept is None or not hmac.compare_digest(kept, hash_secret(access_token)):
        return None
    return Registration(dict(row))


async def replace_registration(
    database: Database, registered: Registration, metadata: Metadata
) -> Registration:
    """Replace what an app said of itself; it keeps its secret as long as it needs one (RFC 7592 §2.2).

    Raises:
        InvalidRedirect, InvalidClientMetadata, InvalidScope: it cannot be as it asks.
    """
    kept = registered.row
    if metadata.client_id != kept["client_id"]:
        raise InvalidClientMetadata("client_id must be that of the client.")
    if metadata.client_secret is not None and hash_secret(metadata.client_secret) != kept["secret_hash"]:
        raise InvalidClientMetadata("client_secret is not that of the client.")
    row, secret = _row(wanted_of(metadata), new_secret())
    if secret is not None and kept["secret_hash"] is not None:
        row["secret_hash"], secret = kept["secret_hash"], None

    mine = _CLIENT.c.client_id == kept["client_id"]

    async def work(unit: UnitOfWork) -> None:
        await unit.execute(update(_CLIENT).where(mine).values(**row))
        unit.audit(_by_itself(Action.UPDATE, kept))

    await database.transact(work)
    return Registration({**kept, **row}, secret)


async def take_back(database: Database, registered: Registration) -> None:
    """Take an app out of use, with all its tokens (RFC 7592 §2.3)."""
    mine = _CLIENT.c.client_id == registered.row["client_id"]

    async def work(unit: UnitOfWork) -> None:
        gone = {"disabled_us": unit.now_us, "registration_hash": None}
        await unit.execute(update(_CLIENT).where(mine, _CLIENT.c.disabled_us.is_(None)).values(**gone))
        unit.audit(_by_itself(Action.DELETE, registered.row))

    await database.transact(work)


def told(registered: Registration, access_token: str, public_base: str) -> dict[str, Any]:
    """The client information response (RFC 7591 §3.2.1, RFC 7592 §3)."""
    row = registered.row
    said = {name: row[name] for name in _SHOWN} | {
        "client_id_issued_at": row["created_us"] // SECOND_US,
        "client_name": row["name"],
        "grant_types": orjson.loads(row["grant_types"]),
        "response_types": ["code"],
        "redirect_uris": orjson.loads(row["redirect_uris"]),
        "registration_access_token": access_token,
        "registration_client_uri": f"{public_base}/auth/register/{row['client_id']}",
    }
    if row["jwks_uri"] is not None:
        said["jwks_uri"] = row["jwks_uri"]
    if row["jwks"] is not None:
        said["jwks"] = orjson.loads(row["jwks"])
    if registered.secret is not None:
        said |= {"client_secret": registered.secret, "client_secret_expires_at": 0}
    return said


def _row(wanted: Wanted, secret: str) -> tuple[dict[str, Any], str | None]:
    """The columns that metadata decides, and the secret if the app gets one."""
    needed = secret if wanted.has_secret else None
    return client_row(wanted, needed), needed


def _by_itself(action: Action, row: Mapping[str, Any]) -> AuditEntry:
    principal = Principal(f"client:{row['client_id']}", row["name"])
    return AuditEntry(principal, action, "client", "client", row["client_id"])
