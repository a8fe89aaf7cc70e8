"""Consents that were written and not read: by an earlier release, beside this one in a rolling upgrade too.

What a Consent denies is written with it (`fhir/consents/keep.py`). Looked for when a server starts, before it
answers, and then once a minute: by the version that was read last.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.engine import Row as ResultRow

from fhir.consents.keep import CONSENT, drop_consents, keep_consents
from fhir.interactions.body import unpack
from fhir.interactions.door import surroundings_of
from fhir.interactions.write import RESOURCE, lock_name
from fhir.model.json_codec import decode_json
from fhir.search.value import Surroundings
from server.kernel.consents.keep import VERDICT
from server.kernel.database import UnitOfWork
from server.kernel.services import Services

ROWS_AT_ONCE = 100  # in one transaction: a tenth of a second for the writer

_OF_RESOURCE = VERDICT.c.rid == RESOURCE.c.rid
_UNREAD = and_(
    RESOURCE.c.type == CONSENT,
    or_(
        and_(
            ~RESOURCE.c.deleted, ~exists().where(_OF_RESOURCE, VERDICT.c.version_id == RESOURCE.c.version_id)
        ),
        and_(RESOURCE.c.deleted, exists().where(_OF_RESOURCE)),
    ),
)


async def enforce_outstanding(services: Services) -> int:
    """Enforce the Consents that were not read yet; returns how many there were."""
    around = surroundings_of(services)
    done = 0
    while some := await services.database.transact(lambda unit: _enforce(unit, around)):
        done += some
    return done


async def _enforce(unit: UnitOfWork, around: Surroundings) -> int:
    rows = await _hold(unit)
    for row in rows:
        if row.deleted:
            await drop_consents(unit, row.type, row.rid)
        else:
            resource = decode_json(unpack(row.body))
            await keep_consents(unit, resource, (row.rid, row.id, row.version_id), around)
    return len(rows)


async def _hold(unit: UnitOfWork) -> Sequence[ResultRow[Any]]:
    """Some of them, held: nobody writes another version meanwhile."""
    c = RESOURCE.c
    found = (await unit.execute(select(c.rid, c.type, c.id).where(_UNREAD).limit(ROWS_AT_ONCE))).all()
    await unit.lock(lock_name(row.type, row.id) for row in found)
    still = select(RESOURCE).where(c.rid.in_([row.rid for row in found]), _UNREAD)
    return (await unit.execute(still)).all()
