"""`isthmus viewer …`: what the commands do and say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from server.viewer.install import install, uninstall
from server.viewer.installed import read_installed
from server.viewer.release import OHIF, Release


@dataclass(frozen=True, slots=True)
class Status:
    """What is installed, in a sentence."""

    text: str
    is_usable: bool


def run_install(folder: Path, source: str | None, registry: str, release: Release = OHIF) -> Sequence[str]:
    """Install the viewer, with a progress bar; returns lines that say what is there now."""
    source = source or release.tarball_url(registry)
    name = f"{release.package} {release.version}"
    with _bar() as bar:
        task = bar.add_task(name, total=None)

        def advance(done: int, total: int | None) -> None:
            doing = f"{name}: unpacking" if done == total else name
            bar.update(task, completed=done, total=total, description=doing)

        install(folder, release, source, advance)
    return (describe(folder).text, "A server with this data folder serves it at /ui/viewer/")


def run_uninstall(folder: Path) -> str:
    """Remove the viewer; returns a sentence."""
    return f"Removed from {folder}." if uninstall(folder) else f"No viewer is installed in {folder}."


def describe(folder: Path) -> Status:
    """Which viewer is installed in a folder, and whether all of it is there."""
    installed = read_installed(folder)
    if installed is None:
        return Status(f"No viewer is installed in {folder}; `isthmus viewer install` does it.", False)
    record = installed.record
    what = f"{record.package} {record.version}, {len(installed.files)} files, in {folder}"
    if not installed.is_whole:
        return Status(f"{what}, but files are missing; `isthmus viewer install` mends it.", False)
    return Status(f"{what}.", True)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
