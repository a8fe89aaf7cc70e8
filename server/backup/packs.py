"""The files of instances in a repository: each once for ever, by its digest, many together in a pack.

A pack is the bodies one behind the other; its index, written when the pack is complete, lists SHA-256 and
length of each in the same order. Without its index a pack is left over from an interrupted backup. A body
that turned out damaged while it was written is listed with a digest of zeros, which nobody asks for.
"""

import hashlib
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from server.backup.faults import DamagedBackup
from server.backup.repository import Repository, Writer
from server.kernel.disk_map import DiskMap
from server.kernel.uids import new_id

FOLDER = "bytes"
PACK_BYTES = 256 << 20  # a pack over this size is closed and a new one begun
VOID = bytes(32)

_ENTRY = struct.Struct(">32sQ")  # SHA-256, length


class PackWriter:
    """Writes bodies into new packs. The last pack is closed when the context is left without an error."""

    def __init__(self, repository: Repository, pack_bytes: int = PACK_BYTES) -> None:
        self._repository, self._pack_bytes = repository, pack_bytes
        self._open = ExitStack()
        self._pack: Writer | None = None
        self._id = ""
        self._index: list[bytes] = []
        self.written = 0  # bytes of packs and indexes that are complete

    def __enter__(self) -> "PackWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end_pack()
        else:
            self._open.__exit__(kind, error, trace)

    def add(self, digest: bytes, body: bytes) -> None:
        """Append a body, whose SHA-256 this is."""
        self.write(body)
        self.end_body(digest, len(body))

    def write(self, piece: bytes) -> None:
        """Append a piece of a large body; `end_body` follows the last."""
        if self._pack is None:
            self._id = new_id()
            self._pack = self._open.enter_context(self._repository.create(f"{FOLDER}/{self._id}.pack"))
        self._pack.write(piece)

    def end_body(self, digest: bytes, length: int) -> None:
        """What was written since the last body is one; `VOID`: it is none."""
        if self._pack is None:  # an empty body, first of its pack
            self.write(b"")
        self._index.append(_ENTRY.pack(digest, length))
        if self._pack is not None and self._pack.written >= self._pack_bytes:
            self._end_pack()

    def _end_pack(self) -> None:
        if self._pack is None:
            return
        self._open.close()
        self.written += self._pack.written
        self.written += self._repository.write(f"{FOLDER}/{self._id}.index", b"".join(self._index))
        self._pack, self._index = None, []


@dataclass(frozen=True, slots=True)
class Entry:
    """A body of a pack."""

    digest: bytes
    length: int


def pack_ids(repository: Repository) -> list[str]:
    """The packs that are complete."""
    names = repository.names(FOLDER)
    return [
        name.removeprefix(f"{FOLDER}/").removesuffix(".index") for name in names if name.endswith(".index")
    ]


def files_of(pack_id: str) -> tuple[str, str]:
    """The names of a pack's files, in the order in which they may be removed."""
    return f"{FOLDER}/{pack_id}.index", f"{FOLDER}/{pack_id}.pack"


def remove_incomplete(repository: Repository) -> None:
    """Remove packs that an interrupted backup has left without their index."""
    complete = set(pack_ids(repository))
    packs = [name for name in repository.names(FOLDER) if name.endswith(".pack")]
    repository.remove(name for name in packs if name[len(FOLDER) + 1 : -len(".pack")] not in complete)


def read_index(repository: Repository, pack_id: str) -> list[Entry]:
    """What is in a pack.

    Raises:
        DamagedBackup: the index is not what was written.
    """
    name = files_of(pack_id)[0]
    content = repository.read(name)
    if len(content) % _ENTRY.size:
        raise DamagedBackup(f"{name} is not what was written.")
    return [Entry(*entry) for entry in _ENTRY.iter_unpack(content)]


def note_known(repository: Repository, known: DiskMap) -> None:
    """Put the digests of all bodies in the repository into a map."""
    for pack_id in pack_ids(repository):
        known.put_all((entry.digest, b"") for entry in read_index(repository, pack_id))


class Body:
    """One body of a pack that is being read; its pieces come once, and before the next body."""

    def __init__(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        self.entry = entry
        self.is_complete = False  # whether all pieces have come, right or wrong
        self._pieces = pieces

    def checked(self) -> Iterator[bytes]:
        """Its bytes, piece by piece.

        Raises:
            DamagedBackup: at the end, when they are not those of the digest.
        """
        found = hashlib.sha256()
        for piece in self._pieces:
            found.update(piece)
            yield piece
        self.is_complete = True
        if found.digest() != self.entry.digest:
            raise DamagedBackup(f"The bytes of SHA-256 {self.entry.digest.hex()} are not what was written.")

    def read(self) -> bytes:
        """All its bytes; raises as `checked`."""
        return b"".join(self.checked())

    def skip(self) -> None:
        """Read over what was not read of it."""
        for _ in self._pieces:
            pass


def read_pack(repository: Repository, pack_id: str) -> Iterator[Body]:
    """The bodies of a pack in their order, but the void ones.

    Raises:
        DamagedBackup: here or at a body's pieces: pack or index is missing or too short, or, encrypted, not
            what was written.
    """
    name = files_of(pack_id)[1]
    pieces = _Pieces(name, repository.stream(name))
    for entry in read_index(repository, pack_id):
        body = Body(entry, pieces.take(entry.length))
        if entry.digest != VOID:
            yield body
        body.skip()


class _Pieces:
    """A stream of pieces of any size, taken by length."""

    def __init__(self, name: str, source: Iterator[bytes]) -> None:
        self._name, self._source = name, source
        self._rest = memoryview(b"")

    def take(self, length: int) -> Iterator[bytes]:
        """The next `length` bytes."""
        while length > 0:
            if not self._rest:
                piece = next(self._source, None)
                if piece is None:
                    raise DamagedBackup(f"{self._name} ends too early.")
                self._rest = memoryview(piece)
            taken = bytes(self._rest[:length])
            self._rest = self._rest[len(taken) :]
            length -= len(taken)
            yield taken
