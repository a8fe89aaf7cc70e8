"""The terminology of the record: ValueSets and CodeSystems that somebody stored, and R4's closed lists.

A stored definition counts for whoever searches: it is in nobody's record, and only its codes are used.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from fhir.interactions.body import unpack
from fhir.interactions.read import read_resource
from fhir.model.json_codec import Json, decode_json
from fhir.model.validation.definitions import codes_by_system
from fhir.search.definitions import parameters_of
from fhir.search.reach import R
from fhir.search.uri import URI
from fhir.search.value import InvalidSearch, bounded
from server.kernel.database import Database
from terminology.expansion import (
    MAX_CODES,
    Code,
    Known,
    Missing,
    Needed,
    NotUnderstood,
    TooCostly,
    above,
    below,
    expand,
)

R4 = "4.0.1"
MAX_DEFINITIONS = 50  # that one value set may need


class StoredCodes:
    """Tells codes by what the database holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_value_set(self, name: str) -> frozenset[Code]:
        """The codes of a ValueSet by canonical URL or `ValueSet/id`."""
        value_set = await self._value_set(name)
        if value_set is None:
            url = name.removesuffix(f"|{R4}")  # the structures name some of them with the version
            published = codes_by_system(url) or codes_by_system(f"{url}|{R4}")
            if published is None:
                raise InvalidSearch("The search names a value set that is not known here.")
            return frozenset(Code(system, code) for system, codes in published.items() for code in codes)
        return await self._told(lambda known: expand(value_set, known))

    async def related(self, code: Code, relation: str) -> frozenset[Code]:
        """The code with those `above` or `below` it."""
        tell = above if relation == "above" else below
        return await self._told(lambda known: tell(code.system, code.code, known))

    async def _told(self, tell: Callable[[Known], frozenset[Code]]) -> frozenset[Code]:
        known: dict[Needed, Json] = {}
        while True:
            try:
                found = tell(known)
            except Missing as missing:
                known[missing.needed] = await self._needed(missing.needed, len(known))
                continue
            except NotUnderstood as problem:
                raise InvalidSearch(f"The search names codes that cannot be told here: {problem}.") from None
            except TooCostly:
                found = frozenset()
            if not 0 < len(found) <= MAX_CODES:
                raise InvalidSearch(f"The search names none, or more than {MAX_CODES} codes.")
            return found

    async def _needed(self, needed: Needed, so_far: int) -> Json:
        definition = None
        if so_far < MAX_DEFINITIONS:
            definition = await self._by_url(needed.resource_type, needed.url)
        if definition is None:
            raise InvalidSearch(f"The search needs a {needed.resource_type} that is not known here.")
        return definition

    async def _value_set(self, name: str) -> Json | None:
        resource_type, _, resource_id = name.partition("/")
        if resource_type == "ValueSet" and resource_id:
            async with self._database.read() as connection:
                return await read_resource(connection, resource_type, resource_id)
        return await self._by_url("ValueSet", name)

    async def _by_url(self, resource_type: str, canonical: str) -> Json | None:
        """The definition of that URL, and version if one is named; of several the one written last."""
        url, _, version = canonical.partition("|")
        c = URI.table.c
        number = parameters_of(resource_type)["url"].number
        rids = select(c.rid).where(c.param == number, c.uri == bounded(url))
        query = select(R.c.body).where(R.c.rid.in_(rids), ~R.c.deleted).order_by(R.c.last_updated_us.desc())
        async with self._database.read() as connection:
            bodies: Any = (await connection.execute(query.limit(MAX_DEFINITIONS))).scalars().all()
        found = (decode_json(unpack(body)) for body in bodies)
        return next((one for one in found if not version or one.get("version") == version), None)
