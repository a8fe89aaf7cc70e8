"""TLS by this process: which pairs are served, and how one takes the place of another."""

import asyncio
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from server.http.tls import ServedTls, load_context
from server.kernel.tls_files import TlsFiles, TlsNotUsable
from server.settings import Settings
from tests.services.certificates import Authority, Pair

SECRET = b"not known to the server"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def files(pair: Pair) -> TlsFiles:
    return TlsFiles(pair.certificate, pair.key)


def _of_another(authority: Authority, pair: Pair) -> TlsFiles:
    return TlsFiles(pair.certificate, authority.issue("another").key)


def _open_to_others(authority: Authority, pair: Pair) -> TlsFiles:
    pair.key.chmod(0o604)
    return files(pair)


def _sealed(authority: Authority, pair: Pair) -> TlsFiles:
    return files(authority.issue("sealed", SECRET))


def _no_pem(authority: Authority, pair: Pair) -> TlsFiles:
    pair.certificate.write_text("hello")
    return files(pair)


def _gone(authority: Authority, pair: Pair) -> TlsFiles:
    pair.key.unlink()
    return files(pair)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_of_another, "no PEM certificate and its private key"),
        (_open_to_others, "may be read by others"),
        (_sealed, "without a passphrase"),
        (_no_pem, "no PEM certificate"),
        (_gone, "cannot be read"),
    ],
)
def test_pair_that_cannot_be_served_is_refused_in_clear_words(
    authority: Authority, spoil: Callable[[Authority, Pair], TlsFiles], said: str
) -> None:
    spoilt = spoil(authority, authority.issue("spoilt"))
    with pytest.raises(TlsNotUsable, match=said):
        load_context(spoilt)
    with pytest.raises(TlsNotUsable, match=said):
        ServedTls(spoilt)


async def presented(port: int, authority: Authority, name: str | None) -> int:
    """The serial number of the certificate that a new connection is shown."""
    trusted = authority.trusted()
    trusted.check_hostname = name is not None
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname=name or "")
    certificate = writer.get_extra_info("peercert")
    writer.close()
    return int(certificate["serialNumber"], 16)


async def test_new_pair_is_taken_up_by_new_handshakes_and_a_wrong_one_never(
    authority: Authority, tmp_path: Path
) -> None:
    first, second = authority.issue("first"), authority.issue("second")
    served = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")

    def put(certificate: Path, key: Path) -> None:
        shutil.copy(certificate, served.certificate)
        shutil.copy(key, served.key)

    put(first.certificate, first.key)
    tls = ServedTls(files(served))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        before = await presented(port, authority, "localhost")
        assert not tls.look()
        put(second.certificate, first.key)  # somebody is in the middle of it
        assert not tls.look()
        assert await presented(port, authority, "localhost") == before
        served.key.unlink()
        assert not tls.look()
        put(second.certificate, second.key)
        served.key.chmod(0o604)
        assert not tls.look()
        assert await presented(port, authority, "localhost") == before
        served.key.chmod(0o600)  # which leaves its bytes, size and time as they were
        assert tls.look()
        assert not tls.look()
        after = [await presented(port, authority, name) for name in ("localhost", "127.0.0.1", None)]
        assert before not in after
        assert len(set(after)) == 1


def test_tls_is_1_2_at_least_and_never_renegotiated(authority: Authority) -> None:
    context = load_context(files(authority.issue("plain")))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert ssl.OP_NO_RENEGOTIATION in context.options
    assert ssl.OP_NO_COMPRESSION in context.options
    weak = ("RC4", "3DES", "NULL", "EXP", "MD5")
    assert [
        each["name"] for each in context.get_ciphers() if any(name in each["name"] for name in weak)
    ] == []


def test_settings_need_both_files_and_an_https_base() -> None:
    pair = {"tls_certificate": "a.crt", "tls_key": "a.key"}
    assert Settings(**pair).base == "https://127.0.0.1:8080"
    assert Settings(public_base="https://pacs.example.org", **pair).base == "https://pacs.example.org"
    for wrong in ({"tls_key": "a.key"}, {"tls_certificate": "a.crt"}, {**pair, "public_base": "http://a"}):
        with pytest.raises(ValueError, match=r"tls_certificate|public_base"):
            Settings(**wrong)
