"""Acknowledged means durable: the order of writes, flushes and the answer, and what a full disk does."""

import errno
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import FileDataset

from tests.services.postgresql import Cluster

CALL = re.compile(r"^\d+ +(?P<call>\w+)\((?P<fd>\d+<[^>]*>)(?P<rest>.*)")


def traced_calls(log: Path) -> list[tuple[str, str, str]]:
    """(system call, file, rest) of each traced call that began, in order."""
    matches = map(CALL.match, log.read_text(errors="replace").splitlines())
    return [(m["call"], m["fd"].partition("<")[2].rstrip(">"), m["rest"]) for m in matches if m]


def first(calls: list[tuple[str, str, str]], start: int, name: str, where: str, text: str = "") -> int:
    """The place of the first such call from `start` on."""
    for at in range(start, len(calls)):
        call, file, rest = calls[at]
        if call in name.split("|") and where in file and text in rest:
            return at
    raise AssertionError(f"no {name} of {where} {text} after call {start}")


def test_bytes_then_row_then_answer(server_process: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    server_process.start("--no-worker")
    http = server_process.client()
    http.get("/dicom-web/studies").raise_for_status()  # what a first request opens is open
    log = server_process.data / "strace.log"
    traced = "trace=pwrite64,fdatasync,fsync,writev,sendto,sendmsg,write"
    command = ["strace", "-f", "-y", "-s", "64", "-e", traced, "-o", str(log)]
    tracer = subprocess.Popen([*command, "-p", str(server_process.process.pid)], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    assert b"attached" in tracer.stderr.readline()
    kit.store(http, chest[:1]).raise_for_status()
    tracer.terminate()
    tracer.communicate()
    calls = traced_calls(log)
    written = first(calls, 0, "pwrite64", "/objects/journal/")
    flushed = first(calls, written, "fdatasync", "/objects/journal/")
    logged = first(calls, flushed, "pwrite64", "isthmus.db-wal")
    committed = first(calls, logged, "fdatasync|fsync", "isthmus.db-wal")
    answered = first(calls, committed, "write|writev|sendto|sendmsg", "", "HTTP/1.1 200")
    earlier = [c for c in calls[:committed] if "HTTP/1.1 200" in c[2]]
    assert earlier == []
    assert written < flushed < logged < committed < answered


@pytest.mark.parametrize("server_database", ["postgresql"], indirect=True)
def test_bytes_then_row_then_answer_on_postgresql(
    server_process: Any, durable_postgresql: Cluster, kit: Any, chest: Sequence[FileDataset]
) -> None:
    server_process.start("--no-worker")
    http = server_process.client()
    http.get("/dicom-web/studies").raise_for_status()
    ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'isthmus'"
    backends = [pid for (pid,) in durable_postgresql.run_sql(ours)]
    assert backends
    log = server_process.data / "strace.log"
    traced = "trace=pwrite64,fdatasync,fsync,writev,sendto,sendmsg,write"
    followed = [word for pid in (server_process.process.pid, *backends) for word in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "64", "-e", traced, "-o", str(log), *followed], stderr=subprocess.PIPE
    )
    assert tracer.stderr is not None
    attached = [tracer.stderr.readline() for _ in (0, *backends)]
    assert all(b"attached" in line for line in attached)
    kit.store(http, chest[:1]).raise_for_status()
    tracer.terminate()
    tracer.communicate()
    calls = traced_calls(log)
    written = first(calls, 0, "pwrite64", "/objects/journal/")
    flushed = first(calls, written, "fdatasync", "/objects/journal/")
    logged = first(calls, flushed, "pwrite64", "/pg_wal/")
    committed = first(calls, logged, "fdatasync|fsync", "/pg_wal/")
    first(calls, committed, "write|writev|sendto|sendmsg", "", "HTTP/1.1 200")
    assert [call for call in calls[:committed] if "HTTP/1.1 200" in call[2]] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_full_disk_is_503_and_nothing_is_listed(
    system: Any, kit: Any, chest: Sequence[FileDataset], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    body = kit.multipart([kit.part10(dataset) for dataset in chest[:5]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        refused = await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert refused.status_code == 503, refused.text
    assert int(refused.headers["retry-after"]) > 0
    assert (await system.http.get("/dicom-web/studies")).json() == []
    stored = await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert stored.status_code == 200, stored.text
    listed = await system.http.get("/dicom-web/instances")
    assert len(listed.json()) == 5


async def test_full_disk_turns_readiness_red(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(system.folder)._replace(free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    answer = await system.http.get("/readyz")
    assert answer.status_code == 503
    assert "no room" in answer.json()["checks"]["object-store"]
    assert (await system.http.get("/livez")).status_code == 200


async def test_damaged_bytes_are_never_given_out(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    body = kit.multipart([kit.part10(chest[0])])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    (journal,) = (system.services.objects.inner._root / "journal").iterdir()
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(content)
    path = (
        f"/dicom-web/studies/{chest[0].StudyInstanceUID}/series/{chest[0].SeriesInstanceUID}"
        f"/instances/{chest[0].SOPInstanceUID}"
    )
    answer = await system.http.get(path, headers={"Accept": "application/dicom"})
    assert answer.status_code == 500
    assert answer.content[128:132] != b"DICM"
