"""Bookkeeping that nobody needs any more goes: events, attempts, expired tokens, and audit if so decided.

Each step takes a bounded bite and says in the audit trail what it took.
"""

from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, FromClause, Table, delete, select

from dicomweb.worklist.state import FINAL_STATES
from dicomweb.worklist.tables import Workitem, WorkitemAttempt
from server.audit.chain import let_go
from server.audit.forward.run import keep_unsent
from server.auth.tables import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    ClientAssertionJti,
    EmergencyAccess,
    Launch,
    LoginFailure,
    LoginSession,
    OAuthGrant,
    RefreshToken,
    RegistrationToken,
)
from server.kernel.audit import Action, AuditEntry
from server.kernel.audit_months import delete_outside_months, drop_audit_months
from server.kernel.database import UnitOfWork
from server.kernel.outbox import Position, oldest_position
from server.kernel.retention_policy import RetentionPolicy
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow, OutboxEvent
from server.workflows.registry.bundle_files import CHUNK, hold_unneeded_files
from server.workflows.registry.shadow_rows import KEPT_US, SHADOW_RESULT
from server.workflows.retention.apply import RETENTION
from server.workflows.retention.due import DAY_US

ROWS_AT_ONCE = 1000  # of one table
EXPIRED_US = DAY_US  # so long an expired token stays, for who looks into what happened

_EVENT, _AUDIT = table_of(OutboxEvent), table_of(AuditRow)
_ATTEMPT, _WORKITEM = table_of(WorkitemAttempt), table_of(Workitem)
_TOKEN, _JTI = table_of(AccessToken), table_of(ClientAssertionJti)
_GRANT, _SESSION, _REFRESH = table_of(OAuthGrant), table_of(LoginSession), table_of(RefreshToken)
_REQUEST, _EMERGENCY = table_of(AuthorizationRequest), table_of(EmergencyAccess)
_OF_LOGINS = [table_of(each) for each in (AuthorizationCode, RefreshToken, Launch, RegistrationToken)]
_FAILURE = table_of(LoginFailure)


async def prune(services: Services) -> int:
    """Take a bite of everything that is old enough; returns how many rows or months went."""
    taken = 0
    for bite in (
        _outbox,
        _attempts,
        _shadow_results,
        _model_files,
        _tokens,
        _assertions,
        _logins,
        _grants,
        _sessions,
    ):
        taken += await services.database.transact(partial(bite, services.retention))
    return taken + await services.database.transact(partial(_audit, services))


async def forget_deleted(services: Services) -> int:
    """Let the database's log keep nothing of what was deleted; 1: readers were in the way, try again soon."""
    return int(not await services.database.forget_deleted())


async def _outbox(policy: RetentionPolicy, unit: UnitOfWork) -> int:
    """Events from the oldest on, up to the first that is young or that a reader has yet to read."""
    c = _EVENT.c
    cutoff_us = unit.now_us - policy.outbox_days * DAY_US
    reached = await oldest_position(unit.connection)
    oldest = select(c.sequence, c.xact, c.occurred_us).order_by(c.sequence).limit(ROWS_AT_ONCE)
    last = None
    for row in (await unit.execute(oldest)).all():
        if row.occurred_us >= cutoff_us or (
            reached is not None and Position(row.xact, row.sequence) > reached
        ):
            break
        last = row.sequence
    if last is None:
        return 0
    return await _delete(unit, "prune-outbox", _EVENT, c.sequence <= last)


async def _attempts(policy: RetentionPolicy, unit: UnitOfWork) -> int:
    """Attempts at workitems that have ended; those at open ones stay, few as they are, before the others."""
    a, cutoff_us = _ATTEMPT.c, unit.now_us - policy.outbox_days * DAY_US
    ended = [state.value for state in FINAL_STATES]
    oldest = (
        select(a.pk, a.ended_us, _WORKITEM.c.state)
        .join(_WORKITEM, _WORKITEM.c.pk == a.workitem_pk)
        .order_by(a.pk)
        .limit(ROWS_AT_ONCE)
    )
    rows = (await unit.execute(oldest)).all()
    old = [row.pk for row in rows if row.state in ended and (row.ended_us or cutoff_us) < cutoff_us]
    return await _delete(unit, "prune-attempts", _ATTEMPT, a.pk.in_(old)) if old else 0


async def _shadow_results(_: RetentionPolicy, unit: UnitOfWork) -> int:
    old = SHADOW_RESULT.c.at_us < unit.now_us - KEPT_US
    return await _delete_oldest(unit, "prune-shadow-results", SHADOW_RESULT.c.pk, SHADOW_RESULT.c.at_us, old)


async def _model_files(_: RetentionPolicy, unit: UnitOfWork) -> int:
    """Files that were kept for a version which never came: its `isthmus models add` was killed."""
    gone = await hold_unneeded_files(unit, unit.now_us - DAY_US)
    return await _delete(unit, "prune-model-files", CHUNK, CHUNK.c.sha256.in_(gone)) if gone else 0


async def _tokens(_: RetentionPolicy, unit: UnitOfWork) -> int:
    expired = _TOKEN.c.expires_us < unit.now_us - EXPIRED_US
    return await _delete_oldest(unit, "prune-tokens", _TOKEN.c.id, _TOKEN.c.expires_us, expired)


async def _assertions(_: RetentionPolicy, unit: UnitOfWork) -> int:
    expired = _JTI.c.expires_us < unit.now_us - EXPIRED_US
    return await _delete_oldest(unit, "prune-assertions", _JTI.c.id, _JTI.c.expires_us, expired)


async def _logins(_: RetentionPolicy, unit: UnitOfWork) -> int:
    """What logins left behind: codes, tokens and launches that are over, failures.

    Requests go at once: anybody can make them, and what came of one is in the audit trail.
    """
    expires, old_us = _REQUEST.c.expires_us, unit.now_us - EXPIRED_US
    taken = await _delete_oldest(unit, "prune-logins", _REQUEST.c.id, expires, expires < unit.now_us)
    for table in _OF_LOGINS:
        expires = table.c.expires_us
        taken += await _delete_oldest(unit, "prune-logins", table.c.id, expires, expires < old_us)
    last = _FAILURE.c.last_us
    return taken + await _delete_oldest(unit, "prune-logins", _FAILURE.c.name_hash, last, last < old_us)


async def _grants(_: RetentionPolicy, unit: UnitOfWork) -> int:
    """Grants of which no token is left, in use or kept so that its reuse is noticed.

    Those of emergencies stay: their review tells when they ended.
    """
    is_old = _GRANT.c.created_us < unit.now_us - EXPIRED_US
    for each in (_TOKEN, _REFRESH, _EMERGENCY):
        is_old &= ~select(each.c.id).where(each.c.grant_id == _GRANT.c.id).exists()
    return await _delete_oldest(unit, "prune-grants", _GRANT.c.id, _GRANT.c.created_us, is_old)


async def _sessions(_: RetentionPolicy, unit: UnitOfWork) -> int:
    """Sessions that are over; grants know from theirs when their user logged in."""
    has_grant = select(_GRANT.c.id).where(_GRANT.c.session_id == _SESSION.c.id).exists()
    is_old = (_SESSION.c.expires_us < unit.now_us - EXPIRED_US) & ~has_grant
    return await _delete_oldest(unit, "prune-sessions", _SESSION.c.id, _SESSION.c.expires_us, is_old)


async def _audit(services: Services, unit: UnitOfWork) -> int:
    """On PostgreSQL whole months, once they are over; on SQLite entry by entry. The seals follow."""
    if services.retention.audit_days is None:
        return 0
    cutoff_us = unit.now_us - services.retention.audit_days * DAY_US
    if services.syslog is not None:
        cutoff_us = await keep_unsent(unit, cutoff_us)
    take = _audit_entries if unit.connection.dialect.name == "sqlite" else _audit_months
    taken, before_us = await take(unit, cutoff_us)
    if taken and services.audit_keys is not None:
        await let_go(unit, services.audit_keys, before_us)
    return taken


async def _audit_entries(unit: UnitOfWork, cutoff_us: int) -> tuple[int, int]:
    """How many went, and before when there is nothing to be relied on."""
    key, at = _AUDIT.c.sequence, _AUDIT.c.recorded_us
    return await _delete_oldest(unit, "prune-audit", key, at, at < cutoff_us), cutoff_us


async def _audit_months(unit: UnitOfWork, cutoff_us: int) -> tuple[int, int]:
    months = await drop_audit_months(unit, cutoff_us)
    for month in months:
        unit.audit(_entry("prune-audit", 1, f"{month.year:04}-{month.number:02}"))
    times = await delete_outside_months(unit, cutoff_us, ROWS_AT_ONCE)
    if times:
        unit.audit(_entry("prune-audit", len(times)))
    before_us = max([*(month.next.begins_us for month in months), *(at_us + 1 for at_us in times)], default=0)
    return len(months) + len(times), before_us


async def _delete_oldest(
    unit: UnitOfWork,
    interaction: str,
    key: Column[Any],
    order: Column[Any],
    is_old: ColumnElement[bool],
) -> int:
    bite = select(key).where(is_old).order_by(order).limit(ROWS_AT_ONCE)
    return await _delete(unit, interaction, key.table, key.in_(bite))


async def _delete(unit: UnitOfWork, interaction: str, table: FromClause, which: ColumnElement[bool]) -> int:
    assert isinstance(table, Table)
    gone = (await unit.execute(delete(table).where(which))).rowcount
    if gone:
        unit.audit(_entry(interaction, gone))
    return gone


def _entry(interaction: str, occurrences: int, subject: str | None = None) -> AuditEntry:
    return AuditEntry(
        RETENTION, Action.DELETE, interaction, "Administration", subject, occurrences=occurrences
    )
