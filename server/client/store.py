"""Sending many files: what is there already is not sent, what is refused is named, a second run goes on.

The server is the memory of what was sent: it is asked (QIDO-RS) before each batch, so an interrupted run is
continued by running it again, from any machine.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.client.files import InstanceFile, SkippedFile, find_files
from server.client.store_response import Outcome
from server.client.stow import BodyTooLarge, Remote, store, stored_uids

BATCH_BYTES = 32 << 20  # of one request; what a broken connection costs at most
BATCH_FILES = 100  # of one request; their UIDs fit into one query


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that the server refused, and why, in words for the user."""

    path: Path | None  # None: the server named no instance
    reason: str


@dataclass(slots=True)
class StoreReport:
    """What became of the files."""

    sent: int = 0
    sent_bytes: int = 0
    already_stored: int = 0
    refused: list[RefusedFile] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: everything that is DICOM is stored now."""
        return 1 if self.refused or not (self.sent or self.already_stored) else 0


Progress = Callable[[int, int], None]  # (files, bytes) that were dealt with since the last call


def plan(paths: Iterable[Path]) -> tuple[list[InstanceFile], list[SkippedFile]]:
    """The instances under `paths`, and what is left out."""
    found = list(find_files(paths))
    instances = [file for file in found if isinstance(file, InstanceFile)]
    return instances, [file for file in found if isinstance(file, SkippedFile)]


def store_files(
    remote: Remote, files: Sequence[InstanceFile], report: StoreReport, progress: Progress
) -> None:
    """Send the files in batches, and write into `report` what became of them.

    `report` is right at any time, so that what was done before an interruption can be told.

    Raises:
        ServerRefused: as `stow.store`.
        ServerUnreachable: as `stow.store`.
    """
    for batch in batches(files):
        known = {file.sop_instance_uid for file in batch} - {""}
        there = stored_uids(remote, sorted(known)) if known else frozenset()
        waiting = [file for file in batch if file.sop_instance_uid not in there]
        report.already_stored += len(batch) - len(waiting)
        progress(len(batch) - len(waiting), sum(f.length for f in batch) - sum(f.length for f in waiting))
        for part, outcome in _send(remote, waiting):
            _take(report, part, outcome)
            progress(len(part), sum(file.length for file in part))


def batches(files: Iterable[InstanceFile]) -> Iterator[list[InstanceFile]]:
    """Files in requests of at most `BATCH_BYTES` and `BATCH_FILES`; a larger file goes alone."""
    batch: list[InstanceFile] = []
    length = 0
    for file in files:
        if batch and (length + file.length > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield batch
            batch, length = [], 0
        batch.append(file)
        length += file.length
    if batch:
        yield batch


def _send(
    remote: Remote, files: Sequence[InstanceFile]
) -> Iterator[tuple[Sequence[InstanceFile], Outcome | BodyTooLarge]]:
    """Send files, in halves when the server takes less at once."""
    if not files:
        return
    try:
        yield files, store(remote, files)
    except BodyTooLarge as fault:
        if len(files) == 1:
            yield files, fault
            return
        middle = len(files) // 2
        yield from _send(remote, files[:middle])
        yield from _send(remote, files[middle:])


def _take(report: StoreReport, files: Sequence[InstanceFile], outcome: Outcome | BodyTooLarge) -> None:
    if isinstance(outcome, BodyTooLarge):
        report.refused += [RefusedFile(file.path, str(outcome)) for file in files]
        return
    path_of = {file.sop_instance_uid: file.path for file in files if file.sop_instance_uid}
    alone = files[0].path if len(files) == 1 else None
    report.refused += [
        RefusedFile(path_of.get(refusal.sop_instance_uid, alone), refusal.reason)
        for refusal in outcome.refused
    ]
    refused = {refusal.sop_instance_uid for refusal in outcome.refused}
    report.sent += len(files) - len(outcome.refused)
    report.sent_bytes += sum(f.length for f in files if f.sop_instance_uid not in refused)
