"""Entity tags and dates of versions, and what headers ask by them (RFC 9110 §13, http.html#concurrency).

A version's tag is weak: `W/"3"` is version 3. Comparison is weak too, as R4 wants it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime

from server.kernel.clock import SECOND_US
from server.kernel.faults import Fault, FaultKind

ANY = "*"


class VersionDiffers(Fault):
    """A precondition on the current version does not hold."""

    kind = FaultKind.PRECONDITION_FAILED


class InvalidHeader(Fault):
    """A header that cannot be understood."""

    kind = FaultKind.INVALID


def version_headers(version_id: int, last_updated_us: int) -> dict[str, str]:
    """`ETag` and `Last-Modified` of a version."""
    return {
        "ETag": f'W/"{version_id}"',
        "Last-Modified": formatdate(last_updated_us // SECOND_US, usegmt=True),
    }


def is_unchanged(headers: Mapping[str, str], version_id: int, last_updated_us: int) -> bool:
    """Whether a conditional read is answered 304 (FHIR R4 http.html#cread, RFC 9110 §13.2.2)."""
    if (if_none_match := headers.get("if-none-match")) is not None:
        return _names(if_none_match, version_id)
    since = _moment(headers.get("if-modified-since", ""))
    return since is not None and last_updated_us // SECOND_US <= since.timestamp()


@dataclass(frozen=True, slots=True)
class Guard:
    """`If-Match` and `If-None-Match` of a write; None: the request has none."""

    if_match: str | None = None
    if_none_match: str | None = None

    def require(self, current: int | None) -> None:
        """Let pass when the current version is as asked; None: there is no resource.

        Raises:
            VersionDiffers: it is not.
        """
        if self.if_match is not None and (current is None or not _names(self.if_match, current)):
            raise VersionDiffers("The resource is at another version than 'If-Match' says.")
        if self.if_none_match is not None and current is not None and _names(self.if_none_match, current):
            raise VersionDiffers("The resource is there, against 'If-None-Match'.")


def read_guard(headers: Mapping[str, str]) -> Guard:
    """The guard that the headers of a write state.

    Raises:
        InvalidHeader: one of them holds no ETag of this server: it could never match.
    """
    guard = Guard(headers.get("if-match"), headers.get("if-none-match"))
    for name, value in (("If-Match", guard.if_match), ("If-None-Match", guard.if_none_match)):
        if value is not None and not all(_is_tag(tag) for tag in _tags(value)):
            raise InvalidHeader(f"'{name}' is no ETag of this server.")
    return guard


def _names(header: str, version_id: int) -> bool:
    tags = _tags(header)
    return ANY in tags or f'"{version_id}"' in tags


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


def _is_tag(tag: str) -> bool:
    number = tag[1:-1]
    return tag == ANY or (tag == f'"{number}"' and number.isascii() and number.isdigit() and len(number) < 10)


def _moment(http_date: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(http_date)
    except ValueError:  # RFC 9110 §13.1.3: an invalid date does not count
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
