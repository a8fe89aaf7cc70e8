"""An OpenID provider on loopback that says what a test wants it to: right by default, wrong in one thing."""

import asyncio
import base64
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "isthmus here", "s&cret/ü"
KEY = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})


@dataclass
class OpenIdProvider:
    """The provider, and what it was asked."""

    issuer: str
    keys: list[ECKey] = field(default_factory=lambda: [KEY])
    claims: dict[str, Any] = field(default_factory=dict)  # beside those that are always right; None: left out
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "ES256", "kid": "k1", "typ": "JWT"})
    document: dict[str, Any] = field(default_factory=dict)  # likewise
    answers: dict[str, Response] = field(default_factory=dict)  # by path, instead of the right one
    silent: asyncio.Event | None = None  # while set and not yet happened, no token request is answered
    told: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)  # paths and forms
    authorization: list[str | None] = field(default_factory=list)  # of the token requests
    asked: dict[str, str] = field(default_factory=dict)  # the last request to authorize, by the test

    def metadata(self) -> dict[str, Any]:
        """The discovery document."""
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?realm=one",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **self.document,
        }
        return {name: value for name, value in said.items() if value is not None}

    def id_token(self) -> str:
        """For the last request to authorize."""
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "sub": "s-1",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 60,
            "nonce": self.asked.get("nonce"),
            **self.claims,
        }
        claims = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(dict(self.header), claims, KEY, algorithms=["ES256"])

    async def answer(self, request: Request) -> Response:
        """Any request."""
        path = request.url.path
        body = dict(await request.form()) if request.method == "POST" else {}
        self.told.append((path, {name: str(value) for name, value in body.items()}))
        if path == "/token":
            self.authorization.append(request.headers.get("authorization"))
            if self.silent is not None:
                await self.silent.wait()
        if path in self.answers:
            return self.answers[path]
        if path == "/token":
            return JSONResponse({"id_token": self.id_token(), "access_token": "a-1", "token_type": "Bearer"})
        if path == "/keys":
            return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})
        return JSONResponse(self.metadata())

    def proves(self, form: Mapping[str, str]) -> bool:
        """Whether a token request has the verifier of the last request to authorize (RFC 7636 §4.6)."""
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.asked["code_challenge"]


@asynccontextmanager
async def openid_provider() -> AsyncIterator[OpenIdProvider]:
    """A provider that is there within."""
    listener = socket.create_server(("127.0.0.1", 0))
    provider = OpenIdProvider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    app = Starlette(routes=[Route("/{path:path}", provider.answer, methods=["GET", "POST"])])
    async with serving(app, listener):
        yield provider


@asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    """An application, served in this loop."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    running = asyncio.create_task(server.main_loop())
    try:
        yield
    finally:
        server.should_exit = True
        await running
        await server.shutdown(sockets=[listener])
