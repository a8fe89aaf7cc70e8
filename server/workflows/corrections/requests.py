"""The body of a correction, read and checked. Pure."""

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from dicomweb.attributes import DicomJson, Level
from dicomweb.overlay.correctable import SEVERAL, require_correctable
from dicomweb.overlay.value_rules import normal_attribute
from dicomweb.store.columns import MAX_INDEXED_BYTES
from dicomweb.wire.dictionary import keyword_of
from dicomweb.wire.value_writers import NotOfVr
from server.workflows.deletion.requests import InvalidRequest, read_reason

MAX_ATTRIBUTES = 64  # of one correction; a study has 30 that a person would type
_FORM = 'The body must be JSON: {"reason": "…", "attributes": {"PatientName": {"Value": […]}, …}}.'


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be shown, in DICOM JSON, and why."""

    attributes: DicomJson
    reason: str


def read_correction(body: bytes, level: Level) -> Asked:
    """The correction in `{"reason": "…", "attributes": {…}}`, attributes by keyword or tag.

    Raises:
        InvalidRequest: it has another form, or a value breaks the rules of its VR.
        NotCorrectable: an attribute stays as it was sent.
    """
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("The body must be JSON.") from error
    if not isinstance(said, dict) or said.keys() != {"reason", "attributes"}:
        raise InvalidRequest(_FORM)
    named = said["attributes"]
    if not isinstance(named, dict) or not 0 < len(named) <= MAX_ATTRIBUTES:
        raise InvalidRequest(f"'attributes' must name 1 to {MAX_ATTRIBUTES} attributes.")
    reason = read_reason(msgspec.json.encode({"reason": said["reason"]}))
    attributes: DicomJson = {}
    for name, attribute in named.items():
        key = require_correctable(name, level)
        if key in attributes:
            raise InvalidRequest(f"{keyword_of(int(key, 16))} is named twice.")
        try:
            attributes[key] = normal_attribute(key, attribute, several=key in SEVERAL)
        except NotOfVr as error:
            raise InvalidRequest(f"{keyword_of(int(key, 16))}: {error}.") from error
    if len(orjson.dumps(attributes)) > MAX_INDEXED_BYTES:
        raise InvalidRequest("The values are longer than those of a study may be.")
    return Asked(dict(sorted(attributes.items())), reason)
