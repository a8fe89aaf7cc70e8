"""Run the terminology ecosystem's test cases: `python -m tests.conformance.tx_ecosystem FOLDER [options]`.

    FOLDER                 `tests/` of a copy of HL7/fhir-tx-ecosystem-ig
    --base URL             a running server; without it the operations are called in this process
    --mode MODE            of the cases (default: general; may be repeated)
    --suite, --operation, --name TEXT     only those (name: contains)
    --show                 print each difference, with request and answer of a single case

Ends with the number of cases passed by suite.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .cases import Case, load_cases, to_r5
from .compare import differences
from .perform import in_process, over_http

Json = Any
Perform = Callable[[Case], Awaitable[tuple[int, Json]]]


async def main() -> int:
    options = _options()
    perform: Perform = over_http(options.base) if options.base else in_process
    passed: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for case in load_cases(options.folder, options.mode or ["general"]):
        if not _is_wanted(case, options):
            continue
        every[case.suite] += 1
        problems, answer = await run(case, perform)
        passed[case.suite] += not problems
        if problems:
            print(f"FAILED {case.suite}: {case.name} ({case.operation})")
            for problem in problems[: 20 if options.show else 2]:
                print(f"    {problem}")
            if options.show and options.name:
                print(json.dumps(answer, indent=1))
    for suite, count in every.items():
        print(f"{suite:30} {passed[suite]:4} of {count:4}")
    print(f"{'all':30} {passed.total():4} of {every.total():4}")
    return int(passed.total() != every.total())


async def run(case: Case, perform: Perform) -> tuple[list[str], Json]:
    """What is wrong with the answer to a case, and the answer."""
    try:
        status, answer = await perform(case)
    except Exception as problem:  # noqa: BLE001  # a defect of ours must not end the run
        return [f"{type(problem).__name__}: {problem}"], None
    problems: list[str] = []
    for expected in case.responses:
        problems = list(differences(expected, to_r5(answer)))
        if not problems:
            break
    if (status // 100 == 2) != case.status.startswith("2"):
        problems.insert(0, f"status {status}, expected {case.status}")
    return problems, answer


def _is_wanted(case: Case, options: argparse.Namespace) -> bool:
    return (
        options.suite in (None, case.suite)
        and options.operation in (None, case.operation)
        and (options.name is None or options.name in case.name)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base")
    parser.add_argument("--mode", action="append")
    for name in ("--suite", "--operation", "--name"):
        parser.add_argument(name)
    parser.add_argument("--show", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
