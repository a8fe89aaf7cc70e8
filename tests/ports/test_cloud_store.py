"""What the cloud adapter alone does: provider settings, refusals of the server, one that does not answer."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
import pytest

from server.kernel.cloud_config import CloudConfig, ServerSideEncryption, StoreMisconfigured
from server.kernel.cloud_store import CloudObjectStore
from server.kernel.faults import Busy, StorageFull
from server.kernel.object_store import SpooledBody
from tests.services.s3 import S3Server

S3 = CloudConfig("s3://bucket/a")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(S3, {}, id="everything as the environment says"),
        pytest.param(
            CloudConfig("s3://b", "http://e", "r", "a", "s"),
            {"endpoint": "http://e", "region": "r", "access_key_id": "a", "secret_access_key": "s"},
            id="S3",
        ),
        pytest.param(
            CloudConfig("s3://b", encryption=ServerSideEncryption.KMS, encryption_key="k"),
            {"server_side_encryption": "aws:kms", "sse_kms_key_id": "k"},
            id="SSE-KMS",
        ),
        pytest.param(
            CloudConfig("s3://b", encryption=ServerSideEncryption.CUSTOMER_KEY, encryption_key="k"),
            {"server_side_encryption": "sse-c", "sse_customer_key_base64": "k"},
            id="SSE-C",
        ),
        pytest.param(
            CloudConfig("az://c", access_key="account", secret_key="key"),
            {"account_name": "account", "account_key": "key"},
            id="Azure",
        ),
        pytest.param(CloudConfig("gs://b", secret_key="{}"), {"service_account_key": "{}"}, id="Google"),
    ],
)
def test_provider_gets_its_own_names(config: CloudConfig, expected: dict[str, str]) -> None:
    assert config.of_provider() == expected


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (CloudConfig("ftp://b"), "must be s3://"),
        (CloudConfig("gs://b", encryption=ServerSideEncryption.AES256), "of S3"),
        (CloudConfig("s3://b", encryption=ServerSideEncryption.CUSTOMER_KEY), "needs an encryption key"),
        (
            CloudConfig("s3://b", encryption=ServerSideEncryption.AES256, encryption_key="k"),
            "takes no encryption key",
        ),
    ],
)
def test_contradictions_are_refused(config: CloudConfig, why: str) -> None:
    with pytest.raises(StoreMisconfigured, match=why):
        config.of_provider()


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix"])
async def test_each_provider_opens(url: str, tmp_path: Path) -> None:
    config = CloudConfig(url, access_key="account", secret_key=None if url.startswith("gs") else "a2V5")
    await CloudObjectStore(config, tmp_path).close()


async def test_server_side_encryption_is_asked_for(s3: S3Server, tmp_path: Path) -> None:
    """moto tells what it was asked for; it encrypts nothing."""
    config = s3.config(encryption=ServerSideEncryption.AES256)
    store = CloudObjectStore(config, tmp_path)
    path = store.spool_path()
    path.write_bytes(bytes(9 << 20))
    small, large = await store.put([b"small", SpooledBody(path, 9 << 20)])
    for stored in (small, large):
        told = obstore.get(s3.raw(), f"{store._store.prefix}/{stored.object_name}")
        assert bytes(told.bytes())[:5] in (b"small", bytes(5))
        assert s3.header_of(f"{store._store.prefix}/{stored.object_name}", ENCRYPTION) == "AES256"
    await store.close()


ENCRYPTION = "x-amz-server-side-encryption"


@contextmanager
def answering(status: int, code: str) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything so; the methods it was asked with."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def config_of(endpoint: str, timeout_s: float = 5, retries: int = 0) -> CloudConfig:
    return CloudConfig(
        "s3://bucket", endpoint, "us-east-1", "a", "s", True, timeout_s=timeout_s, retries=retries
    )


@pytest.mark.parametrize(
    ("status", "code", "fault", "says"),
    [
        (403, "QuotaExceeded", StorageFull, "no room"),
        (507, "XMinioStorageFull", StorageFull, "no room"),
        (403, "AccessDenied", Busy, "credentials"),
        (401, "InvalidAccessKeyId", Busy, "credentials"),
        (404, "NoSuchBucket", Busy, "does not have"),
        (500, "InternalError", Busy, "failed"),
        (503, "SlowDown", Busy, "failed"),
    ],
)
async def test_refusal_is_a_fault(
    tmp_path: Path, status: int, code: str, fault: type[Busy], says: str
) -> None:
    with answering(status, code) as (endpoint, _):
        store = CloudObjectStore(config_of(endpoint), tmp_path)
        with pytest.raises(fault, match=says) as raised:
            await store.put([b"x"])
        assert type(raised.value) is fault
        with pytest.raises(fault):
            await store.check()
        await store.close()


async def test_server_error_is_tried_again_so_often(tmp_path: Path) -> None:
    with answering(503, "SlowDown") as (endpoint, asked):
        store = CloudObjectStore(config_of(endpoint, retries=2), tmp_path)
        with pytest.raises(Busy):
            await store.check()
        await store.close()
    assert asked == ["PUT"] * 3


async def test_failed_large_put_leaves_no_spool_file_of_ours(tmp_path: Path) -> None:
    with answering(500, "InternalError") as (endpoint, _):
        store = CloudObjectStore(config_of(endpoint), tmp_path)
        path = store.spool_path()
        path.write_bytes(b"large")
        with pytest.raises(Busy):
            await store.put([SpooledBody(path, 5)])
        assert path.exists()  # the caller's still
        await store.close()


async def test_put_that_succeeded_spares_the_check(s3: S3Server, tmp_path: Path) -> None:
    store = CloudObjectStore(s3.config(), tmp_path)
    await store.put([b"x"])
    await store.check()
    assert not any([each.name.startswith("check/") async for each in store.list_objects()])
    store._proved = float("-inf")
    await store.check()
    assert any([each.name.startswith("check/") async for each in store.list_objects()])
    await store.close()


async def test_others_objects_are_not_listed(s3: S3Server, tmp_path: Path) -> None:
    store = CloudObjectStore(s3.config(), tmp_path)
    for name in ("packed/readme.txt", "other/0123456789abcdef0123456789abcdef", "backup"):
        s3.put_raw(f"{store._store.prefix}/{name}", b"theirs")
    await store.claim("me")
    assert [each async for each in store.list_objects()] == []
    await store.close()
