"""Server processes: several behind one socket, each replaceable, all leaving in order."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydicom import FileDataset

from server.auth.tokens import issue_token
from server.kernel.database import Database
from tests.services import loopback

SOON_S = 60.0


@pytest.fixture
def two_servers(server_process: Any, new_postgresql: Callable[[bool], str]) -> Any:
    """A parent with two server processes on PostgreSQL; started by the test."""
    url = new_postgresql(True)
    server_process.environment |= {"ISTHMUS_DATABASE_URL": url, "ISTHMUS_SERVER_WORKERS": "2"}
    server_process.authorization = {"Authorization": f"Bearer {asyncio.run(new_token(url))}"}
    return server_process


async def new_token(url: str) -> str:
    database = Database(url)
    try:
        return await issue_token(database, scope="system/*.cruds")
    finally:
        await database.close()


def new_client(server: Any) -> httpx.Client:
    return loopback.client(server.base, headers=server.authorization, timeout=SOON_S)


def servers_of(parent: Any) -> list[psutil.Process]:
    """The server processes of a parent that have begun."""
    children = psutil.Process(parent.process.pid).children()
    return [child for child in children if "server.serve" in child.cmdline()]


def is_refused(port: int) -> bool:
    """Whether nobody takes a new connection."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


class SlowUpload:
    """A STOW-RS request of which the last byte is held back."""

    def __init__(self, server: Any, kit: Any, datasets: Sequence[FileDataset]) -> None:
        body = kit.multipart([kit.part10(dataset) for dataset in datasets])
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=SOON_S)
        headers = {
            "Host": f"127.0.0.1:{server.port}",
            "Content-Length": str(len(body)),
            **server.authorization,
            **kit.stow_headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._connection.sendall(f"POST /dicom-web/studies HTTP/1.1\r\n{head}\r\n".encode() + body[:-1])
        self._rest = body[-1:]

    def finish(self) -> bytes:
        """Send the rest; returns the status line."""
        self._connection.sendall(self._rest)
        return self._connection.makefile("rb").readline()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def slow_upload(
    server_process: Any, kit: Any, chest: Sequence[FileDataset]
) -> Iterator[Callable[[], SlowUpload]]:
    """Begins uploads of the chest study to the started server."""
    begun: list[SlowUpload] = []

    def begin() -> SlowUpload:
        begun.append(SlowUpload(server_process, kit, chest))
        return begun[-1]

    yield begin
    for upload in begun:
        upload.close()


def ask_readiness(server: Any) -> tuple[int, str]:
    answer = loopback.get(f"{server.base}/readyz")
    return answer.status_code, answer.headers.get("connection", "keep-alive")


def test_dead_server_is_replaced_and_the_other_goes_on(two_servers: Any) -> None:
    two_servers.start()
    before = two_servers.wait_until(lambda: (found := servers_of(two_servers))[1:] and found, SOON_S)
    worker = two_servers.worker()  # one, of the parent
    before[0].send_signal(signal.SIGKILL)
    two_servers.wait_until(lambda: not before[0].is_running(), SOON_S)
    with new_client(two_servers) as http:
        for _ in range(20):
            assert http.get("/dicom-web/studies").status_code in (200, 204)
    after = two_servers.wait_until(lambda: (found := servers_of(two_servers))[1:] and found, SOON_S)
    assert before[1] in after
    assert before[0] not in after
    assert "server process ended" in two_servers.log()
    assert two_servers.worker() == worker
    assert two_servers.stop() == 0
    assert psutil.wait_procs([*after, worker], timeout=SOON_S)[1] == []


def test_servers_end_with_a_parent_that_was_killed(two_servers: Any) -> None:
    two_servers.start("--no-worker")
    servers = two_servers.wait_until(lambda: (found := servers_of(two_servers))[1:] and found, SOON_S)
    two_servers.process.kill()
    assert psutil.wait_procs(servers, timeout=SOON_S)[1] == []


@pytest.mark.slow
def test_servers_that_cannot_start_end_the_parent_with_an_error(two_servers: Any) -> None:
    two_servers.environment["ISTHMUS_REDIS_URL"] = "redis://127.0.0.1:no-port"  # the servers' business alone
    done = subprocess.run(
        [*two_servers.command("serve"), "--port", "0", "--no-worker"],
        env=two_servers._environment(),
        capture_output=True,
        timeout=4 * SOON_S,
        check=False,
    )
    assert done.returncode == 1
    assert b"giving up" in done.stderr


@pytest.mark.parametrize("servers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_told_to_stop_it_drains_finishes_and_writes_what_it_counted(
    two_servers: Any,
    kit: Any,
    chest: Sequence[FileDataset],
    slow_upload: Callable[[], SlowUpload],
    postgresql: Any,
    servers: str,
) -> None:
    two_servers.environment |= {"ISTHMUS_SERVER_WORKERS": servers, "ISTHMUS_DRAIN_S": "3"}
    two_servers.start("--no-worker")
    upload = slow_upload()
    with new_client(two_servers) as idle:
        for _ in range(7):
            with new_client(two_servers) as each:
                each.get("/dicom-web/studies").raise_for_status()
        idle.get("/dicom-web/studies").raise_for_status()
        two_servers.process.send_signal(signal.SIGTERM)
        two_servers.wait_until(lambda: ask_readiness(two_servers) == (503, "close"), SOON_S)
        assert idle.get("/dicom-web/studies").headers["connection"] == "close"  # not ready, yet serving
    two_servers.wait_until(lambda: is_refused(two_servers.port), SOON_S)
    assert two_servers.process.poll() is None
    assert upload.finish().startswith(b"HTTP/1.1 200")
    assert two_servers.process.wait(SOON_S) == 0
    database = two_servers.environment["ISTHMUS_DATABASE_URL"].rpartition("/")[2]
    assert postgresql.run_sql("SELECT count(*) FROM instance", database) == [(len(chest),)]
    searches = "SELECT sum(occurrences) FROM audit_entry WHERE interaction = 'qido'"
    assert postgresql.run_sql(searches, database) == [(9,)]


@pytest.mark.parametrize("servers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_second_signal_ends_at_once(
    two_servers: Any, slow_upload: Callable[[], SlowUpload], servers: str
) -> None:
    two_servers.environment |= {"ISTHMUS_SERVER_WORKERS": servers, "ISTHMUS_DRAIN_S": "3600"}
    two_servers.start()
    worker = two_servers.worker()
    children = psutil.Process(two_servers.process.pid).children()
    slow_upload()
    two_servers.process.send_signal(signal.SIGTERM)
    two_servers.wait_until(lambda: ask_readiness(two_servers) == (503, "close"), SOON_S)
    two_servers.process.send_signal(signal.SIGTERM)
    assert two_servers.process.wait(SOON_S) == 1
    assert psutil.wait_procs([worker, *children], timeout=SOON_S)[1] == []


def store_until_refused(
    server: Any, kit: Any, datasets: Sequence[FileDataset], acknowledged: list[str]
) -> None:
    """Store one instance a request, each on a new connection, until there is none."""
    for dataset in datasets:
        with new_client(server) as http:
            try:
                answer = kit.store(http, [dataset])
            except httpx.TransportError:
                return
        assert answer.status_code == 200, answer.text
        acknowledged.append(str(dataset.SOPInstanceUID))


@pytest.fixture
def neighbour(tmp_path: Path, server_process: Any) -> Iterator[Any]:
    """A second server on the same data folder and database."""
    other = type(server_process)(tmp_path)
    yield other
    other.close()


def test_nothing_acknowledged_is_lost_while_one_of_two_servers_stops(
    two_servers: Any, neighbour: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    two_servers.environment |= {"ISTHMUS_SERVER_WORKERS": "1", "ISTHMUS_DRAIN_S": "0.5"}
    neighbour.environment = two_servers.environment
    neighbour.authorization = two_servers.authorization
    servers = (two_servers, two_servers, neighbour)
    for server in servers[1:]:
        server.start("--no-worker")
    studies = [list(new_chest(f"STOP-{number}")) for number in range(3)]
    acknowledged: list[list[str]] = [[], [], []]
    with ThreadPoolExecutor(3) as pool:
        senders = [
            pool.submit(store_until_refused, server, kit, study, uids)
            for server, study, uids in zip(servers, studies, acknowledged, strict=True)
        ]
        two_servers.wait_until(lambda: all(acknowledged), SOON_S)
        two_servers.process.send_signal(signal.SIGTERM)
        for sender in senders:
            sender.result()
    assert two_servers.process.wait(SOON_S) == 0
    assert [len(acknowledged[0]) < len(studies[0]), len(acknowledged[2])] == [True, len(studies[2])]
    with new_client(neighbour) as http:
        for study, uids in zip(studies, acknowledged, strict=True):
            assert set(uids) <= set(kit.instances(http, str(study[0].StudyInstanceUID), "CT"))
