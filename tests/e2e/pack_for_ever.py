"""Packs and removes without end, sealed and plain in turn, so that each round moves everything: to be killed.

`python tests/e2e/pack_for_ever.py FOLDER [ROUNDS]`
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from sqlalchemy import update

from dicomweb.tables import Series
from server.app import build_services, close_services
from server.kernel.database import UnitOfWork
from server.kernel.logging import configure_logging
from server.kernel.rows import table_of
from server.kernel.tables import ObjectRemoval
from server.settings import Settings
from server.workflows.storage.pack import follow_prefix, pack_settled
from server.workflows.storage.remove import remove_due


async def make_due(unit: UnitOfWork) -> None:
    """Whatever a round before this one claimed is due again."""
    await unit.execute(update(table_of(Series)).values(pack_due_us=0))
    await unit.execute(update(table_of(ObjectRemoval)).values(due_us=0))


async def run(folder: Path, rounds: int) -> None:
    """Go round and round."""
    options = {"data": folder, "pack_after_s": 0, "remove_after_s": 0}
    both = [build_services(Settings(encrypt_objects=sealed, **options)) for sealed in (True, False)]
    for number in range(rounds):
        services = both[number % 2]
        await services.database.transact(partial(follow_prefix, prefix=services.objects.prefix))
        await services.database.transact(make_due)
        assert await pack_settled(services)
        await remove_due(services)
        print("round", flush=True)
    for services in both:
        await close_services(services)


if __name__ == "__main__":
    configure_logging("error")
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize))
