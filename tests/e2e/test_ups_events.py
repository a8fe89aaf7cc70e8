"""Reports of workitems over WebSocket: on any server process, with Redis and without, and to nobody else."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from pydicom import FileDataset
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server.auth.tokens import issue_token, revoke_token
from server.kernel.database import Database
from tests.services import loopback
from tests.services.redis import RedisServer

LONG_S = 60.0
WORKLIST = "1.2.840.10008.5.1.4.34.5"
FILTERED = "1.2.840.10008.5.1.4.34.5.1"


@contextmanager
def channel(
    server: Any, token: str | None, title: str = "WATCHER", origin: str | None = None
) -> Iterator[ClientConnection]:
    """An open channel."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"ws://127.0.0.1:{server.port}/dicom-web/subscribers/{title}"
    with connect(
        url, additional_headers=headers, origin=origin, proxy=None, open_timeout=LONG_S, close_timeout=LONG_S
    ) as socket:
        yield socket


def next_report(socket: ClientConnection) -> tuple[int, str, str | None]:
    """(Event Type ID, workitem, Procedure Step State) of the next report."""
    report = json.loads(socket.recv(LONG_S))
    state = report.get("00741000", {"Value": [None]})["Value"][0]
    return report["00001002"]["Value"][0], report["00001000"]["Value"][0], state


def close_code(socket: ClientConnection) -> int:
    """The code with which the server closes the channel; reports before that are passed over."""
    while (code := socket.close_code) is None:
        with suppress(ConnectionClosed):
            socket.recv(LONG_S)
    return code


def with_database(server: Any, work: Callable[[Database], Any]) -> Any:
    async def run() -> Any:
        url = server.environment.get("ISTHMUS_DATABASE_URL", f"sqlite+aiosqlite:///{server.data}/isthmus.db")
        database = Database(url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def new_token(server: Any, scope: str = "system/*.cruds", **given: Any) -> str:
    return str(with_database(server, lambda database: issue_token(database, scope=scope, **given)))


def client(server: Any, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return loopback.client(server.base, headers=headers, timeout=LONG_S)


def schedule(http: httpx.Client, kit: Any, chest: Sequence[FileDataset]) -> str:
    """Store a study and have its workitem scheduled; returns the workitem's UID."""
    kit.store(http, chest).raise_for_status()
    uid = str(chest[0].StudyInstanceUID)
    http.post(f"/admin/api/studies/{uid}/settled").raise_for_status()
    (found,) = kit.workitems(http, uid)
    return str(found["00080018"]["Value"][0])


def subscribe(http: httpx.Client, target: str, title: str = "WATCHER", query: str = "") -> httpx.Response:
    return http.post(f"/dicom-web/workitems/{target}/subscribers/{title}{query}")


@pytest.fixture(scope="module")
def server(lone_server: Any) -> Any:
    return lone_server


def test_subscriber_is_told_until_it_unsubscribes(
    server: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    token = new_token(server)
    with client(server, token) as http, channel(server, token) as socket:
        uid = schedule(http, kit, chest)
        created = subscribe(http, uid, query="?deletionlock=true")
        assert (created.status_code, "warning" in created.headers) == (201, False)
        expected = f"ws://127.0.0.1:{server.port}/dicom-web/subscribers/WATCHER"
        assert created.headers["content-location"] == expected
        assert next_report(socket) == (1, uid, "SCHEDULED")  # at once: where it is
        http.post(f"/dicom-web/workitems/{uid}/cancelrequest").raise_for_status()
        assert [next_report(socket) for _ in range(2)] == [(1, uid, "IN PROGRESS"), (1, uid, "CANCELED")]
        assert http.delete(f"/dicom-web/workitems/{uid}/subscribers/WATCHER").status_code == 200
        assert http.delete(f"/dicom-web/workitems/{uid}/subscribers/WATCHER").status_code == 404
        again = http.post(f"/admin/api/workitems/{uid}/rerun").json()["workitem"]
        assert subscribe(http, again).status_code == 201
        assert next_report(socket) == (1, again, "SCHEDULED")  # and nothing of the first in between


def test_worklist_subscription_filter_and_suspension(server: Any, kit: Any, new_chest: Any) -> None:
    token = new_token(server)
    with ExitStack() as stack:
        http = stack.enter_context(client(server, token))
        everything = stack.enter_context(channel(server, token, "ALL"))
        of_one = stack.enter_context(channel(server, token, "ONE"))
        locked = subscribe(http, WORKLIST, "ALL", "?deletionlock=true")
        assert (locked.status_code, locked.headers["warning"]) == (
            201,
            '299 isthmus: "Deletion Lock not granted."',
        )
        assert subscribe(http, FILTERED, "ONE", "?filter=PatientID=EVENTS-2").status_code == 201
        uids = [schedule(http, kit, new_chest(f"EVENTS-{number}")) for number in (1, 2)]
        scheduled = [next_report(everything) for _ in range(4)]
        assert scheduled == [
            (kind, uid, state) for uid in uids for kind, state in ((1, "SCHEDULED"), (5, None))
        ]
        assert next_report(of_one) == (1, uids[1], "SCHEDULED")
        suspended = f"/dicom-web/workitems/{WORKLIST}/subscribers/ALL/suspend"
        assert [http.post(suspended).status_code for _ in range(2)] == [200, 404]
        later = schedule(http, kit, new_chest("EVENTS-3"))
        for uid in (later, uids[0]):
            http.post(f"/dicom-web/workitems/{uid}/cancelrequest").raise_for_status()
        assert next_report(everything) == (1, uids[0], "IN PROGRESS")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("POST", "1.2.3/subscribers/WATCHER", 404, id="no such workitem"),
        pytest.param("DELETE", "1.2.3/subscribers/WATCHER", 404, id="no such workitem to unsubscribe from"),
        pytest.param("DELETE", f"{WORKLIST}/subscribers/NOBODY", 404, id="no such subscription"),
        pytest.param("POST", f"{WORKLIST}/subscribers/NOBODY/suspend", 404, id="nothing to suspend"),
        pytest.param("POST", f"{FILTERED}/subscribers/WATCHER", 400, id="a filter without keys"),
        pytest.param("POST", f"{FILTERED}/subscribers/WATCHER?filter=PixelData=X", 400, id="not a key"),
        pytest.param("POST", f"{WORKLIST}/subscribers/WATCHER?deletionlock=yes", 400, id="no boolean"),
        pytest.param("POST", f"{WORKLIST}/subscribers/{'X' * 17}", 400, id="title too long"),
        pytest.param("POST", f"{WORKLIST}/subscribers/A%5CB", 400, id="title with backslash"),
    ],
)
def test_what_cannot_be_done_is_said(server: Any, method: str, path: str, status: int) -> None:
    with client(server, new_token(server)) as http:
        assert http.request(method, f"/dicom-web/workitems/{path}").status_code == status


@pytest.mark.parametrize(
    ("token_scope", "target", "status"),
    [
        pytest.param("system/Task.s", "1.2.3", 403, id="a workitem needs r"),
        pytest.param("system/Task.r", WORKLIST, 403, id="a worklist needs s"),
        pytest.param("system/Task.rs", WORKLIST, 201, id="both open it"),
    ],
)
def test_scopes(server: Any, token_scope: str, target: str, status: int) -> None:
    with client(server, new_token(server, token_scope)) as http:
        assert subscribe(http, target, "SCOPES").status_code == status


@pytest.mark.parametrize(
    ("scope", "title", "origin"),
    [
        pytest.param(None, "WATCHER", None, id="no token"),
        pytest.param("system/Patient.rs", "WATCHER", None, id="no scope"),
        pytest.param("system/*.cruds", "X" * 17, None, id="no title"),
        pytest.param("system/*.cruds", "WATCHER", "https://elsewhere.example", id="a page of another origin"),
    ],
)
def test_channel_is_refused(server: Any, scope: str | None, title: str, origin: str | None) -> None:
    token = new_token(server, scope) if scope else None
    with pytest.raises(InvalidStatus) as refused, channel(server, token, title, origin):
        pass
    assert refused.value.response.status_code == 403


def test_no_log_names_who_listens(server: Any) -> None:
    with channel(server, new_token(server), "SECRET-TITLE"):
        pass
    with (
        pytest.raises(InvalidStatus),
        connect(
            f"ws://127.0.0.1:{server.port}/dicom-web/subscribers/X?access_token=SECRET-TOKEN", proxy=None
        ),
    ):
        pass
    assert "SECRET" not in server.log()


def test_patients_token_hears_of_its_patient_only(server: Any, kit: Any, new_chest: Any) -> None:
    admin = new_token(server)
    with client(server, admin) as http:
        uids = {name: schedule(http, kit, new_chest(name)) for name in ("EVENTS-A", "EVENTS-B")}
        ids = {}
        for name in uids:
            params = {"identifier": name}
            found = server.wait_until(
                lambda params=params: http.get("/fhir/Patient", params=params).json().get("entry"), LONG_S
            )
            ids[name] = found[0]["resource"]["id"]
        confined = new_token(server, "patient/*.cruds", patient=ids["EVENTS-A"])
        with channel(server, confined) as socket, client(server, confined) as patient:
            assert subscribe(patient, uids["EVENTS-B"]).status_code == 404
            assert subscribe(patient, WORKLIST).status_code == 201
            for name in ("EVENTS-B", "EVENTS-A"):
                path = f"/dicom-web/workitems/{uids[name]}/cancelrequest"
                http.post(path).raise_for_status()
            assert next_report(socket) == (1, uids["EVENTS-A"], "IN PROGRESS")


def test_revoked_token_closes_its_channel(server: Any) -> None:
    token = new_token(server)
    with channel(server, token) as socket:
        assert with_database(server, lambda database: revoke_token(database, token))
        assert close_code(socket) == 1008


def test_channel_is_closed_when_the_server_leaves(server_process: Any) -> None:
    server_process.environment["ISTHMUS_DRAIN_S"] = "3600"
    server_process.start("--no-worker")
    with channel(server_process, new_token(server_process)) as socket:
        server_process.process.send_signal(signal.SIGTERM)
        assert close_code(socket) == 1012  # come back, to another process
    server_process.process.send_signal(signal.SIGTERM)
    server_process.process.wait(LONG_S)


@pytest.fixture
def cluster_of_two(
    server_process: Any, new_postgresql: Callable[[bool], str], redis: RedisServer
) -> Iterator[tuple[Any, Any, RedisServer]]:
    """Two servers on one PostgreSQL and one Redis."""
    server_process.environment |= {
        "ISTHMUS_DATABASE_URL": new_postgresql(True),
        "ISTHMUS_REDIS_URL": redis.url,
    }
    other = type(server_process)(server_process.data, server_process.environment)
    for each in (server_process, other):
        each.start("--no-worker")
    yield server_process, other, redis
    other.close()


def test_reports_reach_a_client_of_another_server_with_redis_and_without(
    cluster_of_two: tuple[Any, Any, RedisServer], kit: Any, new_chest: Any
) -> None:
    one, other, redis = cluster_of_two
    token = new_token(one)
    with client(one, token) as here, client(other, token) as there, channel(other, token) as socket:
        assert subscribe(here, WORKLIST).status_code == 201
        for way in ("with", "killed", "started", "hanging"):
            {"killed": redis.kill, "started": redis.start, "hanging": redis.hang}.get(way, lambda: None)()
            uid = schedule(here, kit, new_chest(f"REDIS-{way}"))
            there.post(f"/dicom-web/workitems/{uid}/cancelrequest").raise_for_status()
            told = [next_report(socket) for _ in range(4)]
            states = [(1, "SCHEDULED"), (5, None), (1, "IN PROGRESS"), (1, "CANCELED")]
            assert told == [(kind, uid, state) for kind, state in states], way
