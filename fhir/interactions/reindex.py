"""Resources that an earlier release indexed get the index rows of this one (`INDEX_VERSION`).

Until a resource is done, a search by what is new does not find it; everything else does. It is not written:
no version, no event, no audit.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, select, update
from sqlalchemy.engine import Row as ResultRow

from fhir.consents.keep import IMAGING_STUDY, KEPT, keep_consents
from fhir.interactions.body import unpack
from fhir.interactions.door import surroundings_of
from fhir.interactions.mentions import PROVENANCE, add_mentions, inherit_mentions, inherits_from
from fhir.interactions.write import BINARY, COMPARTMENT, PATIENTS, RESOURCE, lock_name
from fhir.model.json_codec import decode_json
from fhir.search.compartment import patients_of, told_of
from fhir.search.denied import SECURITY
from fhir.search.index import INDEX_VERSION, index_rows
from fhir.search.kinds import TABLES
from fhir.search.token import TOKEN
from fhir.search.value import Surroundings
from fhir.subscriptions.request import SUBSCRIPTION
from server.kernel.bulk import insert_rows
from server.kernel.database import UnitOfWork
from server.kernel.services import Services

ROWS_AT_ONCE = 100  # in one transaction: a tenth of a second for the writer
TRANSACTIONS_OF_A_STEP = 10

# Of these more was known when they were written than they say: by their context, or by who wrote them.
_KEEPING = frozenset({BINARY, PROVENANCE, SUBSCRIPTION})

_DELETES = [delete(table).where(table.c.rid == bindparam("key")) for table in (*TABLES, COMPARTMENT)]
_DONE = update(RESOURCE).where(RESOURCE.c.rid == bindparam("key")).values(index_version=INDEX_VERSION)

_OUTDATED = RESOURCE.c.index_version < INDEX_VERSION
_ANY_OUTDATED = select(RESOURCE.c.rid).where(_OUTDATED).limit(1)
_LABELLED_STUDY = and_(
    _OUTDATED,
    RESOURCE.c.type == IMAGING_STUDY,
    exists().where(TOKEN.table.c.rid == RESOURCE.c.rid, TOKEN.table.c.param == SECURITY),
)


async def refresh_search(services: Services) -> int:
    """Index some resources again, and say how many that were."""
    around = surroundings_of(services)
    done = 0
    for _ in range(TRANSACTIONS_OF_A_STEP):
        some = await services.database.transact(lambda unit: _refresh(unit, around))
        done += some
        if some < ROWS_AT_ONCE:
            break
    return done


async def refresh_labelled_studies(services: Services) -> int:
    """Index the ImagingStudies with security labels again, all of them, and say how many that were.

    What patients deny by labels is enforced by what is kept with it. When it ends, there are no more of them.
    """
    async with services.database.read() as connection:
        if (await connection.execute(_ANY_OUTDATED)).first() is None:  # as a rule: one look at an index
            return 0
    around = surroundings_of(services)
    done = 0
    while some := await services.database.transact(lambda unit: _refresh(unit, around, _LABELLED_STUDY)):
        done += some
    return done


async def _refresh(unit: UnitOfWork, around: Surroundings, which: ColumnElement[bool] = _OUTDATED) -> int:
    """Returns how many were found, also when another server was at them."""
    found, rows = await _hold_outdated(unit, which)
    for row in sorted(rows, key=lambda row: bool(row.type == PROVENANCE)):  # these tell of what others do
        if not row.deleted:
            kept = (await unit.execute(PATIENTS, {"key": row.rid})).scalars().all()
            for statement in _DELETES:
                await unit.execute(statement, {"key": row.rid})
            resource = decode_json(unpack(row.body))
            made = {
                table: [{"rid": row.rid, **each} for each in found]
                for table, found in index_rows(resource, around).items()
            }
            patients = patients_of(resource, row.id, around)
            patients |= frozenset(kept) if row.type in _KEEPING else frozenset()
            made[COMPARTMENT] = [{"rid": row.rid, "patient_id": each} for each in sorted(patients)]
            await insert_rows(unit.connection, {table: some for table, some in made.items() if some})
            version = (row.rid, row.version_id)
            await add_mentions(unit, version, told_of(resource, row.id, patients, around))
            await inherit_mentions(unit, version, inherits_from(resource, patients, around))
            if row.type in KEPT:
                await keep_consents(unit, resource, (row.rid, row.id, row.version_id), around)
        await unit.execute(_DONE, {"key": row.rid})
    return found


async def _hold_outdated(
    unit: UnitOfWork, which: ColumnElement[bool]
) -> tuple[int, Sequence[ResultRow[Any]]]:
    """Some of them, held: a writer's index rows and these would be mixed."""
    c = RESOURCE.c
    outdated = select(c.rid, c.type, c.id).where(which)
    found = (await unit.execute(outdated.order_by(c.rid).limit(ROWS_AT_ONCE))).all()
    await unit.lock(lock_name(row.type, row.id) for row in found)
    still = select(RESOURCE).where(c.rid.in_([row.rid for row in found]), _OUTDATED)
    return len(found), (await unit.execute(still)).all()
