"""A write in two steps: prepared outside the database, carried out in a transaction.

What can be refused without looking at what is stored is refused before the transaction begins. One
transaction carries out many (`fhir/interactions/grouped.py`, `fhir/bundles/transaction.py`); it takes the
locks of all before the first is performed, sorted, so that writers cannot wait for each other in a circle.
"""

from collections.abc import Sequence
from typing import Protocol

from fhir.interactions.write import Written
from server.kernel.database import UnitOfWork


class Write(Protocol):
    """One prepared write; it may be carried out again when the database asks for it."""

    @property
    def locks(self) -> Sequence[str]:
        """Names to hold before anything is looked for."""

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """Find which resources a condition means; the names to hold before `perform`."""

    async def perform(self, unit: UnitOfWork) -> Written:
        """Write; every name is held."""
