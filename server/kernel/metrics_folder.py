"""One `/metrics` for several processes: all of `serve`'s count into files of one folder.

prometheus_client keeps each process's values in memory-mapped files there when `PROMETHEUS_MULTIPROC_DIR`
is set before it is imported; so this module must not import it at the top. A process that hangs can still be
read, one that died keeps what it counted. What is added here: the folder's life, and `fold_ended`, which
moves the counts of ended processes into one file, so that neither the folder nor a scrape grows with every
restart.
"""

import atexit
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = f"isthmus-metrics-{os.getuid()}-"
HELD, LOCK = "held", "lock"  # files of the folder: locked while its owner lives; locked during a scrape
ENDED = "ended"  # stands where a file's name has the process
ADDED_UP = ("counter", "histogram", "summary")  # kinds whose values outlive their process


class SharedTooLate(RuntimeError):
    """prometheus_client was imported before the folder was named: it would count in memory."""


def share_metrics() -> Path:
    """Make the folder for this process and those it starts; it is removed when this process ends.

    An operator who sets the variable chooses, and keeps, the folder.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if "prometheus_client" in sys.modules:
        raise SharedTooLate
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    held = os.open(folder / HELD, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.environ[VARIABLE] = str(folder)
    atexit.register(_remove_at_end, folder, os.getpid())
    return folder


def shared_folder() -> Path | None:
    """The folder in use; None: this process counts in memory, for itself."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


@contextmanager
def folded(folder: Path) -> Iterator[None]:
    """Within, the counts of ended processes stand in one file, and nobody else reads or folds."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fold_ended(folder)
        yield


def fold_ended(folder: Path) -> None:
    """Add the counts of ended processes to one file; their gauges go. The caller holds the lock."""
    for path in sorted(folder.glob("*.db")):
        kind, _, process = path.stem.partition("_")
        process = process.rpartition("_")[2]
        if process == ENDED or not process.isdigit() or _lives(int(process)):
            continue
        if kind in ADDED_UP:
            _add(path, folder / f"{kind}_{ENDED}.db")
        path.unlink(missing_ok=True)


def _add(source: Path, target: Path) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    sums = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    for key, value, _timestamp, _position in MmapedDict.read_all_values_from_file(str(source)):  # type: ignore[no-untyped-call]
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's: ours has ended
        return False
    return True


def _remove_abandoned() -> None:
    """Remove the folders of owners that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / HELD).open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _remove_at_end(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork of it
        shutil.rmtree(folder, ignore_errors=True)
