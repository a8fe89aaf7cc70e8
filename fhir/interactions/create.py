"""create, also conditional (FHIR R4 http.html#create, #ccreate): never two resources for one condition."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import select
from sqlalchemy.engine import Row as ResultRow

from fhir.interactions.body import unpack
from fhir.interactions.door import Door
from fhir.interactions.write import Draft, Written, insert_first
from fhir.model.json_codec import Json, decode_json
from fhir.model.validation.issue import InvalidResource, IssueType, error
from fhir.model.validation.walker import require_valid
from fhir.search.compartment import patients_mentioned, patients_of
from fhir.search.query import PAGE, RESULT_PARAMETERS, SearchQuery, parse_query
from fhir.search.sql import AUDITED_PATIENT, R, select_page
from fhir.search.value import InvalidSearch, Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, Forbidden
from server.kernel.uids import new_id


class SeveralMatches(Fault):
    """The condition of a conditional interaction matches more than one resource."""

    kind = FaultKind.PRECONDITION_FAILED


@dataclass(frozen=True, slots=True)
class Condition:
    """`If-None-Exist`: the search, how far it may look, and the name of the lock on it."""

    query: SearchQuery
    reach: Reach
    lock: str


def read_draft(resource_type: str, text: bytes, resource_id: str | None) -> Draft:
    """The resource in a request body, valid and of this type; `resource_id` None: the server names it.

    Raises:
        InvalidJson: not JSON that every reader understands alike.
        InvalidResource: with every broken rule.
    """
    resource = decode_json(text)
    if resource.get("resourceType") != resource_type:
        text_of_issue = f"The resource is no {resource_type}, as the URL says."
        raise InvalidResource([error(IssueType.INVALID, text_of_issue, "resourceType")])
    require_valid(resource)
    if resource_id is not None and resource.get("id") != resource_id:
        raise InvalidResource(
            [error(IssueType.INVALID, "The id is not that of the URL.", f"{resource_type}.id")]
        )
    return Draft(resource, text, resource_id or new_id())


async def create(
    door: Door, access: Access, resource_type: str, text: bytes, if_none_exist: str | None
) -> Written:
    """Create a resource, or answer with the one that fulfils the condition (`changed` False).

    Raises:
        Forbidden: no grant, or the resource does not fall wholly into the caller's compartment.
        SeveralMatches: more than one resource fulfils the condition.
    """
    reach = access.reach(resource_type, Permission.CREATE)
    draft = read_draft(resource_type, text, None)
    around = door.surroundings()
    require_within(reach, draft.resource, draft.id, around)
    condition = None if if_none_exist is None else read_condition(access, resource_type, if_none_exist)

    async def work(unit: UnitOfWork) -> Written:
        if condition is not None:
            # Before the search, in the transaction: two clients with one condition come one after the other.
            await unit.lock([condition.lock])
            existing = await _find(unit, condition, around)
            if existing is not None:
                return await _as_written(unit, access, existing)
        return await insert_first(unit, draft, access.principal, around)

    return await door.services.database.transact(work)


def require_within(reach: Reach, resource: Json, resource_id: str, around: Surroundings) -> None:
    """Let pass what a confined caller may write: a resource that is, and speaks, of its own patients only.

    Raises:
        Forbidden: it is in nobody's compartment, or names another patient, or one that cannot be told.
    """
    if reach.patient_ids is None:
        return
    patients = patients_of(resource, resource_id, around)
    if not patients or not (patients | patients_mentioned(resource, around)) <= reach.patient_ids:
        raise Forbidden("The token's patient does not cover the whole resource.")


def read_condition(access: Access, resource_type: str, if_none_exist: str) -> Condition:
    """The condition in an `If-None-Exist` header.

    Raises:
        InvalidSearch: no search criteria, or one that is unknown.
        Forbidden: the caller may not search: the answer would tell what is there.
    """
    try:
        pairs = parse_qsl(if_none_exist.rpartition("?")[2], keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidSearch("'If-None-Exist' is no search.") from None
    query = parse_query(resource_type, pairs, strict=True)
    if not query.criteria or any(name in RESULT_PARAMETERS or name == PAGE for name, _ in pairs):
        raise InvalidSearch("'If-None-Exist' needs search criteria and nothing else.")
    query.count = 1
    named = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    reach = access.reach(resource_type, Permission.SEARCH)
    return Condition(query, reach, f"fhir-condition:{resource_type}?{named}")


async def _find(unit: UnitOfWork, condition: Condition, around: Surroundings) -> ResultRow[Any] | None:
    statement = select_page(condition.query, condition.reach, around, None)
    rows = (await unit.execute(statement)).all()
    if len(rows) > 1:
        raise SeveralMatches("More than one resource matches 'If-None-Exist'.")
    return rows[0] if rows else None


async def _as_written(unit: UnitOfWork, access: Access, row: ResultRow[Any]) -> Written:
    patient_id = (await unit.execute(select(AUDITED_PATIENT).where(R.c.rid == row.rid))).scalar_one()
    unit.audit(AuditEntry(access.principal, Action.READ, "create", row.type, row.id, patient_id))
    return Written(row.id, row.version_id, False, row.last_updated_us, unpack(row.body))
