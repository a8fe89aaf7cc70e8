"""Forwarding as a job: what is settled goes on in the order of the trail, at least once, a batch at a time.

The position stands in a row and moves once a batch is delivered: a process that is killed sends that batch
again. The job is exclusive, so one process forwards; a receiver that does not answer costs a thread and a
slot of the notifications, and the job comes back later each time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import insert, select, update

from fhir.audit_events.render import Entry
from server.audit.chain import select_between, settled_to_us
from server.audit.forward.message import audit_message
from server.audit.forward.receiver import Receiver
from server.audit.forward.syslog import frame, syslog_message
from server.audit.seal import Key
from server.audit.tables import AuditForward
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import UnitOfWork
from server.kernel.metrics import Fact
from server.kernel.rows import table_of
from server.kernel.services import Services

EVERY_S = 60
MAX_BATCH = 500  # entries of one connection; each has some 2 KB
HELD_DAYS = 90  # so much longer than the settings say retention keeps what was not forwarded
LOCK = "audit-forward"
START: Key = (0, -1)

log = structlog.get_logger(__name__)

_FORWARD = table_of(AuditForward)


async def forward_settled(services: Services) -> int:
    """Send the next batch; returns how many entries, 0: that was all, or nothing is to be forwarded.

    Raises:
        ReceiverUnavailable: it was not delivered.
    """
    if services.syslog is None:
        return 0
    before_us = await settled_to_us(services.database)
    async with services.database.read() as connection:
        position = await read_position(connection)
        batch = select_between(position, (before_us, 0), MAX_BATCH)
        rows = (await connection.execute(batch)).mappings().all()
    if not rows:
        return 0
    receiver = Receiver(services.syslog)
    try:
        await asyncio.to_thread(lambda: receiver.send(render_batch(rows, services.public_base)))
    except asyncio.CancelledError:
        receiver.abort()
        raise
    await services.database.transact(lambda unit: _advance(unit, position, rows[-1]))
    return len(rows) if len(rows) == MAX_BATCH else 0


def render_batch(rows: Sequence[Mapping[str, Any]], source: str) -> bytes:
    """The framed messages of some rows of the trail; `source` is the public base."""
    host = urlsplit(source).hostname or "-"
    messages = []
    for row in rows:
        entry = Entry(**row)
        message = audit_message(entry, source)
        messages.append(frame(syslog_message(message, entry.recorded_us, entry.outcome, host)))
    return b"".join(messages)


async def read_position(connection: Any) -> Key:
    """The key of the last entry that was delivered."""
    c = _FORWARD.c
    row = (await connection.execute(select(c.to_us, c.to_sequence).where(c.id == 1))).first()
    return START if row is None else (row.to_us, row.to_sequence)


async def keep_unsent(unit: UnitOfWork, cutoff_us: int) -> int:
    """Up to when retention may take entries of the trail that it would take up to `cutoff_us`."""
    sent_us = (await read_position(unit.connection))[0]
    return max(min(cutoff_us, sent_us), cutoff_us - HELD_DAYS * 86_400 * SECOND_US)


async def forward_facts(services: Services) -> list[Fact]:
    """How far forwarding is behind; no value: nothing is forwarded."""
    name, text = "isthmus_audit_forward_lag_seconds", "How long ago the oldest entry that waits was ready."
    if services.syslog is None:
        return [Fact(name, text)]
    before_us = await settled_to_us(services.database)
    async with services.database.read() as connection:
        position = await read_position(connection)
        first = (await connection.execute(select_between(position, (before_us, 0), 1))).mappings().first()
    lag_us = 0 if first is None else before_us - first["recorded_us"]
    return [Fact(name, text, (), [((), lag_us / SECOND_US)])]


async def _advance(unit: UnitOfWork, before: Key, last: Mapping[str, Any]) -> None:
    """Say that all up to `last` is delivered, unless another process said more meanwhile."""
    await unit.lock([LOCK])
    if await read_position(unit.connection) != before:
        log.warning("audit entries were forwarded twice")
        return
    values = {"to_us": last["recorded_us"], "to_sequence": last["sequence"], "sent_us": now_us()}
    if not (await unit.execute(update(_FORWARD).where(_FORWARD.c.id == 1).values(values))).rowcount:
        await unit.execute(insert(_FORWARD), [{"id": 1, **values}])
