"""The files of the package, out of its tarball.

The digest has been checked before; what is refused here would be a mistake of ours, and does no harm either.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from server.kernel.faults import Fault, FaultKind

MAX_ENTRIES = 4000  # OHIF's package has 101
MAX_UNPACKED_BYTES = 512 << 20  # of the whole archive; OHIF's has 204 MB
MAX_PATH_CHARACTERS = 200
CHUNK_BYTES = 256 << 10
DIST = "package/dist/"  # npm puts everything below package/


class BadPackage(Fault):
    """The tarball does not hold what it should, or something that must not be unpacked."""

    kind = FaultKind.UNPROCESSABLE


def unpack(tarball: Path, into: Path) -> None:
    """Write the files below `package/dist/` to the new folder `into`.

    Raises:
        BadPackage: a link, a device, a path that leads elsewhere, too many entries or bytes, no archive.
    """
    into.mkdir()
    try:
        with _Inflated(tarball) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            for entry in _entries(archive):
                if entry.isfile() and entry.name.startswith(DIST):
                    _write(archive, entry, into / entry.name.removeprefix(DIST))
    except (
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        FileExistsError,
        IsADirectoryError,
    ) as error:
        raise BadPackage(f"The package cannot be unpacked ({type(error).__name__}).") from error


def is_plain(path: str) -> bool:
    """Whether a relative path leads down only, and can be part of a URL path as it is shown."""
    return (
        len(path) <= MAX_PATH_CHARACTERS
        and path.isprintable()
        and not set(path) & set('\\:*?"<>|%#')
        and not {"", ".", ".."} & set(path.split("/"))
    )


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for number, entry in enumerate(archive):
        if number >= MAX_ENTRIES:
            raise BadPackage(f"The package has more than {MAX_ENTRIES} entries.")
        if not (entry.isfile() or entry.isdir()):
            raise BadPackage("The package holds a link or a device.")
        if not is_plain(entry.name.rstrip("/")):
            raise BadPackage("The package holds a path that is not plain.")
        yield entry


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(entry)
    if content is None:
        raise BadPackage("The package holds a file without content.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while piece := content.read(CHUNK_BYTES):
            file.write(piece)


class _Inflated(gzip.GzipFile):
    """What a gzip file inflates to, up to the limit: a bomb goes no further, nor does a header of tar's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._left = MAX_UNPACKED_BYTES

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise BadPackage(f"The package has more than {MAX_UNPACKED_BYTES >> 20} MiB.")
        return piece
