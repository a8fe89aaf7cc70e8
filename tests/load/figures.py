"""What a run came to: percentiles by name, memory over time, who used the processors; as JSON and Markdown.

It is printed and kept, never asserted: time on a shared machine proves nothing.
"""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.load.installation import Sample

TARGET_P95_MS = 500.0
TARGET_ERRORS = 0.01
WARM_UP = 0.2  # of a run, before memory is expected to be flat: caches fill, pools open
MEMORY_OF = ("server", "worker")


@dataclass(frozen=True, slots=True)
class Run:
    """What there is to tell of a run."""

    what: dict[str, object]  # its options
    requests: dict[str, Any]  # from `tests.load.record.Record.save`
    samples: Sequence[Sample]
    proof: dict[str, object]  # from `tests.load.proof`


def summarise(run: Run) -> dict[str, Any]:
    """Everything that is printed, as values."""
    names = {name: _of_name(times) for name, times in sorted(run.requests["times"].items())}
    api = {name: each for name, each in names.items() if not name.startswith("long:")}
    count = sum(each["requests"] for each in names.values())
    failed = sum(each["failed"] for each in names.values())
    return {
        "options": run.what,
        "load_average_at_end": os.getloadavg(),
        "names": names,
        "failures": run.requests["failures"],
        "series_mb_per_s": _rates(run.requests["transfers"]),
        "memory": {
            role: _memory(run.samples, role) for role in MEMORY_OF if role in run.samples[0].memory_mib
        },
        "processors": _processors(run.samples),
        "proof": run.proof,
        "met": {
            "p95 of API calls < 500 ms": all(each["p95_ms"] < TARGET_P95_MS for each in api.values()),
            "errors < 1 %": failed < count * TARGET_ERRORS,
        },
    }


def _of_name(times: Sequence[tuple[float, float, bool]]) -> dict[str, Any]:
    took = sorted(ms for _, ms, _ in times)
    ends = max(at for at, _, _ in times)
    return {
        "requests": len(times),
        "failed": sum(failed for _, _, failed in times),
        "per_s": round(len(times) / max(ends, 1.0), 2),
        **{f"p{share}_ms": took[min(len(took) - 1, len(took) * share // 100)] for share in (50, 95, 99)},
        "max_ms": took[-1],
    }


def _rates(transfers: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Of whole series after their first byte, in MB/s."""
    rates = sorted(length / seconds / 1e6 for length, seconds in transfers if seconds > 0)
    return {"slowest": rates[0], "median": statistics.median(rates)} if rates else {}


def _memory(samples: Sequence[Sample], role: str) -> dict[str, float]:
    """Resident MiB, and the slope of a straight line through what follows the warm-up."""
    points = [(sample.at_s, sample.memory_mib[role]) for sample in samples]
    warm = [point for point in points if point[0] >= points[-1][0] * WARM_UP]
    slope = statistics.linear_regression(*zip(*warm, strict=True)).slope if len(warm) > 2 else 0.0
    return {
        "first_mib": points[0][1],
        "warm_mib": warm[0][1],
        "last_mib": points[-1][1],
        "highest_mib": max(mib for _, mib in points),
        "trend_mib_per_hour": slope * 3600,
    }


def _processors(samples: Sequence[Sample]) -> dict[str, float]:
    """The share of all processors' time that each role used, and everything else on this machine."""
    first, last = samples[0], samples[-1]
    whole = (last.at_s - first.at_s) * (os.cpu_count() or 1)
    used = {role: max(sample.cpu_s[role] for sample in samples) - first.cpu_s[role] for role in first.cpu_s}
    shares = {role: seconds / whole for role, seconds in used.items()}
    busy = (last.machine_busy_s - first.machine_busy_s) / whole
    return {**shares, "everything else": busy - sum(shares.values())}


def as_markdown(summary: dict[str, Any]) -> str:
    """Tables for people and for docs/benchmarks.md."""
    options = ", ".join(f"{name} {value}" for name, value in summary["options"].items())
    lines = [options, "", "| request | requests | failed | a second | p50 ms | p95 ms | p99 ms | max ms |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, each in summary["names"].items():
        figures = (
            each[key] for key in ("requests", "failed", "per_s", "p50_ms", "p95_ms", "p99_ms", "max_ms")
        )
        lines.append(f"| {name} | {' | '.join(f'{figure:g}' for figure in figures)} |")
    lines += [
        "",
        "| memory, MiB | at first | warm | at last | highest | trend an hour |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {role} | {' | '.join(f'{value:.0f}' for value in each.values())} |"
        for role, each in summary["memory"].items()
    ]
    shares = ", ".join(f"{role} {share:.0%}" for role, share in summary["processors"].items())
    lines += ["", f"Processors: {shares}. Load average {summary['load_average_at_end'][0]:.1f}."]
    if summary["series_mb_per_s"]:
        rates = summary["series_mb_per_s"]
        lines.append(
            f"Whole series: {rates['median']:.0f} MB/s in the middle, {rates['slowest']:.0f} the slowest."
        )
    lines.append(", ".join(f"{name}: {value}" for name, value in summary["proof"].items()) + ".")
    lines += [f"{'met' if met else 'NOT met'}: {target}" for target, met in summary["met"].items()]
    lines += [f"{count} × {failure}" for failure, count in summary["failures"].items()]
    return "\n".join(lines)


def write_result(run: Run, path: Path | None) -> dict[str, Any]:
    """Print the result, and keep it as JSON."""
    summary = summarise(run)
    if path is not None:
        samples = [{"at_s": s.at_s, "memory_mib": s.memory_mib, "cpu_s": s.cpu_s} for s in run.samples]
        path.write_text(json.dumps({**summary, "samples": samples}, indent=1))
    print(as_markdown(summary), flush=True)
    return summary
