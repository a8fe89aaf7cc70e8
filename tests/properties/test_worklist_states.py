"""Whatever is done to the worklist in whatever order: its promises hold (DESIGN §2, §6)."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from sqlalchemy import select

from dicomweb.worklist.attempts import (
    LeaseLost,
    RetryPolicy,
    cancel,
    complete,
    fail_attempt,
    heartbeat,
    release,
)
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.change import CHANGED, WORKITEM
from dicomweb.worklist.claims import claim
from dicomweb.worklist.schedule import WorkitemNotEnded, rerun
from dicomweb.worklist.state import AlreadyCompleted, State, WorkitemFault
from dicomweb.worklist.workitem import Claim, Reason
from server.kernel.access import EVERYONE, Principal
from server.kernel.database import Database, UnitOfWork
from server.kernel.database_limits import DatabaseLimits
from server.kernel.rows import table_of
from server.kernel.tables import OutboxEvent
from tests.conformance.ps3_18.worklist import discontinued, performed
from tests.unit.worklist.kit import (
    ATTEMPT,
    armed_uid,
    ct,
    let_back_off_end,
    let_leases_run_out,
    make_schema,
)
from tests.unit.worklist.test_outside import MINE, start, to_state, updated

ADA = Principal("user:ada", "Ada")
WHY = Reason(None, "for the test")
RETRY = RetryPolicy(attempts=2)
FINAL = {"COMPLETED", "CANCELED"}
MEMORY = Path("/dev/shm")  # a file system without flushes, where there is one
EVENT = table_of(OutboxEvent)


class Worklist(RuleBasedStateMachine):
    claims: Bundle[Claim] = Bundle("claims")
    workitems: Bundle[str] = Bundle("workitems")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.runner = asyncio.Runner()
        self.database = Database(
            f"sqlite+aiosqlite:///{self.folder.name}/t.db", DatabaseLimits(connections=1)
        )
        self.ended: dict[str, tuple[Any, ...]] = {}
        self.current: dict[str, Claim] = {}
        self.run(make_schema(self.database))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def write(self, work: Callable[[UnitOfWork], Awaitable[Any]]) -> Any:
        return self.run(self.database.transact(work))

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()
        self.folder.cleanup()

    @rule(target=workitems, study=st.sampled_from(["1.1", "1.2"]), slices=st.integers(1, 3))
    def arm(self, study: str, slices: int) -> str:
        return str(self.run(armed_uid(self.database, study, slices=slices)))

    @rule(target=claims)
    def claim(self) -> Any:
        taken = self.run(claim(self.database, "w", 30, RETRY))
        if taken is None:
            return multiple()
        self.current[taken.workitem_uid] = taken
        return taken

    @rule()
    def time_passes(self) -> None:
        self.run(let_leases_run_out(self.database))
        self.run(let_back_off_end(self.database))

    @rule(claim=claims)
    def heartbeat(self, claim: Claim) -> None:
        with self.allowed_to(claim, ends=False):
            self.run(heartbeat(self.database, claim, 30, progress=50))

    @rule(claim=claims)
    def complete(self, claim: Claim) -> None:
        with self.allowed_to(claim):
            self.write(lambda unit: complete(unit, claim, (ct(),)))

    @rule(claim=claims)
    def stop(self, claim: Claim) -> None:
        with self.allowed_to(claim):
            self.write(lambda unit: cancel(unit, claim, WHY))

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        with self.allowed_to(claim):
            self.write(lambda unit: release(unit, claim))

    @rule(claim=claims, retryable=st.booleans())
    def fail(self, claim: Claim, retryable: bool) -> None:
        with self.allowed_to(claim):
            self.run(fail_attempt(self.database, claim, WHY, retryable=retryable, retry=RETRY))

    @rule(uid=workitems)
    def request_cancel(self, uid: str) -> None:
        with contextlib.suppress(AlreadyCompleted):
            self.write(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, WHY))

    @rule(uid=workitems)
    def start_from_outside(self, uid: str) -> None:
        with contextlib.suppress(WorkitemFault):
            self.run(start(self.database, uid))

    @rule(uid=workitems, state=st.sampled_from([State.COMPLETED, State.CANCELED]))
    def end_from_outside(self, uid: str, state: State) -> None:
        with contextlib.suppress(WorkitemFault):
            self.run(updated(self.database, uid, performed() | discontinued(), MINE))
            self.run(to_state(self.database, uid, state))

    @rule(target=workitems, uid=consumes(workitems))
    def rerun(self, uid: str) -> Any:
        try:
            again = self.write(lambda unit: rerun(unit, uid, ADA))
        except WorkitemNotEnded:
            return uid
        return multiple(uid, again)

    @contextlib.contextmanager
    def allowed_to(self, claim: Claim, *, ends: bool = True) -> Any:
        """Only the latest claim on a workitem may act, and only until it has ended its attempt."""
        is_current = self.current.get(claim.workitem_uid) is claim
        try:
            yield
        except LeaseLost:
            assert not is_current or self.was_given_up(claim)
        else:
            assert is_current
            if ends:
                del self.current[claim.workitem_uid]

    def was_given_up(self, claim: Claim) -> bool:
        """A claim by another worker may have ended the workitem without taking it."""
        return self.rows()[claim.workitem_uid]["state"] == "CANCELED"

    def rows(self) -> dict[str, Any]:
        return {row["workitem_uid"]: row for row in self.run(self.fetch(select(WORKITEM)))}

    async def fetch(self, query: Any) -> Any:
        async with self.database.read() as connection:
            return (await connection.execute(query)).mappings().all()

    @invariant()
    def final_states_are_final(self) -> None:
        rows = self.rows()
        for uid, was in self.ended.items():
            assert (rows[uid]["state"], rows[uid]["output"], rows[uid]["ended_us"]) == was
        self.ended |= {
            uid: (row["state"], row["output"], row["ended_us"])
            for uid, row in rows.items()
            if row["state"] in FINAL
        }

    @invariant()
    def attempts_fit_their_workitem(self) -> None:
        rows = {row["pk"]: row for row in self.rows().values()}
        attempts = self.run(self.fetch(select(ATTEMPT).order_by(ATTEMPT.c.number)))
        for attempt in attempts:
            row = rows[attempt["workitem_pk"]]
            is_latest = attempt["number"] == row["attempt"]
            assert is_latest or attempt["outcome"] in ("failed", "lost", "released")
            if attempt["outcome"] == "running":
                assert row["state"] == "IN PROGRESS"
            if attempt["outcome"] == "completed":
                assert row["state"] == "COMPLETED"
        completed = {attempt["workitem_pk"] for attempt in attempts if attempt["outcome"] == "completed"}
        by_engine = {pk for pk, row in rows.items() if row["state"] == "COMPLETED" and row["attempt"]}
        assert completed == by_engine

    @invariant()
    def each_has_one_performer(self) -> None:
        attempted = {attempt["workitem_pk"] for attempt in self.run(self.fetch(select(ATTEMPT)))}
        for row in self.rows().values():
            assert (row["pk"] in attempted) is (row["attempt"] > 0)
            assert row["attempt"] == 0 or row["transaction_uid"] != MINE

    @invariant()
    def one_is_scheduled_and_one_in_progress_per_study(self) -> None:
        rows = self.rows()
        open_ones = Counter(
            (row["study_instance_uid"], row["state"])
            for row in rows.values()
            if row["state"] == "SCHEDULED" or (row["state"] == "IN PROGRESS" and row["attempt"])
        )
        assert all(count == 1 for count in open_ones.values())
        for row in rows.values():
            if row["state"] != "SCHEDULED" and row["predecessor_uid"] and row["attempt"]:
                before = rows[row["predecessor_uid"]]
                began_in_turn = before["state"] in FINAL or before["attempt"] == 0
                assert began_in_turn or row["started_us"] is None

    @invariant()
    def events_tell_the_way_the_table_allows(self) -> None:
        ways: dict[str, list[str]] = {}
        for event in self.run(self.fetch(select(EVENT).where(EVENT.c.kind == CHANGED).order_by("sequence"))):
            ways.setdefault(event["subject"], []).append(orjson.loads(event["payload"])["state"])
        for uid, row in self.rows().items():
            way = [state for number, state in enumerate(ways[uid]) if state != "SCHEDULED" or number == 0]
            assert way[-1] == row["state"]
            assert way[:2] == ["SCHEDULED", "IN PROGRESS"][: len(way)]
            assert len(way) <= 3


TestWorklist = Worklist.TestCase
TestWorklist.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
