"""A stored resource gets single elements set anew, in the caller's transaction; the others stay as sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row as ResultRow

from fhir.interactions.body import members_of, unpack, with_members
from fhir.interactions.write import Draft, lock_and_find, supersede
from fhir.model.json_codec import decode_json
from fhir.search.value import Surroundings
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork


@dataclass(frozen=True, slots=True)
class Held:
    """A stored resource, locked until the transaction ends; `elements` are the texts of its elements."""

    row: ResultRow[Any]
    text: bytes
    elements: Mapping[str, bytes]


async def hold_resource(unit: UnitOfWork, resource_type: str, resource_id: str) -> Held | None:
    """The current version of a resource; None: there is none, or it was deleted."""
    row = await lock_and_find(unit, resource_type, resource_id)
    if row is None or row.deleted:
        return None
    text = unpack(row.body)
    return Held(row, text, members_of(text))


async def rewrite(
    unit: UnitOfWork,
    held: Held,
    changed: Mapping[str, bytes | None],
    principal: Principal,
    around: Surroundings,
) -> None:
    """Write the next version with these elements, without those that are None; nothing when all is said.

    The caller answers for `changed`: the resource is not validated again.
    """
    if all(held.elements.get(name) == value for name, value in changed.items()):
        return
    text = with_members(held.text, changed)
    draft = Draft(decode_json(text), text, held.row.id)
    await supersede(unit, held.row, draft, principal, around)
