"""What binds a login at the provider to the browser and the request that it is for (RFC 9700 §4.7, RFC 7636).

The state names the page to come back to and 256 random bits; the row of that page has its hash, once. The
code_verifier and the nonce follow from the browser's cookie and the state: only this browser's login has
them, and they are kept nowhere.
"""

import base64
import hashlib
import hmac

from sqlalchemy import update

from server.auth.authorize.pending import Pending
from server.auth.tables import AuthorizationRequest
from server.auth.tokens import hash_secret
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_REQUEST = table_of(AuthorizationRequest)


async def new_state(database: Database, pending: Pending, handle: str) -> str:
    """The state of a login that begins; one that was begun before for the same request is void."""
    state = f"{handle}.{new_secret()}"

    async def work(unit: UnitOfWork) -> None:
        mine = (_REQUEST.c.id == pending.id) & _REQUEST.c.used_us.is_(None)
        await unit.execute(update(_REQUEST).where(mine).values(state_hash=hash_secret(state)))

    await database.transact(work)
    return state


async def use_state(database: Database, pending: Pending, state: str) -> bool:
    """Use a state up; False: it is not that of the login under way, or was used. The update decides."""

    async def work(unit: UnitOfWork) -> bool:
        mine = (_REQUEST.c.id == pending.id) & (_REQUEST.c.state_hash == hash_secret(state))
        return bool((await unit.execute(update(_REQUEST).where(mine).values(state_hash=None))).rowcount)

    return await database.transact(work)


def handle_of(state: str) -> str:
    """The handle of the page that a state came from."""
    return state.partition(".")[0]


def verifier_of(browser: str, state: str) -> str:
    """The code_verifier (RFC 7636 §4.1)."""
    return _derived(browser, f"code_verifier {state}")


def challenge_of(verifier: str) -> str:
    """Its S256 challenge (RFC 7636 §4.2)."""
    return _text(hashlib.sha256(verifier.encode()).digest())


def nonce_of(browser: str, state: str) -> str:
    """The nonce that the id_token must bring back (OpenID Connect Core §3.1.2.1)."""
    return _derived(browser, f"nonce {state}")


def _derived(browser: str, purpose: str) -> str:
    return _text(hmac.new(browser.encode(), purpose.encode(), hashlib.sha256).digest())


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
