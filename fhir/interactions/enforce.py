"""Consents and labels of studies that were written and not read, by an earlier release, beside this one too.

What a Consent denies is written with it (`fhir/consents/keep.py`), and so are the labels of a study. Looked
for when a server starts, before it answers, and then once a minute: Consents by the version that was read
last, studies by the release that indexed them.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.engine import Row as ResultRow

from fhir.consents.keep import CONSENT, drop_consents, keep_consents
from fhir.interactions.body import unpack
from fhir.interactions.door import surroundings_of
from fhir.interactions.reindex import refresh_labelled_studies
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
    """Enforce what was not read yet; returns how much there was.

    When it ends, all is read: also what another server was at.
    """
    around = surroundings_of(services)
    done = await refresh_labelled_studies(services)
    while some := await services.database.transact(lambda unit: _enforce(unit, around)):
        done += some
    return done


async def _enforce(unit: UnitOfWork, around: Surroundings) -> int:
    found, rows = await _hold(unit)
    for row in rows:
        if row.deleted:
            await drop_consents(unit, row.type, row.rid)
        else:
            resource = decode_json(unpack(row.body))
            await keep_consents(unit, resource, (row.rid, row.id, row.version_id), around)
    return found


async def _hold(unit: UnitOfWork) -> tuple[int, Sequence[ResultRow[Any]]]:
    """Some of them, held: nobody writes another version meanwhile. And how many were found.

    These are fewer when another server was at them: there may be more, of which nobody is at any.
    """
    c = RESOURCE.c
    found = (await unit.execute(select(c.rid, c.type, c.id).where(_UNREAD).limit(ROWS_AT_ONCE))).all()
    await unit.lock(lock_name(row.type, row.id) for row in found)
    still = select(RESOURCE).where(c.rid.in_([row.rid for row in found]), _UNREAD)
    return len(found), (await unit.execute(still)).all()
