"""What validation costs: CPU time per resource, by type, with and without invariants.

Usage: python tests/benchmarks/fhir_validation.py [--rounds N]

The resources are HL7's examples and Synthea's where they are (`tests/fhir_examples.py`), else a few of ours.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fhir.model.validation import rules, validate
from tests.fhir_examples import BUNDLES, EXAMPLES, example


def resources() -> dict[str, list[dict[str, Any]]]:
    """Valid resources by type; those of bundles by themselves."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in (*EXAMPLES, *BUNDLES):
        resource = example(name)
        for each in (resource, *(e["resource"] for e in resource.get("entry", ()) if "resource" in e)):
            if not validate(each):
                found[each["resourceType"]].append(each)
    return found


def cost_us(of: list[dict[str, Any]], rounds: int) -> float:
    """The median over rounds of the mean CPU time of one validation."""
    means = []
    for _ in range(rounds):
        began = thread_time_ns()
        for each in of:
            validate(each)
        means.append((thread_time_ns() - began) / len(of) / 1000)
    return median(means)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    everything, check = resources(), rules.check_invariants
    print(f"{'type':<24}{'count':>6}{'structure':>11}{'with invariants':>17}   µs of CPU each")
    for name, of in sorted(everything.items(), key=lambda item: -len(item[1])):
        whole = cost_us(of, rounds)
        rules.check_invariants = lambda *_: None
        structure = cost_us(of, rounds)
        rules.check_invariants = check
        print(f"{name:<24}{len(of):>6}{structure:>11.1f}{whole:>17.1f}")


if __name__ == "__main__":
    main()
