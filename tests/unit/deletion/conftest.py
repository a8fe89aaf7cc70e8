"""An archive below HTTP, and deletions in it."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from dicomweb.retrieve.locate import Resource
from dicomweb.store.instances import InstanceResult
from dicomweb.store.service import StoreRequest, StoreService
from server.kernel.access import Access, Principal
from server.kernel.rows import Row, table_of
from server.kernel.services import Services
from server.workflows.deletion.delete import Deletion, delete
from tests.conformance.ps3_18.kit import EVERYTHING

ADA = Principal("user:ada", "Ada")


@dataclass(frozen=True, slots=True)
class Archive:
    """Services and what tests ask of them."""

    services: Services

    async def stow(self, *files: bytes, access: Access = EVERYTHING) -> Sequence[InstanceResult]:
        """One Store request, as the door makes it."""
        service = StoreService(self.services)

        async def parts() -> AsyncIterator[Any]:
            for file in files:
                part = service.new_part()
                await part.write(file)
                await part.finish()
                yield part

        return await service.store(StoreRequest(access), parts())

    async def delete(self, *uids: str, reason: str = "test") -> int:
        """Delete the study, series or instance of these UIDs."""
        return await delete(self.services, Deletion(Resource(*uids), ADA, reason))

    async def rows(self, kind: type[Row]) -> Sequence[Any]:
        """All rows of a table."""
        async with self.services.database.read() as connection:
            return (await connection.execute(select(table_of(kind)))).all()

    async def counts(self, kinds: Iterable[type[Row]]) -> list[int]:
        """How many rows each table has."""
        return [len(await self.rows(kind)) for kind in kinds]


@pytest.fixture
def archive(services: Services) -> Archive:
    """An empty archive."""
    return Archive(services)
