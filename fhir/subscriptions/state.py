"""What stands beside a Subscription, read and written; everything in the caller's transaction."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Select, delete, false, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.interactions.body import with_members
from fhir.interactions.rewrite import hold_resource
from fhir.interactions.write import COMPARTMENT, Draft, supersede
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation.issue import IssueType, error
from fhir.search.reach import R
from fhir.search.value import Surroundings
from fhir.subscriptions.authority import reach_of, write_authority
from fhir.subscriptions.request import (
    ACTIVE,
    ERROR,
    SUBSCRIPTION,
    Subscribed,
    SubscriptionRefused,
    read_subscription,
    settled,
)
from fhir.tables import Notification, SubscriptionState
from server.kernel.access import Access, Permission, Principal
from server.kernel.database import UnitOfWork
from server.kernel.envelope import Keyring, MasterKeyMissing
from server.kernel.faults import Forbidden
from server.kernel.rows import table_of
from server.kernel.sealed_text import open_text, seal_text
from server.kernel.subscription_policy import SubscriptionPolicy

STATE = table_of(SubscriptionState)
NOTIFICATION = table_of(Notification)

SERVER = Principal("system:subscriptions", "subscriptions")  # who writes what becomes of a Subscription


@dataclass(frozen=True, slots=True)
class Standing:
    """A Subscription as it stands: a row of `SubscriptionState`."""

    rid: int
    id: str
    version_id: int
    status: str
    resource_type: str
    criteria: str
    endpoint: str
    payload: str | None
    headers: bytes
    authority: str
    since_us: int
    end_us: int | None
    failures: int
    next_us: int | None
    error: str | None
    error_us: int | None
    delivered: int
    delivered_us: int | None


def select_standing() -> Select[Any]:
    """The Subscriptions in force: those whose resource is there, at the version that the row was made for."""
    in_force = (R.c.rid == STATE.c.rid, R.c.version_id == STATE.c.version_id, R.c.deleted == false())
    return select(STATE).join(R, R.c.rid == STATE.c.rid).where(*in_force)


async def find_standing(connection: AsyncConnection, *conditions: Any) -> Sequence[Standing]:
    """The Subscriptions in force that fulfil the conditions, in the order of their `rid`."""
    rows = await connection.execute(select_standing().where(*conditions).order_by(STATE.c.rid))
    return [Standing(**row._mapping) for row in rows]


def subscribe(draft: Draft, access: Access, policy: SubscriptionPolicy) -> Draft:
    """The Subscription as it is stored: active or off, without secrets; its row is written with it.

    It is part of the record of the patients that its notifications are confined to.

    Raises:
        SubscriptionRefused: it cannot be served as asked.
        AuthorityEnded: the caller may not search and read what it asks for.
        Forbidden: the caller may write it of a patient only, and it asks for everyone's.
    """
    subscribed = read_subscription(draft.resource, policy.outbound, access)
    reach = reach_of(access, subscribed.resource_type)
    if not reach.is_confined and not _may_write_nobodys(access):
        raise Forbidden("The token's patient does not cover what the Subscription asks for.")
    changed = settled(draft.resource, subscribed)
    texts = {name: None if value is None else encode_json(value) for name, value in changed.items()}
    text = with_members(draft.text, texts)

    async def keep(unit: UnitOfWork, written: Draft, rid: int, version_id: int) -> None:
        await _keep(unit, (rid, written.id, version_id), subscribed, access, policy.keys)

    patients = reach.patient_ids or frozenset()
    return replace(draft, resource=decode_json(text), text=text, patients=patients, beside=keep)


def _may_write_nobodys(access: Access) -> bool:
    """Whether no grant that writes Subscriptions is confined to a patient."""
    confined = False
    for permission in (Permission.CREATE, Permission.UPDATE):
        with suppress(Forbidden):
            confined = confined or access.reach(SUBSCRIPTION, permission).is_confined
    return not confined


async def _keep(
    unit: UnitOfWork,
    named: tuple[int, str, int],
    subscribed: Subscribed,
    access: Access,
    keys: Keyring | None,
) -> None:
    rid, resource_id, version_id = named
    old = (await unit.execute(select(STATE).where(STATE.c.rid == rid))).one_or_none()
    is_same = (
        old is not None
        and (old.status, subscribed.status) == (ACTIVE, ACTIVE)
        and (old.resource_type, old.criteria) == (subscribed.resource_type, subscribed.criteria)
    )
    row = {
        "rid": rid,
        "id": resource_id,
        "version_id": version_id,
        "status": subscribed.status,
        "resource_type": subscribed.resource_type,
        "criteria": subscribed.criteria,
        "endpoint": subscribed.endpoint,
        "payload": subscribed.payload,
        "headers": _seal_headers(resource_id, subscribed, old, keys),
        "authority": write_authority(access),
        "since_us": old.since_us if is_same and old is not None else unit.now_us,
        "end_us": subscribed.end_us,
        "failures": 0,
        "next_us": None,
        "error": old.error if old is not None and subscribed.status == ERROR else None,
        "error_us": old.error_us if old is not None and subscribed.status == ERROR else None,
        "delivered": 0 if old is None else old.delivered,
        "delivered_us": None if old is None else old.delivered_us,
    }
    await unit.execute(delete(STATE).where(STATE.c.rid == rid))
    await unit.execute(insert(STATE), [row])
    if not is_same:
        await drop_notifications(unit, rid)


def _seal_headers(resource_id: str, subscribed: Subscribed, old: Any, keys: Keyring | None) -> bytes:
    """The headers, sealed. One whose value was left out keeps it, as long as it goes to the same endpoint.

    Raises:
        SubscriptionRefused: there is no such value.
    """
    if not subscribed.headers:
        return b""
    assert keys is not None, "endpoints are allowed, and there is no key for their secrets"
    known: dict[str, str] = {}
    if old is not None and old.endpoint == subscribed.endpoint:
        known = dict(open_headers(resource_id, bytes(old.headers), keys))
    said = [(name, known.get(name) if value is None else value) for name, value in subscribed.headers]
    if any(value is None for _, value in said):
        text = "The value of a header was left out, and none is known for this endpoint."
        raise SubscriptionRefused([error(IssueType.REQUIRED, text, "Subscription.channel.header")])
    return seal_text(keys, orjson.dumps(said), f"{SUBSCRIPTION}/{resource_id}")


def open_headers(resource_id: str, sealed: bytes, keys: Keyring | None) -> list[tuple[str, str]]:
    """The headers of a Subscription; none when the key that sealed them is not ours any more."""
    if not sealed or keys is None:
        return []
    try:
        said = orjson.loads(open_text(keys, sealed, f"{SUBSCRIPTION}/{resource_id}"))
    except MasterKeyMissing:
        return []
    return [(name, value) for name, value in said]


async def end(
    unit: UnitOfWork, standing: Standing, status: str, reason: str | None, around: Surroundings
) -> None:
    """Set a Subscription to `off` or `error`, in the resource too; what waits for it goes.

    Nothing happens when somebody has written it in the meantime.
    """
    held = await hold_resource(unit, SUBSCRIPTION, standing.id)
    if held is None or held.row.version_id != standing.version_id:
        return
    said = {"status": encode_json(status), "error": None if reason is None else encode_json(reason)}
    text = with_members(held.text, said)
    patients = select(COMPARTMENT.c.patient_id).where(COMPARTMENT.c.rid == standing.rid)
    kept = frozenset((await unit.execute(patients)).scalars())
    draft = Draft(decode_json(text), text, standing.id, patients=kept)
    written = await supersede(unit, held.row, draft, SERVER, around)
    changed = {"status": status, "version_id": written.version_id, "next_us": None}
    if reason is not None:
        changed |= {"error": reason, "error_us": unit.now_us}
    await unit.execute(update(STATE).where(STATE.c.rid == standing.rid).values(changed))
    await drop_notifications(unit, standing.rid)


async def drop_notifications(unit: UnitOfWork, rid: int) -> None:
    """Forget what waits for a Subscription."""
    await unit.execute(delete(NOTIFICATION).where(NOTIFICATION.c.subscription_rid == rid))


async def forget(unit: UnitOfWork, ids: Sequence[str]) -> None:
    """Drop what stands beside Subscriptions whose resource was deleted."""
    gone = select(R.c.rid).where(R.c.type == SUBSCRIPTION, R.c.id.in_(ids), R.c.deleted)
    for rid in (await unit.execute(gone)).scalars().all():
        await drop_notifications(unit, rid)
        await unit.execute(delete(STATE).where(STATE.c.rid == rid))
