"""An S3-protocol server for tests: moto, as a process of its own. It proves the protocol, not durability.

`ISTHMUS_TEST_S3_ENDPOINT` names another server instead (s3rver, MinIO, a real bucket's region), with
`ISTHMUS_TEST_S3_BUCKET`, `…_ACCESS_KEY` and `…_SECRET_KEY`; the bucket must exist then. A bucket `az://…` is
a container of Azure or Azurite: the suite of the port does not mind.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import obstore

from server.kernel.cloud_config import CloudConfig
from tests.services import loopback
from tests.services.postgresql import free_port

START_S = 60.0


@dataclass(slots=True)
class S3Server:
    """A running server; `process` is None when it is not ours."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes] | None = None

    def config(self, prefix: str = "", **changes: object) -> CloudConfig:
        """A configuration for objects below `prefix`; by default one that no other test has."""
        values: dict[str, object] = {
            "url": f"{self._url}/{prefix or uuid.uuid4().hex}",
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "allow_http": self.endpoint.startswith("http:"),
        }
        return CloudConfig(**(values | changes))  # type: ignore[arg-type]

    @property
    def _url(self) -> str:
        return self.bucket if "://" in self.bucket else f"s3://{self.bucket}"

    def stall(self) -> None:
        """Stop it where it stands: connections are taken, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def raw(self) -> Any:
        """The bucket, past our code."""
        config: Any = self.config().of_provider()
        options: Any = {"allow_http": True}
        return obstore.store.from_url(self._url, config=config, client_options=options)

    def put_raw(self, path: str, body: bytes) -> None:
        """Put an object past our code."""
        obstore.put(self.raw(), path, body)

    def get_raw(self, path: str) -> bytes:
        """Get an object past our code."""
        return bytes(obstore.get(self.raw(), path).bytes())

    def header_of(self, path: str, name: str) -> str | None:
        """A header that the server tells of an object."""
        url = obstore.sign(self.raw(), "HEAD", path, timedelta(minutes=1))
        return httpx.head(url, **loopback.PLAIN).raise_for_status().headers.get(name)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """The server that the environment names, else moto on a free loopback port."""
    if given := os.environ.get("ISTHMUS_TEST_S3_ENDPOINT"):
        names = ("BUCKET", "ACCESS_KEY", "SECRET_KEY")
        yield S3Server(given, *(os.environ[f"ISTHMUS_TEST_S3_{name}"] for name in names))
    else:
        with moto() as server:
            yield server


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto with one bucket, gone with everything in it at the end."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3Server(f"http://127.0.0.1:{port}", "isthmus-test", "test", "test", process)
    try:
        _wait_for(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_for(server: S3Server) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            bucket = httpx.put(f"{server.endpoint}/{server.bucket}", **loopback.PLAIN)
        except httpx.TransportError:
            assert server.process is not None
            assert server.process.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        else:
            bucket.raise_for_status()
            return
