"""A registry on a database, with bundles that the test makes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ai_engine.bundle import Bundle
from server.kernel.access import Principal
from server.kernel.services import Services
from server.workflows.registry.add import add_bundle
from server.workflows.registry.decide import Asked, promote
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import VERSION
from tests.services.bundles import make_bundle

WHO = Principal("user:ada", "tests")


class Registry:
    """What the tests do with one model over and over."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services, self.database, self.folder = services, services.database, folder

    async def add(self, version: str, name: str = "tiny", **changes: Any) -> Bundle:
        folder = make_bundle(self.folder / f"{name}-{version}", name, version, **changes)
        return (await add_bundle(self.database, folder, WHO))[0]

    async def promote(self, version: str, stage: Stage, reason: str | None = "a test") -> None:
        await self.do(lambda unit, asked: promote(unit, asked, version, stage), reason)

    async def do(
        self, work: Callable[..., Any], reason: str | None = None, revision: int | None = None
    ) -> Any:
        asked = Asked("tiny", WHO, reason, revision)
        return await self.database.transact(lambda unit: work(unit, asked))

    async def stages(self) -> dict[str, str]:
        query = select(VERSION.c.version, VERSION.c.stage).where(VERSION.c.name == "tiny")
        async with self.database.read() as connection:
            return {row.version: row.stage for row in await connection.execute(query)}


@pytest.fixture
def registry(services: Services, tmp_path: Path) -> Registry:
    return Registry(services, tmp_path / "bundles")
