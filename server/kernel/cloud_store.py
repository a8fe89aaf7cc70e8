"""The cloud adapter of `ObjectStore`, by obstore: S3 and its kin, Google Cloud Storage, Azure.

The bodies of a `put` become one object, so an object holds one request's part of one study; a large body is
an object of its own. What the server answered with 2xx is durable, and nothing else is. Every request has a
time limit and a few retries; what fails then is Busy. obstore's blocking calls run in threads of ours: its
asynchronous ones may abort the interpreter at exit (docs/decisions/0012).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import obstore
import structlog
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from server.kernel.clock import SECOND_US
from server.kernel.cloud_config import CloudConfig
from server.kernel.faults import Busy, StorageFull
from server.kernel.object_store import (
    MARKER,
    READ_CHUNK_BYTES,
    Body,
    ListedObject,
    SpooledBody,
    StoredRange,
    is_our_name,
    length_of,
    placed,
)
from server.kernel.spool import Spool, disk_faults, new_name
from server.kernel.store_metrics import watched

PARTS_AT_ONCE = 4  # of one large upload
PART_BYTES = 8 << 20  # of a large upload; S3 takes 10,000 parts
READ_AHEAD_BYTES = 8 << 20  # of a streamed read: one request
REQUESTS_AT_ONCE = 64  # of one process
LISTED_AT_ONCE = 1000
PROOF_S = 10.0  # so long a put that succeeded proves that the store takes bytes
FULL = ("QuotaExceeded", "StorageFull", "InsufficientStorage", "507 ")  # as the servers say it

log = structlog.get_logger(__name__)

T = TypeVar("T")


class CloudObjectStore:
    """Objects `put/…` (the small bodies of a request), `large/…` (one body) and `packed/…` of a bucket."""

    def __init__(self, config: CloudConfig, spool: Path, *, prefix: str = "") -> None:
        self.prefix = prefix
        provider: Any = config.of_provider()
        self._store: Any = obstore.store.from_url(
            config.url,
            config=provider,
            client_options={"allow_http": config.allow_http, "timeout": timedelta(seconds=config.timeout_s)},
            retry_config={
                "max_retries": config.retries,
                "retry_timeout": timedelta(seconds=config.timeout_s),
                "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2)},
            },
        )
        self._deadline_s = 2 * config.timeout_s + 1  # the last retry begins within one, and takes up to one
        self._spool = Spool(spool)
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="cloud")
        self._check_name = f"check/{new_name()}"
        self._proved = float("-inf")

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Put the small bodies as one object and each spooled one as its own, all at once."""
        large = [at for at, body in enumerate(bodies) if _is_spooled(body)]
        small = [at for at in range(len(bodies)) if at not in large]
        puts = [self._put_large(bodies[at]) for at in large]
        outcomes = await asyncio.gather(
            self._put_small([bodies[at] for at in small]), *puts, return_exceptions=True
        )  # all have ended when one has failed
        stored: dict[int, StoredRange] = {}
        for group, outcome in zip([small, *([at] for at in large)], outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            stored |= zip(group, outcome, strict=True)
        return [stored[at] for at in range(len(bodies))]

    async def pack(self, bodies: AsyncIterator[Body]) -> list[StoredRange]:
        """Gather the bodies in a spooled file, then upload that."""
        name = f"{self.prefix}packed/{new_name()}"
        with disk_faults():
            file, ranges = await self._spool.write_packed(bodies, name)
        try:
            if ranges:
                await self._upload(name, file)
        finally:
            file.path.unlink(missing_ok=True)
        return ranges

    async def read(self, stored: StoredRange) -> bytes:
        """One ranged request."""
        if stored.length == 0:
            return b""

        def fetch() -> bytes:
            found = obstore.get_range(
                self._store, stored.object_name, start=stored.position, length=stored.length
            )
            return bytes(found)

        with watched("read", stored.length):
            body = await self._within(self._deadline_s, fetch)
        if len(body) != stored.length:
            raise Busy("Stored bytes are missing from the object store.")
        return body

    async def stream(self, stored: StoredRange) -> AsyncIterator[bytes]:
        """Ranged requests of several chunks each."""
        for start in range(0, stored.length, READ_AHEAD_BYTES):
            ahead = await self.read(stored.part(start, min(READ_AHEAD_BYTES, stored.length - start)))
            for at in range(0, len(ahead), READ_CHUNK_BYTES):
                yield ahead[at : at + READ_CHUNK_BYTES]

    async def remove(self, object_name: str) -> None:
        """One request; S3 says 2xx of an object that is not there, the others 404."""

        def delete() -> None:
            try:
                obstore.delete(self._store, object_name)
            except FileNotFoundError:
                return

        with watched("remove"):
            await self._within(self._deadline_s, delete)

    async def list_objects(self) -> AsyncIterator[ListedObject]:
        """Pages of the server's listing."""
        pages = iter(obstore.list(self._store, chunk_size=LISTED_AT_ONCE))
        while page := await self._within(self._deadline_s, lambda: next(pages, None)):
            for entry in page:
                if is_our_name(entry["path"]):
                    modified_us = int(entry["last_modified"].timestamp() * SECOND_US)
                    yield ListedObject(entry["path"], entry["size"], modified_us)

    async def claim(self, installation: str) -> str:
        """Put the marker, which only the first can; then read it.

        A server that knows no conditional puts is asked whether there is one, and two at once may both win.
        """

        def mark() -> str:
            try:
                obstore.head(self._store, MARKER)
            except FileNotFoundError:
                with suppress(AlreadyExistsError):
                    _create(self._store, MARKER, installation.encode())
            return bytes(obstore.get(self._store, MARKER).bytes()).decode()

        return await self._within(self._deadline_s, mark)

    def spool_path(self) -> Path:
        """A fresh path on the local disk."""
        return self._spool.path()

    async def check(self) -> None:
        """Put a small object, unless a put has just succeeded."""
        if time.monotonic() - self._proved > PROOF_S:
            create = partial(obstore.put, self._store, self._check_name, b"check")
            await self._put(create, self._deadline_s)

    async def close(self) -> None:
        """Let the requests under way end."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _put_small(self, bodies: Sequence[Body]) -> list[StoredRange]:
        if not bodies:
            return []
        name, ranges, end = f"{self.prefix}put/{new_name()}", [], 0
        for body in bodies:
            ranges.append(StoredRange(name, end, length_of(body)))
            end += length_of(body)

        def create() -> None:
            whole: list[Any] = [
                placed(body, name, each.offset) for body, each in zip(bodies, ranges, strict=True)
            ]
            _create(self._store, name, whole[0] if len(whole) == 1 else b"".join(whole))

        with watched("put", sum(each.length for each in ranges)):
            await self._put(create, self._deadline_s)
        return ranges

    async def _put_large(self, body: Body) -> list[StoredRange]:
        name = f"{self.prefix}large/{new_name()}"
        try:
            file = await asyncio.to_thread(placed, body, name, 0)
        except FileNotFoundError as error:
            raise Busy("A spooled body is not there any more.") from error
        assert isinstance(file, SpooledBody)
        await self._upload(name, file)
        file.path.unlink(missing_ok=True)
        return [StoredRange(name, 0, file.length)]

    async def _upload(self, name: str, file: SpooledBody) -> None:
        """Put a file in parts, and see that the server has all of it."""

        def upload() -> None:
            with file.path.open("rb") as opened:
                obstore.put(self._store, name, opened, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
            if obstore.head(self._store, name)["size"] != file.length:
                raise GenericError("another length than was sent")

        with watched("upload", file.length):
            await self._put(upload, None)  # each part has its time limit

    async def _put(self, create: Callable[[], object], deadline_s: float | None) -> None:
        """Run a put, and remember what it proves."""
        self._proved = float("-inf")
        await self._within(deadline_s, create)
        self._proved = time.monotonic()

    async def _within(self, deadline_s: float | None, call: Callable[[], T]) -> T:
        """Run a blocking call in a thread of ours; too slow is Busy. None: the call has its own limits."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_s):
                return await loop.run_in_executor(self._threads, _with_faults, call)
        except TimeoutError as error:
            raise Busy("The object store does not answer in time; retry later.") from error


def _create(store: Any, name: str, body: Any) -> None:
    """Put an object that must not be there yet, in one request."""
    obstore.put(store, name, body, mode="create", use_multipart=False)


def _is_spooled(body: Body) -> bool:
    return isinstance(getattr(body, "content", body), SpooledBody)


def _with_faults(call: Callable[[], T]) -> T:
    with _as_faults():
        return call()


@contextmanager
def _as_faults() -> Iterator[None]:
    """Turn what the store says into the kernel's faults; the log has the first line of it."""
    try:
        yield
    except (BaseError, FileNotFoundError, OSError, ValueError) as error:
        said = str(error).partition("\n")[0][:300]
        log.warning("object store failed", kind=type(error).__name__, said=said)
        if any(each in str(error) for each in FULL):
            raise StorageFull("The object store has no room left; retry later.") from error
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            raise Busy("The object store refuses the credentials.") from error
        if isinstance(error, FileNotFoundError):
            raise Busy("The object store does not have what was asked for.") from error
        if isinstance(error, AlreadyExistsError):
            raise Busy("The object store has such an object already; retry later.") from error
        raise Busy("The object store failed; retry later.") from error
