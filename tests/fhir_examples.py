"""Resources to try things on: a few of our own, and HL7's R4 examples and Synthea's bundles where they are.

`ISTHMUS_SHARED_DATA` names the folder of the latter two; without it only our own are used.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

from fhir.model.json_codec import decode_json

OWN = Path(__file__).parent / "data" / "fhir"
SHARED = Path(os.environ.get("ISTHMUS_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # one of HL7's examples begins with it; JSON has none


def _named(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.glob("*.json"))}


FILES = {**_named(OWN), **_named(SHARED / "fhir-r4-examples")}
EXAMPLES = tuple(FILES)
BUNDLES = tuple(_named(SHARED / "synthea")) or ("bundle.json",)


@cache
def example(name: str) -> Any:
    """A resource by the name of its file."""
    return decode_json(text_of(name))


def text_of(name: str) -> bytes:
    """The text of a resource, as it is sent."""
    path = FILES.get(name) or SHARED / "synthea" / name
    return path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
