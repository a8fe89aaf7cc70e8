"""Patient identity: which FHIR Patient a DICOM or FHIR identifier belongs to (DESIGN §5).

An identifier is (system, value); matching is by identifier only, never by demographics. Demographics only
raise a *conflict*: another birth date, or sex and name both different, closes a study to patient-scoped
tokens until a person has looked. A value that is not known (None) never differs. An identifier of a Patient
that was merged leads to the one it was merged into (`server/kernel/patient_merge.py`).
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import bindparam, delete, insert, select

from server.kernel.changes import Changes
from server.kernel.database import UnitOfWork
from server.kernel.patient_merge import survivor_of
from server.kernel.rows import table_of
from server.kernel.tables import PatientIdentity
from server.kernel.uids import new_id

_IDENTITY = table_of(PatientIdentity)

# Built once: that costs more than to execute them.
_OF_IDENTIFIER = select(
    _IDENTITY.c.patient_id, _IDENTITY.c.birth_date, _IDENTITY.c.sex, _IDENTITY.c.name_folded
).where(_IDENTITY.c.system == bindparam("named_system"), _IDENTITY.c.value == bindparam("named_value"))
_INSERT = insert(_IDENTITY)
_DELETE = delete(_IDENTITY).where(_IDENTITY.c.patient_id == bindparam("patient"))


class LinkState(Enum):
    """How a study stands to the patients of the record."""

    LINKED = "linked"
    UNASSIGNED = "unassigned"  # no Patient ID, or no match and the site creates none
    CONFLICT = "conflict"  # the identifier matches, the demographics contradict


@dataclass(frozen=True, slots=True)
class Demographics:
    """What may contradict; None: not known."""

    birth_date: str | None = None  # FHIR date: YYYY, YYYY-MM or YYYY-MM-DD
    sex: str | None = None  # male | female | other | unknown
    name_folded: str | None = None  # from `fold_name`

    def contradicts(self, other: "Demographics") -> bool:
        """Whether both cannot be one patient: other birth date, or sex and name both different."""
        if _differ(self.birth_date, other.birth_date):
            return True
        return _differ(self.sex, other.sex) and _differ(self.name_folded, other.name_folded)


@dataclass(frozen=True, slots=True)
class PatientIdentifier:
    """A patient identifier: FHIR Identifier.system and .value."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class PatientLink:
    """The answer for a study: the Patient's id when LINKED, else None."""

    state: LinkState
    patient_id: str | None
    identified_id: str | None = (
        None  # the Patient that carries the identifier: `patient_id`, before any merge
    )


UNASSIGNED = PatientLink(LinkState.UNASSIGNED, None)


def fold_name(family: str, given: str) -> str | None:
    """Case- and accent-folded "family given" for comparison; None when both are blank."""
    decomposed = unicodedata.normalize("NFKD", f"{family} {given}".casefold())
    folded = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(folded.split()) or None


async def link_patient(
    unit: UnitOfWork, identifier: PatientIdentifier | None, demographics: Demographics, *, create: bool = True
) -> PatientLink:
    """Find the Patient of an identifier, or name a new one, in the caller's transaction.

    A new Patient exists as an identity at once; the resource `Patient/{patient_id}` follows from the outbox
    event "study.changed" of the study that brought it.
    """
    if identifier is None:
        return UNASSIGNED
    await unit.lock([_lock_of(identifier)])
    known = (await unit.execute(_OF_IDENTIFIER, _named(identifier))).one_or_none()
    if known is not None:
        if Demographics(known.birth_date, known.sex, known.name_folded).contradicts(demographics):
            return PatientLink(LinkState.CONFLICT, None)
        patient_id = await survivor_of(unit.connection, known.patient_id)
        return PatientLink(LinkState.LINKED, patient_id, known.patient_id)
    if not create:
        return UNASSIGNED
    patient_id = new_id()
    await unit.execute(_INSERT, [_row(patient_id, identifier, demographics)])
    return PatientLink(LinkState.LINKED, patient_id, patient_id)


async def register_patient(
    unit: UnitOfWork, patient_id: str, identifiers: Sequence[PatientIdentifier], demographics: Demographics
) -> None:
    """Record the identifiers that a written Patient resource carries, in the transaction that writes it.

    An identifier that another Patient already holds stays with that Patient: moving it is a merge,
    never the side effect of a write.
    """
    await unit.lock(locks_of(identifiers))
    changes = Changes()
    changes.delete(_IDENTITY, "patient_id", patient_id)
    rows = [_row(patient_id, identifier, demographics) for identifier in dict.fromkeys(identifiers)]
    changes.insert_missing(_IDENTITY, rows)
    await unit.change(changes)


def locks_of(identifiers: Iterable[PatientIdentifier]) -> list[str]:
    """The names to hold while what these identifiers lead to is changed."""
    return [_lock_of(identifier) for identifier in identifiers]


async def forget_patient(unit: UnitOfWork, patient_id: str) -> None:
    """Let no study find this Patient by an identifier any more, in the transaction that deletes it."""
    await lock_identifiers(unit, [patient_id])
    await unit.execute(_DELETE, {"patient": patient_id})


async def lock_identifiers(unit: UnitOfWork, patient_ids: Iterable[str]) -> None:
    """Let nobody link a study by an identifier of these Patients until the transaction ends."""
    await unit.lock(await identifier_locks(unit, patient_ids))


async def identifier_locks(unit: UnitOfWork, patient_ids: Iterable[str]) -> list[str]:
    """The names to hold while what the identifiers of these Patients lead to is changed."""
    c = _IDENTITY.c
    query = select(c.system, c.value).where(c.patient_id.in_(sorted(patient_ids)))
    held = (await unit.execute(query)).all()
    return locks_of(PatientIdentifier(row.system, row.value) for row in held)


def _lock_of(identifier: PatientIdentifier) -> str:
    return f"patient-identity:{identifier.system}|{identifier.value}"


def _row(patient_id: str, identifier: PatientIdentifier, demographics: Demographics) -> dict[str, str | None]:
    return {
        "system": identifier.system,
        "value": identifier.value,
        "patient_id": patient_id,
        "birth_date": demographics.birth_date,
        "sex": demographics.sex,
        "name_folded": demographics.name_folded,
    }


def _named(identifier: PatientIdentifier) -> dict[str, str]:
    return {"named_system": identifier.system, "named_value": identifier.value}


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other
