"""Whether the audit trail is what was sealed: the first entry that was changed, removed or added, by name.

Says nothing of entries that are not sealed yet, nor of what was recorded before retention's mark. A database
that was put back as a whole to an earlier state is consistent; a seal that was noted elsewhere (each is
logged) finds that out.
"""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from server.audit.chain import count_unsealed, read_chain, select_between, select_seals
from server.audit.seal import Chain, Key, Seal, digest_entry, is_genuine, unpack_entries
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.envelope import Keyring

_NOTED = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
PAGE = 20  # seals that are looked at together
BITE_BYTES = 1000 * 32  # of their entries, likewise: as many as one seal may have


@dataclass(frozen=True, slots=True)
class Noted:
    """A seal that somebody noted outside the database."""

    number: int
    mac: bytes


def parse_noted(text: str) -> Noted | None:
    """A seal as it is logged and told, `NUMBER:MAC`; None: it is none."""
    found = _NOTED.fullmatch(text)
    return Noted(int(found[1]), bytes.fromhex(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    seals: int
    entries: int
    unsealed: int
    unsealed_since_us: int | None  # None: nothing is unsealed
    chain: Chain | None  # None: nothing was ever sealed
    finding: str | None = None  # the first thing that is wrong; None: all is as it was sealed


class _Broken(Exception):
    """The first thing that is wrong."""


async def verify_trail(database: Database, keys: Keyring, noted: Noted | None = None) -> Verdict:
    """Walk over all seals and entries."""
    async with database.snapshot() as snapshot:
        chain = await read_chain(snapshot.connection)
        count, since_us = (await snapshot.connection.execute(count_unsealed(chain or Chain()))).one()
        walk = _Walk(snapshot.connection, keys, noted)
        finding = None
        try:
            await walk.over(chain)
        except _Broken as broken:
            finding = str(broken)
    return Verdict(walk.seals, walk.entries, count, since_us, chain, finding)


@dataclass(frozen=True, slots=True)
class Part:
    """What came of looking at some seals of the chain."""

    last: int  # the last seal that was looked at
    ended: bool  # there are no later ones
    finding: str | None = None  # the first thing that is wrong


async def verify_part(database: Database, keys: Keyring, after: int | None, most: int) -> Part:
    """Look at `most` seals that follow one, with their entries; `after` None: at the newest."""
    async with database.snapshot() as snapshot:
        chain = await read_chain(snapshot.connection)
        walk = _Walk(snapshot.connection, keys, None)
        if after is None:
            after = chain.last - most if chain is not None else 0
        try:
            last = await walk.over(chain, after, most)
        except _Broken as broken:
            return Part(after, True, str(broken))
    return Part(last, chain is None or last >= chain.last)


class _Walk:
    """A walk along the chain, which ends at the first thing that is wrong."""

    def __init__(self, connection: AsyncConnection, keys: Keyring, noted: Noted | None) -> None:
        self._connection, self._keys, self._noted = connection, keys, noted
        self.seals = self.entries = 0

    async def over(self, chain: Chain | None, after: int = 0, most: int | None = None) -> int:
        """Walk from the seal that follows `after` on, over `most` of them; returns the last."""
        if chain is None:
            await self._require_no_seals()
            return 0
        self._require_genuine(chain)
        number, head, at = await self._begin(chain, after)
        last = chain.last if most is None else min(chain.last, number + most)
        while number < last:
            rows = (await self._connection.execute(select_seals(number, last, PAGE))).mappings().all()
            seals = [Seal(**row) for row in rows]
            if not seals:
                raise _Broken(f"Seal {number + 1} is gone.")
            for seal in seals:
                self._check(seal, number + 1, head)
                number, head = seal.number, seal.mac
            for together in _in_bites(seals):
                await self._compare(together, at)
                at = max(at, together[-1].to)
        if number == chain.last and head is not None and not hmac.compare_digest(head, chain.head):
            raise _Broken(f"Seal {chain.last} is not the one that ended the chain.")
        return number

    def _require_genuine(self, chain: Chain) -> None:
        if not is_genuine(chain, self._keys):
            raise _Broken(
                "The row that says where the chain begins and ends was changed, or its key is unknown."
            )
        if self._noted is not None and not chain.first <= self._noted.number <= chain.last:
            raise _Broken(f"Seal {self._noted.number}, which was noted, is not in the chain.")

    async def _begin(self, chain: Chain, after: int) -> tuple[int, bytes | None, Key]:
        """Where to go on after a seal: its number, its MAC, the key of its last entry."""
        start = (chain.kept_us, -1)
        if not chain.first <= after <= chain.last:
            return chain.first - 1, None, start
        row = (await self._connection.execute(select_seals(after - 1, after, 1))).mappings().first()
        if row is None:
            raise _Broken(f"Seal {after} is gone.")
        seal = Seal(**row)
        self._check(seal, after, None)
        return after, seal.mac, max(start, seal.to)

    async def _require_no_seals(self) -> None:
        if self._noted is not None:
            raise _Broken(f"Seal {self._noted.number}, which was noted, is not in the chain.")
        if (await self._connection.execute(select_seals(0, 1 << 62, 1))).first() is not None:
            raise _Broken("The row that says where the chain begins and ends is gone.")

    def _check(self, seal: Seal, number: int, head: bytes | None) -> None:
        """A seal is the one that belongs here; `head` None: what was before is not kept."""
        if seal.number != number:
            raise _Broken(f"Seal {number} is gone.")
        if not is_genuine(seal, self._keys):
            raise _Broken(f"Seal {number} was changed, or its key is unknown.")
        if head is not None and seal.previous != head:
            raise _Broken(f"Seal {number} does not follow the one before.")
        noted = self._noted
        if noted is not None and noted.number == number and not hmac.compare_digest(noted.mac, seal.mac):
            raise _Broken(f"Seal {number} is not the one that was noted.")
        self.seals += 1

    async def _compare(self, seals: Sequence[Seal], after: Key) -> None:
        """The entries of consecutive seals that follow a key are those that are there."""
        sealed = [each for seal in seals for each in unpack_entries(seal.entries) if each[0] > after]
        there = select_between(after, seals[-1].to, len(sealed) + 1)
        rows = (await self._connection.execute(there)).mappings().all()
        for expected, row in zip_longest(sealed, rows):
            _compare_one(expected, row)
        self.entries += len(sealed)


def _in_bites(seals: Sequence[Seal]) -> Iterator[Sequence[Seal]]:
    """Consecutive seals with so many entries as are compared at once: nothing else runs meanwhile."""
    bite: list[Seal] = []
    held = 0
    for seal in seals:
        if bite and held + len(seal.entries) > BITE_BYTES:
            yield bite
            bite, held = [], 0
        bite.append(seal)
        held += len(seal.entries)
    yield bite


def _compare_one(sealed: tuple[Key, bytes] | None, row: Mapping[str, Any] | None) -> None:
    key = None if row is None else (row["recorded_us"], row["sequence"])
    if key is not None and (sealed is None or key < sealed[0]):
        raise _Broken(f"Entry {_name(key)} was added.")
    assert sealed is not None
    if key is None or key > sealed[0]:
        raise _Broken(f"Entry {_name(sealed[0])} was removed.")
    if row is not None and digest_entry(row) != sealed[1]:
        raise _Broken(f"Entry {_name(key)} was changed.")


def _name(key: Key) -> str:
    """The id of its AuditEvent, and when it was recorded."""
    return f"{key[0]}-{key[1]} of {instant_text(key[0])}"


def describe(verdict: Verdict) -> list[str]:
    """Lines for people."""
    chain, lines = verdict.chain, [f"{verdict.entries} entries under {verdict.seals} seals"]
    if chain is not None and chain.kept_us:
        lines.append(f"retention took what was recorded before {instant_text(chain.kept_us)}")
    if verdict.unsealed_since_us is not None:
        lines.append(
            f"{verdict.unsealed} entries not sealed yet, from {instant_text(verdict.unsealed_since_us)} on"
        )
    if verdict.finding is not None:
        return [*lines, f"BROKEN: {verdict.finding}"]
    if chain is None:
        return [*lines, "There is no chain: nothing was sealed yet, or all of it was taken away."]
    if chain.last:
        lines.append(f"last seal {chain.last}:{chain.head.hex()}")
    return [*lines, "The trail is as it was sealed."]
