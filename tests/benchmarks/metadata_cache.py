"""Whether a cache pays: `python tests/benchmarks/metadata_cache.py [--database postgresql]`.

The CPU time of this process for the metadata of a series of 200 instances, made anew, found in this process
and found in Redis, and coded; and for looking up a token. The median of ten blocks.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import httpx
import uvloop
from pydicom import Dataset
from served import durable_postgresql, parse_arguments

from ai_engine.phantom.chest import PhantomSpec
from ai_engine.phantom.datasets import PhantomStudy, phantom_datasets
from dicomweb.retrieve.locate import Resource
from dicomweb.retrieve.metadata import retrieve_metadata
from dicomweb.retrieve.request import RetrieveRequest
from dicomweb.wire.media_types import parse_accept
from server.app import build_app, build_services, close_services
from server.auth.tokens import AccessTokens, hash_secret, issue_token
from server.kernel.access import system_access
from server.kernel.cache import LocalCache
from server.kernel.services import Services
from server.migrations import upgrade
from server.settings import Settings
from tests.services.redis import redis_server

SLICES = 200


class NoCache:
    """Finds nothing."""

    async def get(self, _key: str) -> bytes | None:
        return None

    async def put(self, _key: str, _value: bytes) -> None:
        return None


async def measure(name: str, count: int, operation: Callable[[], Awaitable[object]]) -> None:
    await operation()
    costs = []
    for _ in range(10):
        begun = time.process_time()
        for _ in range(count):
            await operation()
        costs.append((time.process_time() - begun) / count * 1e3)
    print(f"{name:<48} {statistics.median(costs):>8.2f} ms", flush=True)


async def store(settings: Settings, services: Services, token: str) -> Resource:
    study = PhantomStudy(seed=7, salt=os.urandom(8).hex(), patient_id="CACHE")
    datasets = list(phantom_datasets(study, PhantomSpec(seed=7, slices=SLICES, rows=64, columns=64)))
    head = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + part10(dataset) + b"\r\n" for dataset in datasets) + b"--part--\r\n"
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=part',
    }
    transport = httpx.ASGITransport(build_app(settings, services))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=100) as http:
        (await http.post("/dicom-web/studies", content=body, headers=headers)).raise_for_status()
    return Resource(str(datasets[0].StudyInstanceUID), str(datasets[0].SeriesInstanceUID))


def part10(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def run(settings: Settings, count: int) -> None:
    """Every row."""
    await upgrade(settings.database)
    services = build_services(settings)
    token = await issue_token(services.database, scope="system/*.cruds")
    resource = await store(settings, services, token)
    request = RetrieveRequest(system_access("benchmark"), parse_accept([], None))
    caches = {"made anew": NoCache(), "found in this process": LocalCache(), "found in Redis": services.cache}
    for name, cache in caches.items():
        with_cache = replace(services, cache=cache)
        await measure(
            f"metadata of {SLICES}, {name}",
            count,
            lambda s=with_cache: retrieve_metadata(s, request, resource),
        )
    kept = replace(services, cache=LocalCache())
    for coding in ("zstd", "gzip"):
        coded = replace(request, accept_encoding=(coding,))
        await measure(
            f"the same in {coding}, found in this process",
            count,
            lambda r=coded: retrieve_metadata(kept, r, resource),
        )
    tokens, token_hash, redis = AccessTokens(services.database), hash_secret(token), services.redis
    assert redis is not None
    await redis.call(lambda client: client.set("token", bytes(300)))
    await measure("token, in the database", 10 * count, lambda: tokens._find(token_hash, services.clock()))
    await measure("token, in Redis", 10 * count, lambda: redis.call(lambda client: client.get("token")))
    await measure("token, in this process", 10 * count, lambda: tokens.access_of(token))
    await close_services(services)


def main() -> None:
    """On the database that the command line names."""
    arguments = parse_arguments(__doc__, 10)
    with redis_server() as redis, tempfile.TemporaryDirectory(prefix="isthmus-benchmark-") as folder:
        settings = Settings(data=Path(folder), worker=False, redis_url=redis.url)
        if arguments.database == "postgresql":
            with durable_postgresql() as postgresql:
                url = postgresql.url("isthmus")
                uvloop.run(run(settings.model_copy(update={"database_url": url}), arguments.count))
        else:
            uvloop.run(run(settings, arguments.count))


if __name__ == "__main__":
    main()
