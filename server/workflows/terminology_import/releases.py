"""`isthmus terminology list` and `remove`: the releases in the database."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import select

from fhir.packages import Definition
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.packages import Loaded, store_definitions
from server.workflows.terminology_import.importing import without_concepts
from terminology.canonical import parse_canonical
from terminology.releases.removal import remove_release, retire_release
from terminology.tables import TerminologyRelease

RELEASE = table_of(TerminologyRelease)
_ACTIVE = select(RELEASE).where(RELEASE.c.state == "active").order_by(RELEASE.c.url, RELEASE.c.version)


class NoSuchRelease(Fault):
    """No release, or more than one, has this URL and version."""

    kind = FaultKind.NOT_FOUND


async def _active(database: Database) -> Sequence[Any]:
    async with database.read() as connection:
        return (await connection.execute(_ACTIVE)).all()


async def list_releases(database: Database) -> list[str]:
    """One line a release: URL|version, kind, concepts, when it was loaded."""
    return [
        f"{_name(row)} {row.kind} {row.concepts} concepts {instant_text(row.loaded_at_us)}"
        for row in await _active(database)
    ]


async def remove(database: Database, name: str) -> str:
    """Remove the release of a URL and version; returns a line that says so.

    Its resource stays, and says that its concepts are not here (CodeSystem.content `not-present`).

    Raises:
        NoSuchRelease: there is none, or the URL alone means several.
    """
    url, version = parse_canonical(name)
    of_url = [row for row in await _active(database) if row.url == url]
    found = [row for row in of_url if version is None or row.version == version]
    if len(found) != 1:
        there = ", ".join(_name(row) for row in of_url) or "none of that URL"
        raise NoSuchRelease(f"{name} is not one release. There is: {there}.")
    (row,) = found
    resource = without_concepts(orjson.loads(row.header), content="not-present")
    await store_definitions(database, [Definition(name, resource)], Loaded())
    await retire_release(database, row.id)
    await remove_release(database, row.id)
    return f"{_name(row)} is removed: {row.concepts} concepts."


def _name(row: Any) -> str:
    return f"{row.url}|{row.version}" if row.version else str(row.url)
