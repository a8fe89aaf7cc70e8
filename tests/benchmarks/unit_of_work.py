"""What the floor costs by itself, without HTTP:
`python tests/benchmarks/unit_of_work.py [--count N] [--database postgresql]`.
"""

import tempfile
import time
from collections.abc import Awaitable, Callable

import uvloop
from served import durable_postgresql, parse_arguments
from sqlalchemy import insert, select

from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.jobs import Job
from server.kernel.read_audit import ReadAudit
from server.kernel.rows import table_of
from server.kernel.tables import PatientIdentity
from server.migrations import upgrade

ENTRY = AuditEntry(Principal("client:a", "A"), Action.READ, "read", "Patient", "1")
PATIENT = table_of(PatientIdentity)
ONE = select(PATIENT.c.patient_id).where(PATIENT.c.system == "s", PATIENT.c.value == "0")


async def measure(name: str, count: int, operation: Callable[[int], Awaitable[object]]) -> None:
    """Print the CPU time of this process for one operation, the median of ten blocks."""
    costs = []
    for block in range(10):
        begun = time.process_time()
        for number in range(count // 10):
            await operation(block * count + number)
        costs.append((time.process_time() - begun) / (count // 10) * 1e6)
    print(f"{name:<48} {sorted(costs)[5]:>8.0f} µs", flush=True)


async def run(url: str, count: int) -> None:
    """Every row."""
    await upgrade(url)
    database = Database(url)
    audit = ReadAudit(database)

    async def selects(statements: int) -> None:
        async with database.read() as connection:
            for _ in range(statements):
                (await connection.execute(ONE)).all()

    async def nothing(_unit: UnitOfWork) -> None:
        return None

    async def add(number: int) -> None:
        await database.transact(lambda unit: act(unit, number))

    async def act(unit: UnitOfWork, number: int, *jobs: Job) -> None:
        row = {"system": "s", "value": str(number), "patient_id": "p"}
        await unit.execute(insert(PATIENT), [row])
        unit.emit("patient.added", "p")
        unit.audit(ENTRY)
        for job in jobs:
            unit.defer(job)

    async def defer(number: int, subject: object) -> None:
        jobs = [Job(task, {"study": f"{subject}"}, dedupe_key=f"{task}:{subject}") for task in ("a", "b")]
        await database.transact(lambda unit: act(unit, number, *jobs))

    await measure("read nothing", count, lambda _: selects(0))
    await measure("read: 1 indexed select", count, lambda _: selects(1))
    await measure("read: 4 indexed selects", count, lambda _: selects(4))
    await measure("transact: nothing", count, lambda _: database.transact(nothing))
    await measure("transact: 1 row, event, audit entry", count, add)
    more, more_still = 10**6, 2 * 10**6
    await measure("  and 2 jobs, of a subject that waits already", count, lambda n: defer(more + n, "s"))
    await measure("  and 2 jobs, of a new subject", count, lambda n: defer(more_still + n, n))
    await measure("audit of one read", count, lambda _: audit.record(ENTRY))
    await database.close()


def main() -> None:
    """On the database that the command line names."""
    arguments = parse_arguments(__doc__, 1000)
    if arguments.database == "postgresql":
        with durable_postgresql() as postgresql:
            uvloop.run(run(postgresql.url("isthmus"), arguments.count))
    else:
        with tempfile.TemporaryDirectory(prefix="isthmus-benchmark-") as folder:
            uvloop.run(run(f"sqlite+aiosqlite:///{folder}/benchmark.db", arguments.count))


if __name__ == "__main__":
    main()
