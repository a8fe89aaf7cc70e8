"""What putting and reading objects costs this process: local disk and S3, plain and sealed, in turn.

CPU time of this process (user and system) per operation, and wall time. The S3 server is moto, another
process: what it costs is not counted as CPU here, but bounds the wall time; that of S3 is the test server's.
"""

import argparse
import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from server.kernel.cloud_store import CloudObjectStore
from server.kernel.envelope import Keyring
from server.kernel.envelope_store import EnvelopeStore, sealing_prefix
from server.kernel.local_store import LocalObjectStore
from server.kernel.object_store import ObjectStore, StoredRange
from tests.services.s3 import S3Server, s3_server

BODY_BYTES = 527_000  # one CT slice
FRAME_BYTES = 64 << 10  # a tile, a small frame
AT_ONCE = 8
KEYRING = Keyring(hashlib.sha256(b"benchmark").digest())

Operation = Callable[[int], Awaitable[object]]


def opened(folder: Path, server: S3Server) -> dict[str, ObjectStore]:
    """Every kind of store, each with its place."""
    prefix = sealing_prefix(KEYRING)
    return {
        "local": LocalObjectStore(folder / "local"),
        "local, sealed": EnvelopeStore(LocalObjectStore(folder / "sealed", prefix=prefix), KEYRING),
        "S3": CloudObjectStore(server.config(), folder / "spool"),
        "S3, sealed": EnvelopeStore(
            CloudObjectStore(server.config(), folder / "spool", prefix=prefix), KEYRING
        ),
    }


async def cost(operation: Operation, count: int) -> tuple[float, float]:
    """µs of CPU and of wall time per operation, so many at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await operation(number)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - wall) / count * 1e6


async def measure(folder: Path, server: S3Server, count: int, rounds: int) -> None:
    """Print the median of the rounds, of which each asks every store once."""
    stores, body = opened(folder, server), os.urandom(BODY_BYTES)
    ranges: dict[str, list[StoredRange]] = {name: [] for name in stores}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, store in stores.items():
            mine = ranges[name]

            async def put(_: int, store: ObjectStore = store, mine: list[StoredRange] = mine) -> None:
                mine += await store.put([body])

            found.setdefault(("put 527 kB", name), []).append(await cost(put, count))
            places = mine[-count:]
            operations: dict[str, Operation] = {
                "read 527 kB, first time": lambda n, s=store, p=places: s.read(p[n]),  # type: ignore[misc]
                "read 64 kB of it": lambda n, s=store, p=places: s.read(p[n].part(200_000, FRAME_BYTES)),  # type: ignore[misc]
            }
            for label, operation in operations.items():
                found.setdefault((label, name), []).append(await cost(operation, count))
    for (label, name), costs in sorted(found.items()):
        cpu, wall = (median(each) for each in zip(*costs, strict=True))
        print(f"| {label} | {name} | {cpu:.0f} | {wall:.0f} |")
    for store in stores.values():
        await store.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200, help="operations of a block")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with TemporaryDirectory() as folder, s3_server() as server:
        asyncio.run(measure(Path(folder), server, given.count, given.rounds))


if __name__ == "__main__":
    main()
