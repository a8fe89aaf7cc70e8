"""Redirect URIs: character by character, but for the port of loopback (RFC 9700 §2.1, RFC 8252 §7.3)."""

import pytest

from server.auth.redirects import InvalidRedirect, is_same_uri, require_redirect_uri

V6, V4 = "http://[::1]:8/cb", "http://127.0.0.1/cb?a=1"


@pytest.mark.parametrize(
    ("registered", "given"),
    [(V6, "http://[::1]:49152/cb"), (V6, "http://[::1]/cb"), (V4, "http://127.0.0.1:1/cb?a=1")],
)
def test_only_the_port_of_this_machine_is_free(registered: str, given: str) -> None:
    assert is_same_uri(registered, given)


@pytest.mark.parametrize(
    "given",
    [
        "http://[::1]:9/cb/",
        "http://[::1]:9/CB",
        "http://[::1]:9/cb#",
        "http://[::1]:9/cb?x",
        "http://[::1]:x/cb",
        "http://127.0.0.1:9/cb",
        "http://localhost:9/cb",
        "https://[::1]:9/cb",
        "http://a@[::1]:9/cb",
        "http://evil.com[::1]/cb",
        "http://evil.com\\[::1]:9/cb",
        "http://x;script-src *;[::1]/cb",
        "http://\u4e2d[::1]:9/cb",
        "\x00http://[::1]:9/cb",
        "http://[::1]:9/c\tb",
        "http://[::1]:9/cb\n",
    ],
)
def test_everything_else_is_compared(given: str) -> None:
    assert not is_same_uri(V6, given)


@pytest.mark.parametrize(
    "uri", ["https://app.example/cb", "http://localhost:3000/cb", V4, "com.example.app:/back"]
)
def test_what_may_be_registered(uri: str) -> None:
    assert is_registered(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/cb",
        "http://app.example/cb",
        "https://",
        "https://app.example/cb#x",
        "https://user@app.example/cb",
        "https://*.example/cb",
        "https://app.example/ cb",
        "https://app.example\\@evil.example/cb",
        "https://[app.example/cb",
        "https://app.example:x/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example/" + "x" * 2000,
    ],
)
def test_what_may_not(uri: str) -> None:
    assert not is_registered(uri)


def is_registered(uri: str) -> bool:
    try:
        require_redirect_uri(uri)
    except InvalidRedirect:
        return False
    return True
