"""That the glass was broken: the row which an auditor looks at, and what it was used for.

A grant with the purpose of use BTG (v3 ActReason) is not held to what the Consents of its patient deny. It
ends after `LASTS_US`, or with the session if that is sooner, and buys no refresh token: so it has one access
token, by which audit finds all that was done with it.
"""

import unicodedata

from sqlalchemy import Connection, insert, update

from server.auth.denials import EMERGENCY
from server.auth.tables import EmergencyAccess
from server.auth.tokens import hash_secret
from server.auth.users.accounts import User
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.metrics import counter
from server.kernel.rows import table_of

_EMERGENCY = table_of(EmergencyAccess)

BREAK_GLASS = "break-glass"  # the interaction that audit names
LASTS_US = 3600 * SECOND_US
MIN_REASON, MAX_REASON = 10, 500  # characters, in one line

BROKEN = counter("isthmus_emergency_accesses", "Times that the glass was broken.")

_UNSEEN = {"Cc": " ", "Cf": ""}  # Unicode categories: what a terminal would obey, what turns a text around


def one_line(typed: str) -> str:
    """What somebody typed, in one line, and as it is seen."""
    return " ".join("".join(_UNSEEN.get(unicodedata.category(each), each) for each in typed).split())


async def note_access(
    unit: UnitOfWork, user: User, client_id: str, grant: tuple[int, str], reason: str
) -> int:
    """Keep and audit that a user broke the glass, in the transaction of its grant; returns its number.

    `grant` is its id, and that of the patient whose record it opens.
    """
    grant_id, patient_id = grant
    row = {
        "grant_id": grant_id,
        "user_id": user.id,
        "patient_id": patient_id,
        "client_id": client_id,
        "reason": reason,
        "begun_us": unit.now_us,
    }
    made = await unit.execute(insert(_EMERGENCY).values(**row).returning(_EMERGENCY.c.id))
    number: int = made.scalar_one()
    unit.audit(
        AuditEntry(
            Principal(user.principal.id, user.display, f"client:{client_id}", purpose=EMERGENCY),
            Action.EXECUTE,
            BREAK_GLASS,
            "emergency-access",
            str(number),
            patient_id,
        )
    )
    return number


def note_token(connection: Connection, grant_id: int, token: str) -> None:
    """Note the access token of a grant, as audit names it."""
    mine = update(_EMERGENCY).where(_EMERGENCY.c.grant_id == grant_id)
    connection.execute(mine.values(token=hash_secret(token)[:12]))
