"""The chain of seals looked at without being asked: the newest part often, all of it once a day (DESIGN §8).

A step looks at a bounded number of seals. What it finds stays in a row under a MAC, which metrics tell; only
a later pass over the same part that finds nothing takes it back. That row and each process also keep the
newest seal that they saw: a chain without it is not the one that was. `isthmus audit verify` says what is
wrong to a person at once.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from enum import Enum

import structlog
from sqlalchemy import insert, select, update

from server.audit.chain import DamagedChain, read_chain
from server.audit.seal import Chain, Look, is_genuine
from server.audit.tables import AuditCheck
from server.audit.verify import TOLD, Findings, Noted, verify_part
from server.audit.witness import remember, seen
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.metrics import Fact, counter, fact
from server.kernel.rows import table_of

NEWEST_S, WHOLE_S = 300, 24 * 3600  # between two looks
NEWEST_SEALS = 5  # of up to 1000 entries
WHOLE_SEALS = 20  # of one step

log = structlog.get_logger(__name__)

_CHECK = table_of(AuditCheck)
_COLUMNS = [_CHECK.c[each.name] for each in fields(Look)]


class Checked(Enum):
    """A part of the chain."""

    NEWEST = "newest"
    WHOLE = "whole"


_FOUND = counter(
    "isthmus_audit_chain_findings", "What looks at the audit trail found wrong, each time.", ("part",)
)
for _part in Checked:
    _FOUND.labels(_part.value)  # 0 from the start on, so that the first one is an increase


async def check_newest(database: Database, keys: Keyring) -> int:
    """Look at the end of the chain, which only ever grows; returns 0: that was all.

    Raises:
        DamagedChain: somebody else wrote what earlier looks found.
    """
    known = await _read(database, keys, Checked.NEWEST)
    noted = _newest(Noted(known.position, known.head), seen(database))
    part = await verify_part(database, keys, None, NEWEST_SEALS, noted)
    if part.chain is not None:
        remember(database, part.chain)
        noted = Noted(part.chain.last, part.chain.head)
    if noted is not None:
        known = replace(known, position=noted.number, head=noted.mac)
    _tell(known, part.findings)
    await _write(database, keys, _ended(known, part.findings.count, part.findings.first))
    return 0


async def check_whole(database: Database, keys: Keyring) -> int:
    """Look at the next seals of this pass; returns how many there may be to come, 0: it has ended.

    Raises:
        DamagedChain: somebody else wrote what earlier looks found.
    """
    known = await _read(database, keys, Checked.WHOLE)
    part = await verify_part(database, keys, known.position, WHOLE_SEALS)
    _tell(known, part.findings)
    count = known.pass_found + part.findings.count
    first = [*(known.pass_finding or "").splitlines(), *part.findings.first][:TOLD]
    if part.ended:
        await _write(database, keys, _ended(replace(known, position=0), count, first))
        return 0
    text = "\n".join(first) or None
    if count > known.found:  # told at once; taken back by a whole pass only
        known = replace(known, found=count, finding=text)
    await _write(database, keys, replace(known, position=part.last, pass_found=count, pass_finding=text))
    return WHOLE_SEALS


async def audit_facts(database: Database, keys: Keyring | None) -> list[Fact]:
    """How much of each part is not as it was sealed, when it was last looked at, and where the chain ends."""
    before = seen(database)
    async with database.read() as connection:
        looks = [Look(**row) for row in (await connection.execute(select(*_COLUMNS))).mappings()]
        chain = await read_chain(connection)
    if keys is not None and chain is not None and is_genuine(chain, keys):
        remember(database, chain)
    damaged = {look.part: look.found for look in looks}
    forged = [look.part for look in looks if keys is not None and not is_genuine(look, keys)]
    if before is not None and (chain is None or chain.last < before.last):
        forged.append(Checked.NEWEST.value)
    damaged |= {part: max(1, damaged.get(part, 0)) for part in forged}
    return [
        Fact(
            "isthmus_audit_chain_damaged",
            "How much is not as it was sealed, of a part of the audit trail.",
            ("part",),
            [((part,), float(count)) for part, count in damaged.items()],
        ),
        Fact(
            "isthmus_audit_chain_checked_timestamp_seconds",
            "When a part of the chain was last looked at to its end, Unix time; 0: never.",
            ("part",),
            [((look.part,), look.checked_us / SECOND_US) for look in looks],
        ),
        fact(
            "isthmus_audit_chain_last_seal",
            "The number of the last seal, which only ever grows; 0: there is none.",
            float(0 if chain is None else chain.last),
        ),
    ]


def _newest(noted: Noted, chain: Chain | None) -> Noted | None:
    """The newest seal that a look or this process saw; None: neither saw one."""
    if chain is not None and chain.last > noted.number:
        return Noted(chain.last, chain.head)
    return noted if noted.number else None


def _ended(look: Look, count: int, first: Sequence[str]) -> Look:
    """A look that came to its end."""
    text = "\n".join(first) or None
    return replace(look, checked_us=now_us(), found=count, finding=text, pass_found=0, pass_finding=None)


def _tell(look: Look, findings: Findings) -> None:
    """Where no row of the database can take it back."""
    _FOUND.labels(look.part).inc(findings.count)
    for each in findings.first:
        log.error("the audit trail is damaged", part=look.part, finding=each, of=findings.count)


async def _read(database: Database, keys: Keyring, which: Checked) -> Look:
    """What earlier looks left."""
    async with database.read() as connection:
        found = await connection.execute(select(*_COLUMNS).where(_CHECK.c.part == which.value))
        row = found.mappings().first()
    look = Look(which.value) if row is None else Look(**row)
    if row is not None and not is_genuine(look, keys):
        raise DamagedChain("What looks at the audit trail found was changed; see `isthmus audit verify`.")
    return look


async def _write(database: Database, keys: Keyring, look: Look) -> None:
    key_id, mac = look.signed_by(keys.current)
    values = asdict(replace(look, key_id=key_id, mac=mac))

    async def work(unit: UnitOfWork) -> None:
        row = _CHECK.c.part == look.part
        if not (await unit.execute(update(_CHECK).where(row).values(values))).rowcount:
            await unit.execute(insert(_CHECK), [values])

    await database.transact(work)
