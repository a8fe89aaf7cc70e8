"""Every limit stands in docs/ by the name of its constant, in one row with its value.

The rule: a public module-level number called MAX_…, and the limits under other names that `ALSO` lists.
"""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("server", "fhir", "terminology", "dicomweb", "ai_engine")
NOT_OURS_TO_TELL = ("ai_engine/bundles/", "ai_engine/phantom/", "server/client/demo", "/definitions/")
ALSO = (
    "ai_engine.bundle.LARGEST_CONFIG_BYTES",
    "ai_engine.preprocess.projections.LARGEST_MAGNIFICATION",
    "ai_engine.preprocess.projections.MOST_IMAGES",
    "ai_engine.preprocess.separate.SCOUT_COSINE",
    "ai_engine.preprocess.refusal.LARGEST_INPUT_VOXELS",
    "ai_engine.preprocess.stack.LARGEST_TILT_COSINE",
    "ai_engine.preprocess.stack.PARALLEL_COSINE",
    "ai_engine.preprocess.stack.SAME_PLACE_MM",
    "ai_engine.preprocess.stack.SMALLEST_RUN_SHARE",
    "ai_engine.preprocess.stack.SPACING_TOLERANCE",
    "ai_engine.runners.sandbox.PROBE_TIMEOUT_S",
    "dicomweb.pixels.pool.CHILD_MEMORY_BYTES",
    "dicomweb.pixels.pool.IDLE_S",
    "dicomweb.pixels.pool.TASK_S",
    "dicomweb.response_codes.RETRY_AFTER_S",
    "dicomweb.store.limits.BATCH_BYTES",
    "dicomweb.store.limits.BATCH_INSTANCES",
    "dicomweb.store.limits.PARSERS",
    "dicomweb.store.grouped.COLLISION_ATTEMPTS",
    "dicomweb.wire.deflate.FREE_INFLATED_BYTES",
    "dicomweb.wire.walk.INLINE_BINARY_BYTES",
    "dicomweb.wire.walk.INLINE_VALUE_BYTES",
    "dicomweb.worklist.search.DEFAULT_LIMIT",
    "fhir.search.conditions.DEFAULT_COUNT",
    "fhir.subscriptions.deliver.IN_A_ROW",
    "server.app.FHIR_BODY_BYTES",
    "terminology.effort.STEPS_OF_A_SECOND",
    "terminology.releases.find.COUNTED",
    "terminology.releases.removal.ABANDONED_S",
    "server.backup.hold.HOLD_S",
    "server.app.FORM_BODY_BYTES",
    "server.app.CLOSE_S",
    "server.audit.forward.receiver.CONNECT_S",
    "server.audit.forward.receiver.END_S",
    "server.audit.forward.receiver.SEND_S",
    "server.audit.forward.run.HELD_DAYS",
    "server.auth.administration.lists.PAGE",
    "server.auth.assertions.LEEWAY_S",
    "server.auth.emergency.access.LASTS_US",
    "server.auth.emergency.review.COUNTED",
    "server.auth.federation.provider_link.AGAIN_US",
    "server.auth.federation.provider_link.FRESH_US",
    "server.auth.federation.provider_link.PATIENCE_S",
    "server.auth.published_keys.AGAIN_US",
    "server.auth.published_keys.FRESH_US",
    "server.auth.token_endpoint.TOKEN_TTL_S",
    "server.auth.tokens.CACHE_TOKENS",
    "server.auth.tokens.CACHE_US",
    "server.http.draining_server.FORCED_END_S",
    "server.http.health.FRESH_US",
    "server.http.health.TIMEOUT_S",
    "server.http.metrics.FACTS_TIMEOUT_S",
    "server.http.problem.RETRY_AFTER_S",
    "server.kernel.job_overview.COUNTED_JOBS",
    "server.kernel.job_overview.PAGE",
    "server.kernel.jobs.BEAT_S",
    "server.kernel.jobs.DEAD_AFTER_S",
    "server.http.rate_limits.BURST_S",
    "server.http.paced_bodies.BODY_MIN_BYTES",
    "server.http.paced_bodies.BODY_WINDOW_S",
    "server.http.supervisor.FAILED_STARTS",
    "server.http.tls.CLOSE_S",
    "server.http.tls.HANDSHAKE_S",
    "server.http.tls.LOOK_S",
    "server.http.supervisor.SILENT_S",
    "server.http.supervisor.START_S",
    "server.kernel.local_store.MIN_FREE_BYTES",
    "server.kernel.cloud_store.REQUESTS_AT_ONCE",
    "server.kernel.envelope_store.DATA_KEYS",
    "server.kernel.local_store.ROTATE_BYTES",
    "server.kernel.local_store.ROTATE_S",
    "server.kernel.local_store.UNCOMMITTED_S",
    "server.kernel.cache.TTL_S",
    "server.kernel.read_audit.WINDOW_US",
    "server.kernel.redis.CONNECTIONS",
    "server.kernel.redis.PROBE_S",
    "server.kernel.redis.TIMEOUT_S",
    "server.kernel.outbound.ANSWER_S",
    "server.kernel.outbound.CONNECT_S",
    "server.kernel.subscription_policy.LONGEST_RETRY_S",
    "server.serve.BACKLOG",
    "server.serve.KEEP_ALIVE_S",
    "server.workflows.projection.LISTED_INSTANCES",
    "server.workflows.routes.PAGE",
    "server.workflows.subscriptions.overview.COUNTED",
    "server.workflows.consents.overview.PAGE",
    "server.workflows.subscriptions.overview.PAGE",
    "server.workflows.worklist_metrics.COUNTED_WORKITEMS",
    "server.workflows.storage.damage.PAGE",
    "server.workflows.storage.figures.COUNTED_ROWS",
    "server.workflows.storage.sweep.YOUNG_S",
    "server.workflows.worker_process.STOP_TIMEOUT_S",
)


def constants(path: Path) -> Iterator[str]:
    """The names that a module assigns at its top level."""
    for node in ast.parse(path.read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name)) if target else ()


def limits() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not any(part in name for part in NOT_OURS_TO_TELL):
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                yield from (f"{module}.{each}" for each in constants(path) if each.startswith("MAX_"))
    yield from ALSO


def value_of(limit: str) -> int | float:
    module, _, name = limit.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    assert isinstance(value, int | float), limit
    return value


def spellings(limit: str) -> Iterator[str]:
    """How a document may write the value; numbers of five digits and more have a blank between thousands."""
    value = value_of(limit)
    yield f"{value:,}".replace(",", " ")
    yield f"{value:g}" if isinstance(value, float) else f"{value}"
    if limit.endswith("_US"):
        yield f"{value / 1_000_000:g} s"
    for shift, unit in ((10, "KiB"), (20, "MiB"), (30, "GiB")):
        if isinstance(value, int) and value and value % (1 << shift) == 0:
            yield f"{value >> shift} {unit}"


@pytest.mark.parametrize("limit", list(limits()))
def test_every_limit_stands_in_docs_with_its_value(limit: str, lines: list[str]) -> None:
    rows = [line for line in lines if f"`{limit}`" in line]
    assert rows, f"{limit} = {value_of(limit)} is in no document"
    cells = {cell.strip() for row in rows for cell in row.split("|")}
    assert cells & set(spellings(limit)), f"{limit} is {value_of(limit)}; the document says {rows}"


def test_no_document_names_a_limit_that_is_not_there(lines: list[str]) -> None:
    known = set(limits())
    cells = [cell.strip().strip("`") for line in lines if line.startswith("|") for cell in line.split("|")]
    told = [
        cell for cell in cells if cell.startswith(tuple(f"{p}." for p in PACKAGES)) and cell[-1].isupper()
    ]
    assert [cell for cell in told if cell not in known] == []
