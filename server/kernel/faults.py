"""The few kinds of error, and the HTTP status each kind has (RFC 9110 §15).

Rule: a `Fault` subclass lives with the code that raises it; its message names the attribute or element
path and never contains patient data. Each door formats faults in one place (`fhir/outcome.py`,
`dicomweb/response_codes.py`).
"""

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import ClassVar


class FaultKind(Enum):
    """What went wrong, independent of the protocol that will say so."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    GONE = "gone"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition-failed"
    UNPROCESSABLE = "unprocessable"
    NOT_ACCEPTABLE = "not-acceptable"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    TOO_LARGE = "too-large"
    TOO_MANY_REQUESTS = "too-many-requests"
    NOT_IMPLEMENTED = "not-implemented"
    BUSY = "busy"
    INTERNAL = "internal"


STATUS_OF: Mapping[FaultKind, HTTPStatus] = {
    FaultKind.INVALID: HTTPStatus.BAD_REQUEST,
    FaultKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    FaultKind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    FaultKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    FaultKind.GONE: HTTPStatus.GONE,
    FaultKind.CONFLICT: HTTPStatus.CONFLICT,
    FaultKind.PRECONDITION_FAILED: HTTPStatus.PRECONDITION_FAILED,
    FaultKind.UNPROCESSABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultKind.NOT_ACCEPTABLE: HTTPStatus.NOT_ACCEPTABLE,
    FaultKind.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    FaultKind.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    FaultKind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    FaultKind.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    FaultKind.NOT_IMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    FaultKind.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultKind.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class Fault(Exception):
    """An expected failure with a kind; `str()` of it is safe to show to the caller."""

    kind: ClassVar[FaultKind] = FaultKind.INVALID

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status of this fault's kind."""
        return STATUS_OF[self.kind]


class Unauthenticated(Fault):
    """No acceptable credentials came with the request (RFC 6750 §3)."""

    kind = FaultKind.UNAUTHENTICATED


class Forbidden(Fault):
    """The credentials do not reach this far."""

    kind = FaultKind.FORBIDDEN


class NotFound(Fault):
    """Nothing by that name is there for this caller; also said of what the caller may not see."""

    kind = FaultKind.NOT_FOUND


class TooLarge(Fault):
    """A body or a part is over its limit."""

    kind = FaultKind.TOO_LARGE


class Busy(Fault):
    """The server cannot do it now and holds nothing half-done; a later retry may succeed."""

    kind = FaultKind.BUSY


class TookTooLong(Busy):
    """The database gave up on a statement that took longer than any may."""


class StorageFull(Busy):
    """No room left for bytes (ENOSPC, EDQUOT)."""
