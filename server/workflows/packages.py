"""Definitions of a FHIR package become resources of this server, to validate with and to read.

A definition is known by its canonical URL: loading a package again writes what changed, and another package's
definition of the same id gets an id of its own.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.interactions.authored import put_resource
from fhir.interactions.read import read_resource
from fhir.model.validation.issue import InvalidResource
from fhir.packages import Definition, read_package
from fhir.search.definitions import stored_types
from server.kernel.access import Principal
from server.kernel.database import Database, UnitOfWork
from terminology.code_system import Content
from terminology.shipped import shipped

LOADER = Principal("system:load-package", "Packages of FHIR definitions")
AT_ONCE = 5  # definitions of one transaction, which others wait for on SQLite


@dataclass(slots=True)
class Loaded:
    """What came of a package; `refused` has a line for each file that is not valid R4."""

    written: int = 0
    unchanged: int = 0
    refused: list[str] = field(default_factory=list)


async def load_package(
    database: Database, path: Path, told: Callable[[int], None] = lambda _: None
) -> Loaded:
    """Store the definitions of a package; `told` hears how many are done.

    Raises:
        InvalidPackage: the file is none; what was read of it before stays.
    """
    return await load_definitions(database, read_package(path), told)


async def publish_shipped(database: Database, told: Callable[[int], None] = lambda _: None) -> Loaded:
    """Store the terminology that ships, so that clients can read and search it.

    Code systems of which only a part ships are left out: the operations know that more is missing than there.
    """
    definitions = (
        Definition(row.url, shipped().resource(row))
        for row in shipped().rows()
        if row.content in (None, Content.COMPLETE)
    )
    return await load_definitions(database, definitions, told)


async def load_definitions(
    database: Database, definitions: Iterable[Definition], told: Callable[[int], None]
) -> Loaded:
    """Store definitions, a few at a time; `told` hears how many are done."""
    loaded = Loaded()
    waiting: list[Definition] = []
    for definition in definitions:
        if definition.resource["resourceType"] in stored_types():
            waiting.append(definition)
        if len(waiting) == AT_ONCE:
            await store_definitions(database, waiting, loaded)
            told(len(waiting))
            waiting = []
    await store_definitions(database, waiting, loaded)
    told(len(waiting))
    return loaded


async def store_definitions(database: Database, definitions: Sequence[Definition], loaded: Loaded) -> None:
    """Store definitions in one transaction; `loaded` counts on."""

    async def work(unit: UnitOfWork) -> Loaded:
        done = Loaded()
        for definition in definitions:
            try:
                resource = await _named(unit.connection, dict(definition.resource))
                written = await put_resource(unit, resource, LOADER)
            except InvalidResource as refusal:
                done.refused.append(f"{definition.file}: {refusal.issues[0].text}")
            else:
                done.written += written.changed
                done.unchanged += not written.changed
        return done

    done = await database.transact(work)
    loaded.written += done.written
    loaded.unchanged += done.unchanged
    loaded.refused += done.refused


async def _named(connection: AsyncConnection, resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with its id, or with one of its URL where another definition has taken that."""
    url, resource_id = resource.get("url"), resource.get("id")
    if resource_id is not None:
        there = await read_resource(connection, resource["resourceType"], resource_id)
        if there is None or there.get("url") == url:
            return resource
    derived = hashlib.sha256(f"{url}|{resource.get('version')}".encode()).hexdigest()[:32]
    return {**resource, "id": derived}
