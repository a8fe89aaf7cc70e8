"""One version of one resource written: row, superseded version, index, compartment, identity, event, audit.

Everything here happens in the caller's transaction.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Row as ResultRow

from fhir.interactions.body import pack, with_identity
from fhir.model.json_codec import Json
from fhir.search.compartment import PATIENT, SOMEBODY, patients_of
from fhir.search.index import index_rows
from fhir.search.kinds import TABLES
from fhir.search.value import Surroundings
from fhir.tables import FhirCompartment, FhirResource, FhirResourceVersion
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.bulk import insert_rows
from server.kernel.database import UnitOfWork
from server.kernel.patients import (
    Demographics,
    PatientIdentifier,
    fold_name,
    forget_patient,
    register_patient,
)
from server.kernel.rows import table_of

RESOURCE = table_of(FhirResource)
VERSION = table_of(FhirResourceVersion)
COMPARTMENT = table_of(FhirCompartment)

# Built once, and executed with parameters: to build a statement costs more than to execute it.
_FIND = select(RESOURCE).where(RESOURCE.c.type == bindparam("type"), RESOURCE.c.id == bindparam("id"))
_INSERT = insert(RESOURCE).returning(RESOURCE.c.rid)
_UPDATE = update(RESOURCE).where(RESOURCE.c.rid == bindparam("key"))  # what is set is among the parameters
_PATIENTS = select(COMPARTMENT.c.patient_id).where(COMPARTMENT.c.rid == bindparam("key"))
_INDEX_DELETES = [delete(table).where(table.c.rid == bindparam("key")) for table in TABLES]
_DELETES = [*_INDEX_DELETES, delete(COMPARTMENT).where(COMPARTMENT.c.rid == bindparam("key"))]

CHANGED = "resource.changed"  # the outbox event of every write; subject "Type/id"


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did; `text` is the resource as stored, empty when it was deleted."""

    id: str
    version_id: int
    changed: bool
    last_updated_us: int
    text: bytes
    created: bool = False  # there was none before, or a deleted one


# What else is to be written with a version, given what is written, the resource's rid, the version's number.
Beside = Callable[[UnitOfWork, "Draft", int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource about to be written: its value and its text, which say the same."""

    resource: Json
    text: bytes
    id: str
    patients: frozenset[str] | None = None  # whose record it is part of; None: what it says
    beside: Beside | None = None

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.resource["resourceType"])


def lock_name(resource_type: str, resource_id: str) -> str:
    """The name of the lock on a resource."""
    return f"fhir:{resource_type}/{resource_id}"


async def lock_and_find(unit: UnitOfWork, resource_type: str, resource_id: str) -> ResultRow[Any] | None:
    """The current row of a resource, held until the transaction ends; None: there never was one."""
    await unit.lock([lock_name(resource_type, resource_id)])
    return (await unit.execute(_FIND, {"type": resource_type, "id": resource_id})).one_or_none()


async def insert_first(unit: UnitOfWork, draft: Draft, principal: Principal, around: Surroundings) -> Written:
    """Write version 1."""
    text = with_identity(draft.text, draft.id, 1, unit.now_us)
    row = {**_columns(unit, 1, text), "type": draft.type, "id": draft.id}
    rid = (await unit.execute(_INSERT, row)).scalar_one()
    patients = await _index(unit, rid, draft, around)
    if draft.beside is not None:
        await draft.beside(unit, draft, rid, 1)
    _announce(unit, draft, 1, principal, patients)
    return Written(draft.id, 1, True, unit.now_us, text, created=True)


async def supersede(
    unit: UnitOfWork, current: ResultRow[Any], draft: Draft, principal: Principal, around: Surroundings
) -> Written:
    """Write the next version; `current` comes from `lock_and_find`."""
    version_id = current.version_id + 1
    text = with_identity(draft.text, draft.id, version_id, unit.now_us)
    await _keep(unit, current)
    await unit.execute(_UPDATE, {"key": current.rid, **_columns(unit, version_id, text)})
    for statement in _DELETES:
        await unit.execute(statement, {"key": current.rid})
    patients = await _index(unit, current.rid, draft, around)
    if draft.beside is not None:
        await draft.beside(unit, draft, current.rid, version_id)
    _announce(unit, draft, version_id, principal, patients)
    return Written(draft.id, version_id, True, unit.now_us, text, created=current.deleted)


async def mark_deleted(unit: UnitOfWork, current: ResultRow[Any], principal: Principal) -> Written:
    """Write the version that says that the resource was deleted; `current` comes from `lock_and_find`.

    No search finds it any more. Whose record it was part of stays known: who could read it may learn that it
    is gone, and read its history.
    """
    version_id = current.version_id + 1
    await _keep(unit, current)
    gone = {"version_id": version_id, "last_updated_us": unit.now_us, "deleted": True, "body": b""}
    await unit.execute(_UPDATE, {"key": current.rid, **gone})
    for statement in _INDEX_DELETES:
        await unit.execute(statement, {"key": current.rid})
    if current.type == PATIENT:
        await forget_patient(unit, current.id)
    patients = (await unit.execute(_PATIENTS, {"key": current.rid})).scalars().all()
    known = sorted(set(patients) - {SOMEBODY})
    named = f"{current.type}/{current.id}"
    unit.emit(CHANGED, named, {"version": version_id, "patients": known, "deleted": True})
    patient_id = min(known, default=None)
    unit.audit(AuditEntry(principal, Action.DELETE, "delete", current.type, current.id, patient_id))
    return Written(current.id, version_id, True, unit.now_us, b"")


async def _keep(unit: UnitOfWork, current: ResultRow[Any]) -> None:
    patients = (await unit.execute(_PATIENTS, {"key": current.rid})).scalars().all()
    row = {
        "rid": current.rid,
        "version_id": current.version_id,
        "last_updated_us": current.last_updated_us,
        "patient_id": patients[0] if len(patients) == 1 else None if patients else "",
        "deleted": current.deleted,
        "body": current.body,
    }
    await insert_rows(unit.connection, {VERSION: [row]})


def _columns(unit: UnitOfWork, version_id: int, text: bytes) -> dict[str, Any]:
    return {
        "version_id": version_id,
        "last_updated_us": unit.now_us,
        "deleted": False,
        "body": pack(text),
    }


async def _index(unit: UnitOfWork, rid: int, draft: Draft, around: Surroundings) -> frozenset[str]:
    indexed = index_rows(draft.resource, around)
    rows = {table: [{"rid": rid, **row} for row in found] for table, found in indexed.items()}
    patients = draft.patients
    if patients is None:
        patients = patients_of(draft.resource, draft.id, around)
    if patients:
        rows[COMPARTMENT] = [{"rid": rid, "patient_id": patient} for patient in sorted(patients)]
    await insert_rows(unit.connection, rows)
    if draft.type == PATIENT:
        identifiers = list(identifiers_of(draft.resource))
        await register_patient(unit, draft.id, identifiers, demographics_of(draft.resource))
    return patients


def _announce(
    unit: UnitOfWork, draft: Draft, version_id: int, principal: Principal, patients: Iterable[str]
) -> None:
    created = version_id == 1
    known = sorted(set(patients) - {SOMEBODY})
    unit.emit(CHANGED, f"{draft.type}/{draft.id}", {"version": version_id, "patients": known})
    entry = AuditEntry(
        principal=principal,
        action=Action.CREATE if created else Action.UPDATE,
        interaction="create" if created else "update",
        resource_type=draft.type,
        resource_id=draft.id,
        patient_id=min(known, default=None),
    )
    unit.audit(entry)


def identifiers_of(patient: Json) -> Iterable[PatientIdentifier]:
    """The identifiers by which studies find this Patient: those with a system and a value."""
    for identifier in patient.get("identifier", ()):
        if identifier.get("system") and identifier.get("value"):
            yield PatientIdentifier(identifier["system"], identifier["value"])


def demographics_of(patient: Json) -> Demographics:
    """What may contradict a study's patient attributes."""
    names = patient.get("name") or [{}]
    chosen = next((name for name in names if name.get("use") == "official"), names[0])
    folded = fold_name(chosen.get("family") or "", " ".join(chosen.get("given") or ()))
    return Demographics(patient.get("birthDate"), patient.get("gender"), folded)
