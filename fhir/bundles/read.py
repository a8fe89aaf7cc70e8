"""A Bundle to be processed, read from its text without decoding the resources (FHIR R4 bundle.html). Pure.

Resources stay slices of the text: they are decoded one by one, when their turn comes. What a reader could
understand in two ways is refused, as in any other resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from fhir.bundles.faults import EntryFailed, invalid_entry, place_of
from fhir.model.json_codec import InvalidJson, decode_json
from fhir.model.validation.issue import InvalidResource, IssueType, error
from server.kernel.faults import TooLarge

MAX_ENTRIES = 5_000  # one transaction holds the writer for a second or two then
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})  # valueset-http-verb

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_BUNDLE = frozenset(
    {"resourceType", "id", "meta", "implicitRules", "_implicitRules", "language", "_language", "identifier"}
    | {"type", "_type", "timestamp", "_timestamp", "total", "_total", "link", "entry", "signature"}
)
_ENTRY = frozenset({"fullUrl", "_fullUrl", "link", "resource", "search", "request", "response"})
_REQUEST = frozenset({"method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"})
_OF_ANY_ELEMENT = frozenset({"id", "extension", "modifierExtension"})
_READ_APART = frozenset({"resource", "request"})

_Members = dict[str, msgspec.Raw]


class BundleType(Enum):
    """Bundle.type, those that a server processes (valueset-bundle-type)."""

    BATCH = "batch"
    TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class Asked:
    """One entry: what it asks for, with the text of its resource; `number` counts from 0."""

    number: int
    method: str
    url: str
    full_url: str | None
    conditions: Mapping[str, str]  # the other elements of Bundle.entry.request
    resource: msgspec.Raw | None

    @property
    def text(self) -> bytes:
        """The resource's text, empty without one."""
        return b"" if self.resource is None else bytes(self.resource)

    @property
    def size(self) -> int:
        """The bytes of that text."""
        return 0 if self.resource is None else memoryview(self.resource).nbytes


def read_bundle(text: bytes) -> tuple[BundleType, list[Asked]]:
    """What a Bundle asks for, entry by entry.

    Raises:
        InvalidJson: not JSON that every reader understands alike.
        InvalidResource: no Bundle of type batch or transaction, or an entry that asks for nothing.
        TooLarge: more than `MAX_ENTRIES`.
    """
    members = _members(text)
    entries = [_members(raw) for raw in _entries(members.pop("entry", None))]
    _require_names_once(text, members, entries)
    if _string(members.get("resourceType")) != "Bundle":
        raise InvalidResource([error(IssueType.INVALID, "A Bundle is required here.", "resourceType")])
    if members.keys() - _BUNDLE:
        raise InvalidResource([error(IssueType.STRUCTURE, "Bundle has no such element.", "Bundle")])
    for name, value in members.items():
        _decoded(value, f"Bundle.{name}")
    kind = _type_of(_string(members.get("type")))
    asked = [_asked(number, entry) for number, entry in enumerate(entries)]
    _require_unique_names(asked)
    return kind, asked


def _type_of(stated: str | None) -> BundleType:
    try:
        return BundleType(stated)
    except ValueError:
        said = "Only Bundles of type batch and transaction are processed; store others at /Bundle."
        raise InvalidResource([error(IssueType.VALUE, said, "Bundle.type")]) from None


def _entries(raw: msgspec.Raw | None) -> list[msgspec.Raw]:
    if raw is None:
        return []
    try:
        entries = _ENTRIES.decode(raw)
    except msgspec.DecodeError:
        entries = []
    if not entries:
        said = "An array with at least one entry is required here."
        raise InvalidResource([error(IssueType.STRUCTURE, said, "Bundle.entry")])
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"A Bundle has at most {MAX_ENTRIES} entries.")
    return entries


def _asked(number: int, members: _Members) -> Asked:
    if members.keys() - _ENTRY - _OF_ANY_ELEMENT:
        raise _unknown(number, "")
    if "request" not in members:
        raise invalid_entry(number, "This element is required.", "request", IssueType.REQUIRED)
    for name, value in members.items():
        if name not in _READ_APART:
            _decoded(value, place_of(number, name))
    request = _decoded(members["request"], place_of(number, "request"))
    if not isinstance(request, dict):
        raise invalid_entry(number, "An object is required here.", "request", IssueType.STRUCTURE)
    full_url = _string(members.get("fullUrl"))
    if "fullUrl" in members and not full_url:
        raise invalid_entry(number, "This is no uri.", "fullUrl", IssueType.VALUE)
    resource = members.get("resource")
    return Asked(number, *_line(number, request), full_url, _conditions(number, request), resource)


def _line(number: int, request: Mapping[str, Any]) -> tuple[str, str]:
    method, url = request.get("method"), request.get("url")
    if method not in METHODS:
        code = IssueType.REQUIRED if method is None else IssueType.CODE_INVALID
        raise invalid_entry(number, "A method of HTTP is required here.", "request.method", code)
    if not isinstance(url, str):
        raise invalid_entry(number, "This element is required.", "request.url", IssueType.REQUIRED)
    return method, url


def _conditions(number: int, request: Mapping[str, Any]) -> dict[str, str]:
    if {name.lstrip("_") for name in request} - _REQUEST - _OF_ANY_ELEMENT:
        raise _unknown(number, "request")
    found = {}
    for name in _REQUEST - {"method", "url"}:
        if name in request:
            value = request[name]
            if not isinstance(value, str) or not value:
                raise invalid_entry(number, "A text is required here.", f"request.{name}", IssueType.VALUE)
            found[name] = value
    return found


def _require_unique_names(asked: list[Asked]) -> None:
    seen: set[str] = set()
    for each in asked:
        if each.full_url is not None:
            if each.full_url in seen:
                raise invalid_entry(each.number, "Another entry has this fullUrl (bdl-7).", "fullUrl")
            seen.add(each.full_url)


def _members(text: bytes | msgspec.Raw) -> _Members:
    """The members of an object, each as its text.

    Raises:
        InvalidJson: it is none.
    """
    try:
        return _MEMBERS.decode(text)
    except msgspec.DecodeError as failure:
        raise InvalidJson(f"The body is not acceptable JSON: {failure}.") from None
    except UnicodeDecodeError as failure:
        raise InvalidJson(f"The body is not UTF-8 (byte {failure.start}).") from None
    except RecursionError:
        raise InvalidJson("JSON is nested too deep.") from None


def _require_names_once(text: bytes, members: _Members, entries: list[_Members]) -> None:
    """A name that stands twice was dropped, its colon with it; resources are looked at by themselves."""
    kept = sum(1 + _colons(value) for value in members.values()) + (1 if entries else 0)
    kept += sum(1 + _colons(value) for entry in entries for value in entry.values())
    if text.count(b":") != kept:
        raise InvalidJson("An object has the same name twice.")


def _colons(raw: msgspec.Raw) -> int:
    return bytes(raw).count(b":")


def _decoded(raw: msgspec.Raw, place: str) -> Any:
    """A part that is not kept as text; read as strictly as a resource is."""
    try:
        return decode_json(b'{"value":%b}' % bytes(raw))["value"]
    except InvalidJson as failure:
        raise InvalidResource([error(IssueType.STRUCTURE, str(failure), place)]) from None


def _string(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None


def _unknown(number: int, below: str) -> EntryFailed:
    return invalid_entry(number, "There is no such element here.", below, IssueType.STRUCTURE)
