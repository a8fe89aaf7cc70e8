"""The coding scheme 99ISTHMUS as a FHIR CodeSystem: what our codes mean, for whoever reads a result.

In DICOM the scheme is named by its designator (PS3.16 §8), in FHIR by its URL (`fhir.model.systems.ISTHMUS`).
"""

from pathlib import Path
from typing import Any

import orjson

import ai_engine
from fhir.interactions.authored import put_resource
from fhir.model import systems
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork

CODES_FILE = Path(ai_engine.__file__).parent / "definitions" / "isthmus_codes.json"
CODE_SYSTEM_ID = "isthmus"


def code_system() -> dict[str, Any]:
    """The CodeSystem with every code of the scheme."""
    scheme = orjson.loads(CODES_FILE.read_bytes())
    return {
        "resourceType": "CodeSystem",
        "id": CODE_SYSTEM_ID,
        "url": systems.ISTHMUS,
        "name": "Isthmus",
        "title": scheme["title"],
        "status": "active",
        "description": f"Coding Scheme Designator {scheme['scheme']} in DICOM objects.",
        "caseSensitive": True,
        "content": "complete",
        "count": len(scheme["codes"]),
        "concept": scheme["codes"],
    }


async def publish_own_codes(unit: UnitOfWork, principal: Principal) -> None:
    """Put the CodeSystem into the record; it gets a new version only when a code changed."""
    await put_resource(unit, code_system(), principal)
