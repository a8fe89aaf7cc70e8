"""Where in a resource the walker is; rendered as FHIRPath only when there is something to say."""

import re
from typing import Any

_PLAIN_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")

# (path of the parent or None, element name, index in an array or None, objects from the root)
# A bare tuple: one is made per object walked, and a class would cost more than all the rest of it.
Path = tuple[Any, str, int | None, int]


def expression(path: Path, name: str | None = None, index: int | None = None) -> str:
    """The FHIRPath of a place, or of an element of it; a name that is no FHIR name is left out."""
    parts = [_step(name, index)] if name is not None and _PLAIN_NAME.fullmatch(name) else []
    place: Path | None = path
    while place is not None:
        place, own_name, own_index, _ = place
        parts.append(_step(own_name, own_index))
    return ".".join(reversed(parts))


def _step(name: str, index: int | None) -> str:
    return name if index is None else f"{name}[{index}]"
