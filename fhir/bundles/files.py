"""Files of FHIR resources: NDJSON, a Bundle, or one resource (FHIR R4 json.html, bundle.html).

A Bundle that asks for something is left whole; of one that only lists resources each is by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fhir.bundles.read import BundleType
from fhir.interactions.body import MAX_RESOURCE_BYTES
from fhir.model.json_codec import InvalidJson

LINES = frozenset({".ndjson", ".jsonl"})  # suffixes of files with a resource in each line
_LISTS = frozenset({"collection", "searchset"})  # Bundle.type whose entries are resources and nothing more
_ASKS = frozenset(each.value for each in BundleType)


_ABSENT = msgspec.Raw(b"")


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = _ABSENT


class _Document(msgspec.Struct):
    resource_type: msgspec.Raw = msgspec.field(default=_ABSENT, name="resourceType")
    type: msgspec.Raw = _ABSENT
    entry: msgspec.Raw = _ABSENT


_DOCUMENT = msgspec.json.Decoder(_Document)
_ENTRIES = msgspec.json.Decoder(list[_Entry])


@dataclass(frozen=True, slots=True)
class Part:
    """Something to import, and where it stands: "file:12", or "file, entry[3]" (index base 0)."""

    place: str
    text: bytes
    is_bundle: bool = False  # to be processed, not to be stored


def read_parts(path: Path) -> Iterator[Part]:
    """What is in a file, in its order.

    Raises:
        InvalidJson: it is no JSON, or a line is longer than a resource may be.
    """
    if path.suffix.lower() in LINES:
        yield from _lines(path)
        return
    text = path.read_bytes()
    try:
        document = _DOCUMENT.decode(text)
        kind = _text(document.type) if _text(document.resource_type) == "Bundle" else None
        if kind in _LISTS and bytes(document.entry):
            for number, entry in enumerate(_ENTRIES.decode(document.entry)):
                if bytes(entry.resource):
                    yield Part(f"{path.name}, entry[{number}]", bytes(entry.resource))
            return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise InvalidJson(f"{path.name}: no JSON of a resource: {failure}.") from None
    yield Part(path.name, text, is_bundle=kind in _ASKS)


def _lines(path: Path) -> Iterator[Part]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_RESOURCE_BYTES + 1):
            number += 1
            if len(line) > MAX_RESOURCE_BYTES:
                raise InvalidJson(f"{path.name}:{number}: longer than {MAX_RESOURCE_BYTES} bytes.")
            if not line.isspace():
                yield Part(f"{path.name}:{number}", line.strip())


def _text(raw: msgspec.Raw) -> str | None:
    return msgspec.json.decode(raw, type=str) if bytes(raw)[:1] == b'"' else None
