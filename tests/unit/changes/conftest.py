"""An archive of an installation that has a name, and its feed."""

from typing import Any

import pytest

from server.kernel.object_stores import join_installation
from server.kernel.services import Services
from tests.unit.deletion.conftest import Archive


@pytest.fixture
async def archive(services: Services) -> Any:
    """An empty archive."""
    await join_installation(services.database, services.objects)
    return Archive(services)
