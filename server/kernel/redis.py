"""Redis, for what may be lost (DESIGN §5): one connection pool, short waits, and a breaker.

Rule: whoever calls has another way. A Redis that is gone or hangs costs the calls under way `TIMEOUT_S` once;
from then on `RedisGone` is raised at once, until a probe in the background finds Redis well again.
"""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import structlog

from server.kernel.faults import Fault, FaultKind
from server.kernel.metrics import counter

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")

TIMEOUT_S = 0.1  # of one call; most take one thousandth, but a busy event loop may look late
PROBE_S = 0.5  # between probes of a Redis that is gone
PROBE_TIMEOUT_S = 0.5
CONNECTIONS = 32  # of one process, at most

_LOST = counter("isthmus_redis_lost", "Times that Redis did not answer in time and was done without.")

log = structlog.get_logger(__name__)


class RedisNotInstalled(Fault):
    """The settings name a Redis, and the client for it is missing."""

    kind = FaultKind.NOT_IMPLEMENTED


class RedisGone(Exception):
    """Redis does not answer; do without."""


class RedisLink:
    """The process's way to one Redis."""

    def __init__(self, url: str) -> None:
        if importlib.util.find_spec("redis") is None:
            raise RedisNotInstalled("redis_url needs the extra redis: pip install 'isthmus[redis]'.")
        self.url = url
        self._client = connect(url, TIMEOUT_S)
        self._is_gone = asyncio.Event()

    @property
    def is_gone(self) -> bool:
        """Whether calls are refused at the moment."""
        return self._is_gone.is_set()

    async def call(self, command: "Callable[[Redis], Awaitable[T]]") -> T:
        """What a command answers.

        Raises:
            RedisGone: nothing, or not in time; after that, at once.
        """
        from redis.exceptions import RedisError

        if self.is_gone:
            raise RedisGone
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await command(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            self._lose(error)
            raise RedisGone from error

    async def watch(self, stop: asyncio.Event) -> None:
        """Look for a Redis that is gone, until `stop`; runs beside the work."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            gone = asyncio.create_task(self._is_gone.wait())
            await asyncio.wait([gone, stopped], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if self.is_gone and not await self.probe():
                await asyncio.wait([stopped], timeout=PROBE_S)
        stopped.cancel()

    async def probe(self) -> bool:
        """Ask Redis whether it is there; if so, calls go on."""
        from redis.exceptions import RedisError

        client = connect(self.url, PROBE_TIMEOUT_S)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await client.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        finally:
            await close(client)
        if self.is_gone:
            log.info("redis is back")
        self._is_gone.clear()
        return True

    async def close(self) -> None:
        """Close every connection."""
        await close(self._client)

    def _lose(self, error: BaseException) -> None:
        if self.is_gone:
            return
        log.warning("redis does not answer; doing without", reason=type(error).__name__)
        self._is_gone.set()
        _LOST.inc()


def connect(url: str, timeout_s: float) -> "Redis":
    """A client that tries once, and never for long."""
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


async def close(client: "Redis") -> None:
    """Close a client; one whose server hangs does not hold this up."""
    from redis.exceptions import RedisError

    with suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await client.aclose()
