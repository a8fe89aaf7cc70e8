"""Searches in a large index: `python tests/benchmarks/qidoscale.py [--database postgresql] [--studies N]`.

Fills the index tables directly, twice: 20 000 instances, and two series and ten instances for each of N
studies (100 000). Then runs the same searches on both, from the parameters to the body, in one process
without HTTP, and prints median and 95th percentile of the wall time, and how the large index compares.
With `--explain` the plans too.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Table, text

from dicomweb.attributes import Level
from dicomweb.search.keys import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Key
from dicomweb.search.query import Query, parse_query
from dicomweb.search.search import search
from dicomweb.search.sql import select_matches
from dicomweb.store.columns import series_columns, study_columns, study_names
from dicomweb.tables import Instance, Series, Study, StudyName
from server.kernel.access import EVERYONE
from server.kernel.bulk import copy_rows
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.migrations import upgrade
from tests.services.postgresql import cluster

SMALL_STUDIES = 2000  # 20 000 instances
ROWS_AT_ONCE = 20_000
SYLLABLES = [consonant + vowel for consonant in "bdfghklmnprstvw" for vowel in "aeo"]
CT, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"


def batched(things: Iterable[Any], count: int) -> Iterator[tuple[Any, ...]]:
    left = iter(things)
    while some := tuple(islice(left, count)):
        yield some


def attribute(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def study_attributes(number: int, chance: random.Random) -> dict[str, Any]:
    """What a study says; one patient in a hundred is a Smith."""
    family = "Smith" if number % 100 == 7 else "".join(chance.choices(SYLLABLES, k=3)).title()
    given = "".join(chance.choices(SYLLABLES, k=2)).title()
    day = time.gmtime(1_577_836_800 + (number * 2_654_435_761 % 2190) * 86_400)
    return {
        "00080020": attribute("DA", time.strftime("%Y%m%d", day)),
        "00080030": attribute("TM", f"{number % 24:02}{number % 60:02}00"),
        "00080050": attribute("SH", f"A{number:08}"),
        "00080090": attribute("PN", {"Alphabetic": f"Doctor{number % 300}^A"}),
        "00081030": attribute("LO", f"Study kind {number % 400}"),
        "00100010": attribute("PN", {"Alphabetic": f"{family}^{given}"}),
        "00100020": attribute("LO", f"P{number // 2:08}"),
        "00100030": attribute("DA", f"{1930 + number % 80}0{1 + number % 9}15"),
        "00100040": attribute("CS", "FM"[number % 2]),
        "0020000D": attribute("UI", f"2.25.1{number:09}"),
        "00200010": attribute("SH", str(number)),
    }


def series_attributes(number: int) -> dict[str, Any]:
    """What a series says; one in a hundred is a segmentation."""
    modality = "SEG" if number % 100 == 99 else ("CT", "MR", "CR")[number % 3]
    return {
        "00080060": attribute("CS", modality),
        "0008103E": attribute("LO", f"Series kind {number % 500}"),
        "00180015": attribute("CS", ("CHEST", "HEAD", "ABDOMEN")[number % 3]),
        "0020000E": attribute("UI", f"2.25.2{number:09}"),
        "00200011": attribute("IS", number % 2 + 1),
    }


def rows(studies: int) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """The rows of every table, parents first, in bites; keys count from 1."""
    for numbers in batched(range(1, studies + 1), 2000):
        chance = random.Random(numbers[0])
        told = {number: study_attributes(number, chance) for number in numbers}
        yield table_of(Study), [_study(number, told[number]) for number in numbers]
        yield (
            table_of(StudyName),
            [{"study_id": number, **name} for number in numbers for name in study_names(told[number])],
        )
        of_series = [(number * 2 + n - 1, number) for number in numbers for n in (0, 1)]
        yield table_of(Series), [_series(*each) for each in of_series]
        yield table_of(Instance), [_instance(s, study, n) for s, study in of_series for n in range(5)]


def _study(number: int, attributes: dict[str, Any]) -> dict[str, Any]:
    return study_columns(attributes) | {
        "id": number,
        "study_instance_uid": f"2.25.1{number:09}",
        "patient_system": "urn:benchmark",
        "patient_value": f"P{number // 2:08}",
        "patient_id": f"p{number // 2}",
        "link_state": "linked",
        "created_us": number,
        "changed_us": number,
        "attributes": orjson.dumps(attributes).decode(),
    }


def _series(number: int, study: int) -> dict[str, Any]:
    attributes = series_attributes(number)
    return series_columns(attributes) | {
        "id": number,
        "study_id": study,
        "series_instance_uid": f"2.25.2{number:09}",
        "created_us": number,
        "pack_due_us": None,
        "attributes": orjson.dumps(attributes).decode(),
    }


def _instance(series: int, study: int, n: int) -> dict[str, Any]:
    number = series * 5 + n
    return {
        "id": number,
        "study_id": study,
        "series_id": series,
        "sop_instance_uid": f"2.25.3{number:010}",
        "sop_class_uid": SEG if series % 100 == 99 else CT,
        "instance_number": n + 1,
        "rows": 512,
        "columns": 512,
        "bits_allocated": 16,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "origin": "received",
        "stored_us": number,
        "object_name": f"series/{series}",
        "object_offset": n * 500_000,
        "object_length": 500_000,
        "data_set_offset": 350,
        "file_sha256": number.to_bytes(32, "big"),
        "data_set_sha256": number.to_bytes(32, "big"),
    }


async def fill(database: Database, studies: int) -> None:
    """Write the index of so many studies."""
    for table, entries in rows(studies):

        async def work(unit: UnitOfWork, table: Table = table, entries: Any = entries) -> None:
            for some in batched(entries, ROWS_AT_ONCE):
                values = [tuple(entry.values()) for entry in some]
                await copy_rows(unit.connection, table.name, tuple(some[0]), values)

        await database.transact(work)
    async with database.read() as connection:
        await connection.execute(text("ANALYZE"))


@dataclass(frozen=True, slots=True)
class Search:
    """One kind of search; `parameters` by a random number below the count of studies."""

    name: str
    parameters: Callable[[int], Mapping[str, str]]
    level: Level = Level.STUDY
    target: Callable[[int], Sequence[tuple[Key, str]]] = lambda _: ()

    def query(self, number: int) -> Query:
        """The query for one number."""
        given = {"limit": "101", **self.parameters(number)}
        return parse_query(self.level, given.items(), self.target(number))


def week(number: int) -> str:
    begin = 1_577_836_800 + number % 2180 * 86_400
    return "-".join(time.strftime("%Y%m%d", time.gmtime(begin + days * 86_400)) for days in (0, 6))


def of_study(number: int) -> Sequence[tuple[Key, str]]:
    return ((STUDY_INSTANCE_UID, f"2.25.1{number + 1:09}"),)


def of_series(number: int) -> Sequence[tuple[Key, str]]:
    return *of_study(number), (SERIES_INSTANCE_UID, f"2.25.2{number * 2 + 1:09}")


SEARCHES = [
    Search("PatientID exact", lambda n: {"PatientID": f"P{n // 2:08}"}),
    Search("AccessionNumber exact", lambda n: {"AccessionNumber": f"A{n:08}"}),
    Search("PatientName SMI*", lambda _: {"PatientName": "SMI*"}),
    Search("PatientName *mit*", lambda _: {"PatientName": "*mit*"}),
    Search("PatientName *zzz* (none)", lambda _: {"PatientName": "*zzz*"}),
    Search("fuzzy smiht", lambda _: {"PatientName": "smiht", "fuzzymatching": "true"}),
    Search("fuzzy, two words", lambda _: {"PatientName": "smyth bada", "fuzzymatching": "true"}),
    Search("week", lambda n: {"StudyDate": week(n)}),
    Search("week + ModalitiesInStudy CT", lambda n: {"StudyDate": week(n), "ModalitiesInStudy": "CT"}),
    Search("ModalitiesInStudy SEG, all time", lambda _: {"ModalitiesInStudy": "SEG"}),
    Search("StudyDescription prefix", lambda n: {"StudyDescription": f"Study kind {n % 400}*"}),
    Search("newest 101", lambda _: {}),
    Search("newest 101, offset half", lambda _: {"offset": "HALF"}),
    Search("orderby PatientName", lambda _: {"orderby": "PatientName"}),
    Search("newest 101 with count", lambda _: {"count": "true"}),
    Search("series of all studies: SEG", lambda _: {"Modality": "SEG"}, Level.SERIES),
    Search(
        "series: SeriesDescription", lambda n: {"SeriesDescription": f"Series kind {n % 500}"}, Level.SERIES
    ),
    Search("instances: SOP class SEG", lambda _: {"SOPClassUID": SEG}, Level.INSTANCE),
    Search("series of a study", lambda _: {}, Level.SERIES, of_study),
    Search("instances of a study", lambda _: {}, Level.INSTANCE, of_study),
    Search("instances of a series", lambda _: {}, Level.INSTANCE, of_series),
]


def queries_of(each: Search, studies: int, count: int) -> Iterator[Query]:
    chance = random.Random(each.name)
    for _ in range(count):
        made = Search(
            each.name,
            lambda n: {k: v.replace("HALF", str(studies // 2)) for k, v in each.parameters(n).items()},
            each.level,
            each.target,
        )
        yield made.query(chance.randrange(1, studies))


async def measure(database: Database, queries: Iterable[Query]) -> tuple[float, float, float]:
    """Median and 95th percentile of the wall time, and the median of this process's CPU time, in ms."""
    times, costs = [], []
    for query in queries:
        begun, spent = time.perf_counter(), time.process_time()
        await search(database, query, EVERYONE, "http://localhost")
        times.append((time.perf_counter() - begun) * 1e3)
        costs.append((time.process_time() - spent) * 1e3)
    times.sort()
    return (
        statistics.median(times),
        times[min(len(times) - 1, int(len(times) * 0.95))],
        statistics.median(costs),
    )


async def explain(database: Database, query: Query) -> None:
    """Print the database's plan."""
    async with database.read() as connection:
        compiled = select_matches(query, EVERYONE).compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
        prefix = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        for row in await connection.exec_driver_sql(prefix + str(compiled)):
            print("      ", row[-1])


@asynccontextmanager
async def filled(url: str, studies: int) -> AsyncIterator[Database]:
    """A database with an index of so many studies."""
    await upgrade(url)
    database = Database(url)
    begun = time.perf_counter()
    await fill(database, studies)
    print(f"filled {studies} studies in {time.perf_counter() - begun:.0f} s", flush=True)
    yield database
    await database.close()


async def run(small: str, large: str, arguments: argparse.Namespace) -> None:
    """Both indexes, search by search."""
    studies = arguments.studies
    async with filled(small, SMALL_STUDIES) as few, filled(large, studies) as many:
        print(
            f"{'ms':<34} {'20k p50':>8} {'p95':>8} {'CPU':>7} {'large p50':>10} {'p95':>8} {'CPU':>7} ratio"
        )
        for each in SEARCHES:
            of_few = list(queries_of(each, SMALL_STUDIES, arguments.count))
            of_many = list(queries_of(each, studies, arguments.count))
            await measure(few, of_few[:2])
            await measure(many, of_many[:2])
            first, second = await measure(few, of_few), await measure(many, of_many)
            print(
                f"{each.name:<34} {first[0]:>8.2f} {first[1]:>8.2f} {first[2]:>7.2f} {second[0]:>10.2f}"
                f" {second[1]:>8.2f} {second[2]:>7.2f} {second[1] / first[1]:>5.1f}",
                flush=True,
            )
            if arguments.explain:
                await explain(many, of_many[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--explain", action="store_true")
    arguments = parser.parse_args()
    if arguments.database == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            urls = [f"sqlite+aiosqlite:///{Path(folder) / name}.db" for name in ("small", "large")]
            asyncio.run(run(*urls, arguments))
        return
    with cluster() as running:
        for name in ("small", "large"):
            running.run_sql(f"CREATE DATABASE {name}")
        asyncio.run(run(running.url("small"), running.url("large"), arguments))


if __name__ == "__main__":
    main()
