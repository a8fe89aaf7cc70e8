"""Every object store that the ports' suites run on, and a job queue."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.kernel.cloud_store import CloudObjectStore
from server.kernel.database import Database
from server.kernel.envelope import Keyring
from server.kernel.envelope_store import EnvelopeStore, sealing_prefix
from server.kernel.jobs import JobQueue
from server.kernel.local_store import JournalPolicy, LocalObjectStore
from server.kernel.object_store import ObjectStore
from tests.ports.jobs import opened

KEYRING = Keyring(hashlib.sha256(b"a master key of tests").digest())
# Of S3 the suite proves the protocol, not durability: the servers of tests keep objects in memory.
STORES = ("local disk", "local disk, sealed", "S3 protocol", "S3 protocol, sealed")

NewStore = Callable[[], ObjectStore]


@pytest.fixture(params=STORES)
async def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NewStore]:
    """Opens the same store each time it is called, as another process would."""
    name: str = request.param
    prefix = sealing_prefix(KEYRING) if name.endswith("sealed") else ""
    opened: list[ObjectStore] = []
    config = request.getfixturevalue("s3").config() if name.startswith("S3") else None

    def make() -> ObjectStore:
        store: ObjectStore
        if config is not None:
            store = CloudObjectStore(config, tmp_path / "spool", prefix=prefix)
        else:
            store = LocalObjectStore(tmp_path / "objects", prefix=prefix, policy=JournalPolicy(quiet_s=0))
        opened.append(EnvelopeStore(store, KEYRING) if prefix else store)
        return opened[-1]

    yield make
    for store in opened:
        await store.close()


@pytest.fixture
def store(new_store: NewStore) -> ObjectStore:
    """An empty store of each kind."""
    return new_store()


@pytest.fixture
async def queue(database: Database) -> AsyncIterator[JobQueue]:
    async with opened(database) as queue:
        yield queue
