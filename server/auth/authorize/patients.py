"""The patients among whom a user picks one: by the FHIR search, within what the user may see."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

from fhir.exchange import FhirRequest
from fhir.interactions.door import Door
from fhir.interactions.read import Deleted
from fhir.interactions.table import read, search
from fhir.search.value import InvalidSearch
from server.auth.denials import Caller, bounded_by_denials
from server.auth.tokens import FHIR_ID
from server.auth.users.accounts import User
from server.auth.users.roles import Role
from server.kernel.access import Access, Context, Grant, Permission
from server.kernel.faults import NotFound

SHOWN = 20
MAX_QUERY = 100  # characters of what is typed
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TYPE = "Patient"


@dataclass(frozen=True, slots=True)
class PatientChoice:
    """A patient as a user recognizes one."""

    id: str
    name: str
    birth_date: str | None
    sex: str | None
    identifier: str | None


@dataclass(frozen=True, slots=True)
class Patients:
    """Finds patients through the FHIR door, so that each search is audited as the user's."""

    door: Door

    async def search(self, user: User, typed: str) -> tuple[Sequence[PatientChoice], bool]:
        """Patients by name, birth date or identifier; whether there are more."""
        words = typed[:MAX_QUERY].split()
        if not words:
            return (), False
        found = await self._find(user, [(_parameter(word), _escaped(word)) for word in words])
        if not found:
            found = await self._find(user, [("identifier", _escaped(" ".join(words)))])
        return [_choice(each) for each in found[:SHOWN]], len(found) > SHOWN

    async def one(self, user: User, patient_id: str) -> PatientChoice | None:
        """A patient by id; None: there is none such."""
        if not FHIR_ID.fullmatch(patient_id):
            return None
        request = FhirRequest("GET", await self._access(user), _TYPE, patient_id)
        try:
            answer = await read(self.door, request)
        except (NotFound, Deleted):
            return None
        return _choice(orjson.loads(answer.text))

    async def _access(self, user: User) -> Access:
        """Every patient; to who may not break the glass, less those who deny it to them.

        A clinician has the patient before them, who may not be able to speak: they must find them, and see
        that it is the right one, before they say that it is an emergency.
        """
        grant = Grant(Context.USER, _TYPE, frozenset({Permission.READ, Permission.SEARCH}))
        access = Access(user.principal, (grant,))
        if user.role is Role.CLINICIAN:
            return access
        services, caller = self.door.services, Caller(user.fhir_user, discloses=False)
        async with services.database.read() as connection:
            return await bounded_by_denials(connection, access, caller, services.clock())

    async def _find(self, user: User, criteria: list[tuple[str, str]]) -> list[Any]:
        pairs = [*criteria, ("_count", str(SHOWN + 1)), ("_sort", "family,given,_id")]
        request = FhirRequest("GET", await self._access(user), _TYPE, pairs=pairs)
        try:
            answer = await search(self.door, request)
        except InvalidSearch:  # nothing is like what was typed
            return []
        entries = orjson.loads(answer.text).get("entry", ())
        return [each["resource"] for each in entries if each["resource"]["resourceType"] == _TYPE]


def _parameter(word: str) -> str:
    return "birthdate" if _is_date(word) else "name"


def _is_date(word: str) -> bool:
    try:
        date.fromisoformat(word)
    except ValueError:
        return False
    return _DATE.fullmatch(word) is not None


def _escaped(word: str) -> str:
    """What was typed, as one value (FHIR R4 search.html#escaping)."""
    return re.sub(r"([\\,$|])", r"\\\1", word)


def _choice(resource: Any) -> PatientChoice:
    names = resource.get("name") or [{}]
    name = next((each for each in names if each.get("use") in ("usual", "official")), names[0])
    said = name.get("text") or " ".join([*name.get("given", ()), *filter(None, [name.get("family")])])
    identifier = next((each["value"] for each in resource.get("identifier", ()) if each.get("value")), None)
    return PatientChoice(
        resource["id"], said or "no name", resource.get("birthDate"), resource.get("gender"), identifier
    )
