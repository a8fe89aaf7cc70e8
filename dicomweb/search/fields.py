"""Attribute paths of a query: keywords or tags joined by dots, and what of an answer they name. Pure.

PS3.18 8.3.4.1 (how attributes are named), 8.3.4.3 (includefield).
"""

import re
from collections.abc import Mapping
from typing import Any

from dicomweb.attributes import DicomJson
from dicomweb.wire.dictionary import tag_of

MAX_PATH_TAGS = 8  # of one path; no attribute that anybody asks for lies deeper

_TAG = re.compile(r"[0-9A-Fa-f]{8}")

# Tags of one data set; below a sequence's tag the tags wanted of its items, None: the attribute as a whole.
Fields = Mapping[str, "Fields | None"]


def path_of(name: str) -> str | None:
    """Keywords or tags, joined by dots, as tags; None when one is neither, or there are too many."""
    parts = name.split(".", MAX_PATH_TAGS)
    tags = [_tag_of(part) for part in parts]
    return None if None in tags or len(tags) > MAX_PATH_TAGS else ".".join(filter(None, tags))


def _tag_of(name: str) -> str | None:
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_of(name)
    return None if tag is None else f"{tag:08X}"


def add_path(fields: dict[str, Any], path: str) -> None:
    """Want `path` too; what is wanted as a whole stays so."""
    tag, _, below = path.partition(".")
    if not below:
        fields[tag] = None
    elif fields.setdefault(tag, {}) is not None:
        add_path(fields[tag], below)


def take_fields(attributes: DicomJson, fields: Fields) -> DicomJson:
    """The wanted attributes of a data set; of a sequence all items, each with the members that are wanted."""
    taken: DicomJson = {}
    for tag, below in fields.items():
        if (attribute := attributes.get(tag)) is not None:
            taken[tag] = attribute if below is None else _take_members(attribute, below)
    return taken


def _take_members(attribute: DicomJson, fields: Fields) -> DicomJson:
    items = [take_fields(item, fields) for item in attribute.get("Value", ()) if isinstance(item, dict)]
    return {"vr": attribute["vr"], "Value": items} if items else {"vr": attribute["vr"]}
