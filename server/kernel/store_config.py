"""Where objects are and how they are kept, as the settings state it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.kernel.cloud_config import CloudConfig


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where objects are, and the keys of their envelope: the one that seals first, those before it after."""

    folder: Path  # of local objects; of the spool only, when `cloud` is given
    keys: Sequence[bytes]
    seals: bool = False
    cloud: CloudConfig | None = None


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """When stored objects are packed, removed and read again."""

    pack_after_s: float = 900.0  # without a new instance of the study
    remove_after_s: float = 3600.0  # so long what packing emptied stays, for reads that are under way
    scrub_bytes_per_minute: int = 512 << 20  # of all processes together; 0: no scrub
