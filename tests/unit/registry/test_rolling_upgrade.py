"""Servers of the last release go on beside this one, on the schema that this one brought."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from server.kernel.clock import now_us
from server.kernel.database import Database
from server.kernel.services import Services
from server.migrations import upgrade
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import CHANGE, last_in_production

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


VERSION_OF_THE_LAST_RELEASE = """
INSERT INTO model_version (name, version, digest, path, manifest, stage, registered_us)
VALUES ('tiny', '{version}', '', '', '{{}}', '{stage}', 1)
"""


async def test_version_in_production_is_known_as_such_after_an_upgrade(empty_database_url: str) -> None:
    """What watches it counts from the upgrade on, and the next is held against it."""
    await upgrade(empty_database_url, "0032")
    database = Database(empty_database_url)
    for version, stage in (("1.0.0", "retired"), ("2.0.0", "live")):
        statement = text(VERSION_OF_THE_LAST_RELEASE.format(version=version, stage=stage))
        await database.transact(lambda unit, statement=statement: unit.execute(statement))  # type: ignore[misc]
    before_us = now_us()
    await upgrade(empty_database_url)
    async with database.read() as connection:
        (change,) = (await connection.execute(select(CHANGE))).mappings().all()
        last = await last_in_production(connection, "tiny")
    await database.close()
    assert (change["version"], change["after"]) == ("2.0.0", Stage.PRODUCTION.value)
    assert before_us <= change["at_us"] <= now_us()
    assert last is not None
    assert last["version"] == "2.0.0"
