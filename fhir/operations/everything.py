"""$everything of a Patient and of an Encounter, page by page (FHIR R4 patient-operation-everything.html).

A page holds resources of the compartment as matches, and what they refer to of what belongs to no patient
(practitioners, organizations, devices …) as includes; of an encounter, its patient too. `start` and `end`
look at when care was given, by the search parameter of `CARE_DATE`; what states no such date is always part
of the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.bundle import Entry, Links, Page, entry_of, render_page
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.door import Door
from fhir.interactions.reaches import Reaches, predicate_of, reaches_of
from fhir.operations.operation import Level, Operation
from fhir.operations.parameters import Inputs, InvalidInput, one_of, read_inputs, whole_number
from fhir.search.compartment import PATIENT, SHARED_TYPES, SOMEBODY
from fhir.search.date import EARLIEST_US, LATEST_US, DateRange, parse_date
from fhir.search.definitions import EVERY_RESOURCE, SearchType, parameters_of, stored_types
from fhir.search.kinds import KINDS
from fhir.search.narrowed import within_narrowed
from fhir.search.order import After
from fhir.search.page import Pager, pager
from fhir.search.place import EVERY_TYPE, compartment_place
from fhir.search.query import DEFAULT_COUNT, MAX_COUNT, PAGE, SearchQuery
from fhir.search.reach import AUDITED_PATIENT, COMPARTMENT, R
from fhir.search.sql import SHOWN, select_matches
from fhir.search.value import Surroundings
from fhir.tables import SearchReference
from server.kernel.access import Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import NotFound
from server.kernel.rows import table_of

ENCOUNTER = "Encounter"
_DEFINITION = "http://hl7.org/fhir/OperationDefinition/"
_REFERENCE = table_of(SearchReference)
MAX_INCLUDED = 1_000  # resources of nobody's record on one page

# When the care that a resource tells of took place: type -> its search parameter.
CARE_DATE: Mapping[str, str] = {
    "AdverseEvent": "date", "AllergyIntolerance": "date", "Appointment": "date", "CarePlan": "date",
    "Claim": "created", "ClinicalImpression": "date", "Communication": "sent", "Composition": "date",
    "Condition": "onset-date", "DiagnosticReport": "date", "DocumentReference": "date", "Encounter": "date",
    "EpisodeOfCare": "date", "ExplanationOfBenefit": "created", "Flag": "date", "Goal": "start-date",
    "ImagingStudy": "started", "Immunization": "date", "List": "date", "Media": "created",
    "MedicationAdministration": "effective-time", "MedicationDispense": "whenhandedover",
    "MedicationRequest": "authoredon", "MedicationStatement": "effective", "Observation": "date",
    "Procedure": "date", "QuestionnaireResponse": "authored", "RiskAssessment": "date",
    "ServiceRequest": "authored", "Specimen": "collected", "SupplyRequest": "date", "Task": "authored-on",
}  # fmt: skip


@dataclass(slots=True)
class Asked:
    """What an invocation asks for."""

    types: frozenset[str] | None = None  # None: all
    care: DateRange | None = None
    since_us: int | None = None
    count: int = DEFAULT_COUNT
    page: str | None = None
    understood: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The predicates of what is within the caller's reach: of the record, and of what it refers to."""

    record: ColumnElement[bool]
    around: ColumnElement[bool]


async def everything(door: Door, request: FhirRequest) -> Answer:
    """The record of a patient, of all patients within reach, or of an encounter.

    Raises:
        NotFound: no such patient or encounter within the caller's reach.
        InvalidInput: a parameter makes no sense.
    """
    access, around = request.access, door.surroundings()
    asked = read_asked(read_inputs(request), around)
    reaches = _chosen(reaches_of(access, narrowed=True), asked)
    kept = _Kept(predicate_of(reaches, around), predicate_of(_around(reaches), around))
    path = "/".join(each for each in (request.resource_type, request.resource_id, "$everything") if each)
    pages = pager(door.page_secret, access.principal, reaches, path, asked.understood)
    part = _part_of(request, reaches, around)
    async with door.services.database.read() as connection:
        patient_id = await _require_reached(connection, request, around)
        page = await _read_page(connection, asked, (part, kept, pages))
    named = (request.resource_type or PATIENT, request.resource_id, patient_id)
    entry = AuditEntry(access.principal, Action.EXECUTE, "$everything", *named)
    await door.services.read_audit.record(entry)
    links = Links(f"{door.base_url}/{path}", asked.understood, asked.page)
    return Answer(text=render_page(door.base_url, links, page, around.now_us))


def read_asked(inputs: Inputs, around: Surroundings) -> Asked:
    """What the input parameters ask for.

    Raises:
        InvalidInput: one makes no sense.
    """
    asked = Asked()
    for name, values in inputs.items():
        if name in ("start", "end", "_since", "_type", "_count"):
            asked.understood += [(name, str(value)) for value in values]
    start, end = _date(inputs, "start", around), _date(inputs, "end", around)
    if start or end:
        asked.care = DateRange(start.low_us if start else EARLIEST_US, end.high_us if end else LATEST_US)
    since = _date(inputs, "_since", around)
    asked.since_us = since.low_us if since else None
    if "_type" in inputs:
        named = {name.strip() for value in inputs["_type"] for name in str(value).split(",")}
        if not named <= stored_types():
            raise InvalidInput("'_type' names resource types, joined by commas.")
        asked.types = frozenset(named)
    if (count := one_of(inputs, "_count")) is not None:
        asked.count = min(whole_number("_count", count), MAX_COUNT)
    asked.page = one_of(inputs, PAGE)
    return asked


def _date(inputs: Inputs, name: str, around: Surroundings) -> DateRange | None:
    value = one_of(inputs, name)
    if value is None:
        return None
    found = parse_date(str(value).replace(" ", "+"), around.zone)
    if found is None:
        raise InvalidInput(f"'{name}' is no date.")
    return found


def _chosen(reaches: Reaches, asked: Asked) -> Reaches:
    if asked.types is None:
        return reaches
    return {name: reach for name, reach in reaches.items() if name in asked.types}


async def _require_reached(
    connection: AsyncConnection, request: FhirRequest, around: Surroundings
) -> str | None:
    """The patient that audit names."""
    if request.resource_id is None:
        return None
    resource_type = request.resource_type or PATIENT
    reach = request.access.narrow_reach(resource_type, Permission.READ)
    kept = within_narrowed(reach, resource_type, around)
    one = select(AUDITED_PATIENT.label("patient_id")).where(
        R.c.type == resource_type, R.c.id == request.resource_id, R.c.deleted == false()
    )
    found = (await connection.execute(one if kept is None else one.where(kept))).first()
    if found is None:
        raise NotFound("No such resource.")
    patient_id: str | None = found.patient_id
    return patient_id


def _part_of(request: FhirRequest, reaches: Reaches, around: Surroundings) -> Select[tuple[int]]:
    """The rids of the compartment."""
    if request.resource_type == ENCOUNTER:
        place = compartment_place(ENCOUNTER, str(request.resource_id), EVERY_TYPE)
        assert place.compartment is not None
        within = {name: reach for name, reach in reaches.items() if name in place.types}
        return select_matches(SearchQuery(EVERY_RESOURCE, criteria=[place.compartment]), within, around)
    c = COMPARTMENT.c
    whose = c.patient_id == request.resource_id if request.resource_id else c.patient_id != SOMEBODY
    return select(c.rid).where(whose)


async def _read_page(
    connection: AsyncConnection, asked: Asked, of: tuple[Select[tuple[int]], _Kept, Pager]
) -> Page:
    part, kept, pages = of
    after = None if asked.page is None else pages.read(asked.page)
    found = (await connection.execute(select_record(part, kept.record, asked, after))).all()
    matches = found[: asked.count]
    rids = [row.rid for row in matches]
    around = (await connection.execute(_select_shared(rids, kept.around))).all() if rids else ()
    entries: list[Entry] = [entry_of(row, "match", None) for row in matches]
    entries += [entry_of(row, "include", None) for row in around]
    more = len(found) > asked.count
    return Page(
        total=len(matches) if after is None and not more else None,
        entries=entries,
        next_page=pages.token(After((), matches[-1].rid)) if more else None,
    )


def select_record(
    part: Select[tuple[int]], kept: ColumnElement[bool], asked: Asked, after: After | None
) -> Select[Any]:
    """One more than a page of what is among `part` and kept."""
    rows = select(*SHOWN).where(R.c.rid.in_(part), R.c.deleted == false(), kept)
    if asked.since_us is not None:
        rows = rows.where(R.c.last_updated_us >= asked.since_us)
    if asked.care is not None:
        rows = rows.where(_cared(asked.care))
    if after is not None:
        rows = rows.where(R.c.rid > after.rid)
    return rows.order_by(R.c.rid).limit(asked.count + 1)


def _cared(care: DateRange) -> ColumnElement[bool]:
    c = KINDS[SearchType.DATE].table.c
    numbers = [parameters_of(name)[code].number for name, code in CARE_DATE.items()]
    dated = select(c.rid).where(c.rid == R.c.rid, c.param.in_(numbers))
    within = dated.where(c.low_us < care.high_us, c.high_us > care.low_us)
    return or_(within.exists(), ~dated.exists())


def _around(reaches: Reaches) -> Reaches:
    """Of what the matches refer to."""
    return {name: reach for name, reach in reaches.items() if name in SHARED_TYPES or name == PATIENT}


def _select_shared(rids: Sequence[int], kept: ColumnElement[bool]) -> Select[Any]:
    c = _REFERENCE.c
    pointed = select(c.target_type, c.target_id).where(c.rid.in_(rids)).distinct().subquery()
    same = and_(R.c.type == pointed.c.target_type, R.c.id == pointed.c.target_id)
    rows = select(*SHOWN).join(pointed, same).where(R.c.deleted == false(), kept)
    rows = rows.where(R.c.rid.not_in(rids))
    return rows.order_by(R.c.rid).limit(MAX_INCLUDED)


EVERYTHING_OPERATIONS: Sequence[Operation] = (
    Operation(
        "everything",
        f"{_DEFINITION}Patient-everything",
        frozenset({Level.TYPE, Level.INSTANCE}),
        everything,
        types=frozenset({PATIENT}),
    ),
    Operation(
        "everything",
        f"{_DEFINITION}Encounter-everything",
        frozenset({Level.INSTANCE}),
        everything,
        types=frozenset({ENCOUNTER}),
    ),
)
