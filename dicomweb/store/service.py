"""One Store request: batches of parts → read → screened → bytes durable → one transaction each (PS3.18 10.5).

A batch bounds memory and the time the writer is held. What a failing disk or database refuses becomes the
result of the batch's instances; the batches before it stay stored, whole.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace

from dicomweb.pixels.pool import PixelPool
from dicomweb.response_codes import NoRoom, StoreFailure
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.request import Archive
from dicomweb.store.given_out import GivenOut, is_another
from dicomweb.store.grouped import GroupedIndex, Order
from dicomweb.store.identity import patient_identifier
from dicomweb.store.instances import (
    InstanceResult,
    ReceivedInstance,
    Refusal,
    StoredInstance,
    result_of,
)
from dicomweb.store.judgement import Verdict, judge
from dicomweb.store.known import is_any_known, load_known
from dicomweb.store.limits import BATCH_BYTES, BATCH_INSTANCES, MAX_INSTANCES, PARSERS
from dicomweb.store.prepare import prepare_part
from dicomweb.store.receive import MemoryBudget, ReceivedPart
from server.kernel.access import Access, Permission
from server.kernel.faults import Busy, TooLarge
from server.kernel.object_store import StoredRange
from server.kernel.services import Services


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """Who stores, and for which study; `target_study` None: any (PS3.18 10.5.1)."""

    access: Access
    target_study: str | None = None


@dataclass(slots=True)
class _Batch:
    """Parts by position; `results` fills up until every part has one."""

    parts: Sequence[ReceivedPart]
    results: dict[int, InstanceResult]
    received: dict[int, ReceivedInstance]

    def settle(self, positions: Iterable[int], results: Iterable[InstanceResult]) -> None:
        for position, result in zip(positions, results, strict=True):
            self.received.pop(position, None)
            self.results[position] = result


class StoreService:
    """Stores instances; one per process, for it holds the limits that requests share."""

    def __init__(self, services: Services, pixels: PixelPool | None = None) -> None:
        self._services = services
        self._parsers = asyncio.Semaphore(PARSERS)
        self._pixels = pixels or PixelPool()  # starts nothing before it is asked
        self._index = GroupedIndex(services.database, services.site)
        self._given_out = GivenOut(Archive(services, InflatedFiles(services.objects)))
        self.budget = MemoryBudget()

    async def close(self) -> None:
        """Wait for what is being indexed."""
        await self._index.close()

    def new_part(self) -> ReceivedPart:
        """A part about to be received."""
        return ReceivedPart(self._services.objects, self.budget)

    async def read_png(self, image: bytes) -> tuple[dict[str, int], bytes]:
        """A PNG image as native pixels, decoded in a child process (`dicomweb/pixels/png.py`)."""
        return await self._pixels.run("read_png", {}, image)

    async def store(self, request: StoreRequest, parts: AsyncIterator[ReceivedPart]) -> list[InstanceResult]:
        """Store every part that `parts` yields; the results stand in their order.

        Raises:
            Forbidden: the caller may not store at all.
            NoRoom: nothing was stored, only for want of room.
            TooLarge: more instances than one request may have.
        """
        request.access.reach("ImagingStudy", Permission.CREATE)
        results: list[InstanceResult] = []
        waiting: list[ReceivedPart] = []
        try:
            async for part in parts:
                waiting.append(part)
                if sum(p.length for p in waiting) >= BATCH_BYTES or len(waiting) >= BATCH_INSTANCES:
                    results += await self._store_batch(request, waiting)
                    waiting = []
                if len(results) > MAX_INSTANCES:
                    raise TooLarge("The request holds more instances than this server takes at once.")
            results += await self._store_batch(request, waiting)
            waiting = []
        finally:
            _discard(waiting)
        _require_room(results)
        return results

    async def _store_batch(
        self, request: StoreRequest, parts: Sequence[ReceivedPart]
    ) -> list[InstanceResult]:
        if not parts:
            return []
        try:
            batch = await self._read(request, parts)
            await self._screen(request, batch)
            try:
                await self._write(request, batch)
            except Busy:
                fresh = list(batch.received)
                batch.settle(fresh, (_without_room(batch.received[position]) for position in fresh))
        finally:
            _discard(parts)
        return [batch.results[position] for position in range(len(parts))]

    async def _read(self, request: StoreRequest, parts: Sequence[ReceivedPart]) -> _Batch:
        def prepare() -> list[ReceivedInstance | InstanceResult]:
            return [prepare_part(part, request.target_study) for part in parts]

        async with self._parsers:
            prepared = await asyncio.to_thread(prepare)
        batch = _Batch(parts, {}, {})
        for position, outcome in enumerate(prepared):
            if isinstance(outcome, InstanceResult):
                batch.results[position] = outcome
            else:
                batch.received[position] = outcome
        return batch

    async def _screen(self, request: StoreRequest, batch: _Batch) -> None:
        """Settle what the index already knows, before its bytes are written a second time."""
        parsed = [received.parsed for received in batch.received.values()]
        async with self._services.database.read() as connection:
            if not parsed or not await is_any_known(connection, parsed):
                return
            known = await load_known(connection, parsed)
        reach = request.access.reach("ImagingStudy", Permission.CREATE)
        for position, received in list(batch.received.items()):
            identifier = patient_identifier(received.parsed.dicom_json, self._services.site)
            verdict = judge(received, identifier, known, reach, self._services.site.duplicates)
            if is_another(verdict) and await self._given_out.gave_out(received):
                verdict = Verdict.ALREADY_STORED
            if isinstance(verdict, Refusal):
                batch.settle([position], [result_of(received.parsed, verdict)])
            elif verdict is Verdict.ALREADY_STORED:
                study = known.studies[received.parsed.study_instance_uid]
                result = replace(result_of(received.parsed), already_stored=True, patient_id=study.patient_id)
                batch.settle([position], [result])

    async def _write(self, request: StoreRequest, batch: _Batch) -> None:
        """Make the bytes durable, then have them indexed, with the audit of the whole batch."""
        fresh = list(batch.received)
        ranges = await self._make_durable(batch)
        stored = [StoredInstance(batch.received[position], ranges[position]) for position in fresh]
        reach = request.access.reach("ImagingStudy", Permission.CREATE)
        order = Order(request.access.principal, reach, stored, list(batch.results.values()))
        batch.settle(fresh, await self._index.index(order))

    async def _make_durable(self, batch: _Batch) -> dict[int, StoredRange]:
        """Where the bytes of each position lie now; what is put together is of one study."""
        studies: dict[str, list[int]] = {}
        for position, received in batch.received.items():
            studies.setdefault(received.parsed.study_instance_uid, []).append(position)
        puts = [
            self._services.objects.put([batch.parts[position].body for position in positions])
            for positions in studies.values()
        ]
        ranges: dict[int, StoredRange] = {}
        outcomes = await asyncio.gather(
            *puts, return_exceptions=True
        )  # none is under way when one has failed
        for positions, outcome in zip(studies.values(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            ranges |= zip(positions, outcome, strict=True)
        return ranges


def _discard(parts: Iterable[ReceivedPart]) -> None:
    for part in parts:
        part.discard()


def _without_room(received: ReceivedInstance) -> InstanceResult:
    return result_of(received.parsed, Refusal(StoreFailure.OUT_OF_RESOURCES))


def _require_room(results: Sequence[InstanceResult]) -> None:
    refusals = [result.refusal for result in results]
    if refusals and all(r and r.reason is StoreFailure.OUT_OF_RESOURCES for r in refusals):
        raise NoRoom("There is no room for the instances now; retry later.")
