"""Bookkeeping goes once it is old and nobody needs it; audit only if somebody decided so."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from dicomweb.worklist.attempts import fail_attempt
from dicomweb.worklist.claims import claim
from dicomweb.worklist.schedule import arm
from dicomweb.worklist.tables import WorkitemAttempt
from dicomweb.worklist.workitem import NewWorkitem, Reason, SeriesReference
from server.auth.tables import (
    AccessToken,
    AuthorizationRequest,
    ClientAssertionJti,
    EmergencyAccess,
    LoginSession,
    OAuthGrant,
    RefreshToken,
    RegistrationToken,
)
from server.auth.tokens import issue_token
from server.kernel import audit_months
from server.kernel.audit_months import Month, make_audit_months
from server.kernel.clock import now_us
from server.kernel.database import UnitOfWork
from server.kernel.outbox import Event, consume
from server.kernel.retention_policy import RetentionPolicy
from server.kernel.rows import Row, table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow, OutboxEvent
from server.workflows.retention import prune as pruning
from server.workflows.retention.due import DAY_US
from server.workflows.retention.prune import prune


async def rows_of(services: Services, kind: type[Row]) -> list[Any]:
    async with services.database.read() as connection:
        return list((await connection.execute(select(table_of(kind)))).all())


async def emit(services: Services, *subjects: str, days_ago: float = 0) -> None:
    async def work(unit: UnitOfWork) -> None:
        for subject in subjects:
            unit.emit("study.changed", subject)

    await services.database.transact(work)
    aged = update(table_of(OutboxEvent)).where(table_of(OutboxEvent).c.subject.in_(subjects))
    then = aged.values(occurred_us=now_us() - int(days_ago * DAY_US))
    await services.database.transact(lambda unit: unit.execute(then))


async def subjects(services: Services) -> list[str]:
    return [row.subject for row in await rows_of(services, OutboxEvent)]


async def test_old_events_go_and_young_ones_stay(services: Services) -> None:
    await emit(services, "a", "b", days_ago=15)
    await emit(services, "c", days_ago=13)
    assert await prune(services) == 2
    assert await subjects(services) == ["c"]
    entries = [row for row in await rows_of(services, AuditRow) if row.interaction == "prune-outbox"]
    assert [(row.principal, row.action, row.occurrences) for row in entries] == [("system:retention", "D", 2)]


async def test_what_a_reader_has_yet_to_read_stays(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_unit: UnitOfWork, _events: list[Event]) -> None:
        return None

    await emit(services, "a", "b", days_ago=20)
    await consume(services.database, "slow", ["study.changed"], nothing)
    await emit(services, "c", days_ago=20)
    await emit(services, "d", days_ago=20)
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 1)
    assert [await prune(services) for _ in range(3)] == [1, 1, 0]
    assert await subjects(services) == ["c", "d"]
    await consume(services.database, "slow", ["study.changed"], nothing)
    assert [await prune(services) for _ in range(3)] == [1, 1, 0]


async def test_expired_tokens_and_assertions_go_a_day_later(services: Services) -> None:
    def expire(age_days: float) -> Any:
        table, at_us = table_of(AccessToken), now_us() - int(age_days * DAY_US)
        young = table.c.expires_us > now_us() - DAY_US // 4
        return update(table).where(young).values(expires_us=at_us)

    assertions = [
        {"issuer": "i", "jti": str(age_days), "expires_us": now_us() - int(age_days * DAY_US)}
        for age_days in (2, 0.5)
    ]
    for age_days in (2, 0.5):
        await issue_token(services.database, scope="system/*.rs")
        await services.database.transact(lambda unit, age_days=age_days: unit.execute(expire(age_days)))
    await issue_token(services.database, scope="system/*.rs")
    await services.database.transact(
        lambda unit: unit.execute(insert(table_of(ClientAssertionJti)), assertions)
    )
    assert await prune(services) == 2
    assert len(await rows_of(services, AccessToken)) == 2
    assert [row.jti for row in await rows_of(services, ClientAssertionJti)] == ["0.5"]


async def test_what_logins_leave_behind_goes_and_what_stands_stays(services: Services) -> None:
    now = now_us()

    async def fill(unit: UnitOfWork) -> None:
        """A session, a grant and its refresh token: over for two days, and just now."""
        for number, then_us in ((1, now - 2 * DAY_US), (2, now)):
            session = {"id": number, "token_hash": f"s{number}", "user_id": 1, "expires_us": then_us}
            session |= {"authenticated_us": then_us, "used_us": then_us}
            grant = {"id": number, "client_id": "c", "user_id": 1, "session_id": number, "scope": "openid"}
            refresh = {"id": number, "token_hash": f"r{number}", "grant_id": number, "expires_us": then_us}
            await unit.execute(insert(table_of(LoginSession)), [session])
            await unit.execute(
                insert(table_of(OAuthGrant)),
                [{**grant, "context": "{}", "is_offline": True, "created_us": then_us}],
            )
            await unit.execute(insert(table_of(RefreshToken)), [refresh])
            initial = {"id": number, "token_hash": f"i{number}", "created_us": then_us, "expires_us": then_us}
            await unit.execute(insert(table_of(RegistrationToken)), [initial])
            asked = {"id": number, "handle_hash": f"a{number}", "browser_hash": "b", "client_id": "c"}
            over_us = then_us + (2 * DAY_US - 1 if number == 1 else DAY_US)  # just now, tomorrow
            asked |= {"parameters": "{}", "expires_us": over_us}
            await unit.execute(insert(table_of(AuthorizationRequest)), [asked])

    await services.database.transact(fill)
    assert await prune(services) == 5  # the request, the tokens, the grant of one, the session of that
    for kind in (LoginSession, OAuthGrant, RefreshToken, RegistrationToken, AuthorizationRequest):
        assert [row.id for row in await rows_of(services, kind)][-1] == 2
        assert len(await rows_of(services, kind)) == 1


async def test_a_grant_keeps_its_session(services: Services) -> None:
    """A refresh token is good for months; who logged in when is asked of the session.

    When an emergency access ended is asked of its grant.
    """
    now = now_us()

    async def fill(unit: UnitOfWork) -> None:
        old = now - 30 * DAY_US
        session = {"id": 1, "token_hash": "s", "user_id": 1, "expires_us": old, "used_us": old}
        grant = {"id": 1, "client_id": "c", "user_id": 1, "session_id": 1, "scope": "openid", "context": "{}"}
        refresh = {"token_hash": "r", "grant_id": 1, "expires_us": now + DAY_US}
        await unit.execute(insert(table_of(LoginSession)), [{**session, "authenticated_us": old}])
        grants = [{**grant, "id": number, "is_offline": True, "created_us": old} for number in (1, 2)]
        await unit.execute(insert(table_of(OAuthGrant)), grants)
        await unit.execute(insert(table_of(RefreshToken)), [refresh])
        emergency = {"grant_id": 2, "user_id": 1, "patient_id": "p", "client_id": "c", "reason": "x"}
        await unit.execute(insert(table_of(EmergencyAccess)), [{**emergency, "begun_us": old}])

    await services.database.transact(fill)
    assert await prune(services) == 0


async def test_attempts_at_ended_workitems_go_and_others_stay(services: Services) -> None:
    reference = SeriesReference("1.2", "1.3", "1.4", ("1.5",))

    async def work(unit: UnitOfWork) -> None:
        for rule in ("ends", "goes on"):
            await arm(unit, NewWorkitem(rule, "model", "1", "1.2", None, (reference,)))

    await services.database.transact(work)
    for retryable in (False, True):
        claimed = await claim(services.database, "worker", 30)
        assert claimed is not None
        await fail_attempt(services.database, claimed, Reason(None, "x"), retryable=retryable)
    table = table_of(WorkitemAttempt)
    assert await prune(services) == 0
    old = update(table).values(ended_us=now_us() - 15 * DAY_US)
    await services.database.transact(lambda unit: unit.execute(old))
    assert await prune(services) == 1
    (left,) = await rows_of(services, WorkitemAttempt)
    assert left.outcome == "failed"


async def audit_at(services: Services, *days_ago: float) -> None:
    """Entries of so many days ago."""
    rows = [
        {
            "recorded_us": now_us() - int(days * DAY_US),
            "principal": str(days),
            "action": "R",
            "outcome": "0",
            "interaction": "read",
            "resource_type": "Patient",
            "occurrences": 1,
        }
        for days in days_ago
    ]
    await services.database.transact(lambda unit: unit.execute(insert(table_of(AuditRow)), rows))


async def principals(services: Services) -> list[str]:
    return sorted(row.principal for row in await rows_of(services, AuditRow) if row.interaction == "read")


async def test_audit_is_kept_for_ever_unless_decided(services: Services) -> None:
    await audit_at(services, 10_000)
    assert await prune(services) == 0
    assert await principals(services) == ["10000"]


async def test_audit_goes_by_entries_or_by_months(services: Services) -> None:
    await audit_at(services, 1000, 500, 31, 29)  # before there were months: in none of them
    await make_audit_months(services.database)
    decided = replace(services, retention=RetentionPolicy(audit_days=30))
    assert await prune(decided) == 3
    assert await principals(services) == ["29"]
    entries = [row for row in await rows_of(services, AuditRow) if row.interaction == "prune-audit"]
    assert [row.occurrences for row in entries] == [3]


async def test_on_postgresql_a_month_goes_as_a_whole_once_it_is_over(services: Services) -> None:
    if services.database.is_sqlite:
        assert await make_audit_months(services.database) == 0
        return
    await audit_at(services, 120, 90)
    over = Month.of(now_us() - 90 * DAY_US)
    await services.database.transact(lambda unit: audit_months._make(unit, over))
    days = (now_us() - over.next.begins_us) // DAY_US
    for kept_days, entries in ((days + 1, ["90"]), (days - 1, [])):
        await prune(replace(services, retention=RetentionPolicy(audit_days=kept_days)))
        assert await principals(services) == entries
    dropped = [row for row in await rows_of(services, AuditRow) if row.resource_id is not None]
    assert [row.resource_id for row in dropped] == [f"{over.year:04}-{over.number:02}"]
