"""The path of the public base, taken off by the proxy or left on."""

from typing import Any

import pytest

from server.http.path_prefix import PathPrefix


async def seen(scope: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The scope that is behind the middleware."""
    found: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope)

    await PathPrefix(app, prefix)(scope, None, None)  # type: ignore[arg-type]
    return found[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "prefix", "root_path", "expected"),
    [
        ("/fhir/metadata", "", "", ("/fhir/metadata", "")),
        ("/fhir/metadata", "/pacs", "", ("/fhir/metadata", "/pacs")),
        ("/pacs/fhir/metadata", "/pacs", "", ("/fhir/metadata", "/pacs")),
        ("/pacs/fhir/metadata", "", "/pacs", ("/fhir/metadata", "/pacs")),
        ("/pacs/fhir/metadata", "/other", "/pacs", ("/fhir/metadata", "/pacs")),
        ("/pacs", "/pacs", "", ("/", "/pacs")),
        ("/pacsy/fhir", "/pacs", "", ("/pacsy/fhir", "")),
        ("/pacs/pacs/fhir", "/pacs", "", ("/pacs/fhir", "")),
    ],
)
async def test_paths(kind: str, path: str, prefix: str, root_path: str, expected: tuple[str, str]) -> None:
    behind = await seen({"type": kind, "path": path, "root_path": root_path}, prefix)
    assert (behind["path"], behind["root_path"]) == expected


async def test_other_messages_pass() -> None:
    assert await seen({"type": "lifespan"}, "/pacs") == {"type": "lifespan"}
