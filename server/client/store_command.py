"""`isthmus store`: the files of some folders to a server, with a progress bar and a word on each refusal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from server.client.store import StoreReport, plan, store_files
from server.client.stow import Remote, connect
from server.kernel.faults import Fault

MAX_LISTED = 20  # refused or skipped files that are named one by one

INTERRUPTED = 130  # as shells number SIGINT


def run_store(paths: Sequence[Path], url: str, token: str | None, console: Console | None = None) -> int:
    """Send everything under `paths`; returns the exit code: 0 when all that is DICOM is stored."""
    console = console or Console(stderr=True)
    files, skipped = plan(paths)
    report = StoreReport(skipped=skipped)
    code: int | None = None
    with connect(url, token) as http, _bar(console) as bar:
        task = bar.add_task("storing", total=sum(file.length for file in files))
        try:
            store_files(Remote(http), files, report, lambda _files, length: bar.update(task, advance=length))
        except Fault as fault:
            bar.stop()
            _say(console, str(fault))
            code = 1
        except KeyboardInterrupt:
            bar.stop()
            _say(console, "Interrupted; the same command goes on from here.")
            code = INTERRUPTED
    tell(console, report)
    return report.exit_code if code is None else code


def tell(console: Console, report: StoreReport) -> None:
    """Say what became of the files."""
    for skipped in report.skipped[:MAX_LISTED]:
        _say(console, f"skipped  {skipped.path}: {skipped.reason}")
    for refused in report.refused[:MAX_LISTED]:
        _say(console, f"refused  {refused.path or 'an instance'}: {refused.reason}")
    unlisted = sum(max(0, len(them) - MAX_LISTED) for them in (report.skipped, report.refused))
    if unlisted:
        _say(console, f"… and {unlisted} more")
    _say(
        console,
        f"{report.sent} stored ({report.sent_bytes / 1e6:.1f} MB), "
        f"{report.already_stored} were there already, "
        f"{len(report.refused)} refused, {len(report.skipped)} skipped",
    )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)
