"""A write in two steps: prepared outside the database, carried out in a transaction.

What can be refused without looking at what is stored is refused before the transaction begins. One
transaction carries out many (`fhir/interactions/grouped.py`, `fhir/bundles/transaction.py`); it takes the
locks of all before the first is performed, sorted, so that writers cannot wait for each other in a circle:
those on conditions, those on resources, those on identifiers of patients.

What a condition means is looked for before the resource is held. Whoever had it may have changed it, so that
it is looked for again until it means what is held (`hold`).
"""

from collections.abc import Sequence
from typing import Protocol

from fhir.interactions.write import Written
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy

ON_CONDITION = "fhir-condition:"  # how the names of locks on conditions begin; sorted, they come first
LOOKS = 5  # for what a condition means; each waits for a writer that changed it


class Write(Protocol):
    """One prepared write; it may be carried out again when the database asks for it."""

    @property
    def locks(self) -> Sequence[str]:
        """Names to hold: the condition's, before anything is looked for; others, before `perform`."""

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """Find which resources a condition means; the names to hold beside before `perform`."""

    async def perform(self, unit: UnitOfWork) -> Written:
        """Write; every name is held."""


def is_condition(lock: str) -> bool:
    """Whether this is the name of the lock on a condition."""
    return lock.startswith(ON_CONDITION)


async def hold(unit: UnitOfWork, writes: Sequence[Write]) -> None:
    """Hold what the writes are about, whose locks are held.

    Raises:
        Busy: it keeps changing.
        Fault: as `resolve` of one of them.
    """
    for _ in range(LOOKS):
        names = [name for write in writes for name in await write.resolve(unit)]
        if not await unit.lock(names):
            return
    raise Busy("What the condition means keeps changing; retry later.")
