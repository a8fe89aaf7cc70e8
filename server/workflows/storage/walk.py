"""Walks over everything that is stored, one step at a time, by whichever process comes first."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import ObjectWalk

LEASE_S = 900  # who took a step and died is followed after this

_WALK = table_of(ObjectWalk)


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk whose next step is ours; `after_id` is how far it has come."""

    name: str
    after_id: int


async def take_step(services: Services, name: str) -> Walk | None:
    """The walk, when its next step is due and nobody else takes it."""

    async def work(unit: UnitOfWork) -> Walk | None:
        await unit.lock([f"object-walk:{name}"])
        query = select(_WALK.c.after_id, _WALK.c.next_us).where(_WALK.c.name == name)
        row = (await unit.execute(query)).first()
        lease_us = unit.now_us + LEASE_S * SECOND_US
        if row is None:
            begun = {"name": name, "after_id": 0, "next_us": lease_us, "begun_us": unit.now_us}
            await unit.execute(insert(_WALK), begun)
            return Walk(name, 0)
        if row.next_us > unit.now_us:
            return None
        await unit.execute(update(_WALK).where(_WALK.c.name == name).values(next_us=lease_us))
        return Walk(name, row.after_id)

    return await services.database.transact(work)


async def go_on(services: Services, name: str, after_id: int, rest_s: float) -> None:
    """The walk has come this far; its next step is due after `rest_s`."""

    async def work(unit: UnitOfWork) -> None:
        next_us = unit.now_us + int(rest_s * SECOND_US)
        row = update(_WALK).where(_WALK.c.name == name)
        await unit.execute(row.values(after_id=after_id, next_us=next_us))

    await services.database.transact(work)


async def end_walk(services: Services, name: str, rest_s: float, refused: str | None = None) -> None:
    """The walk is at its end, or was refused and did nothing; the next one begins after `rest_s`."""

    async def work(unit: UnitOfWork) -> None:
        next_us = unit.now_us + int(rest_s * SECOND_US)
        values = {"after_id": 0, "next_us": next_us, "begun_us": next_us, "refused": refused}
        if refused is None:
            values["finished_us"] = unit.now_us
        await unit.execute(update(_WALK).where(_WALK.c.name == name).values(**values))

    await services.database.transact(work)
