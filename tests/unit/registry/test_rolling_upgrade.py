"""Servers of the last release go on beside this one, on the schema that this one brought."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from server.kernel.services import Services
from server.workflows.registry.stages import Stage

from .conftest import Registry

# What `settle._rule` of 0.1 asks before it looks at a study.
RULE_OF_THE_LAST_RELEASE = """
SELECT routing_rule.name, model_version.version FROM routing_rule
JOIN model_version ON model_version.name = routing_rule.model_name AND model_version.stage = 'live'
WHERE routing_rule.name = 'tiny' AND routing_rule.enabled
"""


async def test_last_release_goes_on_routing_studies(registry: Registry, services: Services) -> None:
    for version in ("1.0.0", "2.0.0"):
        await registry.add(version)
        await registry.promote(version, Stage.PRODUCTION)
    async with services.database.read() as connection:
        found = (await connection.execute(text(RULE_OF_THE_LAST_RELEASE))).all()
    assert [tuple(row) for row in found] == [("tiny", "2.0.0")]
    assert await registry.stages() == {"1.0.0": "retired", "2.0.0": "production"}  # its word outside


async def test_database_holds_one_version_in_production(registry: Registry, services: Services) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    with pytest.raises(IntegrityError):
        await services.database.transact(
            lambda unit: unit.execute(text("UPDATE model_version SET stage = 'live' WHERE name = 'tiny'"))
        )
