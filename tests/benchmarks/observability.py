"""What watching costs: `python tests/benchmarks/observability.py [--count N]`.

First the parts by themselves, then a FHIR read and a store of one small instance on servers side by side, in
blocks by turns: two without traces, whose difference is the noise, and one that traces every request.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fhir_door import FHIR_JSON, create, patient
from served import Client, Served, parse_arguments, serve

from tests.services.otlp import otlp_receiver

ROUNDS = 8
PARTS = """
import sys, time
from server.http.access_log import IN_FLIGHT, observe
from server.http.route_group import route_group
from server.kernel.database_metrics import PoolWatch
from server.kernel.tracing import child_span, current_ids, span

pool = PoolWatch("read", "read", "read")
scope = {"method": "GET", "path": "/fhir/Patient/1"}

def request():
    group = route_group(scope)
    IN_FLIGHT[group].inc()
    IN_FLIGHT[group].dec()
    observe((group.value, "GET", "/fhir/{resource_type}/{id}"), 200, 0.003)

def connection():
    with pool.use() as use:
        use.taken()

def no_span():
    with span("x"):
        pass

for name, act in (("request", request), ("connection", connection), ("span, off", no_span),
                  ("child span, off", lambda: child_span("x")), ("log line, off", current_ids)):
    best = []
    for _ in range(7):
        begun = time.process_time()
        for _ in range(20000):
            act()
        best.append((time.process_time() - begun) / 20000 * 1e6)
    print(f"  {name:<24} {sorted(best)[3]:8.2f} µs")
"""


def parts() -> None:
    """The counters of a request and of a use of the database, in memory and in files; spans that are off."""
    with tempfile.TemporaryDirectory() as folder:
        for where, more in (("in memory", {}), ("in files", {"PROMETHEUS_MULTIPROC_DIR": folder})):
            print(where, flush=True)
            environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **more}
            subprocess.run([sys.executable, "-c", PARTS], check=True, env=environment)


def block(served: Served, count: int, act: Callable[[Client, int], object]) -> float:
    """CPU µs that one operation cost the server."""
    client = Client(served)  # one that waited for its turn may have been closed
    cpu = served.cpu_s()
    for number in range(count):
        act(client, number)
    return (served.cpu_s() - cpu) / count * 1e6


def side_by_side(count: int) -> None:
    """Servers that differ in traces alone."""
    with ExitStack() as stack:
        receiver = stack.enter_context(otlp_receiver())
        servers = {name: stack.enter_context(serve("sqlite")) for name in ("off", "off again")}
        os.environ["ISTHMUS_OTLP_ENDPOINT"] = receiver.endpoint
        servers["on"] = stack.enter_context(serve("sqlite"))
        del os.environ["ISTHMUS_OTLP_ENDPOINT"]
        ids = {name: create(Client(each), "Patient", patient(0)) for name, each in servers.items()}

        def read(name: str) -> Callable[[Client, int], object]:
            return lambda client, _: client.ask("GET", f"/fhir/Patient/{ids[name]}", headers=FHIR_JSON)

        def write(_name: str) -> Callable[[Client, int], object]:
            return lambda client, number: create(client, "Patient", patient(number + time.time_ns() % 10**9))

        for title, each, times in (("FHIR read", read, count), ("FHIR create", write, count // 4)):
            compare(title, servers, {name: each(name) for name in servers}, times)
        print(f"spans received: {len(receiver.spans)}")


def compare(
    title: str,
    servers: dict[str, Served],
    acts: dict[str, Callable[[Client, int], object]],
    count: int,
) -> None:
    """Blocks by turns, their medians, and the ratios within each round."""
    costs: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(ROUNDS + 1):
        for name in sorted(servers, key=lambda each: hash((each, turn))):
            costs[name].append(block(servers[name], count, acts[name]))
    for name, found in costs.items():
        ratios = [one / other for one, other in zip(found[1:], costs["off"][1:], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        cost, ratio = statistics.median(found[1:]), statistics.median(ratios)
        print(f"{title:<14} traces {name:<10} {cost:8.0f} µs  x{ratio:5.2f} ({spread})")


if __name__ == "__main__":
    arguments = parse_arguments(__doc__, 400)
    parts()
    side_by_side(arguments.count)
