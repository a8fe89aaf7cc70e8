"""The package's tarball: from a registry, another URL or a file; its digest must be the pinned one."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from server.kernel.faults import Fault, FaultKind
from server.viewer.release import Release

MAX_TARBALL_BYTES = 128 << 20  # OHIF's has 48 MB
CHUNK_BYTES = 256 << 10
TIMEOUT_S = 30.0  # to connect, and between two pieces
REDIRECTS = 5  # a registry may hand out its files elsewhere

Progress = Callable[[int, int | None], None]  # bytes so far; bytes in all, None: not known


class NotObtained(Fault):
    """The tarball cannot be had from there."""

    kind = FaultKind.NOT_FOUND


class WrongIntegrity(Fault):
    """What came is not the package: its digest is another, or it is far too large."""

    kind = FaultKind.UNPROCESSABLE


def obtain(source: str, release: Release, into: Path, progress: Progress) -> None:
    """Copy the tarball of `release` from `source`, a path or an http URL, to the file `into`.

    Raises:
        NotObtained: there is none, or it cannot be read to its end.
        WrongIntegrity: it is not the pinned one.
    """
    digest, total = hashlib.sha512(), 0
    with _opened(source, release) as (pieces, length), into.open("xb") as file:
        for piece in pieces:
            total += len(piece)
            if total > MAX_TARBALL_BYTES:
                raise WrongIntegrity(
                    f"{source} is larger than {MAX_TARBALL_BYTES >> 20} MiB: not the package."
                )
            digest.update(piece)
            file.write(piece)
            progress(total, length)
    found = f"sha512-{base64.b64encode(digest.digest()).decode()}"
    if found != release.integrity:
        raise WrongIntegrity(
            f"{source} is not {release.package} {release.version}: its checksum is\n  {found}\n"
            f"and should be\n  {release.integrity}"
        )


@contextmanager
def _opened(source: str, release: Release) -> Iterator[tuple[Iterable[bytes], int | None]]:
    """The pieces of a source, and how many bytes they should be."""
    is_url = source.startswith(("https://", "http://"))
    try:
        with _downloaded(source) if is_url else _read(Path(source)) as opened:
            yield opened
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise NotObtained(f"{source} cannot be fetched ({reason}).\n{_by_hand(release)}") from error
    except OSError as error:
        raise NotObtained(f"{source} cannot be read: {error.strerror}.") from error


@contextmanager
def _downloaded(url: str) -> Iterator[tuple[Iterable[bytes], int | None]]:
    with (
        httpx.Client(follow_redirects=True, max_redirects=REDIRECTS, timeout=TIMEOUT_S) as http,
        http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        answer.raise_for_status()
        length = answer.headers.get("content-length", "")
        yield answer.iter_raw(CHUNK_BYTES), int(length) if length.isdecimal() else None


@contextmanager
def _read(path: Path) -> Iterator[tuple[Iterable[bytes], int | None]]:
    with path.open("rb") as file:
        yield iter(lambda: file.read(CHUNK_BYTES), b""), path.stat().st_size


def _by_hand(release: Release) -> str:
    """What to do where the registry cannot be reached."""
    return (
        f"Where there is no such network: `npm pack {release.package}@{release.version}` on a machine that"
        " has it, then `isthmus viewer install --from FILE` here."
    )
