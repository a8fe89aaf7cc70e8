"""A repository of backups: a folder, whose files are written once and shared by the backups in it.

```text
repository.json           what this is, and how its key is derived; never encrypted
backups/<id>.json         one backup: which rows and how many, see manifest.py
rows/<2>/<name>           a segment of a table's rows, by the digest of what is in it, see rows.py
bytes/<id>.pack, .index   the files of many instances, see packs.py
incoming/                 what is being written; left over: nothing
lock                      held by whoever writes (alone) or reads
```

A file appears under its name when it is whole and flushed. Encrypted, every file but the first is in the form
of cipher.py, and names that come from contents are keyed: they tell nothing.
"""

import errno
import fcntl
import hashlib
import hmac
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from server.backup.cipher import KeyDerivation, Opener, Sealer
from server.backup.durable import make_folder, new_file, sync_folder
from server.backup.faults import DamagedBackup, NotABackup, RepositoryInUse, WrongKey
from server.kernel.uids import new_id

FORMAT = 1
READ_BYTES = 1 << 20
_DESCRIPTION = "repository.json"
_KNOWN_KEY = "known"  # the name that the key's proof is sealed for


class Description(msgspec.Struct, frozen=True):
    """repository.json."""

    id: str
    format: int = FORMAT
    derivation: KeyDerivation | None = None  # None: not encrypted
    proof: bytes | None = None  # something known, sealed with the key


class Repository:
    """One repository; the caller holds its lock while it works on it."""

    def __init__(self, root: Path, repository_id: str, key: bytes | None) -> None:
        self.root = root
        self.id = repository_id
        self._key = key

    def label(self, content: bytes) -> str:
        """The name of a file that holds just this."""
        if self._key is None:
            return hashlib.sha256(content).hexdigest()
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.root / name).is_file()

    def names(self, folder: str) -> list[str]:
        """The names of all files below a folder, in order."""
        found = (path for path in (self.root / folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def size(self, name: str) -> int:
        """How many bytes a file takes."""
        return (self.root / name).stat().st_size

    @contextmanager
    def create(self, name: str) -> Iterator["Writer"]:
        """A new file to be written; it is there once the context is left without an error."""
        with new_file(self.root / name, self.root / "incoming") as file:
            writer = Writer(file, None if self._key is None else Sealer(self._key, name))
            yield writer
            writer.end()

    def write(self, name: str, content: bytes) -> int:
        """Write a whole file; returns how many bytes it takes."""
        with self.create(name) as writer:
            writer.write(content)
        return writer.written

    def stream(self, name: str) -> Iterator[bytes]:
        """The content of a file, piece by piece.

        Raises:
            DamagedBackup: it is not there, or (encrypted) not what was written.
        """
        opener = None if self._key is None else Opener(self._key, name)
        try:
            with (self.root / name).open("rb") as file:
                while piece := file.read(READ_BYTES):
                    if plain := piece if opener is None else opener.add(piece):
                        yield plain
        except FileNotFoundError:
            raise DamagedBackup(f"{name} is missing.") from None
        if opener is not None and (rest := opener.end()):
            yield rest

    def read(self, name: str) -> bytes:
        """The whole content of a file; raises as `stream`."""
        return b"".join(self.stream(name))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        folders = set()
        for name in names:
            (self.root / name).unlink(missing_ok=True)
            folders.add((self.root / name).parent)
        for folder in folders:
            sync_folder(folder)

    def clear_incoming(self) -> None:
        """Remove what interrupted work has left; the lock is held alone."""
        shutil.rmtree(self.root / "incoming", ignore_errors=True)
        make_folder(self.root / "incoming")


class Writer:
    """A file of the repository that is being written."""

    def __init__(self, file: BinaryIO, sealer: Sealer | None) -> None:
        self._file, self._sealer = file, sealer
        self.written = 0  # bytes of the file so far

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Append."""
        self._append(content if self._sealer is None else self._sealer.add(content))

    def end(self) -> None:
        """Append what is still held back."""
        if self._sealer is not None:
            self._append(self._sealer.end())

    def _append(self, content: bytes | bytearray | memoryview) -> None:
        self._file.write(content)
        self.written += len(content)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a repository is, or is to be, and the passphrase of its key; None: it is not encrypted."""

    root: Path
    passphrase: str | None = None


@contextmanager
def opened(place: Place, *, alone: bool) -> Iterator[Repository]:
    """A repository that is there, with its lock held.

    Raises:
        NotABackup, WrongKey, RepositoryInUse.
    """
    if not (place.root / _DESCRIPTION).is_file():
        raise NotABackup(f"{place.root} is no repository of backups.")
    with _locked(place.root, alone=alone):
        yield _open(place)


@contextmanager
def opened_or_made(place: Place) -> Iterator[Repository]:
    """A repository to write to, made if the folder is empty or missing; raises as `opened`."""
    if not (place.root / _DESCRIPTION).is_file():
        foreign = {path.name for path in place.root.iterdir()} if place.root.is_dir() else set()
        if foreign - {"lock", "incoming"}:
            raise NotABackup(f"{place.root} is neither empty nor a repository of backups.")
        make_folder(place.root)
    with _locked(place.root, alone=True):
        make_folder(place.root / "incoming")
        if not (place.root / _DESCRIPTION).is_file():
            _make(place)
        repository = _open(place)
        repository.clear_incoming()
        yield repository


@contextmanager
def _locked(root: Path, *, alone: bool) -> Iterator[None]:
    """The lock goes with the process, however that ends; where nothing can be written, nobody else writes."""
    try:
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if alone or error.errno not in (errno.EROFS, errno.EACCES):
            raise
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RepositoryInUse(f"Another process works on the backups in {root}.") from None
        yield
    finally:
        os.close(descriptor)


def _make(place: Place) -> None:
    description = Description(new_id())
    if place.passphrase is not None:
        derivation = KeyDerivation(os.urandom(32))
        sealer = Sealer(derivation.key(place.passphrase), _KNOWN_KEY)
        description = Description(
            description.id, derivation=derivation, proof=sealer.add(b"isthmus") + sealer.end()
        )
    with new_file(place.root / _DESCRIPTION, place.root / "incoming") as file:
        file.write(msgspec.json.encode(description))


def _open(place: Place) -> Repository:
    try:
        description = msgspec.json.decode((place.root / _DESCRIPTION).read_bytes(), type=Description)
    except msgspec.MsgspecError as error:
        raise DamagedBackup(f"{_DESCRIPTION} is not what was written.") from error
    if description.format > FORMAT:
        raise NotABackup(f"{place.root} is of a newer format ({description.format}) than this program's.")
    return Repository(place.root, description.id, _key(place, description))


def _key(place: Place, description: Description) -> bytes | None:
    if description.derivation is None:
        if place.passphrase is not None:
            raise WrongKey(f"The backups in {place.root} are not encrypted; give no key for them.")
        return None
    if place.passphrase is None:
        raise WrongKey(f"The backups in {place.root} are encrypted; their key is needed.")
    key = description.derivation.key(place.passphrase)
    opener = Opener(key, _KNOWN_KEY)
    try:
        opener.add(description.proof or b"")
        opener.end()
    except DamagedBackup:
        raise WrongKey(f"This is not the key of the backups in {place.root}.") from None
    return key
