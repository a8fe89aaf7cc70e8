"""A runner is killed, as a real process, with a job in its hand: another finishes the job, once."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from server.kernel.database import Database
from server.kernel.job_overview import job_facts
from server.kernel.jobs import Job
from server.kernel.rows import table_of
from server.kernel.tables import OutboxEvent

ROOT = Path(__file__).parents[2]
SOON_S = 60.0

RUNNER = """
import asyncio, sys
from server.kernel.database import Database
from server.kernel.job_queues import job_queue
from server.kernel.job_runner import JobRunner
from server.kernel.jobs import RECORD, Beats

async def main(url, name):
    database, beats, stop = Database(url), Beats(0.2, 1.0), asyncio.Event()

    async def handle(args):
        print("begun", flush=True)
        if name == "killed":
            await asyncio.Event().wait()

        async def effect(unit):
            unit.emit("effect", name)

        await database.transact(effect)
        print("done", flush=True)

    queue = job_queue(database, (RECORD,), beats)
    await JobRunner(queue, {"a": handle}, {RECORD: 1}, beats).run(stop)

asyncio.run(main(*sys.argv[1:]))
"""


async def start(url: str, name: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUNNER, url, name, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )


async def says(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdout is not None
    while (line := (await process.stdout.readline()).decode()) and word not in line:
        pass
    assert word in line


async def end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def test_killed_runner_is_replaced_and_the_effect_is_there_once(
    database: Database, database_url: str
) -> None:
    await database.defer(Job("a"))
    killed = await start(database_url, "killed")
    survivor = None
    try:
        async with asyncio.timeout(SOON_S):
            await says(killed, "begun")
            survivor = await start(database_url, "survivor")
            await end(killed)
            await says(survivor, "done")
            async with database.read() as connection:
                effects = (await connection.execute(select(table_of(OutboxEvent).c.subject))).scalars().all()
            assert effects == ["survivor"]
            while any(value for _, value in (await job_facts(database))[0].values):
                await asyncio.sleep(0.05)
    finally:
        for process in (killed, survivor):
            if process is not None:
                await end(process)
