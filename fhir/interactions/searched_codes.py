"""Which codes a search means by `:in`, `:not-in`, `:above` and `:below` (FHIR R4 search.html#token).

A stored definition counts for whoever searches: it is in nobody's record, and only its codes are used.
"""

from collections.abc import Mapping

from sqlalchemy import exists, select

from fhir.interactions.body import unpack
from fhir.interactions.door import Door
from fhir.model.json_codec import Json, decode_json
from fhir.search.reach import COMPARTMENT, R
from fhir.search.value import InvalidSearch
from terminology.canonical import parse_canonical
from terminology.code_system import FilterOperator
from terminology.codes import Code, codes_of_value_set, related_codes
from terminology.issues import NotKnown, TerminologyFault
from terminology.library import Kind, Library

_OPERATOR_OF: Mapping[str, FilterOperator] = {
    "below": FilterOperator.IS_A,
    "above": FilterOperator.GENERALIZES,
}


class SearchedCodes:
    """Tells codes by the definitions that the server has."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._library = Library(door.sources)

    async def of_value_set(self, name: str) -> frozenset[Code]:
        """The codes of a ValueSet by canonical URL or `ValueSet/id`."""
        try:
            value_set = await self._value_set(name)
            return _some(await codes_of_value_set(value_set, self._library))
        except TerminologyFault as fault:
            raise _cannot_be_told(fault) from None

    async def related(self, code: Code, relation: str) -> frozenset[Code]:
        """The code with those `above` or `below` it."""
        try:
            return await related_codes(code, _OPERATOR_OF[relation], self._library)
        except TerminologyFault as fault:
            raise _cannot_be_told(fault) from None

    async def _value_set(self, name: str) -> Json:
        resource_type, _, resource_id = name.partition("/")
        if resource_type == Kind.VALUE_SET.value and resource_id:
            value_set = await self._by_id(resource_id)
        else:
            edition = await self._library.find(Kind.VALUE_SET, parse_canonical(name))
            value_set = None if edition is None else await edition.open()
        if value_set is None:
            raise NotKnown("The value set is not known here.")
        return value_set

    async def _by_id(self, resource_id: str) -> Json | None:
        is_nobodys = ~exists().where(COMPARTMENT.c.rid == R.c.rid)
        named = (R.c.type == Kind.VALUE_SET.value, R.c.id == resource_id, ~R.c.deleted)
        async with self._door.services.database.read() as connection:
            body = await connection.scalar(select(R.c.body).where(*named, is_nobodys))
        return None if body is None else decode_json(unpack(body))


def _some(codes: frozenset[Code]) -> frozenset[Code]:
    if not codes:
        raise InvalidSearch("The search names a value set without codes.")
    return codes


def _cannot_be_told(fault: TerminologyFault) -> InvalidSearch:
    return InvalidSearch(f"The search names codes that cannot be told here: {fault}")
