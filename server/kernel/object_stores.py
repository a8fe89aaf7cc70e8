"""Which object store the settings mean, and whose it is."""

from sqlalchemy import insert, select, update

from server.kernel.cloud_config import StoreMisconfigured
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.envelope_store import EnvelopeStore, sealing_prefix
from server.kernel.faults import Fault, FaultKind
from server.kernel.local_store import LocalObjectStore
from server.kernel.object_store import ObjectStore
from server.kernel.rows import table_of
from server.kernel.store_config import StoreConfig
from server.kernel.tables import Installation
from server.kernel.uids import new_id

_INSTALLATION = table_of(Installation)


class OtherInstallation(Fault):
    """The object store belongs to another installation than the database."""

    kind = FaultKind.CONFLICT


def open_store(config: StoreConfig) -> ObjectStore:
    """The configured store; it opens what was sealed, also when it does not seal any more.

    Raises:
        StoreMisconfigured: the extra `cloud` is not installed, or the settings contradict each other.
    """
    keyring = Keyring(config.keys[0], config.keys[1:])
    prefix = sealing_prefix(keyring) if config.seals else ""
    if config.cloud is None:
        return EnvelopeStore(LocalObjectStore(config.folder, prefix=prefix), keyring)
    try:
        from server.kernel.cloud_store import CloudObjectStore
    except ImportError as error:
        raise StoreMisconfigured(
            "a cloud store needs the extra `cloud`: pip install isthmus[cloud]"
        ) from error
    return EnvelopeStore(CloudObjectStore(config.cloud, config.folder / "spool", prefix=prefix), keyring)


async def join_installation(database: Database, objects: ObjectStore) -> str:
    """Make sure that database and store belong together; returns the installation's name.

    Raises:
        OtherInstallation: the store is another one's. Nothing was changed in it.
        Busy: the store or the database failed.
    """
    name = await database.transact(_own_name)
    owner = await objects.claim(name)
    if owner != name:
        raise OtherInstallation(
            f"The object store belongs to the installation {owner}, the database to {name}. "
            "Give the database its own store, or the store its own database."
        )
    return name


async def _own_name(unit: UnitOfWork) -> str:
    await unit.lock(["installation"])
    known = (await unit.execute(select(_INSTALLATION.c.name))).scalar_one_or_none()
    if known is not None:
        return str(known)
    name = new_id()
    await unit.execute(insert(_INSTALLATION), {"id": 1, "name": name, "objects_prefix": ""})
    return name


async def note_prefix(unit: UnitOfWork, prefix: str) -> bool:
    """Record what the names of objects written now begin with; whether that is new."""
    other = _INSTALLATION.c.objects_prefix != prefix
    changed = await unit.execute(update(_INSTALLATION).where(other).values(objects_prefix=prefix))
    return changed.rowcount > 0
