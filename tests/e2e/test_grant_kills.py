"""A crash un-burns nothing: what bought tokens before a SIGKILL buys none after it; what was sold stands."""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.services import loopback
from tests.services.hospital import PASSWORD, form_token, open_hospital, register

BASE, REDIRECT = "http://localhost:9", "http://127.0.0.1:9/back"  # whatever port the server has
SCOPE = "openid offline_access user/Observation.rs"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.mark.parametrize(
    "server_database",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
    indirect=True,
)
def test_used_once_also_across_a_kill(
    tmp_path: Path, make_server: Callable[..., Any], server_database: dict[str, str]
) -> None:
    """RFC 6749 §4.1.2 (codes), RFC 9700 §4.14 (refresh tokens), RFC 7523 §3 (jti), RFC 7009 (revocation)."""
    hospital = open_hospital(make_server, tmp_path, ISTHMUS_PUBLIC_BASE=BASE, **server_database)
    try:
        app = register(hospital, REDIRECT, SCOPE)
        backend, key = backend_client(hospital, tmp_path)
        with loopback.client(hospital.base) as http:
            code, other = allow(http, app), allow(http, app)
            bought = redeem(http, app, code).json()
            first = redeem(http, app, other).json()
            second = refresh(http, app, first["refresh_token"]).json()
            claim = assertion(backend, key)
            assert by_assertion(http, claim).status_code == 200
            revoked = by_assertion(http, assertion(backend, key)).json()["access_token"]
            assert http.post(
                "/auth/revoke", data=proof(assertion(backend, key)) | {"token": revoked}
            ).is_success
        hospital.kill()
        hospital.start("--no-worker")
        with loopback.client(hospital.base) as http:
            assert opens(http, bought["access_token"])
            assert opens(http, second["access_token"])
            assert not opens(http, revoked)
            assert by_assertion(http, claim).json()["error"] == "invalid_client"
            assert redeem(http, app, code).json()["error"] == "invalid_grant"
            assert not opens(http, bought["access_token"])  # whoever had the code twice has nothing now
            third = refresh(http, app, second["refresh_token"]).json()
            assert opens(http, third["access_token"])
            assert refresh(http, app, first["refresh_token"]).json()["error"] == "invalid_grant"
            assert not opens(http, third["access_token"])
    finally:
        hospital.close()


def allow(http: httpx.Client, app: str) -> str:
    """The code of a new grant; who is logged in already is not asked again."""
    asked = {
        "response_type": "code",
        "client_id": app,
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "state": "s",
        "aud": f"{BASE}/fhir",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    place = urlsplit(http.get("/auth/authorize", params=asked).headers["location"]).path
    page = http.get(place)
    if 'value="login"' in page.text:
        login = {"step": "login", "name": "ada", "password": PASSWORD, "form_token": form_token(page)}
        answer = http.post(place, data=login)
        place = urlsplit(answer.headers["location"]).path
        page = http.get(place)
    said = {
        "step": "allow",
        "scope": ["offline_access", "user/Observation.rs"],
        "form_token": form_token(page),
    }
    back = http.post(place, data=said).headers["location"]
    return parse_qs(urlsplit(back).query)["code"][0]


def redeem(http: httpx.Client, app: str, code: str) -> httpx.Response:
    asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    return http.post("/auth/token", data={**asked, "client_id": app, "code_verifier": VERIFIER})


def refresh(http: httpx.Client, app: str, token: str) -> httpx.Response:
    asked = {"grant_type": "refresh_token", "refresh_token": token, "client_id": app}
    return http.post("/auth/token", data=asked)


def opens(http: httpx.Client, token: str) -> bool:
    answer = http.get("/fhir/Observation", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def backend_client(hospital: Any, folder: Path) -> tuple[str, ECKey]:
    key = ECKey.generate_key("P-384", {"kid": "1"})
    (folder / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    scope = ("--scope", "system/Observation.rs", "--jwks", str(folder / "jwks.json"))
    return str(hospital.run("client", "add", "--name", "Backend", *scope).split()[1]), key


def assertion(client_id: str, key: ECKey) -> str:
    claims = {"iss": client_id, "sub": client_id, "aud": f"{BASE}/auth/token", "jti": str(uuid.uuid4())}
    claims["exp"] = int(time.time()) + 240
    return jwt.encode({"alg": "ES384", "kid": "1"}, claims, key, algorithms=["ES384"])


def proof(text: str) -> dict[str, str]:
    return {"client_assertion_type": JWT_BEARER, "client_assertion": text}


def by_assertion(http: httpx.Client, text: str) -> httpx.Response:
    asked = {"grant_type": "client_credentials", "scope": "system/Observation.rs"}
    return http.post("/auth/token", data=asked | proof(text))
