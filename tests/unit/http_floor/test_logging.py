"""Logs: JSON lines, request names, no patient data, no secrets."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from server.http.memory import tune_allocator
from server.kernel.faults import NotFound
from server.kernel.logging import configure_logging
from server.kernel.request import set_request


class Logged:
    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("debug", pretty=False)
    yield Logged(stream)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    set_request(None)


async def test_request_line_names_the_template_only(client: httpx.AsyncClient, logged: Logged) -> None:
    headers = {"Authorization": "Bearer abcdefghijklmnop", "X-Request-Id": "r-1"}
    await client.get("/dicom-web/studies/1.2.840.99999.4711?PatientID=4711", headers=headers)
    (line,) = [line for line in logged.lines if line["event"] == "request"]
    assert line["route"] == "/dicom-web/studies/{study}"
    assert (line["method"], line["status"], line["request_id"], line["response_bytes"]) == (
        "GET",
        200,
        "r-1",
        1,
    )
    assert line["duration_ms"] >= 0
    assert "4711" not in logged.text
    assert "abcdefgh" not in logged.text


async def test_probes_are_logged_only_when_they_fail(client: httpx.AsyncClient, logged: Logged) -> None:
    await client.get("/livez")
    assert [line for line in logged.lines if line["event"] == "request"] == []


async def test_unexpected_error_is_logged_with_places_not_messages(
    client: httpx.AsyncClient, logged: Logged
) -> None:
    number = (await client.get("/boom")).json()["detail"].split()[2].rstrip(";")
    (line,) = [line for line in logged.lines if line["event"] == "unexpected error"]
    assert line["error_id"] == number
    assert line["exception"][0]["type"] == "builtins.ValueError"
    assert "boom" in line["exception"][0]["at"][-1]
    assert "Doe" not in logged.text


def test_message_of_a_fault_and_its_cause(logged: Logged) -> None:
    try:
        try:
            {}["Doe^John"]
        except KeyError as cause:
            raise NotFound("Nothing by that name.") from cause
    except NotFound:
        structlog.get_logger("x").exception("failed")
    (line,) = logged.lines
    assert [each["type"] for each in line["exception"]] == [
        "server.kernel.faults.NotFound",
        "builtins.KeyError",
    ]
    assert line["exception"][0]["message"] == "Nothing by that name."
    assert "Doe" not in logged.text


def test_messages_are_written_when_asked_for(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    monkeypatch.setattr(sys, "stderr", logged.stream)
    configure_logging("info", pretty=False, messages=True)
    try:
        int("detail")
    except ValueError:
        logging.getLogger("y").exception("failed")
    assert logged.lines[0]["exception"][0]["message"].endswith("'detail'")


@pytest.mark.parametrize(
    "name",
    ["token", "access_token", "Authorization", "client_secret", "password", "patient_name", "birth_date"],
)
def test_field_is_redacted_by_name(logged: Logged, name: str) -> None:
    structlog.get_logger("x").info("said", **{name: "hush-hush"})
    assert "hush-hush" not in logged.text


def test_patient_id_of_the_record_may_be_written(logged: Logged) -> None:
    structlog.get_logger("x").info("said", patient_id="0f7c")
    assert logged.lines[0]["patient_id"] == "0f7c"


def test_secret_in_text_is_redacted_also_from_libraries(logged: Logged) -> None:
    logging.getLogger("lib").warning("sent %s", "Authorization: Bearer abcdefghijklmnop")
    assert "abcdefgh" not in logged.text
    assert "[redacted]" in logged.lines[0]["event"]


def test_loggers_that_write_paths_or_tokens_are_quiet(logged: Logged) -> None:
    logging.getLogger("uvicorn.access").info("GET /dicom-web/studies/1.2.3")
    logging.getLogger("authlib.oauth2").debug("Issue token abc")
    logging.getLogger("httpx").info("GET http://x/y?patient=1")
    logging.getLogger("uvicorn.error").info("Started")
    assert [line["event"] for line in logged.lines] == ["Started"]


def test_pretty_lines_are_for_people(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    monkeypatch.setattr(sys, "stderr", logged.stream)
    configure_logging("info", pretty=True)
    structlog.get_logger("x").info("hello", n=1)
    assert "hello" in logged.text
    assert not logged.text.startswith("{")


def test_tune_allocator_says_whether_it_did() -> None:
    import platform

    assert tune_allocator() is (platform.libc_ver()[0] == "glibc")
