"""Expression constraints over a made-up release of SNOMED CT's size: import, memory, and how long each takes.

    python -m tests.benchmarks.snomed_ecl --concepts 350000
    python -m tests.benchmarks.snomed_ecl --database postgresql+asyncpg://…/empty

For each expression: how many concepts it means; the median of finding the first hundred and counting all,
and of asking whether one concept is among them.
"""

import argparse
import asyncio
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from server.kernel.database import Database
from server.migrations import upgrade
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.loading.rf2 import read_release
from terminology.releases.kinds import RULES
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.releases.writer import write_release
from tests.benchmarks.made_up_rf2 import ATTRIBUTES, TAGS, sctid, write_rf2

ROUNDS, PAGE = 9, 100


def code(at: int) -> str:
    """A concept of a made-up release."""
    return sctid(10 + at, "10")


TOP, OTHER, SMALL = code(1), code(2), code(700)
FIRST, SECOND, REFSET = code(1 + len(TAGS)), code(2 + len(TAGS)), code(1 + len(TAGS) + ATTRIBUTES)
EXPRESSIONS = {
    "below a top": f"<< {TOP}",
    "children": f"<! {TOP}",
    "above": f">> {SMALL}",
    "members": f"^ {REFSET}",
    "AND": f"<< {TOP} AND ^ {REFSET}",
    "OR": f"<< {TOP} OR << {OTHER}",
    "MINUS": f"<< {TOP} MINUS << {SMALL}",
    "an attribute": f"< {TOP} : {SECOND} = << {OTHER}",
    "any value": f"< {TOP} : {SECOND} = *",
    "two attributes": f"< {TOP} : {FIRST} = << {OTHER}, {SECOND} = << {OTHER}",
    "a group": f"< {TOP} : {{ {FIRST} = << {OTHER}, {SECOND} = << {OTHER} }}",
    "one group": f"< {TOP} : [1..1] {{ {FIRST} = << {OTHER} }}",
    "no attribute": f"< {TOP} : [0..0] {FIRST} = *",
    "reversed": f"< {TOP} : R {FIRST} = << {OTHER}",
    "nested": f"< {TOP} : {FIRST} = (< {OTHER} : {SECOND} = *)",
    "dotted": f"< {TOP} . {FIRST}",
    "top of a set": f"!!> (< {TOP} . {FIRST})",
    "bottom": f"!!< (<< {TOP})",
    "a number": f"* : {FIRST} >= #5",
    "a word": f'< {TOP} {{{{ term = "bra" }}}}',
    "status": f"< {TOP} {{{{ C definitionStatus = defined }}}}",
    "history": f"< {TOP} {{{{ +HISTORY }}}}",
}


async def measure(system: ReleasedCodeSystem) -> None:
    """Ask every expression."""
    print(f"{'':16} {'concepts':>9} {'page, ms':>9} {'one, ms':>8}")
    for name, text in EXPRESSIONS.items():
        filters = [Filter("constraint", FilterOperator.EQUALS, text)]
        selection = Selection(filters, limit=PAGE)
        total = (await system.select(selection)).total
        page = await _median_ms(lambda selection=selection: system.select(selection))  # type: ignore[misc]
        one = await _median_ms(lambda filters=filters: system.lets_through(SMALL, filters))  # type: ignore[misc]
        print(f"{name:16} {total:9} {page:9.1f} {one:8.1f}")


async def _median_ms(ask: Callable[[], Awaitable[object]]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = perf_counter()
        await ask()
        taken.append(1_000 * (perf_counter() - start))
    return median(taken)


async def run(folder: Path, url: str, concepts: int) -> None:
    """Write, import, measure."""
    await asyncio.to_thread(write_rf2, folder / "release", concepts)
    await upgrade(url)
    database = Database(url)
    start = perf_counter()
    draft = await asyncio.to_thread(read_release, folder / "release")
    read_s = perf_counter() - start
    with draft:
        await write_release(database, draft)
    import_s = perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{concepts} concepts: read in {read_s:.0f} s, imported in {import_s:.0f} s, {memory} MiB at most")
    (system,) = await Releases(database, RULES).systems()
    await measure(system)
    await database.close()


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=350_000)
    parser.add_argument("--database", help="of an empty database; SQLite in a temporary folder otherwise")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        url = arguments.database or f"sqlite+aiosqlite:///{name}/isthmus.db"
        asyncio.run(run(Path(name), url, arguments.concepts))


if __name__ == "__main__":
    main()
