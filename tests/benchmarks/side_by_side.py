"""Servers that differ in one thing, asked the same in blocks by turns: what that thing costs.

Nothing here asserts a time. CPU per operation and its ratio hardly move with busy neighbours; latency does.
"""

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from served import Client, Served

ROUNDS = 6  # counted; one more goes before

Act = Callable[[Client, int], object]


@dataclass
class Costs:
    """What the blocks of one server cost, round by round."""

    cpu_us: list[float] = field(default_factory=list)
    database_us: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)


def compare(
    title: str, servers: Mapping[str, Served], acts: Mapping[str, Act], count: int, connections: int
) -> None:
    """Print a row for each server; the first of them is what the ratios are to."""
    costs = {name: Costs() for name in servers}
    names = list(servers)
    for turn in range(ROUNDS + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            _block(servers[name], acts[name], count, connections, costs[name])
    base = costs[names[0]].cpu_us[1:]
    for name, found in costs.items():
        ratios = [one / other for one, other in zip(found.cpu_us[1:], base, strict=True)]
        cuts = statistics.quantiles(found.latencies_ms, n=20)
        print(
            f"{title:<24} {connections:>3} {name:<14} {statistics.median(found.cpu_us[1:]):>8.0f} µs"
            f" {statistics.median(found.database_us[1:]):>8.0f} µs  x{statistics.median(ratios):4.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f}) {cuts[9]:>7.2f} {cuts[18]:>7.2f} ms",
            flush=True,
        )


def heading() -> None:
    """The columns' names."""
    columns = f"{'operation':<24} {'con':>3} {'server':<14} {'CPU each':>11} {'PostgreSQL':>11}  ratio"
    print(f"{columns:<92} p50     p95")


def _block(served: Served, act: Act, count: int, connections: int, costs: Costs) -> None:
    clients = [Client(served) for _ in range(connections)]
    latencies: list[list[float]] = [[] for _ in clients]

    def run(first: int) -> None:
        for number in range(first, count, connections):
            begun = time.perf_counter()
            act(clients[first], number)
            latencies[first].append((time.perf_counter() - begun) * 1e3)

    cpu, database = served.cpu_s(), served.database_cpu_s()
    threads = [threading.Thread(target=run, args=(first,)) for first in range(connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    costs.cpu_us.append((served.cpu_s() - cpu) / count * 1e6)
    costs.database_us.append((served.database_cpu_s() - database) / count * 1e6)
    if len(costs.cpu_us) > 1:
        costs.latencies_ms += itertools.chain.from_iterable(latencies)


def each_of(paths: Sequence[str], headers: Mapping[str, str]) -> Act:
    """GET one of these after the other."""
    return lambda client, number: client.ask("GET", paths[number % len(paths)], headers=headers)
