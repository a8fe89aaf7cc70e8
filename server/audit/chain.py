"""The chain of seals in the database: read, grown at its end by a job, cut at its beginning by retention.

Entries are sealed in the order of the trail, once nothing can appear before them any more: transactions take
their time when they begin and are seen when they commit (`server/kernel/horizon.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import structlog
from sqlalchemy import BigInteger, Select, Tuple, delete, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.audit.seal import FIRST, Chain, Key, Seal, is_genuine, pack_entries
from server.audit.tables import AuditChain, AuditCheck, AuditSeal
from server.audit.witness import seen
from server.kernel.clock import SECOND_US, instant_text, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.faults import Fault, FaultKind
from server.kernel.horizon import settled_before_us
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow

MAX_SEALED = 1000  # entries of one seal
SEALS_AT_ONCE = 20  # in one run of the job
# An entry is sealed when it is so old: the audit of reads takes its time just before its own transaction, and
# waits for the database at most so long (`server.kernel.horizon.MAX_WAIT_S`).
SETTLE_US = 120 * SECOND_US
LOCK = "audit-chain"
_GONE = "The end of the audit trail's chain of seals is gone; see `isthmus audit verify`."

log = structlog.get_logger(__name__)

_AUDIT, _SEAL, _CHAIN = table_of(AuditRow), table_of(AuditSeal), table_of(AuditChain)
_CHECK = table_of(AuditCheck)
_SEAL_COLUMNS = [_SEAL.c[each.name] for each in fields(Seal)]
_CHAIN_COLUMNS = [_CHAIN.c[each.name] for each in fields(Chain)]


class DamagedChain(Fault):
    """The row that says where the chain ends is not ours: nothing is added, so that it stays seen."""

    kind = FaultKind.INTERNAL


@dataclass(frozen=True, slots=True)
class _Draft:
    """A seal that follows `after`, without its MAC."""

    after: Chain
    rows: Sequence[Mapping[str, Any]]

    def seal(self, sealed_us: int) -> Seal:
        last = self.rows[-1]
        return Seal(
            number=self.after.last + 1,
            to_us=last["recorded_us"],
            to_sequence=last["sequence"],
            sealed_us=sealed_us,
            entries=pack_entries(self.rows),
            previous=self.after.head,
        )


async def seal_settled(database: Database, keys: Keyring) -> int:
    """Seal what is settled; returns how many entries, 0: that was all.

    Raises:
        DamagedChain: somebody else wrote the end of the chain.
    """
    before_us = await settled_to_us(database)
    sealed = 0
    for _ in range(SEALS_AT_ONCE):
        count = await seal_before(database, keys, before_us)
        sealed += count
        if count < MAX_SEALED:
            return 0
    return sealed


async def settled_to_us(database: Database) -> int:
    """Before when no entry can appear any more."""
    async with database.read() as connection:
        settled_us = await settled_before_us(connection)
    return (now_us() if settled_us is None else settled_us) - SETTLE_US


async def seal_before(database: Database, keys: Keyring, before_us: int) -> int:
    """Make one seal of the entries after the last one, recorded before `before_us`; returns how many."""
    async with database.read() as connection:
        found = await read_chain(connection)
        chain = found or Chain()
        rows = (
            (await connection.execute(select_between(chain.to, (before_us, 0), MAX_SEALED))).mappings().all()
        )
    if not rows:
        return 0
    if found is None and seen(database) is not None:
        raise DamagedChain(_GONE)
    draft = _Draft(chain, rows)

    async def work(unit: UnitOfWork) -> int:
        await unit.lock([LOCK])
        own = await _own_chain(unit, keys) or Chain()
        if own.to != chain.to:  # another process was first
            return 0
        seal = draft.seal(unit.now_us)
        key_id, mac = seal.signed_by(keys.current)
        await unit.execute(insert(_SEAL), _values(replace(seal, key_id=key_id, mac=mac)))
        grown = replace(own, last=seal.number, to_us=seal.to_us, to_sequence=seal.to_sequence, head=mac)
        await _write_chain(unit, keys, grown)
        if seal.number == FIRST:
            log.warning("a chain of audit seals begins", entries_since=instant_text(rows[0]["recorded_us"]))
        log.info("audit sealed", seal=f"{seal.number}:{mac.hex()}", entries=len(rows))
        return len(rows)

    return await database.transact(work)


async def let_go(unit: UnitOfWork, keys: Keyring, before_us: int) -> None:
    """Say in the chain that retention took what was recorded before; seals of nothing else go."""
    await unit.lock([LOCK])
    chain = await _own_chain(unit, keys)
    if chain is None or chain.kept_us >= before_us:
        return
    s = _SEAL.c
    await unit.execute(delete(_SEAL).where(s.number <= chain.last, s.to_us < before_us))
    left = (await unit.execute(select(func.min(s.number)).where(s.number <= chain.last))).scalar()
    first = max(chain.first, chain.last + 1 if left is None else left)
    await _write_chain(unit, keys, replace(chain, first=first, kept_us=before_us))


async def read_chain(connection: AsyncConnection) -> Chain | None:
    """Where the chain begins and ends, as the database says; None: there is none."""
    row = (await connection.execute(select(*_CHAIN_COLUMNS).where(_CHAIN.c.id == 1))).mappings().first()
    return None if row is None else Chain(**row)


def select_seals(after: int, last: int, limit: int) -> Select[Any]:
    """The seals that follow one, in order, as `Seal` has them."""
    number = _SEAL.c.number
    return select(*_SEAL_COLUMNS).where(number > after, number <= last).order_by(number).limit(limit)


def select_between(after: Key, to: Key, limit: int) -> Select[Any]:
    """The entries that follow a key, up to another one, in the order of the trail."""
    c, key = _AUDIT.c, tuple_(_AUDIT.c.recorded_us, _AUDIT.c.sequence)
    months = c.recorded_us.between(after[0], to[0])  # PostgreSQL chooses partitions by single columns only
    rows = select(_AUDIT).where(months, key > _value(after), key <= _value(to))
    return rows.order_by(c.recorded_us, c.sequence).limit(limit)


def count_unsealed(chain: Chain) -> Select[int, Any]:
    """How many entries follow the last that was sealed, and when the first of them was recorded."""
    c = _AUDIT.c
    later = tuple_(c.recorded_us, c.sequence) > _value(chain.to)
    return select(func.count(), func.min(c.recorded_us)).where(c.recorded_us >= chain.to_us, later)


def _value(key: Key) -> Tuple:
    return tuple_(*(literal(each, BigInteger) for each in key))


async def _own_chain(unit: UnitOfWork, keys: Keyring) -> Chain | None:
    chain = await read_chain(unit.connection)
    if chain is None:
        seals, looks = select(_SEAL.c.number), select(_CHECK.c.position).where(_CHECK.c.position > 0)
        for left in (seals, looks):  # of a chain that was there
            if (await unit.execute(left.limit(1))).first() is not None:
                raise DamagedChain(_GONE)
        return None
    if not is_genuine(chain, keys):
        raise DamagedChain("The audit trail's chain of seals was changed; see `isthmus audit verify`.")
    return chain


async def _write_chain(unit: UnitOfWork, keys: Keyring, chain: Chain) -> None:
    key_id, mac = chain.signed_by(keys.current)
    values = _values(replace(chain, key_id=key_id, mac=mac))
    if not (await unit.execute(update(_CHAIN).where(_CHAIN.c.id == 1).values(values))).rowcount:
        await unit.execute(insert(_CHAIN), {"id": 1, **values})


def _values(row: Seal | Chain) -> dict[str, Any]:
    return {each.name: getattr(row, each.name) for each in fields(row)}
