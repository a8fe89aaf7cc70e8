"""A request passes by the routers of other doors, and finds its own as without them."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from server.http.doors import include_behind


def answering(name: str, asked: list[str]) -> APIRouter:
    """A router with a route that takes any path, and counts how often it was asked."""

    class Counting(APIRouter):
        def matches(self, scope):  # type: ignore[no-untyped-def]
            asked.append(name)
            return super().matches(scope)

    router = Counting()

    @router.get("")
    @router.get("/{path:path}")
    async def take(path: str = "") -> str:
        return f"{name} {path}"

    return router


@pytest.mark.parametrize(
    ("path", "answer", "asked"),
    [
        ("/one/x", "one x", "one"),
        ("/one", "one ", "one"),
        ("/one/x/two", "one x/two", "one"),
        ("/two/x", "two x", "two"),
        ("/oneself", None, ""),
        ("/", None, ""),
    ],
)
async def test_only_the_own_door_is_asked(path: str, answer: str | None, asked: str) -> None:
    app, seen = FastAPI(), list[str]()
    for name in ("one", "two"):
        include_behind(app, f"/{name}", answering(name, seen))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        response = await client.get(path)
    assert (response.json() if response.is_success else None) == answer
    assert set(seen) == ({asked} if asked else set())
