"""TLS by the server itself: one process and two, and clients that do not do their part."""

import signal
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.certificates import Authority

SILENT = 200  # connections that never begin a handshake


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    found = bytearray()
    try:
        while data := connection.recv(4096):
            found += data
    except ConnectionResetError:
        pass
    return bytes(found)


@pytest.mark.parametrize("servers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_server_processes_serve_tls(
    server_process: Any, servers: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    server_process.environment |= {
        "ISTHMUS_SERVER_WORKERS": str(servers),
        "ISTHMUS_TLS_CERTIFICATE": str(pair.certificate),
        "ISTHMUS_TLS_KEY": str(pair.key),
    }
    if servers > 1:
        server_process.environment["ISTHMUS_DATABASE_URL"] = request.getfixturevalue("new_postgresql")(True)
    server_process.scheme = "https"
    server_process.start("--no-worker")
    port, base = server_process.port, server_process.base
    trusted = authority.trusted()

    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(connect(port))
        http = stack.enter_context(httpx.Client(base_url=base, verify=trusted, trust_env=False))
        ready = http.get("/readyz")
        assert ready.status_code == 200
        assert ready.headers["strict-transport-security"]
        assert ready.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"
        found = http.get("/fhir/.well-known/smart-configuration").json()
        assert found["issuer"] == base
        assert http.get("/fhir/Patient").status_code == 401
        assert http.get("/livez", headers={"X-Long": "x" * 200_000}).status_code == 431

        with connect(port) as plain:  # http:// to the port of https://
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n")
            assert b"HTTP/1.1 200" not in read_all(plain)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.deprecated_call():
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with connect(port) as connection, pytest.raises(OSError):  # noqa: PT011  an alert, or an end
            old.wrap_socket(connection)
        assert http.get("/readyz").status_code == 200

        # It leaves in order although connections rest and nobody answers their end.
        server_process.process.send_signal(signal.SIGTERM)
        assert server_process.process.wait(60) == 0
    assert "Traceback" not in server_process.log()
    assert "Cancel" not in server_process.log()
    assert "secret" not in server_process.log()
