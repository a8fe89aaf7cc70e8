"""The segments of rows in a repository: written when they are new, read back with their proof."""

from collections.abc import Iterator
from typing import Any

from server.backup.faults import DamagedBackup
from server.backup.manifest import TableDump
from server.backup.repository import Repository
from server.backup.rows import compress, decompress, unpack

FOLDER = "rows"


def segment_name(label: str) -> str:
    """The name of a segment's file."""
    return f"{FOLDER}/{label[:2]}/{label}"


def keep_segment(repository: Repository, segment: bytes) -> tuple[str, int]:
    """Have a segment be in the repository; returns its label, and how many bytes that added."""
    label = repository.label(segment)
    name = segment_name(label)
    if repository.exists(name):
        return label, 0
    return label, repository.write(name, compress(segment))


def read_segment(repository: Repository, label: str) -> list[list[Any]]:
    """The rows of a segment.

    Raises:
        DamagedBackup: it is missing, or not what was written.
    """
    name = segment_name(label)
    try:
        segment = decompress(repository.stream(name))
    except ValueError:
        raise DamagedBackup(f"{name} is not what was written.") from None
    if repository.label(segment) != label:
        raise DamagedBackup(f"{name} is not what was written.")
    return list(unpack(segment))


def read_rows(repository: Repository, dump: TableDump, *columns: str) -> Iterator[list[Any]]:
    """These columns of all rows of a table; raises as `read_segment`."""
    places = [dump.columns.index(column) for column in columns]
    for label in dump.segments:
        for row in read_segment(repository, label):
            yield [row[place] for place in places]
