"""Write the terminology that ships, `terminology/definitions/*.zst`: `python -m tools.generate_terminology`.

- `shipped.jsonl.zst`: CodeSystems, ValueSets and ConceptMaps, one a line, in zstd frames of some 64 kB each;
  `shipped_index.json.zst`: where each is, and what can be told of it without opening it.
- `ucum.json.zst`, `bcp47.json.zst`: what the grammars of these code systems need.

Sources are pinned by digest (`terminology_hl7`, `terminology_registries`) or are the installed pydicom's
(`terminology_dicom`); `tests/unit/terminology/test_shipped_content.py` holds the files to them.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import zstandard

from tools import pinned, terminology_dicom, terminology_hl7, terminology_registries

Json = Any

TARGET = Path(__file__).parents[1] / "terminology" / "definitions"
FRAME_BYTES = 64 * 1024  # of lines, before compression: what is decompressed to open one definition
SOURCES = (
    terminology_hl7.SOURCE,
    terminology_registries.ISO_3166,
    terminology_registries.ISO_4217,
    terminology_registries.BCP_47,
    terminology_registries.UCUM,
)


def main() -> None:
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else pinned.CACHE
    for name, data in files(cache).items():
        (TARGET / name).write_bytes(data)
        print(f"{name}: {len(data):,} bytes")


def files(cache: Path) -> dict[str, bytes]:
    """Each file by name."""
    shipped, rows = pack(resources(cache))
    units = terminology_registries.units(pinned.read(terminology_registries.UCUM, cache))
    subtags = terminology_registries.subtags(pinned.read(terminology_registries.BCP_47, cache))
    content = {
        "shipped.jsonl.zst": shipped,
        "ucum.json.zst": compress(line(units)),
        "bcp47.json.zst": compress(line(subtags)),
    }
    index = {
        "sources": {each.name: each.integrity for each in SOURCES},
        "pydicom": pydicom.__version__,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
        "definitions": rows,
    }
    return {**content, "shipped_index.json.zst": compress(line(index))}


def resources(cache: Path) -> list[Json]:
    """Everything that ships: kinds together, so that what is alike is compressed together."""
    hl7 = terminology_hl7.read(pinned.read(terminology_hl7.SOURCE, cache))
    iso_3166 = pinned.read(terminology_registries.ISO_3166, cache)
    older = terminology_hl7.dicom_of_2011(hl7)
    wanted = list(terminology_hl7.wanted(hl7))
    named = terminology_hl7.named_codes(wanted)
    found = [
        *terminology_dicom.resources(older, named.pop(terminology_dicom.SNOMED_CT)),
        *wanted,
        terminology_registries.countries(iso_3166, terminology_hl7.names_of_countries(hl7)),
        terminology_registries.subdivisions(iso_3166),
        terminology_registries.currencies(pinned.read(terminology_registries.ISO_4217, cache)),
    ]
    found += [terminology_hl7.fragment(system, named[system]) for system in terminology_hl7.NAMED]
    return sorted(found, key=lambda each: (each["resourceType"], each["url"], each.get("version", "")))


def pack(found: Iterable[Json]) -> tuple[bytes, list[Json]]:
    """The frames, and a row for each definition: see `terminology.shipped.Row`."""
    data, rows = bytearray(), []
    for frame in frames(found):
        packed = compress(b"\n".join(line(each) for each in frame))
        rows += [row(each, len(data), len(packed), n) for n, each in enumerate(frame)]
        data += packed
    return bytes(data), rows


def frames(found: Iterable[Json]) -> Iterator[list[Json]]:
    frame: list[Json] = []
    size = 0
    for each in found:
        length = len(line(each))
        if frame and size + length > FRAME_BYTES:
            yield frame
            frame, size = [], 0
        frame.append(each)
        size += length
    if frame:
        yield frame


def row(resource: Json, offset: int, length: int, n: int) -> Json:
    told = {
        "kind": resource["resourceType"],
        "url": resource["url"],
        "offset": offset,
        "length": length,
        "line": n,
        "concepts": sum(1 for _ in concepts_of(resource)),
        "version": resource.get("version"),
        "content": resource.get("content"),
        "supplements": resource.get("supplements"),
        "value_set": resource.get("valueSet"),
    }
    return {name: value for name, value in told.items() if value is not None}


def concepts_of(resource: Json) -> Iterator[Json]:
    waiting = [*resource.get("concept", ()), *resource.get("group", ())]
    waiting += resource.get("compose", {}).get("include", ())
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [*each.get("concept", ()), *each.get("element", ())]


def line(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(data)


if __name__ == "__main__":
    main()
