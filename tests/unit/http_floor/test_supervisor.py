"""The parent of server processes, with processes that are none."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.http import supervisor
from server.http.supervisor import Plan, Supervisor

LONG_S = 60.0
BEAT = "import socket, sys; line = socket.socket(fileno=int(sys.argv[2])); line.recv(9); line.send(b'.'); "


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def plan(listener: socket.socket, code: str, servers: int = 1) -> Plan:
    return Plan((sys.executable, "-c", code), listener, b"{}\n", servers, stop_s=0)


async def test_gives_up_when_a_process_never_begins_to_serve(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS_S", (0.0,))
    parent = Supervisor(plan(listener, "raise SystemExit(3)", servers=2))
    async with asyncio.timeout(LONG_S):
        await parent.run()
    assert parent.has_failed


async def test_goes_on_starting_one_that_served_and_died(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listener: socket.socket
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS_S", (0.0,))
    monkeypatch.setattr(supervisor, "FAILED_STARTS", 2)
    starts = tmp_path / "starts"
    parent = Supervisor(
        plan(listener, f"open({str(starts)!r}, 'a').write('x'); " + BEAT + "raise SystemExit(3)")
    )
    running = asyncio.create_task(parent.run())
    async with asyncio.timeout(LONG_S):
        while not starts.exists() or len(starts.read_text()) < 4:
            await asyncio.sleep(0.01)
        parent.ask_to_stop()
        await running
    assert not parent.has_failed


async def test_one_place_that_cannot_be_started_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listener: socket.socket
) -> None:
    """What was right when the others began (a pair of TLS files) may be wrong for who begins now."""
    monkeypatch.setattr(supervisor, "RESTART_DELAYS_S", (0.0,))
    monkeypatch.setattr(supervisor, "FAILED_STARTS", 2)
    starts = tmp_path / "starts"
    one_serves = (
        f"import os, time; starts = {str(starts)!r}\nwith open(starts, 'a') as file: file.write('x')\n"
        "if os.path.getsize(starts) > 1: raise SystemExit(3)\n" + BEAT + "time.sleep(3600)"
    )
    parent = Supervisor(plan(listener, one_serves))
    running = asyncio.create_task(parent.run())
    async with asyncio.timeout(LONG_S):
        while not parent._has_served:
            await asyncio.sleep(0.01)
        failing = asyncio.create_task(parent._keep(1))
        while len(starts.read_text()) < 1 + 4 and not failing.done():
            await asyncio.sleep(0.01)
        assert not running.done()
        parent.ask_to_stop()
        await asyncio.gather(running, failing)
    assert not parent.has_failed


async def test_kills_one_that_is_silent(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS_S", (0.0,))
    monkeypatch.setattr(supervisor, "SILENT_S", 0.1)
    monkeypatch.setattr(supervisor, "FAILED_STARTS", 1)
    parent = Supervisor(plan(listener, BEAT + "import time; time.sleep(3600)"))
    async with asyncio.timeout(LONG_S):
        has_served, returncode = await parent._run_one()
    assert (has_served, returncode) == (True, -9)


async def test_kills_what_does_not_end(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    monkeypatch.setattr(supervisor, "END_S", 0.1)
    ignores = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        + BEAT
        + "import time; time.sleep(3600)"
    )
    parent = Supervisor(plan(listener, ignores))
    running = asyncio.create_task(parent.run())
    async with asyncio.timeout(LONG_S):
        while not parent._has_served:  # it ignores the signal by then
            await asyncio.sleep(0.01)
        (server,) = parent._servers
        parent.ask_to_stop()
        await running
    assert server.process.returncode == -9
