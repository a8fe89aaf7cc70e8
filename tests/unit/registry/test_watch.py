"""Versions that serve are taken back when they fail, or are amended, beyond their limits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import insert, select, update

from ai_engine.gate import Criterion
from ai_engine.runners import port
from dicomweb.worklist.tables import Workitem, WorkitemAttempt
from dicomweb.worklist.workitem import Outcome
from server.kernel.database import UnitOfWork
from server.kernel.metrics import REGISTRY
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from server.kernel.uids import new_uid
from server.workflows.registry.decide import roll_back, set_gate, set_limits
from server.workflows.registry.limits import Experience, Limits, breaches
from server.workflows.registry.stages import Stage
from server.workflows.registry.verdicts import VERDICT, Said, Verdict, note_verdict, person_of
from server.workflows.registry.versions import CHANGE
from server.workflows.registry.watch import BLAMED, HOUR_US, watch_models
from server.workflows.report.graph import report_id_of
from tests.asked_in_turn import asked_in_turn
from tests.conftest import sqlite_first

from .conftest import WHO, Registry

_WORKITEM, _ATTEMPT = table_of(Workitem), table_of(WorkitemAttempt)
DAY_US = 24 * HOUR_US


@asked_in_turn(
    "experience, breached",
    [
        pytest.param(Experience(failed=9, completed=0), 0, id="too few attempts to say"),
        pytest.param(Experience(failed=3, completed=7), 0, id="30 % of ten may be chance"),
        pytest.param(Experience(failed=36, completed=64), 1, id="36 % of a hundred is not"),
        pytest.param(Experience(verified=19), 0, id="all agree"),
        pytest.param(Experience(verified=15, not_as_it_was=5), 0, id="75 % of twenty may be chance"),
        pytest.param(Experience(verified=9, not_as_it_was=11, people=3), 1, id="45 % of twenty is not"),
        pytest.param(Experience(not_as_it_was=40, people=2), 0, id="two people alone"),
        pytest.param(Experience(60, 40, verified=10, not_as_it_was=40, people=3), 2, id="both"),
    ],
)
def test_limits(experience: Experience, breached: int) -> None:
    assert len(breaches(experience, Limits())) == breached


@dataclass(frozen=True)
class Tried:
    """A workitem of a version, and how its attempts ended; all failures but refusals are the model's."""

    outcomes: tuple[Outcome, ...]
    fault: str = "model-raised"
    name: str = "tiny"
    state: str | None = None  # None: as the last outcome
    columns: Mapping[str, object] = field(default_factory=dict)
    now_of: str | None = None  # the version that the workitem was handed over to


async def experienced(
    registry: Registry, version: str, workitems: Sequence[Tried], days_ago: float = 0
) -> list[str]:
    """Workitems of a version that were tried so, each of a study; returns their UIDs."""

    async def work(unit: UnitOfWork) -> list[str]:
        return [await tried(unit, version, each, days_ago) for each in workitems]

    return list(await registry.database.transact(work))


async def tried(unit: UnitOfWork, version: str, what: Tried, days_ago: float) -> str:
    at_us, uid = unit.now_us - int(days_ago * 86400e6), new_uid()
    ended = "COMPLETED" if what.outcomes[-1] is Outcome.COMPLETED else "CANCELED"
    row = {
        "workitem_uid": uid,
        "state": what.state or ended,
        "priority": "MEDIUM",
        "study_instance_uid": f"{uid}.1",
        "rule": "tiny",
        "model_name": what.name,
        "model_version": what.now_of or version,
        "input_hash": uid,
        "run": 1,
        "input": "[]",
        "output": "[]",
        "attempt": len(what.outcomes),
        "progress": 0,
        "scheduled_us": at_us,
        "changed_us": at_us,
        **what.columns,
    }
    key = (await unit.execute(insert(_WORKITEM).values(row).returning(_WORKITEM.c.pk))).scalar_one()
    for number, outcome in enumerate(what.outcomes, start=1):
        attempt = {
            "workitem_pk": key,
            "number": number,
            "worker": "w",
            "started_us": at_us,
            "lease_until_us": at_us,
            "ended_us": at_us,
            "outcome": outcome.value,
            "model_version": version,
            "fault": what.fault if outcome is Outcome.FAILED else None,
        }
        await unit.execute(insert(_ATTEMPT), [attempt])
    return uid


FAILED, DONE = Tried((Outcome.FAILED,)), Tried((Outcome.COMPLETED,))
LOST = Tried((Outcome.LOST,) * 3)
NOT_THE_MODELS = [
    *(
        Tried((Outcome.FAILED,), fault)
        for fault in ("SeriesRefused", "Busy", "DamagedObject", "sandbox-unavailable", "ModelNotUsable")
    ),
    Tried((Outcome.FAILED,), state="IN PROGRESS"),  # it is tried again
    Tried((Outcome.FAILED, Outcome.COMPLETED)),  # which helped
    Tried((Outcome.FAILED,), columns={"requested_by": "client:x"}),
    Tried((Outcome.FAILED,), columns={"run": 2}),
]


async def serve(registry: Registry) -> None:
    """1.0.0 in production, 2.0.0 the canary."""
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    await registry.promote("2.0.0", Stage.CANARY)


def counted(outcome: str) -> float:
    return (
        REGISTRY.get_sample_value("isthmus_model_rollbacks_total", {"model": "tiny", "outcome": outcome}) or 0
    )


async def test_failing_canary_is_a_candidate_again(registry: Registry) -> None:
    await serve(registry)
    await experienced(registry, "1.0.0", [DONE] * 20)
    await experienced(registry, "2.0.0", [FAILED] * 8 + [DONE] * 4)
    before = counted("canary")
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}
    assert counted("canary") == before + 1
    async with registry.database.read() as connection:
        principals = (await connection.execute(select(AuditRow.principal))).scalars().all()
    assert "system:registry" in principals


@sqlite_first
async def test_refused_images_and_old_failures_say_nothing(registry: Registry) -> None:
    await serve(registry)
    await experienced(registry, "2.0.0", NOT_THE_MODELS * 4 + [DONE] * 5)
    await experienced(registry, "2.0.0", [FAILED] * 20, days_ago=2)  # before it was the canary, too
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "canary"}


@sqlite_first
async def test_production_gives_way_or_is_told_of(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    await registry.promote("2.0.0", Stage.PRODUCTION)
    await experienced(registry, "2.0.0", [FAILED] * 12)
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}
    await experienced(registry, "1.0.0", [FAILED] * 12)
    before = counted("not-possible")
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}
    assert counted("not-possible") == before + 1


@sqlite_first
async def test_study_that_fails_three_times_failed_once(registry: Registry) -> None:
    await serve(registry)
    poison = Tried((Outcome.FAILED,) * 3)
    await experienced(registry, "2.0.0", [poison] * 4 + [DONE] * 20)  # 12 of 32 attempts
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "canary"}
    await experienced(registry, "2.0.0", [LOST] * 12)  # it takes its worker along
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}


@sqlite_first
async def test_failures_stay_those_of_the_version_that_ran(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("2.0.0", Stage.PRODUCTION)
    await registry.promote("1.0.0", Stage.PRODUCTION)
    handed_over = Tried((Outcome.FAILED,), now_of="1.0.0")
    await experienced(registry, "2.0.0", [handed_over] * 20)
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "retired"}


@sqlite_first
async def test_version_stays_while_other_models_fail(registry: Registry) -> None:
    await serve(registry)
    await experienced(registry, "2.0.0", [FAILED] * 12)
    await experienced(registry, "5.0.0", [replace(FAILED, name="other")] * 3)
    before = counted("others-fail")
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "canary"}
    assert counted("others-fail") == before + 1
    await experienced(registry, "5.0.0", [replace(DONE, name="other")] * 20)
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}


def test_blamed_are_faults_of_runners_that_are_the_models() -> None:
    kinds = (port.RunnerFault, port.ModelRaised, port.ModelTimedOut, port.ModelOutOfMemory)
    assert set(BLAMED) == {kind.code for kind in (*kinds, port.ModelOutputInvalid)}


@sqlite_first
async def test_version_before_comes_back_by_itself_only_through_the_gate(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    await registry.promote("2.0.0", Stage.PRODUCTION)
    criterion = Criterion(metric="sensitivity", holdout="chests", threshold=0.9)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [criterion]), "a test")
    await experienced(registry, "2.0.0", [FAILED] * 12)
    before = counted("not-possible")
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "retired", "2.0.0": "production"}
    assert counted("not-possible") == before + 1
    assert await registry.do(roll_back) == "1.0.0"  # an operator may


async def said_of(registry: Registry, uids: Sequence[str], people: str, verdicts: Sequence[Verdict]) -> None:
    """A verdict on each of these workitems, each by a person of one letter."""

    async def work(unit: UnitOfWork) -> None:
        for uid, person, verdict in zip(uids, people, verdicts, strict=True):
            study = f"{uid}.1"
            said = Said(verdict, person_of(WHO, person))
            await note_verdict(unit, study, report_id_of(study, "tiny"), said)

    await registry.database.transact(work)


async def test_clinicians_disagree(registry: Registry) -> None:
    await serve(registry)
    await registry.do(lambda unit, asked: set_limits(unit, asked, Limits(minimum_verdicts=4)))

    async def say(people: str, verdicts: Sequence[Verdict]) -> None:
        uids = await experienced(registry, "2.0.0", [DONE] * len(verdicts))
        await said_of(registry, uids, people, verdicts)

    before = counted("few-people")
    await say("abababcd", [Verdict.AMENDED, Verdict.REJECTED] * 3 + [Verdict.VERIFIED] * 2)
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "canary"}
    assert counted("few-people") == before + 1
    await say("c", [Verdict.AMENDED])
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}


@sqlite_first
async def test_late_amendments_count_with_the_results_they_are_of(registry: Registry) -> None:
    """Else a window would hold what is bad of the results of another, and nothing of what is good."""
    await serve(registry)
    uids = await experienced(registry, "2.0.0", [DONE] * 60)
    await said_of(registry, uids, "a" * 60, [Verdict.VERIFIED] * 60)

    async def as_time_goes(unit: UnitOfWork) -> None:
        """The canary came 40 days ago, the results were verified 20 days ago: a window before this one."""
        for table, days in ((CHANGE, 40), (VERDICT, 20)):
            await unit.execute(update(table).values(at_us=table.c.at_us - days * DAY_US))

    await registry.database.transact(as_time_goes)
    await said_of(registry, uids[:20], "abcde" * 4, [Verdict.AMENDED] * 20)
    await watch_models(registry.services)
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "canary"}


async def test_gravest_verdict_stays(registry: Registry) -> None:
    await serve(registry)
    (uid,) = await experienced(registry, "1.0.0", [DONE])
    report = report_id_of(f"{uid}.1", "tiny")
    said: list[str] = []
    for verdict in (Verdict.VERIFIED, Verdict.AMENDED, Verdict.VERIFIED, Verdict.REJECTED):
        await registry.database.transact(
            lambda unit, verdict=verdict: note_verdict(unit, f"{uid}.1", report, Said(verdict, "ada"))  # type: ignore[misc]
        )
        async with registry.database.read() as connection:
            said.append((await connection.execute(select(VERDICT.c.verdict))).scalar_one())
    assert said == ["verified", "amended", "amended", "rejected"]
    await registry.database.transact(
        lambda unit: note_verdict(unit, f"{uid}.1", "another", Said(Verdict.VERIFIED, "ada"))
    )
    async with registry.database.read() as connection:
        rows = (await connection.execute(select(VERDICT))).mappings().all()
    assert [(row["version"], json.dumps(row["verdict"])) for row in rows] == [("1.0.0", '"rejected"')]
