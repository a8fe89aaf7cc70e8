"""One version of one resource written: row, superseded version, index, compartment, identity, event, audit.

Everything here happens in the caller's transaction.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, select
from sqlalchemy.engine import Row as ResultRow

from fhir.consents.keep import KEPT, drop_consents, keep_consents
from fhir.interactions.body import pack, with_identity
from fhir.interactions.mentions import (
    MENTION,
    PROVENANCE,
    inherit_mentions,
    inherits_from,
    keep_mentions,
    mentions,
)
from fhir.model.json_codec import Json
from fhir.search.compartment import PATIENT, SHARED_TYPES, SOMEBODY, patients_of, told_of
from fhir.search.index import INDEX_VERSION, index_rows
from fhir.search.kinds import TABLES
from fhir.search.value import Surroundings
from fhir.tables import BinaryChunk, BinaryContent, FhirCompartment, FhirResource, FhirResourceVersion
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.changes import Changes
from server.kernel.database import UnitOfWork
from server.kernel.patients import (
    Demographics,
    PatientIdentifier,
    fold_name,
    forget_patient,
    locks_of,
    register_patient,
)
from server.kernel.rows import table_of

RESOURCE = table_of(FhirResource)
VERSION = table_of(FhirResourceVersion)
COMPARTMENT = table_of(FhirCompartment)
CONTENT, CHUNK = table_of(BinaryContent), table_of(BinaryChunk)
BINARY = "Binary"

# Of a row: how many patients' compartments it is in, and the first of them.
_ITS_OWN = COMPARTMENT.c.rid == RESOURCE.c.rid
_COUNT = select(func.count()).where(_ITS_OWN).correlate(RESOURCE).scalar_subquery().label("patients")
_FIRST = select(func.min(COMPARTMENT.c.patient_id)).where(_ITS_OWN).correlate(RESOURCE).scalar_subquery()

# Built once, and executed with parameters: to build a statement costs more than to execute it.
_ROW = select(RESOURCE, _COUNT, _FIRST.label("patient_id")).where(RESOURCE.c.type == bindparam("type"))
_FIND = _ROW.where(RESOURCE.c.id == bindparam("id"))
_FIND_MANY = _ROW.where(RESOURCE.c.id.in_(bindparam("ids", expanding=True)))
PATIENTS = select(COMPARTMENT.c.patient_id).where(COMPARTMENT.c.rid == bindparam("key"))
FOUND_AT_ONCE = 500  # resources by one statement; databases bound the number of its values

CHANGED = "resource.changed"  # the outbox event of every write; subject "Type/id"
DEFINITION_CHANGED = "definition.changed"  # told in this process beside it, of these types and of profiles
DEFINITIONS = frozenset({"CodeSystem", "ValueSet", "ConceptMap"})
_TOLD = DEFINITIONS | {"StructureDefinition"}


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
class Indexed:
    """What a resource is found by, without `rid`, and whose record it is part of."""

    rows: Mapping[Table, Sequence[Mapping[str, Any]]]
    patients: frozenset[str]
    told_of: frozenset[str]  # whose denials close it besides
    named: frozenset[tuple[str, str]]  # by type and id: so do those of whom these tell


@dataclass(slots=True, eq=False)
class Draft:
    """A resource about to be written: its value and its text, which say the same."""

    resource: Json
    text: bytes
    id: str
    patients: frozenset[str] | None = None  # whose record it is part of; None: what it says
    beside: Beside | None = None
    _indexed: Indexed | None = field(default=None, init=False)  # of this id

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.resource["resourceType"])

    def renamed(self, resource_id: str) -> "Draft":
        """The same under another id; what it will be found by stays, but for a Patient: that is its own."""
        draft = replace(self, id=resource_id)
        if self.type != PATIENT or resource_id == self.id:
            draft._indexed = self._indexed
        return draft

    def identity_locks(self) -> list[str]:
        """Names to hold when a Patient is written: those of what studies find it by."""
        return locks_of(identifiers_of(self.resource)) if self.type == PATIENT else []

    def indexed(self, around: Surroundings) -> Indexed:
        """What it will be found by; made once, and best before the transaction."""
        if self._indexed is None:
            self._indexed = _index(self, around)
        return self._indexed


def _index(draft: Draft, around: Surroundings) -> Indexed:
    rows = dict(index_rows(draft.resource, around))
    patients = draft.patients
    if patients is None:
        patients = patients_of(draft.resource, draft.id, around)
    if patients:
        rows[COMPARTMENT] = [{"patient_id": patient} for patient in sorted(patients)]
    told = told_of(draft.resource, draft.id, patients, around)
    return Indexed(rows, patients, told, inherits_from(draft.resource, patients, around))


def lock_name(resource_type: str, resource_id: str) -> str:
    """The name of the lock on a resource."""
    return f"fhir:{resource_type}/{resource_id}"


async def lock_and_find(unit: UnitOfWork, resource_type: str, resource_id: str) -> ResultRow[Any] | None:
    """The current row of a resource, held until the transaction ends; None: there never was one."""
    await unit.lock([lock_name(resource_type, resource_id)])
    named = (resource_type, resource_id)
    if named in unit.found:
        row: ResultRow[Any] | None = unit.found.pop(named)  # once: what follows may write it
        return row
    return (await unit.execute(_FIND, {"type": resource_type, "id": resource_id})).one_or_none()


async def find_ahead(unit: UnitOfWork, named: Iterable[tuple[str, str]]) -> None:
    """Let `lock_and_find` find these resources, by type and id, without a statement each; they are locked."""
    ids: dict[str, list[str]] = {}
    for resource_type, resource_id in named:
        ids.setdefault(resource_type, []).append(resource_id)
        unit.found[resource_type, resource_id] = None
    for resource_type, all_ids in ids.items():
        for at in range(0, len(all_ids), FOUND_AT_ONCE):
            asked = {"type": resource_type, "ids": all_ids[at : at + FOUND_AT_ONCE]}
            for row in (await unit.execute(_FIND_MANY, asked)).all():
                unit.found[resource_type, row.id] = row


async def insert_first(unit: UnitOfWork, draft: Draft, principal: Principal, around: Surroundings) -> Written:
    """Write version 1."""
    indexed = draft.indexed(around)
    text = with_identity(draft.text, draft.id, 1, unit.now_us)
    rid = await unit.new_key(RESOURCE)
    changes = Changes()
    changes.insert(RESOURCE, [{"rid": rid, "type": draft.type, "id": draft.id, **_columns(unit, 1, text)}])
    _add_index(changes, rid, 1, indexed)
    await unit.change(changes)
    await _register(unit, draft)
    _inherit(unit, draft.type, (rid, 1), indexed)
    if draft.type in KEPT:
        await keep_consents(unit, draft.resource, (rid, draft.id, 1), around, is_new=True)
    if draft.beside is not None:
        await draft.beside(unit, draft, rid, 1)
    _announce(unit, draft, 1, principal, indexed.patients)
    return Written(draft.id, 1, True, unit.now_us, text, created=True)


async def supersede(
    unit: UnitOfWork, current: ResultRow[Any], draft: Draft, principal: Principal, around: Surroundings
) -> Written:
    """Write the next version; `current` comes from `lock_and_find`."""
    version_id = current.version_id + 1
    indexed = draft.indexed(around)
    text = with_identity(draft.text, draft.id, version_id, unit.now_us)
    changes = _changes_from(current, _columns(unit, version_id, text))
    changes.delete(COMPARTMENT, "rid", current.rid)
    _add_index(changes, current.rid, version_id, indexed)
    await unit.change(changes)
    await _register(unit, draft)
    _inherit(unit, draft.type, (current.rid, version_id), indexed)
    if draft.type in KEPT:
        await keep_consents(unit, draft.resource, (current.rid, draft.id, version_id), around)
    if draft.beside is not None:
        await draft.beside(unit, draft, current.rid, version_id)
    _announce(unit, draft, version_id, principal, indexed.patients)
    return Written(draft.id, version_id, True, unit.now_us, text, created=current.deleted)


async def mark_deleted(unit: UnitOfWork, current: ResultRow[Any], principal: Principal) -> Written:
    """Write the version that says that the resource was deleted; `current` comes from `lock_and_find`.

    No search finds it any more. Whose record it was part of stays known: who could read it may learn that it
    is gone, and read its history.
    """
    version_id = current.version_id + 1
    gone = {"version_id": version_id, "last_updated_us": unit.now_us, "deleted": True, "body": b""}
    changes = _changes_from(current, gone)
    await unit.change(changes)
    if current.patients != 1 or current.type == PROVENANCE:
        await keep_mentions(unit, current.rid, current.version_id)
    if current.type == BINARY:  # its bytes go with it, those of every version
        contents = select(CONTENT.c.content).where(CONTENT.c.rid == current.rid)
        await unit.execute(delete(CHUNK).where(CHUNK.c.content.in_(contents)))
        await unit.execute(delete(CONTENT).where(CONTENT.c.rid == current.rid))
    if current.type == PATIENT:
        await forget_patient(unit, current.id)
    if current.type in KEPT:
        await drop_consents(unit, current.type, current.rid)
    patients = (await unit.execute(PATIENTS, {"key": current.rid})).scalars().all()
    known = sorted(set(patients) - {SOMEBODY})
    named = f"{current.type}/{current.id}"
    unit.emit(CHANGED, named, {"version": version_id, "patients": known, "deleted": True})
    if current.type in _TOLD:
        unit.tell(DEFINITION_CHANGED)
    patient_id = min(known, default=None)
    unit.audit(AuditEntry(principal, Action.DELETE, "delete", current.type, current.id, patient_id))
    return Written(current.id, version_id, True, unit.now_us, b"")


def _changes_from(current: ResultRow[Any], columns: Mapping[str, Any]) -> Changes:
    """A version moves to the history, its index rows go, the next one takes its place."""
    changes = Changes()
    for table in TABLES:
        changes.delete(table, "rid", current.rid)
    changes.update(RESOURCE, {"rid": current.rid, **columns})
    superseded = {
        "rid": current.rid,
        "version_id": current.version_id,
        "last_updated_us": current.last_updated_us,
        "patient_id": _whose(current),
        "deleted": current.deleted,
        "body": current.body,
    }
    changes.insert(VERSION, [superseded])
    return changes


def _whose(current: ResultRow[Any]) -> str | None:
    """`FhirResourceVersion.patient_id` of it; what an earlier release wrote may tell of somebody unknown."""
    only: str | None = current.patient_id if current.patients == 1 else None
    if current.patients and only != SOMEBODY:
        return only
    is_told = current.index_version == INDEX_VERSION or (
        not current.patients and current.type in SHARED_TYPES
    )
    return (only or "") if is_told else None


def _columns(unit: UnitOfWork, version_id: int, text: bytes) -> dict[str, Any]:
    return {
        "version_id": version_id,
        "last_updated_us": unit.now_us,
        "deleted": False,
        "body": pack(text),
        "index_version": INDEX_VERSION,
    }


def _add_index(changes: Changes, rid: int, version_id: int, indexed: Indexed) -> None:
    for table, rows in indexed.rows.items():
        changes.insert(table, [{"rid": rid, **row} for row in rows])
    changes.insert(MENTION, mentions(rid, version_id, indexed.told_of))


def _inherit(unit: UnitOfWork, resource_type: str, version: tuple[int, int], indexed: Indexed) -> None:
    """Let denials find what tells of somebody by what it names; `version`: the rid and the number."""

    async def inherit(unit: UnitOfWork) -> None:
        await inherit_mentions(unit, version, indexed.named)

    async def inherit_last(unit: UnitOfWork) -> None:
        unit.before_commit(inherit)

    if indexed.named:  # a Provenance from what may inherit itself
        unit.before_commit(inherit_last if resource_type == PROVENANCE else inherit)


async def _register(unit: UnitOfWork, draft: Draft) -> None:
    """Let studies find a Patient by what was written."""
    if draft.type == PATIENT:
        identifiers = list(identifiers_of(draft.resource))
        await register_patient(unit, draft.id, identifiers, demographics_of(draft.resource))


def _announce(
    unit: UnitOfWork, draft: Draft, version_id: int, principal: Principal, patients: Iterable[str]
) -> None:
    created = version_id == 1
    known = sorted(set(patients) - {SOMEBODY})
    unit.emit(CHANGED, f"{draft.type}/{draft.id}", {"version": version_id, "patients": known})
    if draft.type in _TOLD:
        unit.tell(DEFINITION_CHANGED)
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
    given = [each for each in chosen.get("given") or () if each]  # null stands where only an extension is
    folded = fold_name(chosen.get("family") or "", " ".join(given))
    return Demographics(patient.get("birthDate"), patient.get("gender"), folded)
