"""A request to authorize that is being answered: one row, from the app's question to its answer.

It belongs to the browser that began it: the handle in the URLs of its pages is of no use to another one.
"""

import hmac
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import insert, select, update

from server.auth.authorize.asked import Asked, RefusedRequest
from server.auth.grants.code import Bound
from server.auth.launches import Redeemed, find_launch, redeem_launch
from server.auth.scopes import parse_scopes
from server.auth.tables import AuthorizationRequest
from server.auth.tokens import hash_secret
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_REQUEST = table_of(AuthorizationRequest)

PENDING_US = 15 * 60 * SECOND_US  # from the first page to the answer


class NotPending(Fault):
    """There is no such request, or no longer, or it is another browser's."""

    kind = FaultKind.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for its user."""

    id: int
    asked: Asked
    launch: Redeemed | None  # None: the app was not launched by an EHR
    patient_id: str | None  # picked, or brought by the launch
    begun_us: int
    encounter_id: str | None = None  # picked; "": the user wants none; None: not asked yet


async def begin(database: Database, asked: Asked, browser: str) -> str:
    """Keep a request, and use up the launch that it names; returns its handle.

    Raises:
        RefusedRequest: the launch is not this client's, was used, or is too old.
    """
    handle = new_secret()

    async def work(unit: UnitOfWork) -> None:
        launch = None
        if asked.launch is not None:
            launch = await redeem_launch(unit, asked.launch, asked.client_id)
            if launch is None:
                raise RefusedRequest("invalid_request", "The launch is not known, or no longer.")
        row = {
            "handle_hash": hash_secret(handle),
            "browser_hash": hash_secret(browser),
            "client_id": asked.client_id,
            "parameters": _write(asked),
            "launch_id": None if launch is None else launch.id,
            "patient_id": None if launch is None else launch.prepared.patient_id,
            "expires_us": unit.now_us + PENDING_US,
        }
        await unit.execute(insert(_REQUEST), [row])

    await database.transact(work)
    return handle


async def find_pending(database: Database, handle: str, browser: str, now_us: int) -> Pending:
    """The request of a handle.

    Raises:
        NotPending: this browser has none such.
    """
    mine = (_REQUEST.c.handle_hash == hash_secret(handle)) & (_REQUEST.c.expires_us > now_us)
    async with database.read() as connection:
        row = (await connection.execute(select(_REQUEST).where(mine, _REQUEST.c.used_us.is_(None)))).first()
        if row is None or not hmac.compare_digest(row.browser_hash, hash_secret(browser)):
            raise NotPending("This page is no longer of use. Go back to the app and begin again.")
        launch = None if row.launch_id is None else await find_launch(connection, row.launch_id)
    return Pending(row.id, _read(row), launch, row.patient_id, row.expires_us - PENDING_US, row.encounter_id)


async def pick_patient(database: Database, pending: Pending, patient_id: str) -> None:
    """Note the patient that the user picked; the first pick counts, which the next page shows."""

    async def work(unit: UnitOfWork) -> None:
        mine = (_REQUEST.c.id == pending.id) & _REQUEST.c.used_us.is_(None) & _REQUEST.c.patient_id.is_(None)
        await unit.execute(update(_REQUEST).where(mine).values(patient_id=patient_id))

    await database.transact(work)


async def pick_encounter(database: Database, pending: Pending, patient_id: str, encounter_id: str) -> None:
    """Note the visit that the user picked, and whose it is: another login on this page goes on with both."""
    c = _REQUEST.c

    async def work(unit: UnitOfWork) -> None:
        mine = (c.id == pending.id) & c.used_us.is_(None) & c.encounter_id.is_(None)
        theirs = c.patient_id.is_(None) | (c.patient_id == patient_id)
        picked = {"patient_id": patient_id, "encounter_id": encounter_id}
        await unit.execute(update(_REQUEST).where(mine, theirs).values(**picked))

    await database.transact(work)


async def answer_once(unit: UnitOfWork, pending: Pending) -> None:
    """Take a request out of use, in the transaction of its answer.

    Raises:
        NotPending: it was answered before.
    """
    mine = (_REQUEST.c.id == pending.id) & _REQUEST.c.used_us.is_(None)
    if not (await unit.execute(update(_REQUEST).where(mine).values(used_us=unit.now_us))).rowcount:
        raise NotPending("This request was answered before. Go back to the app.")


def _write(asked: Asked) -> str:
    kept = {
        "scope": asked.scopes.text,
        "bound": asdict(asked.bound),
        "state": asked.state,
        "prompt": asked.prompt,
        "max_age_s": asked.max_age_s,
    }
    return orjson.dumps(kept).decode()


def _read(row: Any) -> Asked:
    kept = orjson.loads(row.parameters)
    return Asked(
        row.client_id,
        parse_scopes(kept["scope"]),
        Bound(**kept["bound"]),
        kept["state"],
        prompt=kept["prompt"],
        max_age_s=kept["max_age_s"],
    )
