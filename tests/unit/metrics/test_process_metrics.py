"""What a process tells of itself."""

import asyncio
import os
from pathlib import Path

import pytest

from server.kernel import process_metrics
from server.kernel.metrics import REGISTRY
from server.kernel.process_metrics import Role, disk_facts, memory_facts, watch_process


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_process_reports_until_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "BEAT_S", 0.001)
    before = value("isthmus_event_loop_lag_seconds_count", role="worker") or 0
    stop, seen = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(watch_process(Role.WORKER, stop, seen.set))
    await seen.wait()
    while (value("isthmus_event_loop_lag_seconds_count", role="worker") or 0) <= before:
        await asyncio.sleep(0)
    stop.set()
    await task
    assert value("isthmus_processes", role="worker") == 1
    assert (value("isthmus_process_resident_memory_bytes", role="worker") or 0) > 10 << 20
    assert (value("isthmus_process_open_files", role="worker") or 0) > 2
    assert (value("isthmus_process_cpu_seconds_total", role="worker") or 0) > 0


async def test_memory_of_children_is_told_as_the_models() -> None:
    child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    assert child.pid in process_metrics._descendants(os.getpid())
    process_metrics._look(Role.WORKER, 0.0)
    assert (value("isthmus_process_resident_memory_bytes", role="model") or 0) > 0
    await child.communicate(b"")


@pytest.mark.parametrize(
    ("files", "used", "limit"),
    [
        pytest.param(
            {
                "memory.current": "700",
                "memory.max": "1000",
                "memory.stat": "anon 500\ninactive_file 200\n",
            },
            500,
            1000,
            id="version 2",
        ),
        pytest.param(
            {
                "memory/memory.usage_in_bytes": "700",
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.stat": "rss 500\ntotal_inactive_file 100\n",
            },
            600,
            1000,
            id="version 1",
        ),
    ],
)
def test_memory_limit_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], used: int, limit: int
) -> None:
    monkeypatch.setattr(process_metrics, "_CONTROL_GROUPS", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [each.values for each in memory_facts()] == [[((), used)], [((), limit)]]


@pytest.mark.parametrize("text", ["max", str(1 << 62)])
def test_without_a_limit_the_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(process_metrics, "_CONTROL_GROUPS", tmp_path)
    for name in ("memory.current", "memory.max", "memory.stat"):
        (tmp_path / name).write_text(text if name == "memory.max" else "700" if "." not in name else "")
    (_, used), (_, limit) = (each.values[0] for each in memory_facts())
    assert 0 < used < limit
    assert limit == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_disk(tmp_path: Path) -> None:
    (_, free), (_, size) = (each.values[0] for each in disk_facts(tmp_path))
    assert 0 < free < size
