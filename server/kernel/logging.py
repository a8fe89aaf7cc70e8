"""Structured logs on standard error: JSON lines, readable ones on a terminal; no patient data, no secrets.

Every logger of the process goes through here, also uvicorn's and the libraries'; ours do not pass through the
standard library's records, which cost as much as the rest of the line. An exception is logged by its types
and places: its message may hold what was in the data set or in the SQL, so only a Fault's, which is safe by
contract, is written, unless the operator asks for messages.
"""

import json
import logging
import logging.config
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog

from server.kernel.faults import Fault
from server.kernel.request import current_request_id
from server.kernel.tracing import current_ids

Event = MutableMapping[str, Any]

REDACTED = "[redacted]"
_SECRET_NAMES = re.compile(
    r"authorization|cookie|token(?!_endpoint)|secret|password|assertion|master_key"
    r"|patient_(?!id$)|birth|accession|query|url_path",
    re.IGNORECASE,
)
_SECRETS_IN_TEXT = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9\-._~+/=]{8,}")
_MAX_FRAMES = 30  # of a traceback
QUIET_LOGGERS: Mapping[str, str] = {
    "uvicorn.access": "CRITICAL",  # it writes paths and queries; server/http/access_log.py writes templates
    "authlib": "INFO",  # its grants log whole tokens at DEBUG
    "httpx": "WARNING",  # it writes URLs
    "httpcore": "WARNING",
    "pydicom": "ERROR",  # its warnings quote values
    "highdicom": "WARNING",
    "sqlalchemy.engine": "WARNING",  # it writes parameters
    "aiosqlite": "WARNING",
    "asyncio": "WARNING",
    "alembic": "WARNING",
    "urllib3": "WARNING",  # it writes the collector's URL
}


def configure_logging(level: str = "info", *, pretty: bool | None = None, messages: bool = False) -> None:
    """Send every log of this process to standard error.

    Args:
        level: least severe level written.
        pretty: readable lines instead of JSON; None: when standard error is a terminal.
        messages: also write the messages of exceptions, which may hold patient data.
    """
    pretty = sys.stderr.isatty() if pretty is None else pretty
    first: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_request_id,
        add_trace,
    ]
    last: list[Any] = [
        ExceptionPlaces(messages=messages),
        redact,
        structlog.dev.ConsoleRenderer() if pretty else render_json,
    ]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*first, structlog.stdlib.PositionalArgumentsFormatter()],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    }
    logging.config.dictConfig(_dict_config(level, formatter))
    stream = sys.stderr
    structlog.configure(
        processors=[*first, *last],
        logger_factory=lambda *names: Lines(stream, *names),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


class Lines:
    """Where our own loggers write: one line a call, flushed."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write a line, of whichever level."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


def _dict_config(level: str, formatter: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"isthmus": formatter},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "isthmus",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        "loggers": {
            **{
                name: {"level": "INFO", "handlers": [], "propagate": True}
                for name in ("uvicorn", "uvicorn.error")
            },
            **{name: {"level": least} for name, least in QUIET_LOGGERS.items()},
        },
    }


def add_request_id(_logger: object, _method: str, event: Event) -> Event:
    """Name the request that is being served."""
    request_id = current_request_id()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def add_trace(_logger: object, _method: str, event: Event) -> Event:
    """Name the span that is under way, so that a line is found from its trace and back."""
    for name, value in current_ids().items():
        event.setdefault(name, value)
    return event


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Blank out what must not be written, by the name of the field and by the shape of the text."""
    for name, value in event.items():
        if _names_a_secret(name):
            event[name] = REDACTED
        elif isinstance(value, str) and len(value.split(None, 1)) > 1:  # a scheme and a secret are two words
            event[name] = _SECRETS_IN_TEXT.sub(rf"\1 {REDACTED}", value)
    return event


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def render_json(_logger: object, _method: str, event: Event) -> str:
    """The line; what JSON does not know is written as Python shows it."""
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:  # half of a surrogate pair, an integer of more than 64 bits
        return json.dumps(event, default=repr)


class ExceptionPlaces:
    """Turns `exc_info` into `exception`: types and places, from the cause to the outcome."""

    def __init__(self, *, messages: bool) -> None:
        self._messages = messages

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """Replace `exc_info`."""
        error = _error_of(event.pop("exc_info", None))
        event.pop("exc_text", None)
        if error is not None:
            event["exception"] = [self._described(each) for each in _chain(error)]
        return event

    def _described(self, error: BaseException) -> dict[str, Any]:
        described: dict[str, Any] = {
            "type": f"{type(error).__module__}.{type(error).__qualname__}",
            "at": _places(error.__traceback__),
        }
        if self._messages or isinstance(error, Fault):
            described["message"] = str(error)
        return described


def _error_of(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    elif exc_info is True:
        exc_info = sys.exc_info()[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_MAX_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
