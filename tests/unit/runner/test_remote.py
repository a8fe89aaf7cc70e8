"""The kind `remote`: windows go to an inference server and its answers come back, whatever it does.

The server is of this module, real HTTP on loopback, with the Open Inference Protocol's binary tensors.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai_engine.bundle import BundleInvalid, load_bundle
from ai_engine.geometry import Geometry
from ai_engine.runners import remote
from ai_engine.runners.kinds import UnsupportedRunnerKind, runner_for
from ai_engine.runners.port import (
    ModelOutOfMemory,
    ModelOutputInvalid,
    ModelTimedOut,
    RemoteFailed,
    RemoteUnavailable,
    Runner,
    RunnerInput,
)
from ai_engine.runners.process import RunnerPolicy
from tests.made_bundles import SEGMENTING, manifest_of, write_bundle

NETWORK = {
    "task": "segmentation",
    "intensity": {"low": -1000, "high": 1000},
    "roi": [8, 8, 8],
    "activation": "softmax",
    "labels": [0, 1],
    "batch": 5,
    "input": "image",
    "output": "said",
}
PATH = "/v2/models/lungs/versions/3/infer"


@dataclass
class Server:
    """An inference server with one network: above the middle of the scale the second channel is likelier."""

    refusals: list[int] = field(default_factory=list)  # statuses of the next answers
    behaviour: str = "well"
    batches: list[tuple[int, ...]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    encoding: dict[str, str] = field(default_factory=dict)
    accepted: set[str | None] = field(default_factory=set)
    alive: int = 200  # what is answered to the question whether it lives
    asked_alive: list[str] = field(default_factory=list)
    die: Callable[[], None] = lambda: None  # no further connection is taken

    def breaks_off(self) -> bool:
        if self.behaviour == "slow":
            self.let_go.wait(20)
        if self.behaviour == "dies":
            self.die()
        return self.behaviour in ("breaks off", "dies")

    def infer(self, body: bytes, split: int) -> tuple[bytes, int]:
        (asked,) = json.loads(body[:split])["inputs"]
        given = np.frombuffer(body, {"FP32": "<f4", "FP16": "<f2"}[asked["datatype"]], offset=split)
        batch = given.reshape(asked["shape"]).astype("<f4")
        self.batches.append(batch.shape)
        said = np.concatenate([np.zeros_like(batch), 40 * batch - 20], axis=1)
        if self.behaviour == "not finite":
            said[0, 0, 0, 0, 0] = np.inf
        name = "other" if self.behaviour == "another output" else "said"
        shape = list(said.shape)
        if self.behaviour == "other channels":
            said, shape = said[:, :1], [shape[0], 1, *shape[2:]]
        data = said.tobytes()
        if self.behaviour == "too short":
            data = data[:-4]
        if self.behaviour == "too long":
            data *= 20
        header = json.dumps({"outputs": [{"name": name, "datatype": "FP32", "shape": shape}]}).encode()
        return header + data, len(header)


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            server.asked_alive.append(self.path)
            self.answer(server.alive, b"", {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server.paths.append(self.path)
            if server.breaks_off():
                self.close_connection = True
                return
            if server.refusals:
                self.answer(server.refusals.pop(0), b"", {"location": f"{server.url}/elsewhere"})
            elif server.behaviour == "JSON only":
                self.answer(200, b'{"outputs": []}', {})
            else:
                said, split = server.infer(body, int(self.headers["inference-header-content-length"]))
                length = {"inference-header-content-length": str(split)}
                server.accepted.add(self.headers.get("accept-encoding"))
                self.answer(200, said, {**length, **server.encoding})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the client had enough

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    made.url = f"http://127.0.0.1:{http.server_port}"

    def die() -> None:
        http.shutdown()  # else what waits for connections holds the socket a moment longer
        http.socket.close()

    made.die = die
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.let_go.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_DELAY_S", 0.0)


def runner_on(
    folder: Path, url: str, timeout_s: float = 20, memory_mb: int = 2048, results: Any = None, **network: Any
) -> Runner:
    served = {"server": "triton", "model": "lungs", "version": "3"}
    runtime = {"kind": "remote", "remote": served, "timeout_s": timeout_s, "memory_mb": memory_mb}
    meaning = {**SEGMENTING, "results": results or {}}
    manifest = manifest_of(runtime, network={**NETWORK, **network}, **meaning)
    bundle = load_bundle(write_bundle(folder / "bundle", manifest))
    return runner_for(bundle, RunnerPolicy(inference_servers={"triton": url}))


@pytest.fixture
def ball() -> RunnerInput:
    shape = (12, 20, 16)
    distance = np.linalg.norm(np.indices(shape).T - np.array([5, 9, 7]), axis=-1).T
    voxels = np.where(distance <= 4, 500, -500).astype(np.int16)
    return RunnerInput(voxels, Geometry(shape, np.diag([2.0, 1.0, 1.0, 1.0]), "2.25.1"), {})


@pytest.mark.parametrize("datatype", ["FP32", "FP16"])
async def test_windows_go_in_batches_and_labels_come_back(
    tmp_path: Path, server: Server, ball: RunnerInput, datatype: str
) -> None:
    runner = runner_on(tmp_path, f"{server.url}/", datatype=datatype)
    output = await runner.run(ball)
    await runner.close()
    assert output.labels is not None
    assert np.array_equal(output.labels, ball.voxels > 0)
    assert set(server.paths) == {PATH}
    assert {shape[0] for shape in server.batches[:-1]} == {5}
    assert sum(shape[0] for shape in server.batches) == 2 * 3 * 3  # 16, 20 and 12 voxels by windows of 8


async def test_probabilities_come_back_with_the_labels(
    tmp_path: Path, server: Server, ball: RunnerInput
) -> None:
    runner = runner_on(tmp_path, server.url, results={"segmentation": "fractional"})
    output = await runner.run(ball)
    await runner.close()
    assert output.fractions is not None
    assert np.array_equal(output.fractions, 255 * (ball.voxels > 0)[None])


async def test_busy_server_is_asked_again(tmp_path: Path, server: Server, ball: RunnerInput) -> None:
    server.refusals = [503, 429]
    runner = runner_on(tmp_path, server.url)
    assert (await runner.run(ball)).labels is not None
    server.refusals = [503, 503, 503]
    with pytest.raises(RemoteUnavailable, match="busy"):
        await runner.run(ball)
    await runner.close()


async def test_run_that_ends_while_the_server_is_busy_has_met_an_outage(
    tmp_path: Path, server: Server, ball: RunnerInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def time_ends(_delay_s: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(asyncio, "sleep", time_ends)
    server.refusals = [503]
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(RemoteUnavailable):
        await runner.run(ball)
    await runner.close()


async def test_server_that_breaks_off_is_there(tmp_path: Path, server: Server, ball: RunnerInput) -> None:
    server.behaviour = "breaks off"
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(RemoteFailed, match="broke") as caught:
        await runner.run(ball)
    await runner.close()
    assert not isinstance(caught.value, RemoteUnavailable)
    assert len(server.paths) == remote.TRIES


async def test_server_that_dies_of_a_request_is_no_outage(
    tmp_path: Path, server: Server, ball: RunnerInput
) -> None:
    server.behaviour = "dies"  # what comes after finds nobody
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(RemoteFailed, match="broke") as caught:
        await runner.run(ball)
    assert not isinstance(caught.value, RemoteUnavailable)
    assert server.paths == [PATH]
    with pytest.raises(RemoteUnavailable):  # the next attempt waits until it is there again
        await runner.run(ball)
    await runner.close()


async def test_time_that_ends_after_the_server_died_of_a_request_is_no_outage(
    tmp_path: Path, server: Server, ball: RunnerInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([None, TimeoutError()])

    async def time_ends(_delay_s: float) -> None:
        if ended := next(waits):
            raise ended

    monkeypatch.setattr(asyncio, "sleep", time_ends)
    server.behaviour = "dies"
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(RemoteFailed, match="broke"):
        await runner.run(ball)
    await runner.close()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_server_that_is_gone_behind_its_proxy_is_an_outage(
    tmp_path: Path, server: Server, ball: RunnerInput, status: int
) -> None:
    server.alive = status
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(RemoteUnavailable):
        await runner.run(ball)
    await runner.close()
    assert server.asked_alive == ["/v2/health/live"] * remote.TRIES
    assert server.paths == []  # nothing of the study was sent


@pytest.mark.parametrize("status", [200, 400, 404, 501])
async def test_server_that_knows_no_question_of_life_is_there(
    tmp_path: Path, server: Server, ball: RunnerInput, status: int
) -> None:
    server.alive = status
    runner = runner_on(tmp_path, server.url)
    assert (await runner.run(ball)).labels is not None
    await runner.close()
    assert len(server.asked_alive) == 1  # a run


async def test_server_that_is_lost_behind_its_proxy_is_asked_again(
    tmp_path: Path, server: Server, ball: RunnerInput
) -> None:
    server.refusals = [502, 502]
    runner = runner_on(tmp_path, server.url)
    assert (await runner.run(ball)).labels is not None
    server.refusals = [502, 503, 503]  # it may have died of these windows
    with pytest.raises(RemoteFailed, match="proxy") as caught:
        await runner.run(ball)
    await runner.close()
    assert not isinstance(caught.value, RemoteUnavailable)


async def test_proxy_that_waits_in_vain_has_run_out_of_time(
    tmp_path: Path, server: Server, ball: RunnerInput
) -> None:
    server.refusals = [504]
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(ModelTimedOut):
        await runner.run(ball)
    await runner.close()
    assert server.paths == [PATH]


async def test_server_that_does_not_take_connections_is_an_outage(
    tmp_path: Path, ball: RunnerInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "CONNECT_TIMEOUT_S", 0.05)
    with socket.socket() as full, contextlib.ExitStack() as others:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # what waits to be taken; the next is not answered
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        runner = runner_on(tmp_path, f"http://127.0.0.1:{full.getsockname()[1]}")
        with pytest.raises(RemoteUnavailable):
            await runner.run(ball)
        await runner.close()


@pytest.mark.parametrize("status", [302, 400, 404, 500])
async def test_refusal_is_a_fault_and_a_redirect_is_not_followed(
    tmp_path: Path, server: Server, ball: RunnerInput, status: int
) -> None:
    server.refusals = [status]
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(RemoteFailed, match=f"answered {status}"):
        await runner.run(ball)
    await runner.close()
    assert server.paths == [PATH]


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("not finite", "not finite"),
        ("other channels", "another shape"),
        ("another output", "another output"),
        ("too short", "not as long"),
        ("too long", "more than its windows"),
        ("JSON only", "binary tensors"),
    ],
)
async def test_answer_that_is_none_is_refused(
    tmp_path: Path, server: Server, ball: RunnerInput, behaviour: str, says: str
) -> None:
    server.behaviour = behaviour
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(ModelOutputInvalid, match=says):
        await runner.run(ball)
    await runner.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "of another world"])
async def test_answer_is_never_inflated(
    tmp_path: Path, server: Server, ball: RunnerInput, encoding: str
) -> None:
    server.encoding = {"content-encoding": encoding}  # of what is none, too
    runner = runner_on(tmp_path, server.url)
    with pytest.raises(ModelOutputInvalid, match="encoded"):
        await runner.run(ball)
    await runner.close()
    assert server.accepted == {"identity"}


@pytest.mark.parametrize(
    "network",
    [
        pytest.param({"spacing_mm": (0.1, 0.1, 0.1)}, id="fine grid"),
        pytest.param({"spacing_mm": (1e-300, 1e-300, 1e-300)}, id="grid without end"),
        pytest.param({"roi": (256, 256, 256)}, id="padded to large windows"),
        pytest.param(
            {"spacing_mm": (0.2, 0.2, 0.2), "roi": (64, 64, 64), "overlap": 0.5, "batch": 16},
            id="batch of large windows",
        ),
        pytest.param({"spacing_mm": (0.2, 0.2, 0.2), "roi": (2, 2, 2), "overlap": 0.9}, id="many windows"),
    ],
)
async def test_volume_larger_than_the_models_memory_is_refused_before_any_window(
    tmp_path: Path, server: Server, ball: RunnerInput, network: Any
) -> None:
    runner = runner_on(tmp_path, server.url, memory_mb=64, **network)
    with pytest.raises(ModelOutOfMemory):
        await runner.run(ball)
    await runner.close()
    assert server.paths == []


async def test_slow_server_is_not_waited_for(tmp_path: Path, server: Server, ball: RunnerInput) -> None:
    server.behaviour = "slow"
    runner = runner_on(tmp_path, server.url, timeout_s=0.2)
    with pytest.raises(ModelTimedOut):
        await runner.run(ball)
    await runner.close()


async def test_server_that_is_not_there_is_a_fault(tmp_path: Path, ball: RunnerInput) -> None:
    runner = runner_on(tmp_path, "http://127.0.0.1:9")  # discard: nobody listens
    with pytest.raises(RemoteUnavailable, match="not there"):
        await runner.run(ball)
    await runner.close()


def test_address_is_the_operators_only(tmp_path: Path) -> None:
    runtime = {"kind": "remote", "remote": {"server": "http://169.254.169.254", "model": "m"}}
    with pytest.raises(BundleInvalid, match=r"runtime\.remote\.server"):
        load_bundle(write_bundle(tmp_path / "a", manifest_of(runtime, network=NETWORK, **SEGMENTING)))
    runtime["remote"]["server"] = "unknown"  # type: ignore[index]
    bundle = load_bundle(write_bundle(tmp_path / "b", manifest_of(runtime, network=NETWORK, **SEGMENTING)))
    with pytest.raises(UnsupportedRunnerKind, match="unknown"):
        runner_for(bundle, RunnerPolicy(inference_servers={"triton": "http://triton:8000"}))
