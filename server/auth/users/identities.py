"""How an external OpenID provider names somebody: by `iss` and `sub`, and by nothing else (Core 1.0 §5.7).

E-mail addresses, user names and the like change hands; whoever believes them lets one user be another.
"""

from dataclasses import dataclass

from sqlalchemy import select

from server.auth.tables import UserAccount
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of

_USER = table_of(UserAccount)

MAX_SUBJECT = 255  # characters of `sub` (OpenID Connect Core §2)


class InvalidIdentity(Fault):
    """Nobody can be named so."""


class IdentityTaken(Fault):
    """Another account has it."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody at a provider."""

    issuer: str
    subject: str

    @property
    def lock(self) -> str:
        """What holds it while an account is given it."""
        return f"identity {self.issuer} {self.subject}"


def is_subject(value: object) -> bool:
    """Whether this can be a `sub`: ASCII that a database can hold."""
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_SUBJECT and value.isascii() and value.isprintable()
    )


async def require_unknown(unit: UnitOfWork, identity: Identity, but: str = "") -> None:
    """Let pass what no account has, `but` the one of this name; it is held until the transaction ends.

    Raises:
        InvalidIdentity: nobody can be named so.
        IdentityTaken: an account has it, in use or not.
    """
    if not is_subject(identity.subject):
        raise InvalidIdentity(f"A subject has 1 to {MAX_SUBJECT} ASCII characters.")
    await unit.lock([identity.lock])
    theirs = (
        (_USER.c.issuer == identity.issuer) & (_USER.c.subject == identity.subject) & (_USER.c.name != but)
    )
    if (await unit.execute(select(_USER.c.id).where(theirs))).first() is not None:
        raise IdentityTaken("There is, or was, another user with this login at the provider.")
