"""Keys that sign id_tokens (RS256, OpenID Connect Core §15.1), and their rotation.

The private half lies in a row, sealed under the master key. A key is in the JWK Set `PUBLISHED_US` before it
signs, so whoever keeps the set for that long knows it; the first one of an installation signs at once. A
retired key stays in the set until what it signed has expired.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import insert, select, update

from server.auth.tables import SigningKey
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.rows import table_of
from server.kernel.sealed_text import open_text, seal_text
from server.kernel.uids import new_id

_KEY = table_of(SigningKey)

ALGORITHM = "RS256"
RSA_BITS = 3072  # NIST SP 800-57: until 2030 and after
PUBLISHED_US = 24 * 3600 * SECOND_US
LOOK_AGAIN_US = 60 * SECOND_US  # how long a process may not know of a rotation
ID_TOKEN_S = 300  # an app looks at it once

Sign = Callable[[Mapping[str, Any]], str]  # claims to a signed JWT


class SigningKeys:
    """The keys of the installation, as this process knows them."""

    def __init__(self, database: Database, keys: Keyring, clock: Clock = now_us) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._rows: Sequence[Any] = ()
        self._looked_us = 0
        self._opened: dict[str, RSAKey] = {}

    async def jwks(self) -> dict[str, Any]:
        """The JWK Set (RFC 7517 §5): every key whose signatures are, or will be, looked at."""
        return {"keys": [orjson.loads(row.public_jwk) for row in await self._known()]}

    async def signer(self) -> Sign:
        """What signs claims by the key of now; to be used at once."""
        signing = [row for row in await self._known() if row.signs_from_us <= self._clock()]
        newest = max(signing, key=lambda row: row.signs_from_us)
        if newest.kid not in self._opened:
            private = open_text(self._keys, newest.sealed_jwk, _place(newest.kid))
            self._opened = {newest.kid: RSAKey.import_key(orjson.loads(private))}
        header, key = {"alg": ALGORITHM, "typ": "JWT", "kid": newest.kid}, self._opened[newest.kid]
        return lambda claims: jwt.encode(dict(header), dict(claims), key, algorithms=[ALGORITHM])

    async def rotate(self, by: Principal) -> str:
        """Make the key that signs next, and retire those before it; returns its id."""
        kid = await self._make(by, delay_us=PUBLISHED_US)
        self._looked_us = 0
        return kid

    async def _known(self) -> Sequence[Any]:
        if self._looked_us + LOOK_AGAIN_US > self._clock():
            return self._rows
        rows = await self._read()
        if not rows:
            await self._make(Principal("system:server", "server"), delay_us=0)
            rows = await self._read()
        self._rows, self._looked_us = rows, self._clock()
        return rows

    async def _read(self) -> Sequence[Any]:
        in_use = _KEY.c.verifies_until_us.is_(None) | (_KEY.c.verifies_until_us > self._clock())
        async with self._database.read() as connection:
            return (await connection.execute(select(_KEY).where(in_use).order_by(_KEY.c.id))).all()

    async def _make(self, by: Principal, *, delay_us: int) -> str:
        """Make a key, unless it would be the first and somebody else was quicker."""
        kid = new_id()
        key = await asyncio.to_thread(_new_key, kid)
        row = {
            "kid": kid,
            "public_jwk": orjson.dumps(key.as_dict(private=False)).decode(),
            "sealed_jwk": seal_text(self._keys, orjson.dumps(key.as_dict(private=True)), _place(kid)),
        }

        async def work(unit: UnitOfWork) -> str:
            await unit.lock(["signing keys"])
            current = _KEY.c.verifies_until_us.is_(None)
            known = (await unit.execute(select(_KEY.c.kid).where(current))).scalars().all()
            if known and not delay_us:
                return str(known[0])
            retired = unit.now_us + delay_us + ID_TOKEN_S * SECOND_US
            await unit.execute(update(_KEY).where(current).values(verifies_until_us=retired))
            signs_from_us = unit.now_us + delay_us if known else 0  # whatever a process's clock says
            await unit.execute(insert(_KEY), [{**row, "signs_from_us": signs_from_us}])
            unit.audit(AuditEntry(by, Action.CREATE, "signing-key", "key", kid))
            return kid

        return await self._database.transact(work)


def _new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(RSA_BITS, {"kid": kid, "use": "sig", "alg": ALGORITHM}, private=True)


def _place(kid: str) -> str:
    return f"signing key {kid}"
