"""Resources that this server authors itself: the publisher's and the projections' way in.

The caller's transaction carries the write, its audit entry and its outbox event. Ids may be derived, so that
writing the same again writes nothing.
"""

from typing import Any

from fhir.interactions.body import same_content, text_of, unpack
from fhir.interactions.door import AUTHORED
from fhir.interactions.write import Draft, Written, insert_first, lock_and_find, supersede
from fhir.model.json_codec import decode_json
from fhir.model.validation.walker import require_valid
from fhir.search.definitions import own_operation_definitions, own_search_parameters
from fhir.search.value import Surroundings
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.uids import new_id


async def put_resource(
    unit: UnitOfWork, resource: dict[str, Any], principal: Principal, around: Surroundings = AUTHORED
) -> Written:
    """Create a resource, or write its next version if it says something else than the current one.

    `resource["id"]` names it; without one it gets a fresh id. `meta.versionId` and `meta.lastUpdated` are
    ours.

    Raises:
        InvalidResource: it breaks the rules of R4: a defect of ours.
    """
    resource_id = resource.get("id") or new_id()
    named = {**resource, "id": resource_id}
    current = await lock_and_find(unit, named["resourceType"], resource_id)
    if current is not None and not current.deleted:
        text = unpack(current.body)
        before = decode_json(text)
        named = _with_labels(named, before)
        if same_content(before, named):
            return Written(resource_id, current.version_id, False, current.last_updated_us, text)
    require_valid(named)
    draft = Draft(named, text_of(named), resource_id)
    if current is None:
        return await insert_first(unit, draft, principal, around)
    return await supersede(unit, current, draft, principal, around)


def _with_labels(resource: dict[str, Any], before: Any) -> dict[str, Any]:
    """The resource with the security labels that somebody gave it: what is authored knows nothing of them."""
    labels = before.get("meta", {}).get("security")
    if not labels or "security" in resource.get("meta", {}):
        return resource
    return {**resource, "meta": {**resource.get("meta", {}), "security": labels}}


async def put_own_definitions(unit: UnitOfWork, principal: Principal) -> None:
    """Publish what this server adds to R4's search parameters and operations, for clients to read."""
    for definition in (*own_search_parameters(), *own_operation_definitions()):
        await put_resource(unit, dict(definition), principal)
