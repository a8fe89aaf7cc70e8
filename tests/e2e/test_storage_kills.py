"""Packing and removal: killed at any moment nothing is lost; what is flushed before a row is switched."""

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from dicomweb.store.index import index_instances
from dicomweb.store.instances import Origin, StoredInstance, prepare_instance
from dicomweb.tables import Instance
from server.app import build_services, close_services
from server.kernel.object_store import StoredRange
from server.kernel.object_stores import join_installation
from server.kernel.rows import table_of
from server.kernel.tables import ObjectRemoval
from server.migrations import upgrade
from server.settings import Settings
from tests.conformance.ps3_18.kit import ct_file, place
from tests.e2e.pack_for_ever import make_due, run
from tests.e2e.test_durability import first, traced_calls

SCRIPT = Path(__file__).with_name("pack_for_ever.py")
KILLS = 3


async def fill(folder: Path, studies: int, instances: int) -> dict[str, bytes]:
    """Store studies one instance a request; the files by SOP Instance UID."""
    settings = Settings(data=folder)
    settings.data.mkdir()
    await upgrade(settings.database)
    services = build_services(settings)
    await join_installation(services.database, services.objects)
    places = [
        place(study=study, instance=number)
        for study in range(1, studies + 1)
        for number in range(1, instances + 1)
    ]
    files = {where.instance: ct_file(where, PixelData=os.urandom(32)) for where in places}
    for file in files.values():
        stored = [StoredInstance(prepare_instance(file), (await services.objects.put([file]))[0])]
        await services.database.transact(
            lambda unit, stored=stored: index_instances(unit, stored, Origin.RECEIVED, services.site)
        )
    await close_services(services)
    return files


async def read_all(folder: Path) -> dict[str, bytes]:
    services = build_services(Settings(data=folder))
    c = table_of(Instance).c
    query = select(c.sop_instance_uid, c.object_name, c.object_offset, c.object_length)
    async with services.database.read() as connection:
        rows = (await connection.execute(query)).all()
    read = {row[0]: await services.objects.read(StoredRange(*row[1:])) for row in rows}
    await close_services(services)
    return read


def kill_after_a_round(folder: Path, more_s: float) -> None:
    """Let it pack everything once, then some more, then no more."""
    with subprocess.Popen([sys.executable, str(SCRIPT), str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        begun = process.stdout.readline()
        time.sleep(more_s)
        process.kill()
    assert begun == b"round\n"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_killed_packing_loses_nothing(tmp_path: Path, seed: int) -> None:
    folder, moment = tmp_path / "data", random.Random(seed)
    files = await fill(folder, studies=3, instances=5)
    for _ in range(KILLS):
        kill_after_a_round(folder, moment.uniform(0.0, 0.3))
        assert await read_all(folder) == files
    await run(folder, 4)  # and it goes on
    assert await read_all(folder) == files
    await leaves_only_orphans(folder)


async def leaves_only_orphans(folder: Path) -> None:
    """What the kills left is what the sweep would find: objects that nothing refers to."""
    services = build_services(Settings(data=folder))
    await services.database.transact(make_due)
    async with services.database.read() as connection:
        names = set((await connection.execute(select(table_of(Instance).c.object_name))).scalars())
        noted = set((await connection.execute(select(table_of(ObjectRemoval).c.object_name))).scalars())
    listed = {each.name async for each in services.objects.list_objects()}
    assert names <= listed
    assert all("packed/" in name or "journal/" in name for name in listed - names - noted)
    await close_services(services)


def test_copy_is_durable_before_a_row_refers_to_it(tmp_path: Path) -> None:
    folder, log = tmp_path / "data", tmp_path / "strace.log"
    asyncio.run(fill(folder, studies=1, instances=2))
    traced = "trace=write,pwrite64,fsync,fdatasync,rename"
    strace = ["strace", "-f", "-y", "-s", "4200", "-e", traced, "-o", str(log)]
    subprocess.run(
        [*strace, sys.executable, str(SCRIPT), str(folder), "1"], check=True, stdout=subprocess.PIPE
    )
    calls = traced_calls(log)
    written = first(calls, 0, "write", "/objects/spool/")
    flushed = first(calls, written, "fsync", "/objects/spool/")
    named = first(calls, flushed, "fsync", "/packed")  # the folder, after the rename into it
    logged = first(calls, named, "pwrite64", "isthmus.db-wal", "packed/")
    committed = first(calls, logged, "fdatasync|fsync", "isthmus.db-wal")
    earlier = [c for c in calls[:named] if "isthmus.db-wal" in c[1] and "packed/" in c[2]]
    assert earlier == []
    assert written < flushed < named < logged < committed
