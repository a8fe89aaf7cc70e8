"""Killed in the middle of a deletion: it is done as a whole, or not begun."""

import asyncio
import signal
import sys

import pytest

from dicomweb.tables import DeletedStudy, Instance, InstanceMetadata, Series, Study, Tombstone
from fhir.tables import FhirResource
from server.kernel.tables import ObjectRemoval
from tests.conformance.ps3_18.kit import ct_file, place
from tests.conftest import sqlite_first
from tests.unit.deletion.conftest import Archive

STUDY = place().study
SCRIPT = """
import asyncio, os, signal, sys, tempfile
from pathlib import Path
from dicomweb.retrieve.locate import Resource
from server.kernel.access import Principal
from server.kernel.database import Database, UnitOfWork
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from server.workflows.deletion import delete as deletion

def killing(function):
    async def run(*arguments):
        result = await function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return result
    return run

url, where, study = sys.argv[1:]
if where == "flush":
    UnitOfWork.flush = killing(UnitOfWork.flush)
elif where != "transact":
    setattr(deletion, where, killing(getattr(deletion, where)))
else:
    Database.transact = killing(Database.transact)

async def main():
    database = Database(url)
    objects = LocalObjectStore(Path(tempfile.mkdtemp()) / "objects")
    services = Services(database, objects, ReadAudit(database), "http://testserver")
    await deletion.delete(services, deletion.Deletion(Resource(study), Principal("x", "x"), "killed"))

asyncio.run(main())
"""
WRITTEN = (Study, Series, Instance, InstanceMetadata, Tombstone, DeletedStudy, ObjectRemoval, FhirResource)


@sqlite_first  # test_races.py deletes on both
@pytest.mark.parametrize("where", ["bury", "_say_deleted", "remove_rows", "flush", "transact"])
async def test_a_killed_deletion_is_whole_or_nothing(archive: Archive, database_url: str, where: str) -> None:
    await archive.stow(ct_file(place(instance=1)), ct_file(place(instance=2)))
    before = await archive.counts(WRITTEN)
    command = [sys.executable, "-c", SCRIPT, database_url, where, STUDY]
    killed = await asyncio.create_subprocess_exec(*command)
    assert await killed.wait() == -signal.SIGKILL
    if where == "transact":  # it had committed
        assert await archive.counts(WRITTEN) == [0, 0, 0, 0, 1, 1, 1, 2]
    else:
        assert await archive.counts(WRITTEN) == before == [1, 1, 2, 2, 0, 0, 0, 0]
        assert await archive.delete(STUDY) == 2
