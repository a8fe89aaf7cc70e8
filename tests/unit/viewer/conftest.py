"""The made-up package in a file, and a server that can serve it."""

import asyncio
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from server.app import build_app, build_services, close_services
from server.settings import Settings
from server.viewer.install import uninstall
from server.viewer.release import Release
from tests.unit.viewer.kit import FILES, MakePackage, Package, Site, digest_of, entry, packed


@pytest.fixture
def make_package(tmp_path: Path) -> MakePackage:
    def make(
        version: str = "1.0.0",
        files: Mapping[str, bytes] = FILES,
        more: Sequence[tuple[tarfile.TarInfo, bytes]] = (),
    ) -> Package:
        named = {"package.json": f'{{"version": "{version}"}}'.encode(), **files}
        ordinary = [entry(f"package/{name}", content) for name, content in named.items()]
        content = packed([*ordinary, *more])
        path = tmp_path / f"app-{version}.tgz"
        path.write_bytes(content)
        return Package(path, Release("@made-up/app", version, digest_of(content)))

    return make


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FastAPI, Path]]:
    """The server behind a proxy with a path, and the folder in which its viewer is looked for."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings(data=data, public_base="http://pacs.example.org/imaging", worker=False)
    services = build_services(settings)
    yield build_app(settings, services), settings.viewer_folder
    asyncio.run(close_services(services))


@pytest.fixture
async def site(app: tuple[FastAPI, Path], make_package: MakePackage) -> AsyncIterator[Site]:
    transport = httpx.ASGITransport(app[0])
    async with httpx.AsyncClient(transport=transport, base_url="http://pacs.example.org") as http:
        yield Site(http, app[1], make_package)
    uninstall(app[1])
