"""A server of the demo's own: started on a free port of the loopback address, and always stopped again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from server.kernel.faults import Fault, FaultKind

START_S = 60.0  # until ready; a laptop needs three seconds
STOP_S = 30.0  # until a server that was asked to stop is made to
QUIET_TIME_S = 2  # a study is settled after this time without a new instance
TOKEN_TTL_S = 24 * 3600
LOG_TAIL_CHARACTERS = 3000  # shown when the server does not start

SCOPES = "system/*.cruds"
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class ServerDidNotStart(Fault):
    """The demo's server ended or did not become ready; the message holds the end of its log."""

    kind = FaultKind.INTERNAL


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A running server."""

    base: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running_server(data: Path | None, port: int, viewer: Path | None = None) -> Iterator[DemoServer]:
    """Start a server; on leaving it is stopped, and its data folder removed if it was made here.

    `viewer`: where the web viewer is installed; None: in the data folder, if at all.

    Raises:
        ServerDidNotStart: it ended, or was not ready in time.
    """
    folder = data or Path(tempfile.mkdtemp(prefix="isthmus-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with signals_interrupt():
            server = _start(folder.absolute(), port or _free_port(), viewer)
            try:
                _wait_until_ready(server)
                yield server
            finally:
                _stop(server.process)
    finally:
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does, so that they too stop its server."""
    if threading.current_thread() is not threading.main_thread():  # where Python takes no signals
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def issue_token(server: DemoServer, scopes: str = SCOPES, ttl_s: int = TOKEN_TTL_S) -> str:
    """A token of the server, by the command `isthmus token`.

    Raises:
        ServerDidNotStart: the command failed.
    """
    command = [*_isthmus(), "token", "--scope", scopes, "--ttl", str(ttl_s), "--data", str(server.data)]
    done = subprocess.run(command, env=_environment(), cwd=server.data, capture_output=True, check=False)  # noqa: S603  our own command
    words = done.stdout.decode().split()
    if done.returncode != 0 or not words:
        raise ServerDidNotStart(f"No token could be issued: {done.stderr.decode()[-LOG_TAIL_CHARACTERS:]}")
    return words[-1]


def _start(data: Path, port: int, viewer: Path | None) -> DemoServer:
    log = data / "server.log"
    command = [*_isthmus(), "serve", "--host", "127.0.0.1", "--port", str(port), "--data", str(data)]
    place = {"ISTHMUS_VIEWER": str(viewer)} if viewer else {}
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  our own command
            command,
            env=_environment() | place,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C is for the demo, which then stops the server in order
        )
    return DemoServer(f"http://127.0.0.1:{port}", data, process, log)


def _wait_until_ready(server: DemoServer) -> None:
    deadline = time.monotonic() + START_S
    with httpx.Client(base_url=server.base, trust_env=False, timeout=5) as http:
        while time.monotonic() < deadline:
            if server.process.poll() is not None:
                raise ServerDidNotStart(f"The server ended at once:\n{_log_tail(server)}")
            try:
                if http.get("/readyz").status_code == HTTPStatus.OK:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            time.sleep(0.1)
    raise ServerDidNotStart(f"The server was not ready within {START_S:.0f} s:\n{_log_tail(server)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, and its whole process group when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _log_tail(server: DemoServer) -> str:
    return server.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]


def _isthmus() -> list[str]:
    return [sys.executable, "-m", "server"]


def _environment() -> dict[str, str]:
    """This process's environment without its own settings; the demo shows the defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    # Only the shipped model runs here, on this machine's own data: where the system offers no sandbox it may.
    return {**kept, "ISTHMUS_QUIET_TIME_S": str(QUIET_TIME_S), "ISTHMUS_ALLOW_UNSANDBOXED": "true"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
