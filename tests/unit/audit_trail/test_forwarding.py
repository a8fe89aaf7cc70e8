"""The audit trail forwarded: each entry at least once, in order, and nothing lost when the receiver fails."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import insert, select

from server.audit import chain as chains
from server.audit.forward import receiver as receivers
from server.audit.forward import run as running
from server.audit.forward.receiver import ReceiverUnavailable
from server.audit.forward.run import forward_facts, forward_settled
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import now_us
from server.kernel.database import Database
from server.kernel.retention_policy import RetentionPolicy
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.syslog_target import SyslogTarget
from server.kernel.tables import AuditRow
from server.kernel.tls_files import TlsFiles
from server.settings import Settings
from server.workflows.retention.due import DAY_US
from server.workflows.retention.prune import prune
from tests.services.certificates import Authority
from tests.services.syslog import SyslogReceiver, rsyslog, syslog_receiver

AUDIT = table_of(AuditRow)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receiver(authority: Authority) -> Iterator[SyslogReceiver]:
    with syslog_receiver(authority.issue("receiver")) as running:
        yield running


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "SETTLE_US", 0)
    monkeypatch.setattr(running, "MAX_BATCH", 3)


@pytest.fixture
def forwarding(services: Services, receiver: SyslogReceiver, authority: Authority) -> Services:
    return replace(services, syslog=SyslogTarget("127.0.0.1", receiver.port, authority.file))


async def record(database: Database, *names: str) -> None:
    who = Principal("client:a", "A")
    for name in names:
        await database.record([AuditEntry(who, Action.READ, "read", "Patient", name, name)])


def told(receiver: SyslogReceiver) -> list[str]:
    """The ids of the patients, as they came."""
    found = [re.search('ParticipantObjectID="([^"]*)"', message) for message in receiver.messages]
    return [each[1] for each in found if each]


async def lag_s(services: Services) -> float:
    (fact,) = await forward_facts(services)
    return fact.values[0][1]


async def test_all_of_the_trail_goes_out_once_and_in_order(
    forwarding: Services, receiver: SyslogReceiver
) -> None:
    assert await forward_settled(forwarding) == 0
    names = [f"p{number}" for number in range(7)]
    await record(forwarding.database, *names)
    assert await lag_s(forwarding) > 0
    assert [await forward_settled(forwarding) for _ in range(4)] == [3, 3, 0, 0]
    assert told(receiver) == names
    assert await lag_s(forwarding) == 0
    assert all(
        message.startswith("<85>1 ") and "IHE+RFC-3881 - \ufeff<?xml" in message
        for message in receiver.messages
    )
    await record(forwarding.database, "later")
    await forward_settled(forwarding)
    assert told(receiver) == [*names, "later"]


async def test_what_is_not_delivered_for_certain_is_sent_again(
    forwarding: Services, receiver: SyslogReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "END_S", 0.2)
    await record(forwarding.database, "p1")
    for ends in ("reset", "never"):
        receiver.ends = ends
        with pytest.raises(ReceiverUnavailable):
            await forward_settled(forwarding)
    receiver.release.set()
    receiver.ends = "eof"
    await forward_settled(forwarding)
    assert told(receiver) == ["p1"] * 3
    assert await forward_settled(forwarding) == 0
    assert told(receiver) == ["p1"] * 3


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_receiver_must_be_who_the_settings_name(
    services: Services, authority: Authority, tmp_path: Path
) -> None:
    by_address = authority.issue("receiver", names=[x509.IPAddress(ip_address("127.0.0.1"))])
    with syslog_receiver(by_address) as receiver:
        target = SyslogTarget("127.0.0.1", receiver.port, authority.file)
        await _refuse_others(replace(services, syslog=target), receiver, Authority(tmp_path, "stranger"))


async def _refuse_others(forwarding: Services, receiver: SyslogReceiver, stranger: Authority) -> None:
    await record(forwarding.database, "p1")
    target = forwarding.syslog
    assert target is not None
    cases = [
        (replace(target, authorities=stranger.file), "certificate is not valid"),
        (replace(target, authorities=None), "certificate is not valid"),
        (replace(target, host="localhost"), "certificate is not valid"),
        (replace(target, port=1), "ECONNREFUSED"),
        (replace(target, host="no-such-host.invalid"), "cannot be resolved"),
    ]
    for wrong, said in cases:
        with pytest.raises(ReceiverUnavailable, match=said):
            await forward_settled(replace(forwarding, syslog=wrong))
    assert receiver.messages == []
    assert await forward_settled(forwarding) == 0
    assert told(receiver) == ["p1"]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_receiver_may_ask_who_we_are(services: Services, authority: Authority) -> None:
    await record(services.database, "p1")
    ours = authority.issue("ours")
    with syslog_receiver(authority.issue("receiver"), authority) as asking:
        target = SyslogTarget("127.0.0.1", asking.port, authority.file)
        with pytest.raises(ReceiverUnavailable):
            await forward_settled(replace(services, syslog=target))
        known = replace(target, client=TlsFiles(ours.certificate, ours.key))
        assert await forward_settled(replace(services, syslog=known)) == 0
        assert told(asking) == ["p1"]
        ours.key.chmod(0o644)
        await record(services.database, "p2")
        with pytest.raises(ReceiverUnavailable, match="may be read by others"):
            await forward_settled(replace(services, syslog=known))


async def test_two_processes_advance_the_position_once(
    forwarding: Services, receiver: SyslogReceiver
) -> None:
    await record(forwarding.database, "p1", "p2")
    position = await _position(forwarding.database)
    async with forwarding.database.read() as connection:
        rows = (await connection.execute(select(AUDIT).order_by(AUDIT.c.sequence))).mappings().all()
    await forwarding.database.transact(lambda unit: running._advance(unit, position, rows[1]))
    await forwarding.database.transact(lambda unit: running._advance(unit, position, rows[0]))
    assert await _position(forwarding.database) == (rows[1]["recorded_us"], rows[1]["sequence"])


async def _position(database: Database) -> tuple[int, int]:
    async with database.read() as connection:
        return await running.read_position(connection)


async def test_retention_leaves_what_was_not_sent_for_a_while(
    forwarding: Services, receiver: SyslogReceiver
) -> None:
    database = forwarding.database
    days = (200, 100, 50, 10)
    for age in days:
        row = AuditEntry(Principal("c", "C"), Action.READ, "read", "Patient", f"p{age}").as_row(
            now_us() - age * DAY_US
        )
        await database.transact(lambda unit, row=row: unit.execute(insert(AUDIT).values(row)))  # type: ignore[misc]
    decided = replace(forwarding, retention=RetentionPolicy(audit_days=30))
    await prune(decided)
    assert await _ages(database) == [100, 50, 10]
    while await forward_settled(decided):
        pass
    await prune(decided)
    assert await _ages(database) == [10]


async def _ages(database: Database) -> list[int]:
    async with database.read() as connection:
        query = select(AUDIT.c.resource_id).where(AUDIT.c.principal == "c").order_by(AUDIT.c.recorded_us)
        return [int(name[1:]) for name in (await connection.execute(query)).scalars()]


async def test_nothing_is_forwarded_unless_a_receiver_is_named(services: Services) -> None:
    await record(services.database, "p1")
    assert await forward_settled(services) == 0
    (fact,) = await forward_facts(services)
    assert list(fact.values) == []


def test_settings_name_a_receiver() -> None:
    assert Settings().syslog is None
    assert Settings(audit_syslog="siem.example.org").syslog == SyslogTarget("siem.example.org", 6514)
    assert Settings(audit_syslog="[2001:db8::1]:10514").syslog == SyslogTarget("2001:db8::1", 10514)
    for wrong in (
        {"audit_syslog": "tcp://a"},
        {"audit_syslog": "a:b"},
        {"audit_syslog": "a:70000"},
        {"audit_syslog_key": "a.key"},
    ):
        with pytest.raises(ValueError, match="audit_syslog"):
            Settings(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_rsyslog_takes_it_all(
    services: Services, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "MAX_BATCH", 200)
    names = [f"p{number}" for number in range(500)]
    await record(services.database, *names)
    with rsyslog(tmp_path, authority.issue("rsyslog"), authority) as (port, written):
        target = SyslogTarget("127.0.0.1", port, authority.file)
        left = 1
        while left:
            try:
                left = await forward_settled(replace(services, syslog=target))
            except ReceiverUnavailable:  # it has not begun yet
                await asyncio.sleep(0.1)
        while not written.exists() or len(written.read_text().splitlines()) < len(names):
            await asyncio.sleep(0.1)
    lines = written.read_text().splitlines()
    assert [re.findall('ParticipantObjectID="(p[^"]*)"', line)[0] for line in lines] == names
    assert all(line.startswith("IHE+RFC-3881 85 isthmus ") for line in lines)
