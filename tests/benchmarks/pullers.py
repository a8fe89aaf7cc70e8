"""Does a small query wait behind large retrievals? `python tests/benchmarks/pullers.py [--count N]`.

Ten clients, each a process of its own, retrieve a series of 200 CT slices of 0.5 MB over and over; beside
them one asks for studies by PatientID. Prints how long that takes alone and beside them, and what they pull.

Then whether storing slows as the store grows: the CPU time of a stored instance, ten a request, thousand by
thousand (`--grow` thousands; 0: leave it out).
"""

import argparse
import multiprocessing
import statistics
import time
from multiprocessing.synchronize import Event

from dicomweb_door import ANY_SYNTAX, DICOM_JSON, FIRST_STUDY, SLICES, STORE, Slices, study_uid
from served import Client, Served, serve

PULLERS = 10
PAUSE_S = 0.05  # between two queries
EACH = 10  # instances of a Store request
STUDY_OF = 200  # instances of a stored study


def pull(served: Served, path: str, stop: Event, pulled: "multiprocessing.Queue[int]") -> None:
    """Retrieve the series until told to stop; how often."""
    client, times = Client(served), 0
    while not stop.is_set():
        client.ask("GET", path, headers=ANY_SYNTAX)
        times += 1
    pulled.put(times)


def ask(served: Served, count: int) -> str:
    """Median, 95th percentile and longest of so many queries, in ms."""
    client, took = Client(served), []
    for _ in range(count):
        begun = time.perf_counter()
        client.ask("GET", f"/dicom-web/studies?PatientID={FIRST_STUDY + 1}", headers=DICOM_JSON)
        took.append((time.perf_counter() - begun) * 1000)
        time.sleep(PAUSE_S)
    p95 = statistics.quantiles(took, n=20)[-1]
    return f"p50 {statistics.median(took):.1f} ms, p95 {p95:.1f} ms, longest {max(took):.1f} ms"


def measure_pulling(served: Served, count: int) -> None:
    """The query alone, then beside the pullers."""
    slices, client = Slices(), Client(served)
    for first in range(0, SLICES, EACH):
        client.ask("POST", "/dicom-web/studies", slices.request(1, first, EACH), STORE)
    path = f"/dicom-web/studies/{study_uid(1)}/series/{study_uid(1)}.1"
    client.ask("GET", path, headers=ANY_SYNTAX)
    print(f"alone:  {ask(served, count)}", flush=True)
    context = multiprocessing.get_context("fork")
    stop, pulled = context.Event(), context.Queue()
    pullers = [context.Process(target=pull, args=(served, path, stop, pulled)) for _ in range(PULLERS)]
    begun = time.perf_counter()
    for puller in pullers:
        puller.start()
    print(f"beside: {ask(served, count)}", flush=True)
    stop.set()
    series = sum(pulled.get() for _ in pullers)
    seconds = time.perf_counter() - begun
    for puller in pullers:
        puller.join()
    print(f"{PULLERS} pullers: {series} series in {seconds:.1f} s, {series * 105 / seconds:.0f} MB/s")


def measure_growth(served: Served, thousands: int) -> None:
    """What a stored instance costs, thousand by thousand."""
    slices, client, stored = Slices(), Client(served), 0
    for thousand in range(1, thousands + 1):
        cpu, begun = served.cpu_s(), time.perf_counter()
        for _ in range(0, 1000, EACH):
            study, first = 100 + stored // STUDY_OF, stored % STUDY_OF
            client.ask("POST", "/dicom-web/studies", slices.request(study, first, EACH), STORE)
            stored += EACH
        cpu, wall = served.cpu_s() - cpu, time.perf_counter() - begun
        print(f"thousand {thousand:>3}: {cpu:.2f} ms CPU an instance, {1000 / wall:.0f}/s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="queries of a row")
    parser.add_argument("--grow", type=int, default=10, help="thousands of instances to store")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    arguments = parser.parse_args()
    with serve(arguments.database) as started:
        measure_pulling(started, arguments.count)
        measure_growth(started, arguments.grow)
