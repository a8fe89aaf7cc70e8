"""Whether the audit trail is what was sealed: entries that were changed, removed or added, by name.

A seal has the MAC of the one before, so what is wrong with one hides nothing of the others. Says nothing of
entries that are not sealed yet, nor of what was recorded before retention's mark. A database that was put
back as a whole to an earlier state is consistent; a seal that was noted elsewhere (each is logged) finds it.
"""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from server.audit.chain import count_unsealed, read_chain, select_between, select_seals
from server.audit.seal import Chain, Key, Seal, digest_entry, is_genuine, unpack_entries
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.envelope import Keyring

_Sealed = tuple[Key, bytes]  # an entry's key and its digest
_NOTED = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
PAGE = 20  # seals that are looked at together
PAGE_ROWS = 1000  # of the trail that are read together, or as many as were sealed
TOLD = 10  # findings that are told, of as many as there are
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


@dataclass(slots=True)
class Findings:
    """What is wrong: how much, and the first of it."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, text: str, count: int = 1) -> None:
        """One more thing, or several told together."""
        self.count += count
        if len(self.first) < TOLD:
            self.first.append(text)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    seals: int
    entries: int
    unsealed: int
    unsealed_since_us: int | None  # None: nothing is unsealed
    chain: Chain | None  # None: nothing was ever sealed
    findings: Findings

    @property
    def finding(self) -> str | None:
        """The first thing that is wrong; None: all is as it was sealed."""
        return self.findings.first[0] if self.findings.first else None


async def verify_trail(database: Database, keys: Keyring, noted: Noted | None = None) -> Verdict:
    """Walk over all seals and entries."""
    async with database.snapshot() as snapshot:
        chain = await read_chain(snapshot.connection)
        count, since_us = (await snapshot.connection.execute(count_unsealed(chain or Chain()))).one()
        walk = _Walk(snapshot.connection, keys)
        await walk.over(chain, noted)
    return Verdict(walk.seals, walk.entries, count, since_us, chain, walk.findings)


@dataclass(frozen=True, slots=True)
class Part:
    """What came of looking at some seals of the chain."""

    last: int  # the last seal that was looked at
    ended: bool  # there are no later ones
    findings: Findings
    chain: Chain | None  # the chain, where it is ours and has what was noted


async def verify_part(
    database: Database, keys: Keyring, after: int | None, most: int, noted: Noted | None = None
) -> Part:
    """Look at `most` seals that follow one, with their entries; `after` None: at the newest.

    A seal that was noted and that retention took since is not missed.
    """
    async with database.snapshot() as snapshot:
        chain = await read_chain(snapshot.connection)
        walk = _Walk(snapshot.connection, keys)
        if chain is not None and noted is not None and noted.number < chain.first:
            noted = None
        if after is None:
            after = chain.last - most if chain is not None else 0
        last = await walk.over(chain, noted, after, most)
    return Part(last, chain is None or last >= chain.last, walk.findings, chain if walk.holds else None)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk is: after which seal."""

    number: int
    head: bytes | None = None  # its MAC; None: it is not known
    at: Key | None = None  # the key of its last entry; None: likewise


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive seals that are ours."""

    after: Key  # the key before their first entry
    seals: list[Seal]


class _Walk:
    """A walk along the chain: what is wrong is noted, and it goes on behind it."""

    def __init__(self, connection: AsyncConnection, keys: Keyring) -> None:
        self._connection, self._keys = connection, keys
        self._start: Key = (0, -1)  # what was recorded before is not covered
        self.seals = self.entries = 0
        self.findings = Findings()
        self.holds = False  # both ends are ours, and what was noted is in it

    async def over(
        self, chain: Chain | None, noted: Noted | None, after: int = 0, most: int | None = None
    ) -> int:
        """Walk from the seal that follows `after` on, over `most` of them; returns the last."""
        if chain is None or not is_genuine(chain, self._keys):
            await self._tell_of_no_chain(chain, noted)
            return 0 if chain is None else chain.last
        self.holds = noted is None or await self._has(chain, noted)
        self._start = (chain.kept_us, -1)
        place = await self._begin(chain, after)
        last = chain.last if most is None else min(chain.last, place.number + most)
        while place.number < last:
            rows = (await self._connection.execute(select_seals(place.number, last, PAGE))).mappings().all()
            runs, place = self._check([Seal(**row) for row in rows], place, last)
            for run in runs:
                await self._compare_run(run)
        if place.number == chain.last and place.head is not None and place.head != chain.head:
            self.findings.note(f"Seal {chain.last} is not the one that ended the chain.")
        return place.number

    async def _tell_of_no_chain(self, chain: Chain | None, noted: Noted | None) -> None:
        if chain is not None:
            self.findings.note(
                "The row that says where the chain begins and ends was changed, or its key is unknown."
            )
            return
        if noted is not None:
            self.findings.note(f"Seal {noted.number}, which was noted, is not in the chain.")
        if (await self._connection.execute(select_seals(0, 1 << 62, 1))).first() is not None:
            self.findings.note("The row that says where the chain begins and ends is gone.")

    async def _seal(self, number: int) -> Seal | None:
        """A seal that is ours; None: there is none."""
        row = (await self._connection.execute(select_seals(number - 1, number, 1))).mappings().first()
        seal = None if row is None else Seal(**row)
        return seal if seal is not None and is_genuine(seal, self._keys) else None

    async def _has(self, chain: Chain, noted: Noted) -> bool:
        """Whether a seal that was noted is in the chain; tells of it when it is not."""
        is_within = chain.first <= noted.number <= chain.last
        seal = await self._seal(noted.number) if is_within else None
        if seal is None:
            self.findings.note(f"Seal {noted.number}, which was noted, is not in the chain.")
        elif not hmac.compare_digest(noted.mac, seal.mac):
            self.findings.note(f"Seal {noted.number} is not the one that was noted.")
            return False
        return seal is not None

    async def _begin(self, chain: Chain, after: int) -> _Place:
        """Where to go on after a seal. One that is not as it was is told of by who walks over it."""
        if not chain.first <= after <= chain.last:
            return _Place(chain.first - 1, None, self._start)
        seal = await self._seal(after)
        return _Place(after) if seal is None else _Place(after, seal.mac, seal.to)

    def _check(self, seals: Sequence[Seal], place: _Place, last: int) -> tuple[Sequence[_Run], _Place]:
        """The seals that follow a place, in runs whose entries can be compared; and where they end."""
        runs: list[_Run] = []
        for seal in seals:
            if seal.number != place.number + 1:
                self._miss(place.number + 1, seal.number - 1)
                place = _Place(seal.number - 1)
            if not is_genuine(seal, self._keys):
                self.findings.note(f"Seal {seal.number} was changed, or its key is unknown.")
                place = _Place(seal.number)
                continue
            if place.head is not None and not hmac.compare_digest(seal.previous, place.head):
                self.findings.note(f"Seal {seal.number} does not follow the one before.")
            if place.at is None or not runs:
                runs.append(_Run(_before(seal) if place.at is None else place.at, []))
            runs[-1].seals.append(seal)
            place = _Place(seal.number, seal.mac, seal.to)
            self.seals += 1
        if not seals:
            self._miss(place.number + 1, last)
            place = _Place(last)
        return runs, place

    def _miss(self, first: int, last: int) -> None:
        gone = f"Seal {first} is gone." if first == last else f"Seals {first} to {last} are gone."
        self.findings.note(gone, last - first + 1)

    async def _compare_run(self, run: _Run) -> None:
        """The entries of consecutive seals are those that are there."""
        at = max(self._start, run.after)
        for seals in _in_bites(run.seals):
            sealed = [each for seal in seals for each in unpack_entries(seal.entries) if each[0] > at]
            self.entries += len(sealed)
            while at < seals[-1].to:
                at = await self._compare_page(sealed, at, seals[-1].to)

    async def _compare_page(self, sealed: Sequence[_Sealed], after: Key, to: Key) -> Key:
        """Compare the entries that follow a key, a bounded number of them; returns where that ended."""
        limit = max(len(sealed), PAGE_ROWS) + 1
        rows = (await self._connection.execute(select_between(after, to, limit))).mappings().all()
        there = {(row["recorded_us"], row["sequence"]): row for row in rows}
        until = max(there) if len(rows) == limit else to  # else some were added
        for key, what in _differences(sealed, there, after, until):
            self.findings.note(f"Entry {_name(key)} was {what}.")
        return until


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


def _differences(
    sealed: Sequence[_Sealed], there: Mapping[Key, Mapping[str, Any]], after: Key, until: Key
) -> list[tuple[Key, str]]:
    """What was done to the entries after a key, up to another one, in their order."""
    expected = {key: digest for key, digest in sealed if after < key <= until}
    found = [(key, "removed") for key in expected.keys() - there.keys()]
    found += [(key, "added") for key in there.keys() - expected.keys()]
    both = expected.keys() & there.keys()
    found += [(key, "changed") for key in both if digest_entry(there[key]) != expected[key]]
    return sorted(found)


def _before(seal: Seal) -> Key:
    """Just before its first entry."""
    (at_us, sequence), _ = unpack_entries(seal.entries)[0]
    return at_us, sequence - 1


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
    if verdict.findings.count:
        told = verdict.findings.first
        lines += [f"BROKEN: {each}" for each in told]
        more = verdict.findings.count > len(told)
        return [*lines, f"BROKEN: {verdict.findings.count} findings in all."] if more else lines
    if chain is None:
        return [*lines, "There is no chain: nothing was sealed yet, or all of it was taken away."]
    if chain.last:
        lines.append(f"last seal {chain.last}:{chain.head.hex()}")
    return [*lines, "The trail is as it was sealed."]
