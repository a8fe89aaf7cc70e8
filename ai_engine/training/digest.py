"""One hash of the files of a folder."""

import hashlib
from pathlib import Path


def sha256_of_files(folder: Path, pattern: str) -> str:
    """Over the names and contents of a folder's files, in the order of names."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob(pattern)):
        digest.update(f"{file.name}\x00{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
