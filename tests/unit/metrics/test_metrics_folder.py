"""Several processes, one scrape."""

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.kernel import metrics_folder

COUNT = """
import sys
from server.kernel.metrics import counter, gauge, histogram
counter("isthmus_things", "Things.", ("kind",)).labels("a").inc(float(sys.argv[1]))
gauge("isthmus_held", "Held.").set(1)
histogram("isthmus_time_seconds", "Time.").observe(0.3)
print("counted", flush=True)
sys.stdin.read()
"""
SCRAPE = """
import asyncio
from server.http.metrics import Metrics
print(asyncio.run(Metrics().render()).decode())
"""


class Counting:
    """A process that counts and waits."""

    def __init__(self, folder: Path, amount: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNT, str(amount)],
            env={**os.environ, metrics_folder.VARIABLE: str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"counted\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def scrape(folder: Path) -> list[str]:
    environment = {**os.environ, metrics_folder.VARIABLE: str(folder)}
    done = subprocess.run([sys.executable, "-c", SCRAPE], env=environment, capture_output=True, check=True)
    return done.stdout.decode().splitlines()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Counting, Counting]]:
    processes = Counting(tmp_path, 3), Counting(tmp_path, 4)
    yield processes
    for each in processes:
        each.kill()


def test_processes_are_added_up(tmp_path: Path, two: tuple[Counting, Counting]) -> None:
    text = scrape(tmp_path)
    assert 'isthmus_things_total{kind="a"} 7.0' in text
    assert "isthmus_held 2.0" in text
    assert 'isthmus_time_seconds_bucket{le="0.5"} 2.0' in text
    assert "isthmus_time_seconds_count 2.0" in text


def test_ended_process_leaves_its_counts_and_takes_its_gauges(
    tmp_path: Path, two: tuple[Counting, Counting]
) -> None:
    two[0].kill()
    for _ in range(2):  # folded once, not again and again
        text = scrape(tmp_path)
        assert 'isthmus_things_total{kind="a"} 7.0' in text
        assert "isthmus_held 1.0" in text
        assert "isthmus_time_seconds_count 2.0" in text


def test_files_do_not_grow_with_ended_processes(tmp_path: Path) -> None:
    for _ in range(3):
        Counting(tmp_path, 1).kill()
    assert len(list(tmp_path.glob("counter_*.db"))) == 3
    with metrics_folder.folded(tmp_path):
        assert [path.name for path in tmp_path.glob("counter_*.db")] == ["counter_ended.db"]
        assert not list(tmp_path.glob("gauge_*.db"))
    assert 'isthmus_things_total{kind="a"} 3.0' in scrape(tmp_path)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_of_a_killed_owner_is_removed_and_of_a_living_one_kept(temporary: Path) -> None:
    folders = [temporary / f"{metrics_folder.PREFIX}{name}" for name in ("dead", "living", "being-made")]
    for folder in folders:
        folder.mkdir()
    for folder in folders[:2]:
        (folder / metrics_folder.HELD).touch()
    with (folders[1] / metrics_folder.HELD).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        metrics_folder._remove_abandoned()
    assert [folder.exists() for folder in folders] == [False, True, True]


def test_folder_that_the_operator_names_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(metrics_folder.VARIABLE, str(tmp_path))
    assert metrics_folder.share_metrics() == tmp_path


def test_sharing_after_the_first_import_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(metrics_folder.VARIABLE, raising=False)
    with pytest.raises(metrics_folder.SharedTooLate):
        metrics_folder.share_metrics()


SERVE = """
import sys
import server.cli
assert "prometheus_client" not in sys.modules, "imported with the command line"
from server.kernel.metrics_folder import share_metrics
folder = share_metrics()
import server.app, server.kernel.metrics
print(folder, len(list(folder.glob("*.db"))))
"""


def test_folder_is_named_before_anything_counts_and_removed_at_the_end(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != metrics_folder.VARIABLE}
    environment["TMPDIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", SERVE], env=environment, capture_output=True, check=True)
    folder, files = done.stdout.split()
    assert int(files) > 0
    assert Path(folder.decode()).parent == tmp_path
    assert not Path(folder.decode()).exists()


async def test_scrapes_wait_for_each_other(tmp_path: Path) -> None:
    with (tmp_path / metrics_folder.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def read() -> None:
            with metrics_folder.folded(tmp_path):
                pass

        waiting = asyncio.create_task(asyncio.to_thread(read))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
