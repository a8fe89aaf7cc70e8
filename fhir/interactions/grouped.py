"""Group commit of writes: those that wait at the same time are carried out in one transaction.

What a transaction costs by itself (its statements, its flush, its events) is paid once for all of them. A
write alone does not wait. Each of a group is judged as if it were alone: one that is refused takes nobody
along, and after one that makes the transaction fail each is run alone.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass

from fhir.interactions.prepared import Write, hold, is_condition
from fhir.interactions.write import Written
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy, Fault
from server.kernel.request import ServedRequest, current_request, set_request

MAX_GROUP = 32  # writes of one transaction; a write waits for those before it
GROUPS = 4  # under way at once, so that one that waits for a lock holds up few; SQLite has one writer anyway

Outcome = Written | Fault


class _Spoiled(Exception):
    """A write was refused after it had changed something: none of its group may be committed."""


@dataclass(slots=True)
class _Waiting:
    write: Write
    locks: frozenset[str]
    request: ServedRequest | None  # for its audit entries
    done: "asyncio.Future[Written]"
    context: Context  # of the request: its trace goes on in the jobs that follow
    looks_again: bool = False  # when its turn comes: its condition matches something

    @property
    def is_conditional(self) -> bool:
        """Whether the write looks for what it is about."""
        return any(map(is_condition, self.locks))


class GroupedWrites:
    """Carries out the writes of requests; one per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._groups: set[asyncio.Task[None]] = set()

    async def carry_out(self, write: Write) -> Written:
        """What the write did, once it is committed; raises what it raises."""
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        locks = frozenset(write.locks)
        self._waiting.append(_Waiting(write, locks, current_request(), done, copy_context()))
        self._begin()
        return await done

    def _begin(self) -> None:
        most = 1 if self._database.is_sqlite else GROUPS
        if self._waiting and len(self._groups) < most:
            context = self._waiting[0].context
            group = asyncio.get_running_loop().create_task(self._run(), context=context)
            self._groups.add(group)
            group.add_done_callback(self._ended)

    def _ended(self, group: "asyncio.Task[None]") -> None:
        self._groups.discard(group)
        self._begin()

    async def _run(self) -> None:
        group = self._take()
        if not group:  # others have taken all
            return
        try:
            outcomes = await self._transact(group)
        except Exception as failure:  # noqa: BLE001  whoever waits is told
            if len(group) == 1 or isinstance(failure, Busy):
                for each in group:
                    _tell(each, failure)
            else:
                await self._run_alone(group)
        else:
            for each, outcome in zip(group, outcomes, strict=True):
                _tell(each, outcome)

    def _take(self) -> list[_Waiting]:
        """The next group: no two of it hold the same name, so that none needs to see what another did."""
        group: list[_Waiting] = []
        left: list[_Waiting] = []
        held: set[str] = set()
        for each in self._waiting:
            if len(group) < MAX_GROUP and held.isdisjoint(each.locks):
                group.append(each)
                held |= each.locks
            else:
                left.append(each)
        self._waiting = left
        return group

    async def _run_alone(self, group: Sequence[_Waiting]) -> None:
        for each in group:
            try:
                [outcome] = await self._transact([each])
            except Exception as failure:  # noqa: BLE001
                _tell(each, failure)
            else:
                _tell(each, outcome)

    async def _transact(self, group: Sequence[_Waiting]) -> list[Outcome]:
        async def work(unit: UnitOfWork) -> list[Outcome]:
            unit.gather(len(group))
            await unit.lock(name for each in group for name in each.locks if is_condition(name))
            refused = await _resolve(unit, group)
            return [
                refused[at] if at in refused else await _perform(unit, each) for at, each in enumerate(group)
            ]

        if len(group) == 1:
            return [await self._database.transact(lambda unit: _alone(unit, group[0]))]
        return await self._database.transact(work)


async def _alone(unit: UnitOfWork, waiting: _Waiting) -> Written:
    unit.gather()
    await unit.lock(name for name in waiting.locks if is_condition(name))
    names = await waiting.write.resolve(unit)
    if await unit.lock([*waiting.locks, *names]) and waiting.is_conditional and names:
        await hold(unit, [waiting.write])
    set_request(waiting.request)
    return await waiting.write.perform(unit)


async def _resolve(unit: UnitOfWork, group: Sequence[_Waiting]) -> dict[int, Fault]:
    """Find what conditions mean, and hold it all; returns which of the group are refused."""
    refused: dict[int, Fault] = {}
    names = [name for each in group for name in each.locks]
    for at, each in enumerate(group):
        try:
            found = await each.write.resolve(unit)
            each.looks_again = each.is_conditional and bool(found)
            names += found
        except Busy:
            raise
        except Fault as fault:
            refused[at] = fault
    await unit.lock(names)
    return refused


async def _perform(unit: UnitOfWork, waiting: _Waiting) -> Outcome:
    before = unit.amount
    set_request(waiting.request)
    try:
        if waiting.looks_again:  # others of the group may have changed what it means
            await hold(unit, [waiting.write])
        return await waiting.write.perform(unit)
    except Busy:
        raise
    except Fault as fault:
        if unit.amount != before:
            raise _Spoiled from fault
        return fault


def _tell(waiting: _Waiting, outcome: Written | Exception) -> None:
    if waiting.done.done():  # a request that was given up waits no more
        return
    if isinstance(outcome, Exception):
        waiting.done.set_exception(outcome)
    else:
        waiting.done.set_result(outcome)
