"""A runner whose network is behind an inference server: Open Inference Protocol v2 over HTTP (Triton).

Windows are ours and are cut in this process, which is trusted; batches go out and answers come back as bytes
(the protocol's binary tensor extension). The address is the operator's setting, never a bundle's; redirects
are not followed. What comes back is untrusted: its length is bounded and known beforehand, its header is
checked.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from ai_engine.network import RemoteModel
from ai_engine.runners.grids import GridTooLarge
from ai_engine.runners.port import (
    ModelOutOfMemory,
    ModelOutputInvalid,
    ModelTimedOut,
    RemoteFailed,
    RemoteUnavailable,
    RunnerFault,
    RunnerInput,
    RunnerOutput,
)
from ai_engine.runners.reply import read_plain
from ai_engine.runners.windowed import NotFinite, Source, WrongShape, batches_of, memory_needed

Json = Any
Said = TypeVar("Said")

MAX_HEADER_BYTES = 64 << 10  # of an answer's JSON
TRIES = 3  # of a request that a busy server refuses, that does not reach it or is broken off
FIRST_DELAY_S = 0.5
CONNECT_TIMEOUT_S = 5.0
OUT_OF_REACH = "the inference server is not there, or is busy"
NOT_IN_TIME = "the inference server did not answer in time"
DTYPES: Mapping[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP16": np.dtype("<f2")}
HEADER_LENGTH = "inference-header-content-length"


class _BrokenOff(RemoteFailed):
    """The server was there and gave no answer; worth another try."""


# what a server that is busy answers, and a proxy before one (RFC 9110 §15.6; RFC 6585 §4)
REFUSALS: Mapping[int, tuple[type[RunnerFault], str]] = {
    429: (RemoteUnavailable, OUT_OF_REACH),
    502: (_BrokenOff, "the inference server was lost behind its proxy"),  # perhaps by this very request
    503: (RemoteUnavailable, OUT_OF_REACH),
    504: (ModelTimedOut, NOT_IN_TIME),
}
GONE = frozenset({502, 503, 504})  # answered to the question whether it lives, which asks nothing of a model


class _Output(msgspec.Struct):
    """A tensor of an answer, by the server's word."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Json] = {}


class _Answer(msgspec.Struct):
    outputs: list[_Output]


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """Where a model is, and how long one run of it may take."""

    base_url: str  # http[s]://host[:port][/path], of the operator's settings
    model: RemoteModel
    timeout_s: float
    memory_mb: int  # of this process, for one run

    @property
    def health_url(self) -> str:
        """Where the server says that it lives."""
        return f"{self.base_url.rstrip('/')}/v2/health/live"

    @property
    def url(self) -> str:
        """The address of inference requests."""
        version = f"/versions/{self.model.version}" if self.model.version else ""
        return f"{self.base_url.rstrip('/')}/v2/models/{self.model.model}{version}/infer"


class RemoteRunner:
    """Runs a network on an inference server; several runs may be under way."""

    def __init__(
        self,
        target: RemoteTarget,
        network: Mapping[str, Json],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._target = target
        self._network = network
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """Run the network over one volume; see `Runner.run`."""
        request = _Request()
        try:
            async with asyncio.timeout(self._target.timeout_s):
                answer = await self._run(work, request)
        except TimeoutError:
            if request.refused is not None:
                raise request.refused from None
            raise ModelTimedOut(f"the model ran past {self._target.timeout_s:g} s") from None
        return read_plain(answer, work.geometry.shape)

    async def close(self) -> None:
        """Close the connections; the runner can be used again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _run(self, work: RunnerInput, request: "_Request") -> Mapping[str, Json]:
        source = Source(work.voxels, work.geometry.affine)
        _require_memory(source, self._network, self._target.memory_mb)
        batches = batches_of([source], self._network, self._network["batch"])
        try:
            batch = await asyncio.to_thread(next, batches)
            await _insist(self._require_alive, request)
            while True:
                said = await self._infer(batch, request)
                step = await asyncio.to_thread(_send, batches, said)
                if isinstance(step, list):
                    (answer,) = step
                    return answer  # type: ignore[no-any-return]
                batch = step
        except NotFinite:
            raise ModelOutputInvalid("the network's output is not finite") from None
        except WrongShape:
            raise ModelOutputInvalid("the network's output has another shape than its window") from None

    async def _infer(self, batch: NDArray[np.float32], request: "_Request") -> NDArray[np.generic]:
        body, headers = encode_request(batch, self._network)
        ask = partial(self._ask, body, headers, longest_answer(batch, self._network))
        return await _insist(ask, request)

    async def _require_alive(self) -> None:
        """Ask before anything of the study is sent: a server that is gone now was not ended by it."""
        try:
            answer = await self._connected().get(self._target.health_url)
        except httpx.RequestError:
            raise RemoteUnavailable(OUT_OF_REACH) from None
        if answer.status_code in GONE:
            raise RemoteUnavailable(OUT_OF_REACH)

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            timeout_s, connect_s = self._target.timeout_s, min(CONNECT_TIMEOUT_S, self._target.timeout_s / 4)
            timeout = httpx.Timeout(timeout_s, connect=connect_s, pool=connect_s)
            self._client = httpx.AsyncClient(timeout=timeout, transport=self._transport, trust_env=False)
        return self._client

    async def _ask(self, body: bytes, headers: Mapping[str, str], longest: int) -> NDArray[np.generic]:
        try:
            stream = self._connected().stream
            async with stream("POST", self._target.url, content=body, headers=dict(headers)) as response:
                if response.status_code in REFUSALS:
                    fault, says = REFUSALS[response.status_code]
                    raise fault(says)
                if response.status_code != httpx.codes.OK:
                    raise RemoteFailed(f"the inference server answered {response.status_code}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise ModelOutputInvalid("the inference server's answer is encoded")
                answer = await _read(response, longest)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise RemoteUnavailable(OUT_OF_REACH) from None
        except httpx.TimeoutException:
            raise ModelTimedOut(NOT_IN_TIME) from None
        except httpx.RequestError:  # also when these very windows were too much for it
            raise _BrokenOff("the inference server broke the connection off") from None
        return decode_answer(answer, response.headers.get(HEADER_LENGTH), self._network)


def _require_memory(source: Source, network: Mapping[str, Json], memory_mb: int) -> None:
    """This process has no limit of its own: what is too much is refused before it is made."""
    try:
        fits = memory_needed(source, network) <= memory_mb << 20
    except GridTooLarge:
        fits = False
    if not fits:
        raise ModelOutOfMemory(f"the windows of this volume need more than {memory_mb} MB")


@dataclass(slots=True)
class _Request:
    """The last request of a run: what keeps it from being answered; None: the network is at work.

    A server that broke it off once may have died of it, and be out of reach for that.
    """

    refused: RemoteFailed | None = None

    def refuse(self, refused: RemoteFailed) -> RemoteFailed:
        """The gravest refusal so far."""
        if not isinstance(self.refused, _BrokenOff):
            self.refused = refused
        return self.refused


async def _insist(ask: Callable[[], Awaitable[Said]], request: _Request) -> Said:
    """The answer, asked for again when the server refuses or breaks off."""
    for number in range(TRIES):
        try:
            said = await ask()
        except (RemoteUnavailable, _BrokenOff) as refused:
            gravest = request.refuse(refused)
            if number == TRIES - 1:
                raise gravest from None
        else:
            request.refused = None
            return said
        await asyncio.sleep(FIRST_DELAY_S * 2**number)
    raise AssertionError


def _send(batches: Any, said: NDArray[np.generic]) -> NDArray[np.float32] | list[Any]:
    """The next batch, or the answers when that was the last."""
    try:
        return batches.send(said)  # type: ignore[no-any-return]
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]


async def _read(response: httpx.Response, longest: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > longest:
            raise ModelOutputInvalid("the inference server answers more than its windows can have")
    return bytes(body)


def longest_answer(batch: NDArray[np.float32], network: Mapping[str, Json]) -> int:
    """Bytes of the longest answer there can be: a float for each channel and voxel, and the header."""
    channels = max(1, len(network["labels"] or network["names"]))
    return batch.size * channels * DTYPES["FP32"].itemsize + MAX_HEADER_BYTES


def encode_request(batch: NDArray[np.float32], network: Mapping[str, Json]) -> tuple[bytes, dict[str, str]]:
    """An inference request with its tensor as bytes behind the JSON, and the headers that say so."""
    data = batch.astype(DTYPES[network["datatype"]], copy=False).tobytes()
    told = {
        "inputs": [
            {
                "name": network["input"],
                "datatype": network["datatype"],
                "shape": list(batch.shape),
                "parameters": {"binary_data_size": len(data)},
            }
        ],
        "outputs": [{"name": network["output"], "parameters": {"binary_data": True}}],
    }
    header = json.dumps(told).encode()
    lengths = {HEADER_LENGTH: str(len(header)), "content-type": "application/octet-stream"}
    lengths["accept-encoding"] = "identity"  # what is inflated has no length beforehand
    return header + data, lengths


def decode_answer(body: bytes, header_length: str | None, network: Mapping[str, Json]) -> NDArray[np.generic]:
    """The output tensor of an answer.

    Raises:
        ModelOutputInvalid: it is none of this protocol, or not the output that was asked for.
    """
    if header_length is None or not header_length.isdecimal() or int(header_length) > MAX_HEADER_BYTES:
        raise ModelOutputInvalid("the inference server does not answer in binary tensors")
    split = int(header_length)
    try:
        (said,) = msgspec.json.decode(body[:split], type=_Answer).outputs
    except (msgspec.MsgspecError, ValueError, UnicodeDecodeError):
        raise ModelOutputInvalid("the inference server's answer cannot be read") from None
    dtype = DTYPES.get(said.datatype)
    if said.name != network["output"] or dtype is None or min(said.shape, default=0) < 1:
        raise ModelOutputInvalid("the inference server answers another output than was asked for")
    count = math.prod(said.shape)
    if len(body) - split != count * dtype.itemsize:
        raise ModelOutputInvalid("the inference server's tensor is not as long as its shape says")
    return np.frombuffer(body, dtype, count, split).reshape(said.shape)
