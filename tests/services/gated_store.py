"""An object store that a test can hold up between bytes and transaction."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from server.kernel.object_store import Body, StoredRange


@dataclass
class Gated:
    """Any store; its puts wait, once their bytes are durable, until the test lets them go on."""

    inner: Any
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Put, tell, wait."""
        ranges: list[StoredRange] = await self.inner.put(bodies)
        self.reached.set()
        await self.go_on.wait()
        return ranges
