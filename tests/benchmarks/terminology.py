"""A SNOMED-sized release: `python -m tests.benchmarks.terminology [--database postgresql] [--concepts N]`.

Writes a made-up release in RF2 form, imports it with progress, and asks it, in one process without HTTP:
lookups, validation in a value set, `$expand`'s text filter alone and below a concept. While the import runs
another process's transaction is tried all the time: how long it waits is told. Prints wall and CPU time, and
the most memory that was used. With `--keep FILE` SQLite's database stays there, and is asked again.
"""

import argparse
import asyncio
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import delete, select

from server.kernel.database import Database
from server.kernel.rows import table_of
from server.kernel.tables import SchemaFloor
from server.migrations import upgrade
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.loading.rf2 import read_release
from terminology.releases.kinds import RULES
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.releases.writer import write_release
from terminology.tables import TerminologyConcept
from tests.benchmarks.made_up_rf2 import write_rf2
from tests.services.postgresql import cluster

CONCEPT = table_of(TerminologyConcept)
FLOOR = table_of(SchemaFloor)
TIMES = 200
BIG, SMALL = 20_000, 500  # descendants of a concept that is asked below


@asynccontextmanager
async def made_database(kind: str, keep: Path | None) -> AsyncIterator[str]:
    if kind == "postgresql":
        with cluster() as running:
            running.run_sql("CREATE DATABASE scale")
            yield running.url("scale")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite+aiosqlite:///{keep or Path(folder) / 'scale.db'}"


async def load(url: str, database: Database, concepts: int) -> None:
    phases: dict[str, float] = {}

    def told(what: str, _done: int, _total: int) -> None:
        phases.setdefault(what, time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        write_rf2(Path(folder), concepts)
        began, cpu = time.perf_counter(), time.process_time()
        draft = await asyncio.to_thread(read_release, Path(folder), told)
        read_s = time.perf_counter() - began
        async with writing_beside(url) as waits:
            with draft:
                written = await write_release(database, draft, told)
    whole_s, memory = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{written.concepts} concepts: {whole_s:.0f} s ({read_s:.0f} s reading), {memory} MiB,", end=" ")
    print(f"CPU {time.process_time() - cpu:.0f} s")
    starts = sorted(phases.values())
    for (what, at), end in zip(phases.items(), [*starts[1:], began + whole_s], strict=True):
        print(f"  {what}: {end - at:.1f} s")
    print("another process waited: " + told_times(waits))


@asynccontextmanager
async def writing_beside(url: str) -> AsyncIterator[list[float]]:
    """How long transactions of another process take meanwhile: there at the end."""
    command = (sys.executable, "-m", __spec__.name, "--beside", url)
    other = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    waits: list[float] = []
    try:
        yield waits
    finally:
        other.terminate()
        said, _ = await other.communicate()
        waits += [float(line) for line in said.decode().split()]


async def write_beside(url: str) -> None:
    """Transactions as a server beside the import has them; prints how long each took."""
    beside = Database(url)
    nothing = delete(FLOOR).where(FLOOR.c.revision == "none")
    while True:
        began = time.perf_counter()
        await beside.transact(lambda unit: unit.execute(nothing))
        print(time.perf_counter() - began, flush=True)
        await asyncio.sleep(0.1)


def told_times(times: Sequence[float]) -> str:
    ordered = sorted(times)
    p50, p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    return f"p50 {p50 * 1e3:.2f} ms, p95 {p95 * 1e3:.2f} ms, max {ordered[-1] * 1e3:.1f} ms"


async def measure(name: str, ask: Callable[[], Awaitable[object]], times: int = TIMES) -> None:
    await ask()
    walls: list[float] = []
    cpu = time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        walls.append(time.perf_counter() - began)
    spent = (time.process_time() - cpu) / times
    print(f"{name:42s} {told_times(walls)}, CPU {spent * 1e3:.2f} ms")


async def ask_all(database: Database, system: ReleasedCodeSystem) -> None:
    chance = random.Random(1)
    some = select(CONCEPT.c.code, CONCEPT.c.words).where(
        CONCEPT.c.release_id == system.release_id, CONCEPT.c.number % 211 == 3
    )
    async with database.read() as connection:
        rows = (await connection.execute(some)).all()
    sizes = {row.code: await below(system, row.code) for row in rows[:400]}
    big = [code for code, size in sizes.items() if size > BIG] or [max(sizes, key=sizes.__getitem__)]
    small = [code for code, size in sizes.items() if 5 < size < SMALL]

    def typed(words: int, letters: int) -> str:
        found = [word for word in chance.choice(rows).words.split() if word.isalpha()]
        return " ".join(word[:letters] for word in chance.sample(found, min(words, len(found))))

    def is_a(codes: Sequence[str]) -> Filter:
        return Filter("concept", FilterOperator.IS_A, chance.choice(codes))

    await measure("locate", lambda: system.locate(chance.choice(rows).code), 2_000)
    await measure(
        "lets_through is-a", lambda: system.lets_through(chance.choice(rows).code, [is_a(big)]), 1_000
    )
    for words, letters in ((1, 1), (1, 3), (1, 5), (2, 4), (2, 20)):
        name = f"{words} words, {letters} letters"
        await measure(
            name, lambda w=words, n=letters: system.select(Selection((), typed(w, n), True, 0, 100))
        )
    for name, codes in (("large", big), ("small", small)):
        for words, letters in ((1, 4), (2, 4)):
            await measure(
                f"{words} words, {letters} letters, below a {name} one",
                lambda w=words, n=letters, c=codes: system.select(
                    Selection([is_a(c)], typed(w, n), True, 0, 100)
                ),
            )


async def below(system: ReleasedCodeSystem, code: str) -> int:
    found = await system.select(Selection([Filter("concept", FilterOperator.IS_A, code)], limit=0))
    return found.total or 0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--concepts", type=int, default=350_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--beside", metavar="URL", help="only write there, all the time")
    given = parser.parse_args()
    if given.beside:
        await write_beside(given.beside)
    async with made_database(given.database, given.keep) as url:
        await upgrade(url)
        database = Database(url)
        if not await Releases(database, RULES).systems():
            await load(url, database, given.concepts)
        (system,) = await Releases(database, RULES).systems()
        await ask_all(database, system)
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
