"""What a resource costs the server that comes in a transaction, and what others wait for meanwhile:
`python tests/benchmarks/fhir_bundles.py [--count N] [--database postgresql] [--bundles DIR]`.

`--bundles` names a folder of transactions, such as Synthea's; they are sent in the order of their names.
"""

import argparse
import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from fhir_door import FHIR_JSON, MINIMAL, create, observation, patient
from served import Client, Served, heading, measure, serve

ENTRIES = 100  # of a transaction
MANY = 5_000  # of the one that others wait for


def transaction(entries: int, number: int) -> bytes:
    """A Patient and Observations of it, which name it by its fullUrl."""
    subject = f"urn:uuid:{uuid.uuid4()}"
    made = [_entry("Patient", json.loads(patient(number)), subject)]
    for at in range(entries - 1):
        resource = {**json.loads(observation("", at)), "subject": {"reference": subject}}
        made.append(_entry("Observation", resource, f"urn:uuid:{uuid.uuid4()}"))
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": made}).encode()


def _entry(resource_type: str, resource: Any, full_url: str) -> dict[str, Any]:
    request = {"method": "POST", "url": resource_type}
    return {"fullUrl": full_url, "resource": resource, "request": request}


def import_folder(served: Served, folder: Path) -> None:
    """The files of a folder, one after the other."""
    texts = [path.read_bytes() for path in sorted(folder.glob("*.json"))]
    entries = [len(json.loads(text)["entry"]) for text in texts]
    client = Client(served)
    cpu, database, began = served.cpu_s(), served.database_cpu_s(), time.perf_counter()
    for text in texts:
        client.ask("POST", "/fhir", text, MINIMAL)
    count, wall = sum(entries), time.perf_counter() - began
    cpu, database = (served.cpu_s() - cpu) / count * 1e6, (served.database_cpu_s() - database) / count * 1e6
    costs = f"{cpu:>9.0f} µs {database:>9.0f} µs {count / wall:>8.0f}/s"
    print(f"{f'{len(texts)} files, {count} resources':<48} {1:>3} {costs}", flush=True)


def beside_others(served: Served) -> None:
    """One transaction of `MANY` entries; how long reads and creates take that come meanwhile."""
    first = create(Client(served), "Patient", patient(1))
    ended = threading.Event()
    waits: dict[str, list[float]] = {"read": [], "create": []}

    def ask(what: str) -> None:
        client = Client(served)
        while not ended.is_set():
            began = time.perf_counter()
            if what == "read":
                client.ask("GET", f"/fhir/Patient/{first}", headers=FHIR_JSON)
            else:
                create(client, "Observation", observation(first, 1))
            waits[what].append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask, args=(what,)) for what in waits]
    body, client = transaction(MANY, 2), Client(served)
    for thread in threads:
        thread.start()
    cpu, began = served.cpu_s(), time.perf_counter()
    client.ask("POST", "/fhir", body, MINIMAL)
    wall, cpu = time.perf_counter() - began, served.cpu_s() - cpu
    ended.set()
    for thread in threads:
        thread.join()
    print(f"a transaction of {MANY} entries: {wall:.1f} s, {cpu:.1f} s of CPU")
    for what, seconds in waits.items():
        ordered = sorted(seconds)
        middle, longest = ordered[len(ordered) // 2], ordered[-1]
        print(
            f"  {what} meanwhile: {len(ordered)}, p50 {middle * 1e3:.0f} ms, longest {longest * 1e3:.0f} ms"
        )


def run(served: Served, count: int, folder: Path | None) -> None:
    """Every row; CPU and rates are of a resource."""
    heading()
    if folder is not None:
        import_folder(served, folder)
    for connections in (1, 4):
        measure(
            served,
            f"transaction of {ENTRIES}",
            count,
            connections,
            lambda c, n, first=connections * 10_000: c.ask(  # type: ignore[misc]
                "POST", "/fhir", transaction(ENTRIES, first + n), MINIMAL
            ),
            operations_each=ENTRIES,
        )
    beside_others(served)
    print(f"memory, highest: {served.memory_mib():.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="transactions of a row")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--bundles", type=Path, help="a folder of transactions")
    arguments = parser.parse_args()
    with serve(arguments.database) as started:
        run(started, arguments.count, arguments.bundles)
