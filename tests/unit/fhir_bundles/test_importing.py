"""`isthmus fhir import`: resources of files, ids kept, and what is wrong with them told by file and line."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from fhir.bundles import importing
from fhir.bundles.importing import Imported, import_files
from fhir.interactions.door import Door, Policy
from fhir.interactions.read import read_resource
from fhir.tables import FhirResource
from server.kernel.access import system_access
from server.kernel.rows import table_of
from server.kernel.services import Services
from tests.conformance.fhir_r4.bundles import bundle, entry, observation, patient, transaction

URN = "urn:uuid:0c3201bd-1cbf-4d64-b04d-cd9187a4c6e0"
ACCESS = system_access("import")


@pytest.fixture
def door(services: Services) -> Door:
    return Door(services, b"", Policy(create_on_update=False))  # a command's authority is above it


async def run(door: Door, *files: Path) -> Imported:
    told: list[int] = []
    imported = await import_files(door, ACCESS, files, told.append)
    assert sum(told) <= sum(file.stat().st_size for file in files if file.exists())
    return imported


def lines(path: Path, *resources: Any) -> Path:
    texts = (each if isinstance(each, str) else json.dumps(each) for each in resources)
    path.write_text("\n".join(texts) + "\n\n")
    return path


def document(path: Path, resource: Any) -> Path:
    path.write_text(json.dumps(resource, indent=2))
    return path


async def versions(door: Door) -> dict[str, int]:
    columns = table_of(FhirResource).c
    async with door.services.database.read() as connection:
        rows = await connection.execute(select(columns.type, columns.id, columns.version_id))
        return {f"{row.type}/{row.id}": row.version_id for row in rows}


async def test_ids_are_kept_and_running_again_changes_nothing(door: Door, tmp_path: Path) -> None:
    people = [{**patient(str(number)), "id": f"p{number}"} for number in range(3)]
    file = lines(tmp_path / "Patient.ndjson", *people)
    assert await run(door, file) == Imported(written=3)
    assert await run(door, file) == Imported(unchanged=3)
    lines(file, {**people[0], "gender": "male"}, people[1])
    assert await run(door, file) == Imported(written=1, unchanged=1)
    assert await versions(door) == {"Patient/p0": 2, "Patient/p1": 1, "Patient/p2": 1}


async def test_one_resource_twice_in_a_file_is_two_versions(door: Door, tmp_path: Path) -> None:
    one = {**patient(), "id": "p"}
    file = lines(tmp_path / "Patient.ndjson", one, {**one, "gender": "male"}, {**one, "gender": "male"})
    assert await run(door, file) == Imported(written=2, unchanged=1)
    assert await versions(door) == {"Patient/p": 2}


async def test_mistakes_are_told_by_file_and_line_and_stop_nothing(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "AT_ONCE", 2)
    file = lines(
        tmp_path / "all.ndjson",
        {**patient(), "id": "a"},
        {"resourceType": "Patient", "id": "b", "gender": "blue"},
        "{nonsense",
        {"resourceType": "Nothing", "id": "c"},
        {"resourceType": "AuditEvent", "id": "d"},
        {**patient(), "id": "e"},
    )
    missing, broken = tmp_path / "missing.json", tmp_path / "broken.json"
    broken.write_text("[1]")
    imported = await run(door, file, missing, broken)
    assert (imported.written, imported.failed) == (2, 6)
    places = [line.split(": ")[:2] for line in imported.refused]
    assert places[0] == ["all.ndjson:2", "Patient.gender"]
    assert [place for place, *_ in places[1:4]] == ["all.ndjson:3", "all.ndjson:4", "all.ndjson:5"]
    assert places[4][0] == str(missing)
    assert places[5][0] == "broken.json"
    assert "blue" not in "".join(imported.refused)


async def test_a_transaction_is_processed(door: Door, tmp_path: Path) -> None:
    good = transaction(
        entry("POST", "Patient", patient(), URN), entry("POST", "Observation", observation(URN))
    )
    bad = transaction(
        entry("POST", "Patient", patient()), entry("POST", "Patient", {"resourceType": "Patient", "x": 1})
    )
    imported = await run(door, document(tmp_path / "good.json", good), document(tmp_path / "bad.json", bad))
    assert (imported.written, imported.failed) == (2, 1)
    assert imported.refused[0].startswith("bad.json: Bundle.entry[1].resource")
    assert len(await versions(door)) == 2


async def test_entries_of_a_list_are_resources(door: Door, tmp_path: Path) -> None:
    kept = {"resourceType": "Bundle", "id": "b", "type": "document"}
    some = bundle(
        "collection", {"resource": {**patient(), "id": "p"}}, {"resource": {**observation("Patient/p")}}
    )
    file = document(tmp_path / "some.json", some)
    assert await run(
        door, file, document(tmp_path / "kept.json", {**kept, "type": "collection"})
    ) == Imported(written=3)
    async with door.services.database.read() as connection:
        assert (await read_resource(connection, "Patient", "p")) is not None
        assert (await read_resource(connection, "Bundle", "b")) is not None


async def test_entries_of_a_batch_fail_alone(door: Door, tmp_path: Path) -> None:
    asked = bundle(
        "batch", entry("POST", "Patient", patient()), entry("DELETE", "Patient/none"), entry("GET", "Basic/x")
    )
    imported = await run(door, document(tmp_path / "batch.json", asked))
    assert (imported.written, imported.failed) == (1, 1)
    assert imported.refused[0].startswith("batch.json: Bundle.entry[2]: ")
