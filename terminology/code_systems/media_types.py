"""Media types, urn:ietf:bcp:13 (RFC 6838 §4.2, with parameters of RFC 2045 §5.1).

Well-formed types are valid, registered or not: FHIR uses some that are not (`application/hl7-cda+xml`). The
case of type and subtype does not count; they are written in lower case.
"""

import re

from terminology.code_system import Header, PropertyDefinition
from terminology.code_systems.grammar import GrammarCodeSystem
from terminology.concept import Concept, Property

URL = "urn:ietf:bcp:13"
MAX_MEDIA_TYPE_CHARACTERS = 300

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&\-^_.+]{0,126}"
_TOKEN = r"[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+"  # noqa: S105  RFC 2045's token
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"'
_PARAMETER = rf"[ ]*;[ ]*{_TOKEN}=(?:{_TOKEN}|{_QUOTED})"
_MEDIA_TYPE = re.compile(rf"({_NAME})/({_NAME})((?:{_PARAMETER})*)")


def media_types() -> GrammarCodeSystem:
    """The code system."""
    header = Header(
        url=URL,
        name="MediaTypes",
        title="Media types (BCP 13)",
        status="active",
        language="en",
        case_sensitive=False,
        compositional=True,
        properties={name: PropertyDefinition(name) for name in ("type", "subtype")},
    )
    return GrammarCodeSystem(header, read)


def read(code: str) -> Concept | None:
    """The concept of a media type."""
    found = _MEDIA_TYPE.fullmatch(code) if len(code) <= MAX_MEDIA_TYPE_CHARACTERS else None
    if found is None:
        return None
    kind, subtype = found[1].lower(), found[2].lower()
    written = f"{kind}/{subtype}{found[3]}"
    properties = (Property("type", "string", kind), Property("subtype", "string", subtype))
    return Concept(written, written, properties=properties)
