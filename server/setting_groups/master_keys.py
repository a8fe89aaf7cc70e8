"""The data folder and the secret in it from which other keys derive (DESIGN §5, keys)."""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from pydantic import BaseModel, Field

from server.kernel.envelope import Keyring


class MasterKeySettings(BaseModel):
    """The master key, and those before it."""

    data: Path = Field(
        Path("isthmus-data"), description="folder of the embedded database, the objects and the keys"
    )
    master_key: str | None = Field(
        None,
        min_length=32,
        description="the secret that wraps others; default: a 0600 file in the data folder",
    )
    previous_master_keys: tuple[str, ...] = Field((), description="earlier master keys, which only open")

    def keyring(self, purpose: str) -> Keyring:
        """What seals for one purpose, by this master key and those before it."""
        current, *previous = self.derive_keys(purpose)
        return Keyring(current, previous)

    def derive_keys(self, purpose: str) -> list[bytes]:
        """The key of one purpose, and those that earlier master keys gave for it."""
        return [_derived(master, purpose) for master in (self._master(), *self.previous_master_keys)]

    def derive_key(self, purpose: str) -> bytes:
        """A 256-bit key for one purpose, from the master key, whose file is made if it is missing."""
        return _derived(self._master(), purpose)

    def _master(self) -> str:
        return self.master_key or _master_key_file(self.data / "master.key")


def _derived(master: str, purpose: str) -> bytes:
    return hmac.new(master.encode(), purpose.encode(), hashlib.sha256).digest()


def _master_key_file(path: Path) -> str:
    """The key in the file, which is made complete and 0600 before it gets its name."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key holds
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
