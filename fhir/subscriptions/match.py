"""Which changes which subscribers are to be told of: a reader of the outbox (FHIR R4 subscription.html).

Each change is looked at once, by one process at a time, in the order in which changes became visible; what
comes of it, the notifications and the jobs that deliver them, is committed with the reader's cursor. The
criteria are the search they would be as a request, with the reach of who asked for the Subscription in its
SQL, narrowed to what changed. So a batch of changes costs one statement for each Subscription to their type.

As R4 has it, the criteria meet the new value, and neither a deletion nor a change that no longer fulfils the
criteria is told of. The value is that of the moment of looking: of changes in quick succession the newest.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Select, select

from fhir.interactions.door import surroundings_of
from fhir.interactions.write import CHANGED
from fhir.search.query import SearchQuery
from fhir.search.reach import R
from fhir.search.sql import select_page
from fhir.search.value import InvalidSearch, Surroundings, UnsupportedSearch
from fhir.subscriptions.authority import AccessBy, AuthorityEnded, access_now, reach_of
from fhir.subscriptions.request import ACTIVE, ERROR, SUBSCRIPTION, query_of
from fhir.subscriptions.state import NOTIFICATION, STATE, Standing, end, find_standing, forget
from server.kernel.access import Reach
from server.kernel.bulk import insert_rows
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import Forbidden
from server.kernel.jobs import NOTIFY, Job
from server.kernel.outbox import Event, consume, pass_by
from server.kernel.services import Services

READER = "subscriptions"
DELIVER = "deliver-notifications"
# A transaction that began before a Subscription may commit after it. So who subscribes may also hear of what
# was written up to this long before: rather too much than too little.
EARLIER_US = 30 * SECOND_US


@dataclass(frozen=True, slots=True)
class Change:
    """A resource was written; of type and id."""

    type: str
    id: str
    occurred_us: int


def deliver_job(rid: int, delay_s: float = 0.0) -> Job:
    """Deliver what waits for a Subscription; never two at once, so it stays in order."""
    return Job(
        DELIVER, {"subscription": rid}, NOTIFY, delay_s=delay_s, dedupe_key=f"{DELIVER}:{rid}", exclusive=True
    )


async def match_changes(services: Services, access_by: AccessBy) -> int | None:
    """Look at the next batch of changes; returns how many there were, None when nobody listens."""
    async with services.database.read() as connection:
        is_wanted = (await connection.execute(_AN_ACTIVE)).first() is not None
    if not is_wanted:
        await pass_by(services.database, READER, [CHANGED], _is_wanted)
        return None
    return await consume(services.database, READER, [CHANGED], partial(_match, services, access_by))


_AN_ACTIVE = select(STATE.c.rid).where(STATE.c.status == ACTIVE).limit(1)


async def _is_wanted(unit: UnitOfWork) -> bool:
    return (await unit.execute(_AN_ACTIVE)).first() is not None


async def _match(services: Services, access_by: AccessBy, unit: UnitOfWork, events: Sequence[Event]) -> None:
    around = surroundings_of(services)
    changes, deleted = _read(events)
    if gone := deleted.get(SUBSCRIPTION):
        await forget(unit, gone)
    of_types = (STATE.c.status == ACTIVE, STATE.c.resource_type.in_(sorted(changes)))
    rows: list[dict[str, Any]] = []
    for standing in await find_standing(unit.connection, *of_types):
        wanted = [
            each
            for each in changes[standing.resource_type]
            if each.occurred_us > standing.since_us - EARLIER_US
        ]
        rids = await _rids_that_match(unit, standing, wanted, around, access_by)
        told = [(rids[each.id], each.occurred_us) for each in wanted if each.id in rids]
        rows += [_row(standing, rid, occurred_us) for rid, occurred_us in told]
        if told:
            wait_us = max(0, (standing.next_us or 0) - unit.now_us)
            unit.defer(deliver_job(standing.rid, wait_us / SECOND_US))
    if rows:
        await insert_rows(unit.connection, {NOTIFICATION: rows})


def _row(standing: Standing, rid: int, occurred_us: int) -> dict[str, Any]:
    return {"subscription_rid": standing.rid, "resource_rid": rid, "occurred_us": occurred_us}


def _read(events: Sequence[Event]) -> tuple[dict[str, list[Change]], dict[str, list[str]]]:
    """The changes, and the ids of what was deleted, by resource type."""
    changes: dict[str, list[Change]] = defaultdict(list)
    deleted: dict[str, list[str]] = defaultdict(list)
    for event in events:
        resource_type, _, resource_id = event.subject.partition("/")
        if '"deleted"' in event.payload and orjson.loads(event.payload).get("deleted"):
            deleted[resource_type].append(resource_id)
        else:
            changes[resource_type].append(Change(resource_type, resource_id, event.occurred_us))
    return changes, deleted


async def _rids_that_match(
    unit: UnitOfWork,
    standing: Standing,
    changes: Sequence[Change],
    around: Surroundings,
    access_by: AccessBy,
) -> dict[str, int]:
    """Of these resources those that the criteria find, by id; a Subscription that cannot ask is ended."""
    if not changes or (standing.end_us is not None and standing.end_us <= unit.now_us):
        return {}
    try:
        access = await access_now(unit.connection, standing.authority, access_by)
        reach = reach_of(access, standing.resource_type)
        ids = {each.id for each in changes}
        query = query_of(standing.resource_type, standing.criteria, access, ids)
    except (AuthorityEnded, Forbidden, InvalidSearch, UnsupportedSearch) as refused:
        await end(unit, standing, ERROR, str(refused), around)
        return {}
    return {row.id: row.rid for row in await unit.execute(select_changed(query, reach, around))}


def select_changed(query: SearchQuery, reach: Reach, around: Surroundings) -> Select[Any]:
    """Id and rid of what matches; the query is of changed resources, by which the statement begins."""
    page = select_page(query, reach, around, None).with_only_columns(R.c.id, R.c.rid)
    return page.order_by(None).limit(None)  # in order, SQLite would walk through the whole type
