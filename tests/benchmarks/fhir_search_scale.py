"""FHIR searches in a large record: `python tests/benchmarks/fhir_search_scale.py [--database postgresql]`.

Fills the tables directly, twice: 10 000 resources, and `--resources` of them (200 000): patients with 80
Observations, 12 DiagnosticReports and 7 Encounters each. Then runs the same searches on both, from the
parameters to the rows, in one process without HTTP, and prints median and 95th percentile of the wall time
and the CPU time of this process. With `--explain` the plans too; with `--keep FILE` SQLite's large
one stays there, and is used again.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Table, text

from fhir.interactions.included import read_included
from fhir.search.compartment import patients_of
from fhir.search.index import index_rows
from fhir.search.matches import read_matches
from fhir.search.query import parse_query
from fhir.search.sql import kept_page, lower_page, named
from fhir.search.value import Surroundings
from fhir.tables import FhirCompartment, FhirResource
from server.kernel.access import EVERYONE, system_access
from server.kernel.bulk import copy_rows
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.migrations import upgrade
from tests.services.postgresql import cluster

Json = Any
SMALL = 10_000
PER_PATIENT = 100
PATIENTS_AT_ONCE = 50
AROUND = Surroundings(UTC, "http://localhost/fhir", 1_700_000_000_000_000)
ACCESS = system_access("benchmark")
MRN, LOINC = "http://benchmark.example/mrn", "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def coded(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def record(number: int) -> Iterator[Json]:
    """All resources of one patient."""
    patient = {"reference": f"Patient/p{number}"}
    yield {
        "resourceType": "Patient",
        "id": f"p{number}",
        "active": True,
        "identifier": [{"system": MRN, "value": f"p{number}"}],
        "name": [{"family": f"Fam{number % 500}", "given": [f"G{number}", "Q"]}],
        "gender": "female" if number % 2 else "male",
        "birthDate": f"{1940 + number % 70}-{1 + number % 12:02}-{1 + number % 28:02}",
    }
    for at in range(80):
        yield {
            "resourceType": "Observation",
            "id": f"o{number}-{at}",
            "status": "final",
            "category": [coded(CATEGORY, "imaging")],
            "code": coded(LOINC, f"{1000 + (number * 7 + at) % 40}-1"),
            "subject": patient,
            "effectiveDateTime": f"20{10 + (number + at) % 15}-0{1 + at % 9}-1{number % 10}T10:00:00Z",
            "valueQuantity": {"value": (number * 0.37 + at) % 100, "unit": "mm", "code": "mm"},
        }
    for at in range(12):
        yield {
            "resourceType": "DiagnosticReport",
            "id": f"r{number}-{at}",
            "status": "final",
            "category": [coded("http://terminology.hl7.org/CodeSystem/v2-0074", ("RAD", "LAB")[at % 2])],
            "code": coded(LOINC, "24627-2"),
            "subject": patient,
            "effectiveDateTime": f"20{10 + at}-05-10T11:00:00Z",
            "result": [{"reference": f"Observation/o{number}-{at * 6 + n}"} for n in range(3)],
        }
    for at in range(7):
        yield {
            "resourceType": "Encounter",
            "id": f"e{number}-{at}",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": patient,
            "period": {"start": f"202{at % 5}-01-01", "end": f"202{at % 5}-01-02"},
        }


def rows_of(first: int, last: int) -> Mapping[Table, list[dict[str, Any]]]:
    """The rows of some patients' records, in all tables."""
    rows: dict[Table, list[dict[str, Any]]] = {}
    for number in range(first, last):
        for at, resource in enumerate(record(number)):
            rid = number * PER_PATIENT + at + 1
            row = {"rid": rid, "type": resource["resourceType"], "id": resource["id"], "version_id": 1}
            row |= {"last_updated_us": AROUND.now_us + rid, "deleted": False, "body": orjson.dumps(resource)}
            rows.setdefault(table_of(FhirResource), []).append(row)
            for table, found in index_rows(resource, AROUND).items():
                rows.setdefault(table, []).extend({"rid": rid, **each} for each in found)
            for patient in patients_of(resource, resource["id"], AROUND):
                compartment = {"rid": rid, "patient_id": patient}
                rows.setdefault(table_of(FhirCompartment), []).append(compartment)
    return rows


async def fill(database: Database, patients: int) -> None:
    for first in range(0, patients, PATIENTS_AT_ONCE):
        rows = rows_of(first, min(first + PATIENTS_AT_ONCE, patients))

        async def work(unit: UnitOfWork, rows: Mapping[Table, list[dict[str, Any]]] = rows) -> None:
            for table, found in rows.items():
                columns = [column.name for column in table.columns if column.name in found[0]]
                values = [tuple(row[name] for name in columns) for row in found]
                await copy_rows(unit.connection, table.name, columns, values)

        await database.transact(work)
    async with database.read() as connection:
        await connection.execute(text("ANALYZE"))


@dataclass(frozen=True)
class Search:
    """A search by name; `asked` makes its parameters of a random patient."""

    name: str
    resource_type: str
    asked: Callable[[int], str]


def code(number: int) -> str:
    return f"{1000 + number % 40}-1"


SEARCHES = [
    Search("Observation?patient", "Observation", lambda n: f"patient=Patient/p{n}&_count=20"),
    Search("Patient?identifier", "Patient", lambda n: f"identifier={MRN}|p{n}"),
    Search("Patient?family (prefix)", "Patient", lambda n: f"family=Fam{n % 100}&_count=20"),
    Search(
        "Report?patient&category&date+result",
        "DiagnosticReport",
        lambda n: (
            f"patient=Patient/p{n}&category=RAD&date=ge2012-01-01&_include=DiagnosticReport:result&_count=20"
        ),
    ),
    Search(
        "Observation?patient&code&_sort=-date",
        "Observation",
        lambda n: f"patient=p{n}&code={LOINC}|{code(n)}&_sort=-date&_count=20",
    ),
    Search("Observation?patient&_sort=-date", "Observation", lambda n: f"patient=p{n}&_sort=-date&_count=20"),
    Search(
        "Patient?name&birthdate", "Patient", lambda n: f"name=fam{n % 500}&birthdate=ge1990&_sort=birthdate"
    ),
    Search(
        "Observation?code&value>50&_sort=-date",
        "Observation",
        lambda n: f"code={code(n)}&value-quantity=gt50&_sort=-date&_count=20",
    ),
    Search(
        "Observation?patient.identifier", "Observation", lambda n: f"patient.identifier={MRN}|p{n}&_count=20"
    ),
    Search("Patient?_has:Observation:code", "Patient", lambda n: f"_has:Observation:patient:_id=o{n}-1"),
    Search("Observation (first page)", "Observation", lambda _: "_count=20"),
    Search("Observation?status", "Observation", lambda _: "status=final&_count=20"),
    Search("Observation?status (none)", "Observation", lambda _: "status=amended&_count=20"),
    Search("Observation?code", "Observation", lambda n: f"code={LOINC}|{code(n)}&_count=20"),
    Search("Observation?code without system", "Observation", lambda n: f"code={code(n)}&_count=20"),
    Search("Observation?_sort=-date", "Observation", lambda _: "_sort=-date&_count=20"),
    Search("Observation?_sort=-_lastUpdated", "Observation", lambda _: "_sort=-_lastUpdated&_count=20"),
    Search("Patient?_sort=family", "Patient", lambda _: "_sort=family&_count=20"),
    Search(
        "Patient?gender&_sort=-birthdate", "Patient", lambda _: "gender=female&_sort=-birthdate&_count=20"
    ),
    Search(
        "Observation?date (a day)", "Observation", lambda n: f"date=2015-0{1 + n % 9}-1{n % 10}&_count=20"
    ),
    Search("Observation?date=ge", "Observation", lambda _: "date=ge2023-06-01&_count=20"),
]


def pairs(each: Search, number: int) -> list[tuple[str, str]]:
    return [
        (name, value) for name, _, value in (part.partition("=") for part in each.asked(number).split("&"))
    ]


async def ask(database: Database, each: Search, number: int) -> int:
    """Everything of a search but HTTP and the Bundle's text; how many it finds."""
    query = parse_query(each.resource_type, pairs(each, number), access=ACCESS)
    found = await read_matches(database, query, EVERYONE, AROUND, None)
    await read_included(database, ACCESS, query, [row.rid for row in found[: query.count]], AROUND)
    return len(found)


async def measure(
    database: Database, each: Search, patients: int, count: int
) -> tuple[float, float, float, int]:
    """Median and 95th percentile of wall time, median of CPU time, in ms; and how many it finds at most."""
    chance = random.Random(each.name)
    times, costs, found = [], [], 0
    until = time.perf_counter() + 10
    for _ in range(count):
        number = chance.randrange(patients)
        begun, spent = time.perf_counter(), time.process_time()
        found = max(found, await ask(database, each, number))
        times.append((time.perf_counter() - begun) * 1e3)
        costs.append((time.process_time() - spent) * 1e3)
        if time.perf_counter() > until:
            break
    times.sort()
    return statistics.median(times), times[int((len(times) - 1) * 0.95)], statistics.median(costs), found


async def explain(database: Database, each: Search, number: int) -> None:
    """Print the database's plan."""
    query = parse_query(each.resource_type, pairs(each, number), access=ACCESS)
    page, listed = lower_page(query, EVERYONE, AROUND, None)
    look_up, values = kept_page(page, len(listed)), named(listed)
    async with database.read() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        options = {} if is_sqlite else {"literal_binds": True}
        select = look_up.select.params(values)
        compiled = select.compile(dialect=connection.dialect, compile_kwargs=options)
        if is_sqlite:
            parameters = tuple(compiled.params[name] for name in compiled.positiontup)
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", parameters)
        else:
            plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {compiled}")
        for row in plan:
            print("      ", row[-1])


@asynccontextmanager
async def filled(url: str, resources: int) -> AsyncIterator[Database]:
    """A database with so many resources."""
    await upgrade(url)
    database = Database(url)
    async with database.read() as connection:
        is_there = (await connection.execute(text("SELECT 1 FROM fhir_resource LIMIT 1"))).one_or_none()
    if not is_there:
        begun = time.perf_counter()
        await fill(database, resources // PER_PATIENT)
        print(f"filled {resources} resources in {time.perf_counter() - begun:.0f} s", flush=True)
    yield database
    await database.close()


async def run(small: str, large: str, arguments: argparse.Namespace, searches: Sequence[Search]) -> None:
    """Both records, search by search."""
    async with filled(small, SMALL) as few, filled(large, arguments.resources) as many:
        print(
            f"{'ms':<38} {'small p50':>9} {'p95':>8} {'CPU':>7} {'large p50':>9} {'p95':>8} {'CPU':>7} found"
        )
        for each in searches:
            first = await measure(few, each, SMALL // PER_PATIENT, arguments.count)
            second = await measure(many, each, arguments.resources // PER_PATIENT, arguments.count)
            print(
                f"{each.name:<38} {first[0]:>9.2f} {first[1]:>8.2f} {first[2]:>7.2f}"
                f" {second[0]:>9.2f} {second[1]:>8.2f} {second[2]:>7.2f} {second[3]:>5}",
                flush=True,
            )
            if arguments.explain:
                await explain(many, each, 7)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--resources", type=int, default=200_000)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    searches = [each for each in SEARCHES if arguments.only in each.name]
    if arguments.database == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            large = arguments.keep or Path(folder) / "large.db"
            urls = [f"sqlite+aiosqlite:///{path}" for path in (Path(folder) / "small.db", large)]
            asyncio.run(run(*urls, arguments, searches))
        return
    with cluster() as running:
        for name in ("small", "large"):
            running.run_sql(f"CREATE DATABASE {name}")
        asyncio.run(run(running.url("small"), running.url("large"), arguments, searches))


if __name__ == "__main__":
    main()
