"""Liveness, readiness and metrics: `/livez`, `/readyz`, `/metrics`.

Live: the process answers. Ready: what it needs answers too. A check that is not vital is reported and does
not turn the answer red, so a web process is not taken out of service because a worker is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy import text

from server.http.drain import Drain
from server.http.metrics import CONTENT_TYPE, Metrics
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.database import Database
from server.kernel.faults import Busy, Fault
from server.kernel.metrics import Fact, fact
from server.kernel.object_store import ObjectStore
from server.kernel.redis import RedisLink

TIMEOUT_S = 3.0  # of one check
FRESH_US = SECOND_US  # results are reused this long: asking often must stay cheap


@dataclass(frozen=True, slots=True)
class Check:
    """Something the server needs; `run` returns when it is well and raises a Fault that says what is not."""

    name: str
    run: Callable[[], Awaitable[None]]
    vital: bool = True  # whether the server is not ready without it


def check_database(database: Database) -> Check:
    """The database answers."""

    async def run() -> None:
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))

    return Check("database", run)


def check_objects(objects: ObjectStore) -> Check:
    """The object store can take bytes."""
    return Check("object-store", objects.check)


def check_redis(link: RedisLink) -> Check:
    """Redis answers; everything goes on without it."""

    async def run() -> None:
        if not await link.probe():
            raise Busy("does not answer; all goes on without it, slower")

    return Check("redis", run, vital=False)


def check_heartbeat(
    name: str, age_s: Callable[[], Awaitable[float | None]], limit_s: float, *, vital: bool = False
) -> Check:
    """Something else was heard of within `limit_s`; an age of None: never."""

    async def run() -> None:
        age = await age_s()
        if age is None:
            raise Busy("was never heard of")
        if age > limit_s:
            raise Busy(f"was last heard of {age:.0f} s ago")

    return Check(name, run, vital)


class Readiness:
    """Runs the checks together, and reuses their results for a moment."""

    def __init__(self, checks: Sequence[Check], clock: Clock = now_us, *, drain: Drain | None = None) -> None:
        self._checks = checks
        self._clock = clock
        self._drain = drain or Drain()
        self._lock = asyncio.Lock()
        self._body: dict[str, Any] = {}
        self._until_us = 0

    async def report(self) -> dict[str, Any]:
        """`{"status": "ready" | "not ready", "checks": {name: "ok" | reason}}`."""
        if self._drain.has_begun:
            return {"status": "not ready", "checks": {"drain": "this process is leaving"}}
        async with self._lock:
            if self._clock() >= self._until_us:
                self._body = await self._run()
                self._until_us = self._clock() + FRESH_US
            return self._body

    async def facts(self) -> list[Fact]:
        """The report as metrics."""
        body = await self.report()
        checks = [((name,), float(result == "ok")) for name, result in body["checks"].items()]
        return [
            fact("isthmus_ready", "1: everything vital answers.", float(body["status"] == "ready")),
            Fact("isthmus_check_ok", "1: this check of readiness is well.", ("check",), checks),
        ]

    async def _run(self) -> dict[str, Any]:
        reasons = await asyncio.gather(*(_reason(check) for check in self._checks))
        results = list(zip(self._checks, reasons, strict=True))
        is_ready = all(reason is None for check, reason in results if check.vital)
        return {
            "status": "ready" if is_ready else "not ready",
            "checks": {check.name: reason or "ok" for check, reason in results},
        }


def build_router(readiness: Readiness, metrics: Metrics) -> APIRouter:
    """The routes of this file; open to everyone, they name no patient and no study."""
    router = APIRouter(tags=["operation"])

    @router.get("/livez")
    async def livez() -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Everything vital answers; 503 with reasons when something does not."""
        body = await readiness.report()
        ready = body["status"] == "ready"
        return JSONResponse(body, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    @router.get("/metrics")
    async def scrape() -> Response:
        """Prometheus text exposition."""
        return Response(await metrics.render(), media_type=CONTENT_TYPE)

    return router


async def _reason(check: Check) -> str | None:
    """Why a check is not well; None: it is."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await check.run()
    except Fault as fault:
        return str(fault)
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    return None
