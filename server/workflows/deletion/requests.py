"""The bodies of deletion and hold requests, read. Pure."""

import re
from typing import Any

import msgspec

from dicomweb.delete.holds import HoldOrder
from dicomweb.wire.instance import is_uid
from server.kernel.faults import Fault

MAX_REASON_CHARACTERS = 1000  # of a deletion, a hold, a release
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR R4 datatypes.html#id


class InvalidRequest(Fault):
    """The body or the path does not say what it must."""


def read_reason(body: bytes) -> str:
    """The reason in `{"reason": "…"}`.

    Raises:
        InvalidRequest: there is none, or more than that.
    """
    return _reason(_members(body, {"reason"}))


def read_hold_order(body: bytes) -> HoldOrder:
    """The order in `{"study": UID, "reason": "…"}` or `{"patient": id, "reason": "…"}`.

    Raises:
        InvalidRequest: it names none, both, or gives no reason.
    """
    said = _members(body, {"study", "patient", "reason"})
    study, patient = said.get("study"), said.get("patient")
    if (study is None) == (patient is None):
        raise InvalidRequest("The body must name a 'study' or a 'patient', and not both.")
    if patient is not None and not (isinstance(patient, str) and _ID.fullmatch(patient)):
        raise InvalidRequest("'patient' is not the id of a Patient.")
    if study is not None and not isinstance(study, str):
        raise InvalidRequest("'study' is not a UID.")
    return HoldOrder(_reason(said), None if study is None else require_uid(study), patient)


def require_uid(uid: str) -> str:
    """A UID of a path or body, as it is.

    Raises:
        InvalidRequest: it is none.
    """
    if not is_uid(uid):
        raise InvalidRequest("That is not a UID.")
    return uid


def _reason(said: dict[str, Any]) -> str:
    reason = said.get("reason")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > MAX_REASON_CHARACTERS:
        raise InvalidRequest(f"'reason' must say why, in at most {MAX_REASON_CHARACTERS} characters.")
    if any(ord(character) < ord(" ") for character in reason):
        raise InvalidRequest("'reason' must be one line without control characters.")
    return reason.strip()


def _members(body: bytes, allowed: set[str]) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("The body must be JSON.") from error
    if not isinstance(said, dict) or not said.keys() <= allowed:
        raise InvalidRequest(f"The body must be a JSON object of: {', '.join(sorted(allowed))}.")
    return said
