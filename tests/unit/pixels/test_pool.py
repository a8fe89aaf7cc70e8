"""Children that die, hang and eat memory cost the one who asked, and nobody else."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels import pool as pool_module
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat, to_header
from dicomweb.pixels.pool import CHILD_MEMORY_BYTES, PixelPool, PoolLimits, Unread
from server.kernel.faults import Busy
from server.kernel.metrics import REGISTRY

NAMES = ("echo", "die", "hang", "hold", "eat", "stumble", "confinement")
WITH_TASKS_OF_THE_TESTS = f"""
import sys; sys.path.insert(0, {pool_module.ROOT!r})
from dicomweb.pixels import child, tasks
tasks.TASKS = dict(tasks.TASKS) | {{name: "tests.unit.pixels.tasks_of_the_tests:" + name for name in {NAMES}}}
child.main()
"""


@pytest.fixture(scope="module", autouse=True)
def _program() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "PROGRAM", WITH_TASKS_OF_THE_TESTS)
        yield


@pytest.fixture(scope="module")
def pool() -> Iterator[PixelPool]:
    """One child, that most tests share."""
    pool = PixelPool(PoolLimits(children=1))
    yield pool
    pool.close()


async def pid_of(pool: PixelPool) -> int:
    header, _ = await pool.run("echo", {}, b"")
    return header["pid"]


def wait_for_end(pid: int) -> None:
    """Until the process is over, which leaves its status to who started it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def is_running(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_a_child_decodes_and_codes(pool: PixelPool) -> None:
    pixels = PixelFormat(64, 64, 1, 16, 12, 11, 0, "MONOCHROME2")
    plain = bytes(range(256)) * 32
    plain = bytes(byte if at % 2 == 0 else byte & 0x0F for at, byte in enumerate(plain))
    there = {"from": ts.ExplicitVRLittleEndian, "to": ts.JPEG2000Lossless, "pixels": to_header(pixels)}
    back = there | {"from": ts.JPEG2000Lossless, "to": ts.ExplicitVRLittleEndian}
    _, coded = await pool.run("transcode", there, plain)
    header, decoded = await pool.run("transcode", back, coded)
    assert decoded == plain
    assert coded != plain
    assert header == {"photometric_interpretation": "MONOCHROME2"}


async def test_a_child_serves_many(pool: PixelPool) -> None:
    assert await pid_of(pool) == await pid_of(pool)
    assert await pid_of(pool) != os.getpid()


async def test_large_bodies_go_there_and_back(pool: PixelPool) -> None:
    body = os.urandom(1 << 20) * 40
    _, same = await pool.run("echo", {}, body)
    assert same == body


async def test_a_child_is_confined(pool: PixelPool) -> None:
    header, _ = await pool.run("confinement", {}, b"")
    limits = header["limits"]
    assert limits["RLIMIT_AS"] == CHILD_MEMORY_BYTES
    assert (limits["RLIMIT_FSIZE"], limits["RLIMIT_CORE"], limits["RLIMIT_NPROC"]) == (0, 0, 0)
    assert 0 < limits["RLIMIT_CPU"] < 200
    assert header["environment"] == sorted(
        ["LANG", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH"]
        + (["LC_CTYPE"] if "LC_CTYPE" in header["environment"] else [])
    )


@pytest.mark.parametrize(("task", "text"), [("die", "cannot be decoded"), ("nothing", "cannot be decoded")])
async def test_a_child_that_dies_is_replaced(pool: PixelPool, task: str, text: str) -> None:
    with capture_logs(), pytest.raises(PixelsUnreadable, match=text):
        await pool.run(task, {}, b"")
    await pid_of(pool)


async def test_a_child_that_was_killed_while_idle_is_not_noticed(pool: PixelPool) -> None:
    before = await pid_of(pool)
    os.kill(before, signal.SIGKILL)
    await asyncio.to_thread(wait_for_end, before)
    assert await pid_of(pool) != before


async def test_a_child_that_hangs_is_killed() -> None:
    pool = PixelPool(PoolLimits(children=1, task_s=1))
    before = await pid_of(pool)
    with pytest.raises(PixelsUnreadable, match="too long"):
        await pool.run("hang", {}, b"")
    assert not is_running(before)
    assert await pid_of(pool) != before
    pool.close()


async def test_memory_is_bounded_and_a_child_that_ran_out_of_it_is_replaced(pool: PixelPool) -> None:
    before = await pid_of(pool)
    with pytest.raises(PixelsUnreadable, match="memory"):
        await pool.run("eat", {"bytes": CHILD_MEMORY_BYTES}, b"")
    assert await pid_of(pool) != before


async def test_a_defect_of_a_task_is_logged_without_what_it_says(pool: PixelPool) -> None:
    with capture_logs() as logs, pytest.raises(PixelsUnreadable, match="cannot be decoded"):
        await pool.run("stumble", {}, b"")
    (entry,) = logs
    assert (entry["event"], entry["error"]) == ("pixels.task_failed", "ValueError")
    assert "Doe" not in str(entry)


async def test_what_is_no_reply_ends_the_child() -> None:
    """A child that was taken over may send anything: lengths are not believed."""
    pool = PixelPool(PoolLimits(children=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "PROGRAM", "import os; os.read(0, 99); os.write(0, b'\\xff' * 99)")
        with capture_logs(), pytest.raises(PixelsUnreadable):
            await pool.run("echo", {}, b"")
    pool.close()


async def test_children_that_nobody_asks_go_and_come_back() -> None:
    pool = PixelPool(PoolLimits(children=1, idle_s=1))
    before = await pid_of(pool)
    await asyncio.to_thread(wait_for_end, before)
    assert await pid_of(pool) != before
    pool.close()


async def test_children_end_with_the_pool_or_without_it() -> None:
    pool = PixelPool(PoolLimits(children=1))
    first = await pid_of(pool)
    pool.close()
    assert not is_running(first)
    with pytest.raises(Busy):
        await pid_of(pool)
    forgotten = PixelPool(PoolLimits(children=1))
    second = await pid_of(forgotten)
    del forgotten
    gc.collect()
    assert not is_running(second)


class Held:
    """A task under way until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.header = {"begun": str(folder / "begun"), "go": str(folder / "go")}
        for path in self.header.values():
            os.mkfifo(path)

    def begun(self) -> None:
        with Path(self.header["begun"]).open("rb") as pipe:
            pipe.read(1)

    def let_go(self) -> None:
        with Path(self.header["go"]).open("wb") as pipe:
            pipe.write(b"!")


async def test_others_wait_in_line_and_beyond_it_come_back_later(tmp_path: Path) -> None:
    pool = PixelPool(PoolLimits(children=1, waiting=2, waiting_bytes=100))
    held = Held(tmp_path)
    working = asyncio.ensure_future(pool.run("hold", held.header, bytes(90)))
    await asyncio.to_thread(held.begun)
    with pytest.raises(Busy):
        await pool.run("echo", {}, bytes(11))
    waiting = asyncio.ensure_future(pool.run("echo", {}, bytes(10)))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await pool.run("echo", {}, b"")
    waiting.cancel()  # leaves the line
    with suppress(asyncio.CancelledError):
        await waiting
    again = asyncio.ensure_future(pool.run("echo", {"again": True}, b""))
    await asyncio.sleep(0)
    await asyncio.to_thread(held.let_go)
    assert len((await working)[1]) == 90
    assert (await again)[0]["again"]
    pool.close()


async def test_what_finds_no_place_in_the_line_is_not_even_read() -> None:
    pool = PixelPool(PoolLimits(children=1, waiting=1))

    async def body() -> bytes:
        with pytest.raises(Busy):
            await pool.run("echo", {}, Unread(5, second))
        return b"first"

    async def second() -> bytes:
        raise AssertionError

    assert (await pool.run("echo", {}, Unread(5, body)))[1] == b"first"

    async def gone() -> bytes:
        raise PixelsUnreadable("gone")

    with pytest.raises(PixelsUnreadable, match="gone"):
        await pool.run("echo", {}, Unread(5, gone))
    assert (await pool.run("echo", {}, b"its place is free again"))[1]
    pool.close()


async def test_a_child_that_cannot_be_started_is_told_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = PixelPool(PoolLimits(children=1))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with capture_logs(), pytest.raises(Busy):
        await pool.run("echo", {}, b"")
    monkeypatch.undo()
    assert (await pool.run("echo", {}, b"now"))[1] == b"now"
    pool.close()


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_what_happens_to_tasks_and_children_is_counted(tmp_path: Path) -> None:
    pool, held = PixelPool(PoolLimits(children=1, waiting=1)), Held(tmp_path)
    names = ("isthmus_pixel_tasks_turned_away_total", "isthmus_pixel_children_lost_total")
    died = {"why": "died"}
    turned_away, lost = metric(names[0]), metric(names[1], **died)
    of_echo = {"task": "echo", "outcome": "done"}
    done = metric("isthmus_pixel_task_seconds_count", **of_echo)
    working = asyncio.ensure_future(pool.run("hold", held.header, b""))
    await asyncio.to_thread(held.begun)
    assert (metric("isthmus_pixel_children_busy"), metric("isthmus_pixel_tasks")) == (1, 1)
    with pytest.raises(Busy):
        await pool.run("echo", {}, b"")
    await asyncio.to_thread(held.let_go)
    await working
    with capture_logs(), pytest.raises(PixelsUnreadable):
        await pool.run("die", {}, b"")
    await pool.run("echo", {}, b"")
    assert (metric(names[0]), metric(names[1], **died)) == (turned_away + 1, lost + 1)
    assert metric("isthmus_pixel_task_seconds_count", **of_echo) == done + 1
    pool.close()


async def test_children_work_side_by_side(tmp_path: Path) -> None:
    pool = PixelPool(PoolLimits(children=2))
    held = Held(tmp_path)
    working = asyncio.ensure_future(pool.run("hold", held.header, b""))
    await asyncio.to_thread(held.begun)
    assert await pid_of(pool)
    await asyncio.to_thread(held.let_go)
    await working
    pool.close()


async def test_a_pool_needs_no_loop_of_its_own() -> None:
    pool = PixelPool(PoolLimits(children=1))
    first = await pid_of(pool)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(pid_of(pool))))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert found == [first]
    pool.close()


def test_this_process_needs_no_numpy_for_it() -> None:
    """The server imports the pool, not the decoders."""
    program = (
        f"import sys; sys.path.insert(0, {pool_module.ROOT!r}); import dicomweb.pixels.service, "
        "dicomweb.transcode.file, dicomweb.wire.negotiation; "
        "assert not {'numpy', 'imagecodecs', 'jpeg_ls', 'PIL', 'pydicom'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-I", "-c", program], check=False).returncode == 0
