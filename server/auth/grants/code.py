"""Authorization codes: they buy the first tokens of a grant, once (RFC 6749 §4.1, RFC 7636)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from server.auth.tables import AuthorizationCode
from server.auth.tokens import hash_secret
from server.kernel.clock import SECOND_US
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_CODE = table_of(AuthorizationCode)

CODE_US = 60 * SECOND_US
CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")  # RFC 7636 §4.2 for S256: a SHA-256 in base64url
VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")  # RFC 7636 §4.1


@dataclass(frozen=True, slots=True)
class Bound:
    """What a code is bound to; whoever redeems it says it again or proves it."""

    redirect_uri: str
    code_challenge: str
    nonce: str | None = None  # for the id_token (OpenID Connect Core §3.1.2.1)


def new_code(connection: Connection, grant_id: int, bound: Bound, now_us: int) -> str:
    """Make a code for a grant; returns its text."""
    code = new_secret()
    row = {
        "code_hash": hash_secret(code),
        "grant_id": grant_id,
        "redirect_uri": bound.redirect_uri,
        "code_challenge": bound.code_challenge,
        "nonce": bound.nonce,
        "expires_us": now_us + CODE_US,
    }
    connection.execute(insert(_CODE), [row])
    return code


def use_code(connection: Connection, code: str, now_us: int) -> tuple[Any, bool] | None:
    """The row of a code, and whether this was its first use; None: there is no such code.

    The update decides, so of two that come at the same time one is the second.
    """
    mine = _CODE.c.code_hash == hash_secret(code)
    fresh = update(_CODE).where(mine, _CODE.c.used_us.is_(None)).values(used_us=now_us)
    is_first = connection.execute(fresh).rowcount == 1
    row = connection.execute(select(_CODE).where(mine)).first()
    return None if row is None else (row, is_first)


def proves(row: Any, form: Mapping[str, str]) -> bool:
    """Whether a token request says what the code is bound to (RFC 7636 §4.6, RFC 6749 §4.1.3)."""
    verifier = form.get("code_verifier", "")
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    is_verified = VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(
        challenge, row.code_challenge
    )
    return is_verified and form.get("redirect_uri") == row.redirect_uri
