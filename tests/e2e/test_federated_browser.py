"""Login at an external OpenID provider in Chromium, where another Isthmus is the provider."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.services.hospital import PASSWORD, open_hospital
from tests.services.ohif import chromium

pytestmark = pytest.mark.slow  # Chromium, and two servers

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636 Appendix B


@pytest.fixture
def provider(tmp_path: Path, make_server: Callable[..., Any]) -> Iterator[Any]:
    """The server where people log in. It is called localhost, and ours 127.0.0.1: cookies know no ports."""
    folder = tmp_path / "provider"
    folder.mkdir()
    server = make_server(folder, {"ISTHMUS_PASSWORD": PASSWORD})
    server.start("--no-worker", "--host", "localhost")
    server.run("user", "add", "grace", "--display", "Dr Grace")
    yield server
    server.close()


@pytest.fixture
def here(tmp_path: Path, make_server: Callable[..., Any], provider: Any) -> Iterator[Any]:
    """The server that relies on it."""
    folder = tmp_path / "here"
    folder.mkdir()
    back = "http://127.0.0.1/auth/federation/callback"  # whatever the port (RFC 8252 §7.3)
    client = ["--name", "Here", "--scope", "openid profile", "--redirect-uri", back, "--confidential"]
    said = provider.run("client", "add", *client).split()
    settings = {
        "ISTHMUS_FEDERATION_ISSUER": f"http://localhost:{provider.port}",
        "ISTHMUS_FEDERATION_CLIENT_ID": said[1],
        "ISTHMUS_FEDERATION_CLIENT_SECRET": said[3],
        "ISTHMUS_FEDERATION_NAME": "the other one",
    }
    server = open_hospital(make_server, folder, **settings)
    server.run("user", "link", "ada", "--subject", "user:grace")
    yield server
    server.close()


def test_a_login_there_leads_to_a_code_here(here: Any, provider: Any) -> None:
    scope, back = "openid user/Patient.rs", f"{here.base}/livez"
    registered = ["--name", "App", "--scope", scope, "--redirect-uri", "http://127.0.0.1/livez"]
    asked = {
        "response_type": "code",
        "client_id": here.run("client", "add", *registered).split()[1],
        "redirect_uri": back,
        "scope": scope,
        "aud": f"{here.base}/fhir",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{here.base}/auth/authorize?{urlencode(asked)}")
        page.click("text=Log in at the other one")
        assert page.url.startswith(f"http://localhost:{provider.port}/auth/request/")
        page.fill("#name", "grace")
        page.fill("#password", PASSWORD)
        page.click("button.main")
        page.click("button[value=allow]")
        assert page.inner_text("h1") == "Allow App?"
        assert "Dr Grace" not in page.inner_text("body")  # here they are ada
        page.click("button[value=allow]")
        page.wait_for_url(f"{back}?*")
        assert parse_qs(urlsplit(page.url).query)["iss"] == [here.base]
        page.goto(f"{here.base}/auth/authorize?{urlencode({**asked, 'prompt': 'login'})}")
        assert page.inner_text("h1") == "Log in"
        page.click("summary")  # a password of this server still works
        page.fill("#name", "ada")
        page.fill("#password", PASSWORD)
        page.click("button.main")
        assert page.inner_text("h1") == "Allow App?"
        page.close()
