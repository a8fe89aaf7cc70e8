"""Group commit of Store requests: those that wait at the same time are indexed in one transaction.

What a transaction costs by itself (its statements, its flush, its events) is paid once for all of them. A
request alone does not wait. One that makes the transaction fail takes nobody along: each is then run alone.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from itertools import accumulate

from sqlalchemy.exc import IntegrityError

from dicomweb.response_codes import StoreFailure
from dicomweb.store.audit import audit_entries
from dicomweb.store.index import index_instances
from dicomweb.store.instances import InstanceResult, Origin, StoredInstance
from dicomweb.store.limits import BATCH_INSTANCES
from server.kernel.access import Principal, Reach
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy
from server.kernel.object_removal import Reason, note_removals
from server.kernel.request import ServedRequest, current_request, set_request
from server.kernel.site import Site

COLLISION_ATTEMPTS = 5  # runs of a transaction that met another one claiming the same UIDs
GROUPS = 4  # under way at once, so that one that waits for a lock holds up few; SQLite has one writer anyway


@dataclass(frozen=True, slots=True)
class Order:
    """What one batch of a Store request wants indexed, and who is told in the audit trail."""

    principal: Principal
    reach: Reach
    stored: Sequence[StoredInstance]
    settled: Sequence[InstanceResult]  # of the batch's other instances; audited with these
    request: ServedRequest | None = field(default_factory=current_request)  # for its audit entries


@dataclass(slots=True)
class _Waiting:
    order: Order
    done: "asyncio.Future[list[InstanceResult]]"
    context: Context  # of the request: its trace goes on in the jobs that follow


class GroupedIndex:
    """Indexes what requests bring; one per process."""

    def __init__(self, database: Database, site: Site) -> None:
        self._database, self._site = database, site
        self._waiting: list[_Waiting] = []
        self._groups: set[asyncio.Task[None]] = set()

    async def index(self, order: Order) -> list[InstanceResult]:
        """The results of `order.stored`, in order, once they are committed.

        Raises:
            Busy: nothing of it is in the database.
        """
        done: asyncio.Future[list[InstanceResult]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(order, done, copy_context()))
        self._begin()
        return await done

    async def close(self) -> None:
        """Wait for what is under way, also for requests that were given up; the database may close then."""
        while self._groups:
            await asyncio.wait(self._groups)

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
        try:
            results = await self._transact([each.order for each in group])
        except Exception as failure:  # noqa: BLE001  whoever waits is told
            if len(group) == 1 or isinstance(failure, Busy):
                _tell_failure(group, failure)
            else:
                await self._run_alone(group)
        else:
            _tell(group, results)

    def _take(self) -> list[_Waiting]:
        """The next group: as many instances as a batch may have, and one order whatever it has."""
        instances = list(accumulate(len(each.order.stored) for each in self._waiting))
        count = max(1, bisect_right(instances, BATCH_INSTANCES))
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _run_alone(self, group: Sequence[_Waiting]) -> None:
        """One of them made the transaction fail: let it fail by itself."""
        for each in group:
            try:
                results = await self._transact([each.order])
            except Exception as failure:  # noqa: BLE001
                _tell_failure([each], failure)
            else:
                _tell([each], results)

    async def _transact(self, orders: Sequence[Order]) -> list[list[InstanceResult]]:
        work = _index_all(orders, self._site)
        for attempt in range(1, COLLISION_ATTEMPTS + 1):
            try:
                return await self._database.transact(work)
            except IntegrityError as collision:
                if attempt == COLLISION_ATTEMPTS:
                    raise Busy("The same instances are being stored elsewhere; retry later.") from collision
        raise AssertionError("unreachable")


def _tell(group: Sequence[_Waiting], results: Sequence[list[InstanceResult]]) -> None:
    for each, result in zip(group, results, strict=True):
        if not each.done.done():  # a request that was given up waits no more
            each.done.set_result(result)


def _tell_failure(group: Sequence[_Waiting], failure: Exception) -> None:
    for each in group:
        if not each.done.done():
            each.done.set_exception(failure)


def _index_all(
    orders: Sequence[Order], site: Site
) -> Callable[[UnitOfWork], Awaitable[list[list[InstanceResult]]]]:
    """The transaction: instances within one reach are indexed together, each order is audited."""

    async def work(unit: UnitOfWork) -> list[list[InstanceResult]]:
        results: dict[int, list[InstanceResult]] = {at: [] for at in range(len(orders))}
        for reach in dict.fromkeys(order.reach for order in orders):
            of_reach = [at for at, order in enumerate(orders) if order.reach == reach and order.stored]
            stored = [instance for at in of_reach for instance in orders[at].stored]
            if not stored:
                continue
            indexed = iter(await index_instances(unit, stored, Origin.RECEIVED, site, reach))
            for at in of_reach:
                results[at] = [next(indexed) for _ in orders[at].stored]
        for at, order in enumerate(orders):
            await _note_deleted(unit, order.stored, results[at])
            set_request(order.request)
            for entry in audit_entries(order.principal, [*order.settled, *results[at]]):
                unit.audit(entry)
        return [results[at] for at in range(len(orders))]

    return work


async def _note_deleted(
    unit: UnitOfWork, stored: Sequence[StoredInstance], results: Sequence[InstanceResult]
) -> None:
    """Bytes of what was deleted after they were written go as those of the deletion itself."""
    unwanted = [
        instance.stored.object_name
        for instance, result in zip(stored, results, strict=True)
        if result.refusal and result.refusal.reason is StoreFailure.DELETED_BEFORE
    ]
    if unwanted:
        await note_removals(unit, unwanted, unit.now_us, Reason.DELETED)
