"""Absolute URIs as codes, urn:ietf:rfc:3986 (FHIR R4 terminologies-systems.html; RFC 3986 §4.3).

A SOP Class is named by `urn:oid:` and its UID (FHIR R4 imagingstudy.html); its display is DICOM's.
"""

import re

from terminology.code_system import Header
from terminology.code_systems.grammar import GrammarCodeSystem
from terminology.concept import Concept

URL = "urn:ietf:rfc:3986"
MAX_URI_CHARACTERS = 2_000

_CHARACTER = r"(?:[A-Za-z0-9\-._~:/?@!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+\-.]*:(?:{_CHARACTER}|\[[0-9A-Fa-f:.]+\])+(?:#{_CHARACTER}*)?")
_OID = "urn:oid:"


def uris() -> GrammarCodeSystem:
    """The code system."""
    header = Header(
        url=URL,
        name="URI",
        title="Uniform Resource Identifiers (RFC 3986)",
        status="active",
        language="en",
        compositional=True,
    )
    return GrammarCodeSystem(header, read)


def read(code: str) -> Concept | None:
    """The concept of a URI."""
    if len(code) > MAX_URI_CHARACTERS or not _URI.fullmatch(code):
        return None
    return Concept(code, _sop_class(code) or code)


def _sop_class(code: str) -> str | None:
    if not code.startswith(_OID):
        return None
    from terminology.definitions.sop_classes import SOP_CLASSES

    _, name = SOP_CLASSES.get(code.removeprefix(_OID), (None, None))
    return name
