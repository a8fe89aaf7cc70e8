"""What a backup and a restore cost: `python tests/benchmarks/backup.py [--count N] [--database postgresql]`.

N small instances of 1 kB and a tenth as many of 0.5 MB, backed up while the server runs, then restored to an
empty SQLite installation. CPU and memory are those of the command's process.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from dicomweb_door import STORE, Slices, study_uid
from served import Client, Served, parse_arguments, serve

from tests.conformance.ps3_18.kit import Place, ct_file

EACH = 50  # instances of a request
PASSPHRASE = {"ISTHMUS_BACKUP_KEY": "a passphrase for measuring"}


def store_small(client: Client, count: int) -> int:
    """Store small instances, `EACH` a study; returns their bytes."""
    size = 0
    for study in range(count // EACH):
        uid = study_uid(10_000 + study)
        files = [ct_file(Place(uid, f"{uid}.1", f"{uid}.1.{number}")) for number in range(EACH)]
        size += sum(map(len, files))
        head = b"--benchmark-boundary\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"".join(head + file + b"\r\n" for file in files) + b"--benchmark-boundary--\r\n"
        client.ask("POST", "/dicom-web/studies", body, STORE)
    return size


def store_slices(client: Client, count: int) -> int:
    """Store instances of 0.5 MB; returns their bytes."""
    slices, size = Slices(), 0
    for study in range(count // EACH):
        body = slices.request(study, 0, EACH)
        size += len(body)
        client.ask("POST", "/dicom-web/studies", body, STORE)
    return size


def run_command(name: str, words: list[str], environment: Mapping[str, str], amount: tuple[int, int]) -> None:
    """Run a command of ours, and print what it cost."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "server", *words], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall, cpu = time.perf_counter() - begun, used.ru_utime + used.ru_stime
    if status:
        raise SystemExit(f"{name}: failed")
    instances, size = amount
    print(
        f"{name:<32} {wall:>7.1f} s {cpu:>7.1f} s {size / wall / 1e6:>7.0f} MB/s {instances / wall:>7.0f}/s"
        f" {cpu / instances * 1e3:>8.2f} ms {used.ru_maxrss / 1024:>6.0f} MiB",
        flush=True,
    )


def run(served: Served, count: int) -> None:
    """Every row."""
    client, data = Client(served), str(served.folder)
    size = store_small(client, count) + store_slices(client, count // 10)
    amount = (count + count // 10, size)
    database = "SQLite" if served.postmaster is None else "PostgreSQL"
    print(f"{amount[0]} instances, {size / 1e6:.0f} MB, {database}")
    print(f"{'':<32} {'wall':>9} {'CPU':>9} {'':>12} {'instances':>9} {'CPU each':>11} {'memory':>10}")
    to_sqlite = {name: value for name, value in served.environment.items() if name != "ISTHMUS_DATABASE_URL"}
    for kind, secret in (("plain", {}), ("encrypted", PASSPHRASE)):
        repository, restored = f"{data}-{kind}", f"{data}-{kind}-restored"
        environment = {**served.environment, **secret}
        try:
            words = ["backup", repository, "--data", data]
            run_command(f"backup, {kind}", words, environment, amount)
            run_command(f"backup again, {kind}", words, environment, amount)
            run_command(f"verify, {kind}", ["backup", "verify", repository], environment, amount)
            words = ["restore", repository, "--data", restored]
            run_command(f"restore, {kind}", words, {**to_sqlite, **secret}, amount)
        finally:
            for folder in (repository, restored):
                shutil.rmtree(Path(folder), ignore_errors=True)


if __name__ == "__main__":
    arguments = parse_arguments(__doc__, 5000)
    with serve(arguments.database) as started:
        run(started, arguments.count)
