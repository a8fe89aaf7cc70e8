"""Requests that leave this server, to a server that answers in every way."""

import asyncio
import datetime
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.kernel import outbound
from server.kernel.outbound import MAX_REPLY_BYTES, Outbound, Unreachable
from server.kernel.outbound_policy import AllowedHost, DestinationRefused, OutboundPolicy
from tests.services.receiver import receiver

LOOPBACK = OutboundPolicy((AllowedHost("127.0.0.1"), AllowedHost("localhost"), AllowedHost("ehr.test")))


async def send(url: str, body: bytes = b"", policy: OutboundPolicy = LOOPBACK) -> int:
    async with Outbound(policy) as out:
        return await out.send("POST", url, [("X-Key", "s3cret"), ("Content-Length", str(len(body)))], body)


async def test_request_arrives_as_it_was_made() -> None:
    async with receiver() as there:
        assert await send(there.url, b"abc") == 200
    (told,) = there.told
    assert (told.method, told.path, told.body) == ("POST", "/hook", b"abc")
    assert told.headers["x-key"] == "s3cret"
    assert told.headers["host"] == f"127.0.0.1:{there.port}"


async def test_redirect_is_not_followed() -> None:
    async with receiver() as there, receiver() as elsewhere:
        there.status, there.headers = 302, {"Location": elsewhere.url}
        assert await send(there.url) == 302
    assert elsewhere.told == []


async def test_long_answer_is_left_unread() -> None:
    async with receiver() as there:
        there.body = b"x" * (MAX_REPLY_BYTES * 64)
        assert await send(there.url) == 200


async def test_connections_are_used_again() -> None:
    async with receiver() as there, Outbound(LOOPBACK) as out:
        for _ in range(3):
            assert await out.send("POST", there.url, [("Content-Length", "0")], b"") == 200


async def test_host_that_is_not_listed_is_not_connected_to() -> None:
    async with receiver() as there:
        with pytest.raises(DestinationRefused):
            await send(there.url, policy=OutboundPolicy((AllowedHost("ehr.test"),)))
    assert there.told == []


async def test_listed_name_that_leads_into_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", there.port))]

    async with receiver() as there:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
        with pytest.raises(DestinationRefused, match="no address"):
            await send(f"https://ehr.test:{there.port}/")
    assert there.told == []


async def test_who_does_not_answer_is_unreachable() -> None:
    async with receiver() as there:
        url = there.url
    with pytest.raises(Unreachable, match="no connection"):
        await send(url)


async def test_who_answers_too_late_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "ANSWER_S", 0.05)
    async with receiver() as there:
        there.silent = asyncio.Event()
        with pytest.raises(Unreachable, match="in time"):
            await send(there.url)
        there.silent.set()


async def test_certificate_must_be_trusted_and_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(self_signed("localhost"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with receiver(tls) as there:
        url = f"https://localhost:{there.port}/hook"
        with pytest.raises(Unreachable, match="TLS"):
            await send(url)
        monkeypatch.setattr(outbound, "_trusted", lambda: ssl.create_default_context(cafile=str(certificate)))
        assert await send(url) == 200
        with pytest.raises(Unreachable, match="TLS"):  # the same server by a name that is not in it
            await send(f"https://127.0.0.1:{there.port}/hook")
    assert len(there.told) == 1


def self_signed(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
