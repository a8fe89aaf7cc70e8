"""The visits among which a user picks one: Encounters of the one patient (SMART 2.2, launch/encounter)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fhir.exchange import FhirRequest
from fhir.interactions.door import Door
from fhir.interactions.read import Deleted
from fhir.interactions.table import read, search
from server.auth.denials import Caller, bounded_by_denials
from server.auth.tokens import FHIR_ID
from server.auth.users.accounts import User
from server.kernel.access import Access, Context, Grant, Permission
from server.kernel.faults import NotFound
from server.kernel.patient_merge import patients_opened_by

SHOWN = 20
_TYPE = "Encounter"
_GRANT = Grant(Context.PATIENT, _TYPE, frozenset({Permission.READ, Permission.SEARCH}))
_DAY = re.compile(r"\d{4}(-\d{2}){0,2}")
_CLASSES: Mapping[str, str] = {  # v3 ActCode, of those that say no more
    "AMB": "outpatient visit",
    "EMER": "emergency",
    "FLD": "visit in the field",
    "HH": "visit at home",
    "IMP": "stay",
    "OBSENC": "observation",
    "SS": "short stay",
    "VR": "virtual visit",
}


@dataclass(frozen=True, slots=True)
class EncounterChoice:
    """A visit as a user recognizes one."""

    id: str
    what: str
    when: str
    status: str | None


@dataclass(frozen=True, slots=True)
class Encounters:
    """Finds visits through the FHIR door, as the user's, within the record of the one patient."""

    door: Door

    async def of(self, user: User, patient_id: str) -> tuple[Sequence[EncounterChoice], bool]:
        """The newest visits of a patient; whether there are more."""
        pairs = [("_sort", "-date"), ("_count", str(SHOWN + 1))]
        access = await self._access(user, patient_id)
        answer = await search(self.door, FhirRequest("GET", access, _TYPE, pairs=pairs))
        found = [each["resource"] for each in orjson.loads(answer.text).get("entry", ())]
        found = [each for each in found if each["resourceType"] == _TYPE]
        return [_choice(each) for each in found[:SHOWN]], len(found) > SHOWN

    async def has(self, user: User, patient_id: str, encounter_id: str) -> bool:
        """Whether a visit is one of the patient's."""
        if not FHIR_ID.fullmatch(encounter_id):
            return False
        access = await self._access(user, patient_id)
        try:
            await read(self.door, FhirRequest("GET", access, _TYPE, encounter_id))
        except (NotFound, Deleted):
            return False
        return True

    async def _access(self, user: User, patient_id: str) -> Access:
        services, caller = self.door.services, Caller(user.fhir_user, discloses=False)
        async with services.database.read() as connection:
            opened = await patients_opened_by(connection, patient_id)
            access = Access(user.principal, (_GRANT,), opened)
            return await bounded_by_denials(connection, access, caller, services.clock())


def _choice(resource: Any) -> EncounterChoice:
    status = resource.get("status")
    return EncounterChoice(
        resource["id"],
        _what(resource),
        _when(resource.get("period", {})),
        status and status.replace("-", " "),
    )


def _what(resource: Any) -> str:
    """Its type, the service, or only its class, whichever is said."""
    for concept in (*resource.get("type", ()), resource.get("serviceType", {})):
        said = (concept.get("text"), *(each.get("display") for each in concept.get("coding", ())))
        if found := next(filter(None, said), None):
            return str(found)
    of_class = resource.get("class", {})
    word = str(of_class.get("display") or _CLASSES.get(of_class.get("code", ""), "visit"))
    return f"{word[:1].upper()}{word[1:]}"


def _when(period: Any) -> str:
    days = [_DAY.match(period.get(end, "")) for end in ("start", "end")]
    start, end = (day and day[0] for day in days)
    if start is None:
        return "date not known" if end is None else f"until {end}"
    if end is None:
        return f"since {start}"
    return start if start == end else f"{start} to {end}"
