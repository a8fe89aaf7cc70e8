"""Packages of FHIR definitions as they are published: npm tarballs with `package/*.json`.

A package is somebody else's file: nothing of it is unpacked to disk, links and odd names refuse it whole, and
what it may unfold to is bounded.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fhir.interactions.body import MAX_RESOURCE_BYTES
from fhir.model.json_codec import InvalidJson, decode_json
from server.kernel.faults import Fault, FaultKind

MAX_UNPACKED_BYTES = 1 << 30  # hl7.fhir.r4.core has 200 MB
MAX_MEMBERS = 50_000
FHIR_VERSIONS = ("4.0.0", "4.0.1")
_MANIFEST = "package.json"


class InvalidPackage(Fault):
    """The file is no package of FHIR R4 definitions, or unfolds to more than one may."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True)
class Definition:
    """One resource of a package, and its file there."""

    file: str
    resource: Mapping[str, Any]


@dataclass(slots=True)
class _Bounded:
    """A stream that ends with an error where it becomes too long."""

    stream: IO[bytes]
    left: int = field(default_factory=lambda: MAX_UNPACKED_BYTES)

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size if size >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise InvalidPackage(f"The package unfolds to more than {MAX_UNPACKED_BYTES} bytes.")
        return data


def read_package(path: Path, max_bytes: int = MAX_RESOURCE_BYTES) -> Iterator[Definition]:
    """The definitions of a package, in its order, examples left out; each has `max_bytes` at most.

    Raises:
        InvalidPackage: it is none of R4, not whole, or not safe to read.
    """
    stated = False
    try:
        with gzip.open(path) as unpacked, _archive(unpacked) as archive:
            for name, data in _members(archive, max_bytes):
                if name == _MANIFEST:
                    _require_r4(_decoded(name, data))
                    stated = True
                elif (resource := _decoded(name, data)).get("resourceType"):
                    yield Definition(name, resource)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
        raise InvalidPackage(f"The file is no package: {type(problem).__name__}.") from None
    if not stated:
        raise InvalidPackage(f"The file is no package: it has no package/{_MANIFEST}.")


def _archive(unpacked: Any) -> tarfile.TarFile:
    stream: Any = _Bounded(unpacked)  # tarfile reads it from beginning to end, and asks for no more
    return tarfile.open(fileobj=stream, mode="r|")


def _members(archive: tarfile.TarFile, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """The JSON files right below `package/`; the manifest may stand anywhere among them."""
    for count, member in enumerate(archive):
        if count >= MAX_MEMBERS:
            raise InvalidPackage(f"The package has more than {MAX_MEMBERS} files.")
        place = PurePosixPath(member.name)
        if place.is_absolute() or ".." in place.parts or not (member.isfile() or member.isdir()):
            raise InvalidPackage("The package has a link, a device or a path that leads out of it.")
        name = place.name
        if len(place.parts) != 2 or place.parts[0] != "package" or not name.endswith(".json"):
            continue
        if not member.isfile() or name.startswith("."):
            continue
        if member.size > max_bytes:
            raise InvalidPackage(f"The file {name} is larger than {max_bytes} bytes.")
        file = archive.extractfile(member)
        if file is not None:
            yield name, file.read()


def _decoded(name: str, data: bytes) -> dict[str, Any]:
    try:
        return decode_json(data.removeprefix(b"\xef\xbb\xbf"))
    except InvalidJson as problem:
        raise InvalidPackage(f"The file {name} is not acceptable: {problem}") from None


def _require_r4(manifest: Mapping[str, Any]) -> None:
    versions = manifest.get("fhirVersions") or manifest.get("fhir-version-list") or ()
    if not set(versions) & set(FHIR_VERSIONS):
        raise InvalidPackage(f"The package is not for FHIR R4: it states none of {', '.join(FHIR_VERSIONS)}.")
