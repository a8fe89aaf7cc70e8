"""The floor of traces: nothing when off; parents, carriers and no data when on."""

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from server.app import build_app
from server.http.tracing import NO_TELEMETRY
from server.kernel import tracing
from server.kernel.faults import NotFound
from server.kernel.logging import configure_logging
from server.kernel.services import Services
from server.kernel.tracing import (
    Kind,
    TracingSettings,
    child_span,
    close_tracing,
    configure_tracing,
    current_ids,
    current_traceparent,
    joined,
    span,
)
from server.settings import Settings
from tests.services.otlp import Receiver

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_off_is_nothing() -> None:
    assert not tracing.is_tracing()
    one = span("anything", {"a": 1})
    assert one is span("other")
    with joined(PARENT), one:
        one.set({"b": 2})
        one.rename("other")
        one.failed("500")
        assert current_traceparent() is None
        assert current_ids() == {}


def test_off_imports_neither_sdk_nor_exporter() -> None:
    script = (
        "import sys, server.app, server.workflows.analysis\n"
        "from server.kernel.tracing import configure_tracing\n"
        "configure_tracing(None, 'server')\n"
        "parts = ('opentelemetry.sdk', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(parts)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


async def test_spans_have_their_parents_also_across_tasks_and_threads(receiver: Receiver) -> None:
    def in_thread() -> None:
        with span("thread"):
            pass

    async def in_task() -> None:
        with span("task", kind=Kind.CLIENT):
            await asyncio.to_thread(in_thread)

    with span("root", {"isthmus.group": "stow"}, Kind.SERVER):
        await asyncio.create_task(in_task())
    with span("other"):
        pass
    close_tracing()
    (thread,), (root,), (other,) = map(receiver.named, ("thread", "root", "other"))
    assert receiver.ancestry(thread) == ["task", "root"]
    assert root.parent_id == ""
    assert root.attributes == {"isthmus.group": "stow"}
    assert root.service == "isthmus-test"
    assert other.trace_id != root.trace_id


def test_trace_goes_on_where_another_process_left_it(receiver: Receiver) -> None:
    with joined(PARENT), span("mine"):
        carried = current_traceparent()
    with joined(carried), span("yours"):
        assert current_ids()["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    close_tracing()
    (mine,), (yours,) = receiver.named("mine"), receiver.named("yours")
    assert (mine.trace_id, mine.parent_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert yours.parent_id == mine.span_id


@pytest.mark.parametrize("wrong", ["", "00-0-0-00", "nonsense", PARENT[:-3]])
def test_what_is_no_traceparent_begins_a_trace(receiver: Receiver, wrong: str) -> None:
    with joined(wrong), span("mine"):
        pass
    close_tracing()
    assert receiver.named("mine")[0].parent_id == ""


def test_trace_that_its_maker_does_not_keep_is_not_sent(receiver: Receiver) -> None:
    with joined(PARENT[:-1] + "0"), span("mine"):
        pass
    close_tracing()
    assert receiver.spans == []


def test_child_span_begins_no_trace(receiver: Receiver) -> None:
    with child_span("alone"):
        assert current_ids() == {}
    with span("root"), child_span("child"):
        pass
    close_tracing()
    assert [each.name for each in receiver.spans] == ["child", "root"]


def test_error_is_told_by_type_without_its_text(receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="Doe"), span("fails"):
        raise ValueError("Doe^John 1970-01-01")
    with pytest.raises(NotFound), span("not there"):
        raise NotFound("nothing by that name")
    with pytest.raises(asyncio.CancelledError), span("stopped"):
        raise asyncio.CancelledError
    close_tracing()
    (fails,), (missing,), (stopped,) = map(receiver.named, ("fails", "not there", "stopped"))
    assert (fails.is_error, fails.attributes["error.type"], fails.events) == (True, "ValueError", 0)
    assert (missing.is_error, stopped.is_error) == (False, False)
    assert not any(b"Doe" in body for body in receiver.bodies)


def test_log_lines_name_the_span(receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    configure_logging(pretty=False)
    try:
        with span("root"):
            ids = dict(current_ids())
            structlog.get_logger("x").info("inside")
        structlog.get_logger("x").info("outside")
    finally:
        logging.getLogger().handlers[:] = before
        structlog.reset_defaults()
    inside, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines()[-2:])
    assert {name: inside[name] for name in ids} == ids
    assert set(ids) == {"trace_id", "span_id"}
    assert "trace_id" not in outside


def test_collector_that_is_away_harms_nothing() -> None:
    configure_tracing(TracingSettings("http://127.0.0.1:9"), "test")
    with span("lost"):
        pass
    configure_tracing(TracingSettings("http://127.0.0.1:10"), "test")  # already on: nothing happens
    assert tracing.is_tracing()
    tracing._tracing._provider._active_span_processor._span_processors[
        0
    ]._batch_processor._exporter._timeout = 0.1
    close_tracing()
    assert not tracing.is_tracing()


def test_telemetry_of_the_framework_cannot_be_switched_on(
    monkeypatch: pytest.MonkeyPatch, services: Services, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    app = build_app(Settings(data=tmp_path, worker=False), services)
    assert not any(app._telemetry[name] for name in NO_TELEMETRY)  # type: ignore[literal-required]
